import numpy as np
import pytest
from conftest import blobs, noisy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_n2n import quality

SCENE = blobs((512, 512), 7)


@settings(max_examples=12, deadline=None)
@given(blur=st.floats(0.3, 4), sigma=st.floats(5, 40), seed=st.integers(0, 99))
def test_the_psnr_without_a_clean_image_agrees_with_the_true_one(blur, sigma, seed):
    a, b = noisy(SCENE, seed, sigma), noisy(SCENE, seed + 100, 1.5 * sigma)
    result = ndimage.gaussian_filter(a, blur)
    estimate = quality.reference_free_error(result, a, b)
    found = quality.psnr_reference_free(estimate, 255.0)
    true = quality.psnr(SCENE, result, 255.0)
    assert found.value == pytest.approx(true, abs=max(0.1, 4 * found.error))


def test_an_error_below_its_own_uncertainty_has_no_psnr():
    a, b = noisy(SCENE, 1, 40), noisy(SCENE, 2, 40)
    estimate = quality.reference_free_error(SCENE, a, b)
    assert quality.psnr_reference_free(estimate, 255.0).value is None


def test_only_weighted_pixels_count():
    a, b = noisy(SCENE, 1), noisy(SCENE, 2)
    weight = np.zeros_like(SCENE)
    weight[:256] = 1
    spoiled = ndimage.gaussian_filter(a, 1)
    before = quality.reference_free_error(spoiled, a, b, weight)
    spoiled[300:] = 1e6
    assert quality.reference_free_error(spoiled, a, b, weight) == before


def test_structure_left_in_the_residual_shows_as_correlation():
    b = noisy(SCENE, 2)
    assert abs(quality.residual_correlation(SCENE, b)) < 0.02
    assert quality.residual_correlation(ndimage.gaussian_filter(SCENE, 6), b) > 0.2


def test_resolution_follows_the_blur():
    rng = np.random.default_rng(0)
    points = (rng.random((256, 256)) > 0.98) * 500.0
    sharp, soft = (ndimage.gaussian_filter(points, s) for s in (1.0, 2.5))
    found = [quality.resolution(noisy(s, 1, 2.0), noisy(s, 2, 2.0)) for s in (sharp, soft)]
    assert found[0] < found[1]
    assert quality.resolution(rng.normal(size=(256, 256)), rng.normal(size=(256, 256))) is None


def test_psnr_and_ssim_of_a_perfect_result():
    assert quality.psnr(SCENE, SCENE, 255) == np.inf
    assert quality.ssim(SCENE, SCENE, 255) == pytest.approx(1)
    assert quality.psnr(SCENE, SCENE + 1, 255) == pytest.approx(48.13, abs=0.01)
