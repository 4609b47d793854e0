import numpy as np
import pytest
from conftest import blobs, noisy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_n2n.simulate.additive import Brown, Camera, Gaussian
from napari_n2n.stats import image_quality
from napari_n2n.stats.statistics import mean_over_blocks
from napari_n2n.training.held_out import HeldOutMask

SCENE = blobs((512, 512), 7)


def grainy(scene, seed, sigma, width):
    """Noise that neighbours share over `width` pixels."""
    noise = Brown(sigma, width) if width else Gaussian(sigma)
    return noise.apply(scene, np.random.default_rng(seed))


@settings(max_examples=20, deadline=None)
@given(
    blur=st.floats(0.3, 4),
    sigma=st.floats(5, 40),
    ratio=st.floats(0.4, 2),
    width=st.sampled_from((0, 0.7, 1.5)),
    seed=st.integers(0, 99),
)
def test_the_psnr_without_a_clean_image_agrees_with_the_true_one(blur, sigma, ratio, width, seed):
    a, b = grainy(SCENE, seed, sigma, width), grainy(SCENE, seed + 100, ratio * sigma, width)
    result = ndimage.gaussian_filter(a, blur)
    estimate = image_quality.reference_free_error(result, a, b)
    found = image_quality.psnr_reference_free(estimate, 255.0)
    true = image_quality.psnr(SCENE, result, 255.0)
    assert found.value == pytest.approx(true, abs=max(0.1, 4 * found.error))


def smoothed(a, sigma):
    return ndimage.gaussian_filter(a, sigma, axes=(1, 2))


RESULTS = {
    "raw": lambda a: a,
    "under-trained": lambda a: (a + 2 * smoothed(a, 1)) / 3,
    "good": lambda a: smoothed(a, 1.5),
    "over-smoothed": lambda a: smoothed(a, 5),
}


@pytest.mark.parametrize("made", RESULTS.values(), ids=RESULTS.keys())
@pytest.mark.parametrize("frames", [1, 4])
def test_on_many_pixels_it_agrees_within_a_fifth_of_a_decibel(made, frames):
    scene = smoothed(np.stack([blobs((512, 512), seed) for seed in range(4)]), 3)
    camera, rng = Camera(2.2, 1.6, 100), np.random.default_rng(0)
    a, *others = (camera.apply(scene, rng) for _ in range(1 + frames))
    estimate = image_quality.reference_free_error(made(a), a, np.mean(others, axis=0))
    found = image_quality.psnr_reference_free(estimate, 255.0)
    off = found.value - image_quality.psnr(scene, made(a), 255.0)
    assert found.error < 0.1 and abs(off) < min(0.2, 3 * found.error)


def deviations(width, held_out, runs=30):
    """How many standard errors the estimate lies off the truth, for many draws of the noise."""
    scene = blobs((256, 256), 7)
    for seed in range(runs):
        a, b = grainy(scene, seed, 20, width), grainy(scene, seed + 1000, 20, width)
        inputs, targets = (np.stack([a, b]), np.stack([b, a])) if held_out else (a, b)
        made = ndimage.gaussian_filter(inputs, 2 if held_out else 1.2, axes=(-2, -1))
        counts = held_out_core(scene.shape, seed) if held_out else np.ones(scene.shape)
        weight = np.broadcast_to(counts, inputs.shape)
        errors = image_quality.squared_errors(made, inputs, targets, weight)
        found = mean_over_blocks([(errors, weight)])
        yield (found.value - np.mean((made - scene) ** 2)) / found.error


def held_out_core(shape, seed):
    mask = HeldOutMask(shape, seed).mask(*(slice(0, length) for length in shape))
    return ndimage.binary_erosion(mask, iterations=2).astype(float)


@pytest.mark.parametrize("held_out", [False, True], ids=["other acquisition", "held-out blocks"])
@pytest.mark.parametrize("width", [0, 0.7, 1.5])
def test_the_standard_error_agrees_with_the_scatter_of_the_estimate(width, held_out):
    off = np.array(list(deviations(width, held_out)))
    assert 0.6 < np.sqrt(np.mean(off**2)) < 1.3


def test_a_single_block_has_no_standard_error():
    flat = np.ones((16, 16))
    estimate = mean_over_blocks([(flat, flat)])
    assert estimate.value == 1 and image_quality.psnr_reference_free(estimate, 255.0).value is None


def test_an_error_below_its_standard_error_has_no_psnr():
    a, b = noisy(SCENE, 1, 40), noisy(SCENE, 2, 40)
    estimate = image_quality.reference_free_error(SCENE, a, b)
    assert image_quality.psnr_reference_free(estimate, 255.0).value is None


def test_only_weighted_pixels_count():
    a, b = noisy(SCENE, 1), noisy(SCENE, 2)
    weight = np.zeros_like(SCENE)
    weight[:256] = 1
    spoiled = ndimage.gaussian_filter(a, 1)
    before = image_quality.reference_free_error(spoiled, a, b, weight)
    spoiled[300:] = 1e6
    assert image_quality.reference_free_error(spoiled, a, b, weight) == before


def test_structure_left_in_the_residual_shows_as_correlation():
    b = noisy(SCENE, 2)
    assert abs(image_quality.residual_correlation(SCENE, b)) < 0.02
    assert image_quality.residual_correlation(ndimage.gaussian_filter(SCENE, 6), b) > 0.2


def test_resolution_follows_the_blur():
    rng = np.random.default_rng(0)
    points = (rng.random((256, 256)) > 0.98) * 500.0
    sharp, soft = (ndimage.gaussian_filter(points, s) for s in (1.0, 2.5))
    found = [
        image_quality.resolution(noisy(s, 1, 2.0), noisy(s, 2, 2.0)).value for s in (sharp, soft)
    ]
    assert found[0] < found[1]
    assert (
        image_quality.resolution(rng.normal(size=(256, 256)), rng.normal(size=(256, 256))).value
        is None
    )


def test_psnr_and_ssim_of_a_perfect_result():
    assert image_quality.psnr(SCENE, SCENE, 255) == np.inf
    assert image_quality.ssim(SCENE, SCENE, 255) == pytest.approx(1)
    assert image_quality.psnr(SCENE, SCENE + 1, 255) == pytest.approx(48.13, abs=0.01)


def test_resolution_is_where_the_ring_correlation_falls_below_one_seventh():
    rng, width, contrast = np.random.default_rng(0), 1.5, 100
    white = rng.normal(0, np.sqrt(contrast), (512, 512))
    scene = ndimage.gaussian_filter(white, width, mode="wrap")
    a, b = (scene + rng.normal(size=scene.shape) for _ in "AB")
    # The scene has the power contrast * exp(-(2 pi width f)^2), and the ring correlation is
    # power / (power + 1): one seventh where the power is one sixth.
    frequency = np.sqrt(np.log(6 * contrast)) / (2 * np.pi * width)
    assert image_quality.resolution(a, b).value == pytest.approx(1 / frequency, rel=0.04)
