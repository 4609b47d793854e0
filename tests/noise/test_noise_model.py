"""The noise model describes the detector that made the images."""

import numpy as np
import pytest
from conftest import blobs
from scipy import ndimage

from napari_n2n import Pair, measure_noise

SCENE = blobs((256, 256))
SCENE = SCENE - SCENE.min()


def model(draw):
    return measure_noise(Pair.open(draw(), draw())).noise_model


def at(found, level):
    return np.interp(level, found.levels, found.variances)


def test_the_variance_at_each_level_is_that_of_the_camera():
    rng, gain, black, read = np.random.default_rng(0), 2.2, 100.0, 3.0
    light = 5 + 60 * SCENE / SCENE.max()
    found = model(lambda: gain * rng.poisson(light) + black + rng.normal(0, read, light.shape))
    assert found.outlier_share == 0 and found.lower_limit is None
    for level in np.quantile(gain * light + black, (0.1, 0.5, 0.95)):
        assert at(found, level) == pytest.approx(gain * (level - black) + read**2, rel=0.15)


def test_many_outliers_do_not_widen_the_ordinary_noise():
    rng = np.random.default_rng(0)

    def draw():
        clean = 50 + 100 * SCENE / SCENE.max() + rng.normal(0, 4, SCENE.shape)
        return np.where(rng.random(SCENE.shape) < 0.4, rng.uniform(0, 255, SCENE.shape), clean)

    found = model(draw)
    assert found.outlier_share == pytest.approx(0.4, abs=0.03)
    assert at(found, 80) == pytest.approx(16, rel=0.3)


@pytest.mark.parametrize("limit", [0.0, 100.0, 37.5, -12.0])
def test_a_lower_limit_is_found_at_any_value(limit):
    rng = np.random.default_rng(0)
    signal = limit + 60 * SCENE / SCENE.max()
    found = model(lambda: np.maximum(signal + rng.normal(0, 12, signal.shape), limit))
    assert found.lower_limit == pytest.approx(limit, abs=1)
    assert model(lambda: signal + rng.normal(0, 12, signal.shape)).lower_limit is None


def test_pixels_without_a_photon_are_not_mistaken_for_a_limit():
    rng, light = np.random.default_rng(0), 3 * SCENE / SCENE.max()
    found = model(lambda: 12.0 * rng.poisson(light))
    assert found.lower_limit is None and found.stuck == (0, 0)
    assert model(lambda: 12.0 * rng.poisson(light) + 100).lower_limit is None


def test_dark_areas_of_a_background_that_was_subtracted_and_cut_at_zero_read_too_bright():
    rng, light = np.random.default_rng(0), 12 * SCENE[:160, :160] / SCENE.max()
    report = measure_noise(
        Pair.open(
            *(
                np.round(2.2 * rng.poisson(light) + rng.normal(0, 3, light.shape))
                .clip(0)
                .astype(np.uint16)
                for _ in range(2)
            )
        )
    )
    assert report.loss == "likelihood" and "cut off at zero" in report.reason
    assert "clipped" in {warning.code for warning in report.warnings}
    # The variance is that before the noise was cut off: 3^2 of the camera, 1/12 of rounding.
    assert at(report.noise_model, 0) == pytest.approx(9.1, rel=0.25)


def test_photons_counted_with_a_dead_time_are_not_mistaken_for_a_limit():
    rng, light = np.random.default_rng(0), 6 * SCENE / SCENE.max()

    def counted():
        photons = rng.poisson(light)
        return np.round(photons / (1 + 0.06 * photons)).astype(np.uint8)

    report = measure_noise(Pair.open(counted(), counted()))
    assert report.noise_model.lower_limit is None and report.loss == "l2"


def test_pixels_stuck_at_a_limit_are_distinguished_from_saturated_structures():
    rng = np.random.default_rng(0)
    signal = 40 + 300 * SCENE / SCENE.max()

    def draw(stuck):
        seen = np.clip(np.round(signal + rng.normal(0, 8, signal.shape)), 0, 255)
        return np.where(rng.random(signal.shape) < stuck, 255, seen).astype(np.uint8)

    hit = model(lambda: draw(0.02)).stuck
    still = (signal < 255 - 8 * 12).mean()
    assert hit[1] == pytest.approx(0.02 * still, rel=0.2) and hit[0] == 0
    assert model(lambda: draw(0.0)).stuck == (0.0, 0.0)


def test_noise_in_proportion_to_the_signal_bends_the_curve():
    rng, gain, read, part = np.random.default_rng(0), 2.0, 5.0, 0.08
    smooth = ndimage.gaussian_filter(SCENE, 8)  # fine detail would mix levels within a bin
    light = 100 + 1500 * ((smooth - smooth.min()) / np.ptp(smooth)) ** 2

    def draw():
        photons = gain * rng.poisson(light / gain) + rng.normal(0, read, light.shape)
        return photons + part * light * rng.normal(size=light.shape)

    report = measure_noise(Pair.open(draw(), draw()))
    found = report.noise_model
    assert report.photon_gain == pytest.approx(gain, abs=3 * report.errors["photon_gain"])
    assert report.errors["photon_gain"] < gain / 2
    assert "monotone curve" in found.in_words() and (np.diff(found.variances) >= 0).all()
    for level in np.quantile(light, (0.2, 0.5, 0.95)):
        error = np.interp(level, found.levels, found.variance_errors)
        true = gain * level + read**2 + (part * level) ** 2
        assert at(found, level) == pytest.approx(true, abs=4 * error + 0.02 * true)
        assert error < 0.1 * true


def test_the_photon_gain_of_an_amplifier_near_its_limit_is_not_determined():
    rng, smooth = np.random.default_rng(0), ndimage.gaussian_filter(SCENE, 8)
    light = 20 + 500 * (smooth - smooth.min()) / np.ptp(smooth)

    def draw():
        return 100 + 1200 * np.tanh(2.2 * rng.poisson(light) / 1200) + rng.normal(0, 3, light.shape)

    report = measure_noise(Pair.open(draw(), draw()))
    assert report.photon_gain is None and report.signal_dependent
    assert "monotone curve" in report.noise_model.in_words()


@pytest.mark.parametrize("electrons", [False, True])
def test_a_line_is_kept_where_it_fits_also_with_an_em_gain(electrons):
    rng = np.random.default_rng(0)
    light = 1 + 30 * SCENE / SCENE.max()

    def draw():
        count = rng.poisson(light)
        pulses = np.where(count > 0, rng.gamma(np.maximum(count, 1), 50.0), 0)
        return (pulses if electrons else 50 * count) + rng.normal(100, 20, light.shape)

    found = model(draw)
    assert found.variance_errors == () and "curve" not in found.in_words()
    for level in np.quantile(50 * light + 100, (0.2, 0.8)):
        true = 50 * (1 + electrons) * (level - 100) + 400
        assert at(found, level) == pytest.approx(true, rel=0.1)


def test_small_bright_structures_keep_their_photon_noise():
    rng = np.random.default_rng(1)
    texture = ndimage.gaussian_filter(rng.normal(size=(192, 192)), 1.5)
    electrons = 2 + 8 * np.exp(1.2 * texture / texture.std())
    views = (2.0 * (rng.poisson(electrons) + rng.normal(0, 2, texture.shape)) for _ in "ab")
    report = measure_noise(Pair.open(*(100 + view for view in views)))
    assert report.photon_gain == pytest.approx(2.0, abs=3 * report.errors["photon_gain"])
    assert report.errors["photon_gain"] < 0.1
    assert report.noise_model.levels[-1] > 100 + 1.5 * electrons.max()
