"""The noise model describes the detector that made the images."""

import numpy as np
import pytest
from conftest import blobs

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


def test_pixels_without_a_photon_are_no_limit():
    rng, light = np.random.default_rng(0), 3 * SCENE / SCENE.max()
    found = model(lambda: 12.0 * rng.poisson(light))
    assert found.lower_limit is None and found.stuck == (0, 0)
    assert model(lambda: 12.0 * rng.poisson(light) + 100).lower_limit is None


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
