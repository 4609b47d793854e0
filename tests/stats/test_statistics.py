"""Noise levels and block statistics of simulated planes."""

import numpy as np
import pytest
from conftest import blobs, noisy

from napari_n2n.stats.statistics import noise_excess, noise_level, over_blocks, variance_at

SCENE = blobs((160, 160))


@pytest.mark.parametrize("sigma", [3.0, 20.0, 80.0])
def test_the_noise_level_of_one_image_is_about_right(sigma):
    assert noise_level(noisy(SCENE, 1, sigma)[None]) == pytest.approx(sigma, rel=0.3)


def test_edges_and_outliers_do_not_raise_the_noise_level():
    flat = np.full((256, 256), 100, np.float32)
    spoilt = noisy(flat, 1, 5)
    spoilt[:, 128:] += 500
    spoilt[np.random.default_rng(0).random(flat.shape) < 0.01] = 5000
    assert noise_level(spoilt[None]) == pytest.approx(5, rel=0.15)


def test_photon_noise_of_any_scene_is_what_the_photon_transfer_line_predicts():
    rng = np.random.default_rng(0)
    for scene in (SCENE, 10 * SCENE, np.full_like(SCENE, 50)):
        counts = 90 + 2.0 * rng.poisson(scene) + rng.normal(0, 4, scene.shape)
        excess = noise_excess(counts[None], lambda level: 2 * (level - 90) + 16)
        assert excess == pytest.approx(1, abs=0.06)
    assert noise_excess(SCENE[None], np.zeros_like) is None


def test_the_variance_beyond_the_known_levels_follows_their_slope():
    found = variance_at(np.array([0.0, 90.0, 100.0, 150.0, 300.0]), (100.0, 200.0), (20.0, 120.0))
    np.testing.assert_allclose(found, [5, 10, 20, 70, 220])


def test_incomplete_blocks_are_left_out():
    planes = np.arange(2 * 5 * 7, dtype=float).reshape(2, 5, 7)
    means = over_blocks(planes, 3)
    assert means.shape == (2, 1, 2)
    assert means[1, 0, 1] == planes[1, :3, 3:6].mean()
    assert over_blocks(planes, 8).size == 0
