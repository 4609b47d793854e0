from dataclasses import replace

import numpy as np
import pytest
import tifffile
from conftest import blobs, noisy, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data

from napari_n2n import Pair
from napari_n2n.pair.checks import Finding, _displacement, messages_of
from napari_n2n.simulate.additive import Brown, Gaussian
from napari_n2n.simulate.registry import parse
from napari_n2n.simulate.samples import sample
from napari_n2n.training.held_out import HeldOutMask
from napari_n2n.training.normalisation import maps, normalise

SCENE = blobs((160, 160))


@pytest.mark.parametrize(
    ("a", "b", "code"),
    [
        (noisy(SCENE, 1), noisy(SCENE, 2)[:-1], "shape"),
        (noisy(SCENE, 1), np.full_like(SCENE, 7), "constant"),
        (noisy(SCENE, 1), np.where(SCENE > 300, np.nan, SCENE), "not_finite"),
        (noisy(SCENE, 1), noisy(SCENE, 1), "duplicate"),
        (noisy(SCENE, 1), np.rint(1.1 * noisy(SCENE, 1) + 3), "duplicate"),
        (noisy(SCENE, 1)[:20, :20], noisy(SCENE, 2)[:20, :20], "size"),
    ],
)
def test_acquisitions_that_do_not_form_a_pair_are_refused(a, b, code):
    with refused(code):
        Pair.open(a, b)


def test_fine_detail_with_almost_no_noise_is_called_nearly_the_same_image():
    detail = np.random.default_rng(0).normal(0, 30, (5, 96, 96))
    with refused(
        "duplicate", match="is nearly the same image .*differ by (2|1.99|2.01) ADU, .* are 3[01]"
    ):
        Pair.open(*(detail + np.random.default_rng(k).normal(0, 2, detail.shape) for k in (1, 2)))


def test_one_acquisition_is_not_a_pair():
    with refused("single"):
        Pair.open(SCENE)


@settings(max_examples=15, deadline=None)
@given(gain=st.floats(0.5, 2), offset=st.floats(-50, 50), seed=st.integers(0, 99))
def test_gain_and_offset_are_measured(gain, offset, seed):
    pair = Pair.open(noisy(SCENE, seed), gain * noisy(SCENE, seed + 100) + offset)
    match = pair.matches[1]
    assert match.gain == pytest.approx(gain, rel=0.03)
    # at the scene's own intensities, where an error of gain and offset would show
    assert match(SCENE.mean()) == pytest.approx(gain * SCENE.mean() + offset, abs=2 * gain)


def test_equal_exposures_keep_a_gain_of_exactly_one():
    assert Pair.open(noisy(SCENE, 1), noisy(SCENE, 2)).matches[1].gain == 1.0


@settings(max_examples=15, deadline=None)
@given(dy=st.integers(-7, 7), dx=st.integers(-7, 7), seed=st.integers(0, 99))
def test_whole_pixel_shifts_are_cropped_away(dy, dx, seed):
    big = blobs((180, 180), seed)
    a, b = big[10:170, 10:170], big[10 - dy : 170 - dy, 10 - dx : 170 - dx]
    pair = Pair.open(noisy(a, seed), noisy(b, seed + 1))
    assert np.round(pair.shift).astype(int).tolist() == [dy, dx]
    first, second = (one.plane(0) for one in pair.acquisitions)
    assert first.shape == second.shape == (160 - abs(dy), 160 - abs(dx))
    smooth = [ndimage.gaussian_filter(plane, 1.5) for plane in (first, second)]
    assert np.corrcoef(smooth[0].ravel(), smooth[1].ravel())[0, 1] > 0.98


@pytest.mark.parametrize(("shift", "said"), [((0, 3), "cropped"), ((0.3, 0.3), "blur a little")])
def test_a_message_says_that_a_shift_along_one_axis_was_cropped_away(shift, said):
    (finding,) = _displacement(*shift)
    assert said in finding.message


def scenes():
    """Scenes of which most, or all, is flat."""
    flat = np.full((256, 256), 100, np.float32)
    disc, points = flat.copy(), flat.copy()
    rows, columns = np.ogrid[:256, :256]
    disc[(rows - 128) ** 2 + (columns - 128) ** 2 < 40**2] = 300
    points[tuple(np.random.default_rng(0).integers(8, 248, (2, 30)))] = 2000
    return {"flat": flat, "disc": disc, "points": points}


@pytest.mark.parametrize("scene", scenes().values(), ids=scenes().keys())
@pytest.mark.parametrize("grain", [Gaussian(1), Brown(1, 1.5)], ids=["white", "grainy"])
@pytest.mark.parametrize("sigmas", [(20, 20), (10, 20), (20, 10)])
@pytest.mark.parametrize("seed", range(2))
def test_flat_scenes_give_the_noise_of_each_and_no_gain(scene, grain, sigmas, seed):
    rngs = (np.random.default_rng((seed, view)) for view in range(2))
    noises = [replace(grain, sigma=sigma) for sigma in sigmas]
    views = [noise.apply(scene, rng) for noise, rng in zip(noises, rngs, strict=True)]
    pair = Pair.open(*views)
    assert pair.matches[1].gain == pytest.approx(1, abs=0.03)
    for found, view in zip(pair.noise, views, strict=True):
        assert found == pytest.approx(np.std(view - scene), rel=0.1)


def test_fractions_of_a_pixel_are_reported():
    moved = ndimage.shift(blobs((160, 160)), (0.5, -0.3), order=3, mode="reflect")
    pair = Pair.open(noisy(SCENE, 1), noisy(moved, 2))
    assert pair.shift == pytest.approx((0.5, -0.3), abs=0.1)


