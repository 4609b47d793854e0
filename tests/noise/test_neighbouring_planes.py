"""The measured similarity of neighbouring planes, by which `--dims auto` decides."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_n2n import Pair
from napari_n2n.noise.neighbouring_planes import depth_correlation

SHAPE = (9, 96, 96)


def scene(blur, seed=0):
    """A texture whose planes are more similar with a larger blur along Z, in planes."""
    white = np.random.default_rng(seed).normal(size=SHAPE)
    texture = gaussian_filter(white, (blur, 1.5, 1.5), mode="wrap")
    return 100 + 20 * texture / texture.std()


def recorded(image, noise, axes="ZYX"):
    rngs = (np.random.default_rng(seed) for seed in (1, 2))
    views = (image + noise * rng.normal(size=image.shape) for rng in rngs)
    return Pair.open(*(view.astype(np.float32) for view in views), axes=axes)


@pytest.mark.parametrize("blur", [0.01, 0.6, 1.0, 3.0])
@pytest.mark.parametrize("noise", [2.0, 20.0])
def test_the_correlation_of_planes_is_that_of_the_scene_at_any_noise(blur, noise):
    found, error = depth_correlation(recorded(scene(blur), noise))
    truth = np.exp(-1 / (4 * max(blur, 0.1) ** 2))  # of white noise after a Gaussian blur
    assert found == pytest.approx(truth, abs=0.03 + 3 * error)
    assert error < 0.05


def test_a_few_outliers_and_a_blank_plane_do_not_change_it():
    clean = recorded(scene(1.5), 10.0)
    a, b = (np.array(one.data) for one in clean.acquisitions)
    rng = np.random.default_rng(5)
    for view in (a, b):
        view[rng.random(SHAPE) < 1e-3] = 60_000
    a[4] = 0
    spoilt = Pair.open(a, b, axes="ZYX")
    assert spoilt.bad_planes
    assert depth_correlation(spoilt)[0] == pytest.approx(depth_correlation(clean)[0], abs=0.1)


def test_frames_of_a_movie_count_as_neighbours():
    assert depth_correlation(recorded(scene(3.0), 10.0, "TYX"))[0] > 0.9


def test_the_similarity_of_planes_is_unknown_without_neighbours_or_a_scene():
    single = Pair.single(scene(1.0).astype(np.float32), axes="ZYX")
    plane = recorded(scene(1.0)[0], 10.0, "YX")
    noise = recorded(np.full(SHAPE, 100.0), 10.0)
    two = recorded(scene(1.0)[:2], 10.0)
    assert [depth_correlation(pair) for pair in (single, plane, noise, two)] == [None] * 4
