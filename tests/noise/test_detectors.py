"""The recommended loss keeps the light of detectors whose photons give large pulses."""

import numpy as np
import pytest
from conftest import blobs

from napari_n2n import Pair, measure_noise
from napari_n2n.noise.sample import Sample
from napari_n2n.pair.hits import Hits, find_hits, without_hits
from napari_n2n.stats.statistics import neighbourhood

LIGHT = blobs((160, 160), 3) - 95
LIGHT /= LIGHT.mean()


def emccd(photons, rng, gain=30.0):
    """A Gamma-distributed pulse of `gain` ADU per electron, read noise of 4 ADU."""
    electrons = rng.poisson(photons)
    pulses = rng.gamma(np.maximum(electrons, 1e-9), gain) * (electrons > 0)
    return np.round(pulses + rng.normal(100, 4, photons.shape)).astype(np.uint16)


def pmt(photons, rng):
    """Analog photomultiplier, 8 bit: pulses of variation 0.8, electronic noise of 2 ADU."""
    count = rng.poisson(photons)
    pulses = rng.gamma(np.maximum(count / 0.64, 1e-9), 12 * 0.64) * (count > 0)
    return np.clip(np.round(pulses + rng.normal(6, 2, photons.shape)), 0, 255).astype(np.uint8)


def qcmos(photons, rng):
    electrons = rng.poisson(photons) + rng.normal(0, 0.27, photons.shape)
    return np.round(9.3 * electrons + 200).astype(np.uint16)


def scmos(photons, rng):
    return np.round(2.2 * (rng.poisson(photons) + rng.normal(0, 1.5, photons.shape)) + 100)


def measured(draw, light):
    return measure_noise(Pair.open(*(draw(light, np.random.default_rng(k)) for k in range(2))))


@pytest.mark.parametrize(
    ("draw", "photons"),
    [(emccd, 0.05), (emccd, 0.3), (emccd, 0.8), (pmt, 0.05), (pmt, 0.3), (qcmos, 0.03)],
)
def test_photon_pulses_are_light_not_outliers(draw, photons):
    report = measured(draw, photons * LIGHT)
    assert report.loss == "l2" and report.outlier_share == 0 and not report.outliers_clustered
    assert "outliers of any value" not in report.reason and "text or dust" not in report.reason
    codes = {warning.code for warning in report.warnings}
    assert not codes & {"motion", "drift", "duplicate"}


def test_light_is_kept_where_the_scene_is_flat_or_has_one_very_bright_cell():
    def strong(photons, rng):
        return emccd(photons, rng, gain=200.0)

    flat = measured(strong, np.full((160, 160), 0.2))
    assert flat.loss == "l2" and not flat.pulses_certain
    y, x = np.mgrid[:160, :160]
    cell = 30 / (1 + np.exp((np.hypot(y - 80, x - 90) - 22) / 2)) + 0.3 * LIGHT
    assert measured(emccd, cell).loss == "l2"


def test_full_scale_outliers_are_not_mistaken_for_light_of_a_dim_scene():
    def hit(photons, rng):
        return np.where(rng.random(photons.shape) < 0.01, 4095, scmos(photons, rng))

    report = measured(hit, 15 * LIGHT)
    assert report.loss == "likelihood" and report.pulse_share == 0


def test_rare_single_photons_are_not_missing_pixels():
    report = measured(lambda light, rng: rng.poisson(light).astype(np.uint16), 0.01 * LIGHT)
    assert report.missing_share == 0 and report.loss == "l2"
    assert not {"missing", "motion"} & {warning.code for warning in report.warnings}


def test_the_photon_gain_of_an_electron_multiplying_camera_is_measured():
    report = measured(emccd, 0.3 * LIGHT)
    assert report.photon_gain == pytest.approx(2 * 30, rel=0.1)
    assert report.pedestal == pytest.approx(100, abs=1)


@pytest.mark.parametrize("photons", [0.03, 0.1, 0.5, 1, 2, 10])
def test_pixels_without_a_pulse_are_not_mistaken_for_noise_cut_off_at_zero(photons):
    def without_read_noise(photons, rng):
        electrons = rng.poisson(photons)
        return np.round(rng.gamma(np.maximum(electrons, 1e-9), 30) * (electrons > 0))

    report = measured(without_read_noise, photons * LIGHT)
    assert report.clipping_shift == 0 and report.loss == "l2"