def test_noise_alone_shows_no_shift():
    flat = np.full((128, 128), 100, np.float32)
    assert Pair.open(noisy(flat, 1), noisy(flat, 2)).offsets == ((0, 0), (0, 0))


def test_warnings_name_gain_saturation_and_few_pixels():
    a, b = (np.clip(noisy(SCENE, seed), 0, 255).astype(np.uint8) for seed in (1, 2))
    codes = {finding.code for finding in Pair.open(a, b).findings}
    assert "clipped" in codes
    assert {f.code for f in Pair.open(noisy(SCENE, 1), 1.5 * noisy(SCENE, 2)).findings} == {"gain"}
    small = Pair.open(noisy(SCENE, 1)[:60, :60], noisy(SCENE, 2)[:60, :60])
    assert [finding.code for finding in small.findings] == ["few_pixels"]


def test_messages_about_many_fields_of_view_are_few_and_count_all_pixels():
    shifted = [Finding("shift", f"displaced by {number}") for number in range(40)]
    found = [*shifted, Finding("gain", "brighter"), Finding("few_pixels", "Only 4096 pixels")]
    said = messages_of(found, 40 * 4096)
    assert said[:3] == ["displaced by 0", "displaced by 1", "displaced by 2"]
    assert said[3].startswith("37 more like the last one") and said[4:] == ["brighter"]
    assert messages_of(found[-1:] * 2, 2 * 4096) == ["Only 4096 pixels"]


@pytest.mark.parametrize(
    ("top", "dtype", "scale"),
    [(4095, np.uint16, 16), (65520, np.uint16, 256), (1.0, float, 1 / 255)],
)
def test_saturation_below_the_range_of_the_pixel_type_is_detected(top, dtype, scale):
    a, b = (np.clip(scale * noisy(SCENE, seed), 0, top).astype(dtype) for seed in (1, 2))
    pair = Pair.open(a, b)
    assert [one.saturation for one in pair.acquisitions] == [top, top]
    warnings = [one.message for one in pair.findings if one.code == "clipped"]
    assert len(warnings) == 2
    assert all(f"is saturated, at {top:g}" in warning for warning in warnings)
    assert maps(pair, normalise([pair]), 0, 1).limit == top


def test_outliers_and_photon_counts_are_not_saturation():
    rng = np.random.default_rng(0)
    views = [noisy(SCENE, seed) for seed in (1, 2)]
    hit = [np.where(rng.random(v.shape) < 0.05, 900.0, v) for v in views]
    counts = [rng.poisson(SCENE / 100) for _ in "AB"]
    for pair in (views, hit, counts, [v.round() for v in views]):
        assert all(one.measured_saturation is None for one in Pair.open(*pair).acquisitions)


@settings(deadline=None)
@given(rows=st.integers(32, 400), columns=st.integers(32, 400), seed=st.integers(0, 9))
def test_held_out_blocks_leave_most_of_every_plane_for_training(rows, columns, seed):
    plane = slice(0, rows), slice(0, columns)
    mask = HeldOutMask((rows, columns), seed).mask(*plane)
    assert mask.shape == (rows, columns)
    assert 0.005 < mask.mean() < 0.2
    assert (mask == HeldOutMask((rows, columns), seed).mask(*plane)).all()
    part = slice(rows // 3, rows), slice(columns // 4, columns // 2)
    assert (mask[part] == HeldOutMask((rows, columns), seed).mask(*part)).all()


def test_recordings_of_two_scenes_are_named_with_their_correlation():
    (found,) = (
        finding
        for finding in Pair.open(noisy(blobs(seed=0), 1), noisy(blobs(seed=7), 2)).findings
        if finding.code == "other_scene"
    )
    assert "do not show the same scene" in found.message and "correlation" in found.message


def test_outliers_are_not_mistaken_for_two_scenes():
    views = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        pulses = rng.gamma(np.maximum(rng.poisson(0.3, (256, 256)), 1e-9), 30)
        views.append(100 + pulses + (rng.random((256, 256)) < 0.005) * 3000)
    assert "other_scene" not in {finding.code for finding in Pair.open(*views).findings}


@pytest.mark.parametrize(
    ("scene", "sigma"), [(blobs(), 20), (blobs(), 300), (np.full((96, 96), 100.0), 5)]
)
def test_recordings_of_one_scene_or_of_noise_alone_are_not_called_two_scenes(scene, sigma):
    pair = Pair.open(noisy(scene, 1, sigma), noisy(scene, 2, sigma))
    assert "other_scene" not in {finding.code for finding in pair.findings}


@pytest.mark.parametrize(("share", "sigma"), [(0.25, 0), (0.25, 10), (0.4, 0)])
def test_text_over_both_recordings_is_not_mistaken_for_another_scene(share, sigma):
    scene = tifffile.imread(sample("cells", "truth"))[:256]  # text is brighter than the cells
    text = parse(f"text:{share}")
    views = [text.apply(noisy(scene, k, sigma), np.random.default_rng(k)) for k in range(2)]
    assert "other_scene" not in {finding.code for finding in Pair.open(*views).findings}


def test_text_over_both_recordings_is_not_mistaken_for_another_gain():
    scene, text = data.camera()[:256, :256].astype(np.float32), parse("text:0.25")
    for seed in range(5):
        views = [text.apply(scene, np.random.default_rng((seed, k))) for k in range(2)]
        assert Pair.open(*views).matches[1].gain == 1, seed