@pytest.mark.parametrize("photons", [0.03, 0.3])
def test_noise_cut_off_below_pulses_of_light_is_flagged_with_its_size(photons):
    def cut_at_black(photons, rng):
        electrons = rng.poisson(photons)
        pulses = rng.gamma(np.maximum(electrons, 1e-9), 60) * (electrons > 0)
        return np.round(pulses + rng.normal(0, 9, photons.shape)).clip(0)

    report = measured(cut_at_black, photons * LIGHT)
    # Half of the noise is cut off: 0.4 standard deviations, and the light keeps some of it.
    assert report.clipping_shift == pytest.approx(0.4 * 9, rel=0.25)
    assert "clipped" in {warning.code for warning in report.warnings}


@pytest.mark.parametrize("share", [0.005, 0.05])
def test_bright_outliers_on_a_camera_are_still_outliers(share):
    def hit(photons, rng):
        values = scmos(photons, rng)
        return values + (rng.random(values.shape) < share) * rng.uniform(200, 1500, values.shape)

    report = measured(hit, 30 * LIGHT)
    assert report.loss == "likelihood" and report.pulse_share == 0
    assert report.outlier_share == pytest.approx(share, rel=0.5)


def test_a_scene_without_contrast_keeps_its_light_and_says_why():
    report = measured(emccd, np.full((160, 160), 0.1))
    assert report.loss == "l2" and not report.pulses_certain
    assert "too little contrast" in report.reason and "L1" in report.reason


def with_rays(count, rng, view, low=1000.0, high=40000.0):
    """Cosmic rays of one or two pixels."""
    view = view.astype(np.float64)
    for y, x in rng.integers(0, view.shape[0] - 1, (count, 2)):
        view[y, x] += rng.uniform(low, high)
        view[y, x + 1] += rng.choice([0, rng.uniform(low, high)])
    return np.clip(view, 0, 65535).astype(np.uint16)


def ccd_pair(seed=0):
    rng = np.random.default_rng(seed)
    return [
        np.round(rng.poisson(30 * LIGHT) + rng.normal(300, 6, LIGHT.shape)).astype(np.uint16)
        for _ in range(2)
    ]


@pytest.mark.parametrize("count", [1, 10, 20])
def test_a_handful_of_cosmic_rays_changes_no_figure(count):
    clean = measure_noise(Pair.open(*ccd_pair()))
    rng = np.random.default_rng(5)
    pair = Pair.open(*(with_rays(count, rng, view) for view in ccd_pair()))
    report = measure_noise(pair)
    assert 2 * count - 3 <= report.hits <= 2 * count and report.loss == "l2"
    for name in ("noise_a", "photon_gain", "pedestal", "snr", "moved_share", "drift", "skewness"):
        near = max(abs(0.03 * getattr(clean, name)), 2 * clean.errors[name], 1e-6)
        assert getattr(report, name) == pytest.approx(getattr(clean, name), abs=near), name
    assert {warning.code for warning in report.warnings} == {"hits"}
    assert clean.hits == 0
    a, b = (one.plane(0).astype(np.float64) for one in pair.acquisitions)
    assert not Sample.of(pair).valid[0][abs(a - b) > 1000].any()


def test_only_pixels_that_touch_a_cosmic_ray_are_left_out_with_it():
    noisy = np.zeros((1, 15, 15))
    noisy[0, 5:10, 5:10] = 6  # standard deviations: more than a neighbour of a hit may have
    noisy[0, 7, 7] = 100
    cleaned, _ = without_hits([noisy, np.zeros_like(noisy)], Hits(1, 100.0, 0.0, 64.0, 64.0))
    assert not cleaned[0, 6:9, 6:9].any()
    cleaned[0, 6:9, 6:9] = noisy[0, 6:9, 6:9]
    np.testing.assert_array_equal(cleaned, noisy)


def test_the_largest_of_rare_pulses_are_not_mistaken_for_cosmic_rays():
    rng, shape = np.random.default_rng(0), (1, 160, 160)
    a, b = (
        rng.normal(100, 1, shape) + (rng.random(shape) < 0.05) * rng.exponential(4, shape)
        for _ in range(2)
    )
    assert find_hits([a, b], neighbourhood((a + b) / 2)) is None
    a[0, 80, 80] += 200
    a[0, 40, 40] += 90
    hits = find_hits([a, b], neighbourhood((a + b) / 2))
    assert hits.count == 2 and hits.largest == pytest.approx(200, abs=10)


def test_photon_pulses_and_moving_objects_are_not_mistaken_for_cosmic_rays():
    assert measured(emccd, 0.03 * LIGHT).hits == 0
    a, b = ccd_pair()
    y, x = np.mgrid[:160, :160]
    a = a + 3000 * np.exp(-((y - 60) ** 2 + (x - 60) ** 2) / 4)
    b = b + 3000 * np.exp(-((y - 70) ** 2 + (x - 66) ** 2) / 4)
    assert measure_noise(Pair.open(a, b)).hits == 0
