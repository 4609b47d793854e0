"""Hot pixels and offsets of columns and rows are found, counted, and left out of measuring."""

import glob

import dask.array as da
import numpy as np
import pytest
import skimage.io
import tifffile
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_n2n import Acquisition, Pair, measure_noise, open_pairs
from napari_n2n.pair.fixed_pattern import find_fixed_pattern
from napari_n2n.pair.hot_pixels import find_hot_pixels
from napari_n2n.pair.line_offsets import column_offsets
from napari_n2n.quality.score import score_result

SIDE = 160
FIELD = np.random.default_rng(3).normal(size=(SIDE, SIDE))
BLOBS = sum(ndimage.gaussian_filter(FIELD, s) * s for s in (1.5, 6))
LIGHT = 0.1 + np.maximum(BLOBS / BLOBS.std() + 0.5, 0)
GAIN, READ = 2.17, 3.8


def camera(rate, rng, offset=0.0):
    """2.17 ADU per electron, read noise 3.8 ADU, black level 100."""
    values = GAIN * rng.poisson(rate) + rng.normal(100, READ, rate.shape) + offset
    return np.round(np.clip(values, 0, 65535)).astype(np.uint16)


def two(rate, offset=0.0, seed=1):
    rng = np.random.default_rng(seed)
    return [camera(rate, rng, offset) for _ in range(2)]


def hot(share, seed=5, low=40.0, high=3000.0):
    """Dark current in electrons of a share of the pixels."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.uniform(np.log(low), np.log(high), (SIDE, SIDE)))
    return np.where(rng.random((SIDE, SIDE)) < share, sizes, 0)


def codes(report):
    return {warning.code for warning in report.warnings}


@settings(max_examples=4, deadline=None)
@given(share=st.floats(1e-3, 0.02), photons=st.floats(0.5, 20), seed=st.integers(0, 999))
def test_only_hot_pixels_are_found_as_hot_pixels(share, photons, seed):
    dark = hot(share, seed)
    found, dead = find_hot_pixels(*two(photons * LIGHT + dark, seed=seed))
    truth = dark > 0
    # A pixel beside a hot one at the edge, with few neighbours to compare it with, may be taken
    # for a second one.
    assert (found & ~truth).sum() <= 1 and dead.sum() == 0
    assert (found & truth).sum() > 0.8 * truth.sum()


@pytest.mark.parametrize("share", [0.003, 0.01])
def test_hot_pixels_change_no_figure_of_the_noise_and_are_named(share):
    dark = hot(share)
    report = measure_noise(Pair.open(*two(8 * LIGHT + dark)))
    clean = measure_noise(Pair.open(*two(8 * LIGHT)))
    assert report.hot_pixels == pytest.approx((dark > 0).sum(), rel=0.1)
    assert report.hot_pixel_share == report.hot_pixels / SIDE**2
    for name in ("photon_gain", "pedestal", "noise_a", "skewness", "snr"):
        near = max(0.05 * abs(getattr(clean, name)), 3 * clean.errors[name])
        assert getattr(report, name) == pytest.approx(getattr(clean, name), abs=near), name
    assert report.loss == clean.loss and codes(report) == {"fixed_pattern"}
    (message,) = (w.message for w in report.warnings)
    assert f"{report.hot_pixels} hot pixels" in message


def test_dead_pixels_are_found():
    where = np.random.default_rng(2).random((SIDE, SIDE)) < 0.003
    views = [np.where(where, 90, view) for view in two(60 + 40 * LIGHT)]
    pattern = Pair.open(*views).pattern
    assert len(pattern.hot) == 0 and len(pattern.dead) > 0.8 * where.sum()
    assert where[tuple(pattern.dead.T)].all()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("electrons", [1, 2])
def test_offsets_of_columns_and_rows_are_measured_and_change_no_figure(axis, electrons):
    own = GAIN * electrons * np.random.default_rng(4).normal(size=SIDE)
    report = measure_noise(Pair.open(*two(3 * LIGHT, np.expand_dims(own, axis))))
    lines = [report.column_offsets, report.row_offsets]
    names = ["column_offsets", "row_offsets"]
    error = report.errors[names[axis]]
    assert lines[axis] == pytest.approx(own.std(), abs=max(3 * error, 0.1 * own.std()))
    assert lines[1 - axis] == 0
    clean = measure_noise(Pair.open(*two(3 * LIGHT)))
    near = clean.errors["photon_gain"]
    assert report.photon_gain == pytest.approx(clean.photon_gain, abs=near)
    assert codes(report) == {"fixed_pattern"}
    assert names[axis].split("_")[0] in report.warnings[0].message


def test_hot_pixels_are_found_in_columns_with_large_offsets():
    offset = np.where(np.arange(SIDE) % 8 == 3, 150, 0)
    dark = np.zeros((SIDE, SIDE))
    dark[20:140:24, 3::40] = 80  # 170 ADU
    pair = Pair.open(*two(4 * LIGHT + dark, offset))
    np.testing.assert_array_equal(pair.pattern.hot, np.argwhere(dark))


def test_the_offset_of_each_column_is_known_where_the_scene_is_dim():
    own = GAIN * 2 * np.random.default_rng(4).normal(size=SIDE)
    a, b = two(0.5 * LIGHT, own)
    values = column_offsets(a, b).values
    assert (own - own.mean() - values).std() < 0.3 * own.std()


def spots(sigma):
    """Single molecules, and points of light that the optics spread over `sigma` pixels."""
    rng = np.random.default_rng(0)
    points = np.zeros((5 * SIDE, 5 * SIDE))
    points.flat[rng.integers(0, points.size, 400)] = rng.uniform(100, 3000, 400)
    return ndimage.gaussian_filter(points, 5 * sigma).reshape(SIDE, 5, SIDE, 5).sum((1, 3))


def strokes():
    """Text-like structure: horizontal and vertical strokes that are one or two pixels wide."""
    rng, scene = np.random.default_rng(1), np.zeros((SIDE, SIDE))
    for y, x in rng.integers(0, SIDE - 9, (150, 2)):
        length, width = rng.integers(2, 9), rng.integers(1, 3)
        part = (length, width) if rng.random() < 0.5 else (width, length)
        scene[y : y + part[0], x : x + part[1]] = 100
    return scene


def stairs():
    return 100.0 * (np.indices((SIDE, SIDE)).sum(0) // 7 % 2)


SHARP = {
    "points of 1 pixel": spots(1.0) + 1,
    "points of 1.3 pixels": spots(1.3) + 1,
    "strokes": strokes(),
    "stairs": stairs(),
    "columns of light": np.tile(spots(1.2).sum(0) / 10, (SIDE, 1)),
}


@pytest.mark.parametrize("name", SHARP)
def test_sharp_structure_is_not_mistaken_for_a_fixed_pattern(name):
    pattern = Pair.open(*two(SHARP[name])).pattern
    assert not pattern.is_notable, pattern.message()


def test_pulses_and_outliers_at_random_places_are_not_mistaken_for_hot_pixels():
    rng = np.random.default_rng(0)
    views = []
    for view in two(LIGHT):
        pulses = rng.gamma(np.maximum(rng.poisson(0.3 * LIGHT), 1e-9), 100)
        views.append(np.where(rng.random(view.shape) < 0.05, 900, view + pulses))
    assert not Pair.open(*views).pattern.is_notable


def test_hot_pixels_are_found_although_the_stage_has_moved():
    rng, dark = np.random.default_rng(0), hot(0.01)
    scene = 20 * LIGHT
    views = [camera(np.roll(scene, step, 1) + dark, rng) for step in (0, 3)]
    pair = Pair.open(*views)
    assert pair.shift == pytest.approx((0, 3), abs=0.3)
    assert len(pair.pattern.hot) > 0.7 * (dark > 0).sum()


def test_hot_pixels_of_a_stack_are_the_same_in_all_planes():
    rng, dark = np.random.default_rng(0), hot(0.005, low=10)
    planes = [20 * np.roll(LIGHT, 20 * z, 0) + dark for z in range(6)]
    stacks = [np.stack([camera(plane, rng) for plane in planes]) for _ in range(2)]
    several, one = (
        Pair.open(*stacks, axes="ZYX").pattern,
        Pair.open(*(s[0] for s in stacks)).pattern,
    )
    assert len(several.hot) > 1.1 * len(one.hot) > 0
    assert (dark > 0)[tuple(several.hot.T)].all()


def test_positions_are_those_of_the_whole_plane():
    rate = np.full((40, 1100), 3.0)  # only the middle 1024 pixels are read first
    rate[5:-5:10, 5::40] = 900
    hot_places = Pair.open(*two(rate)).pattern.hot
    assert np.array_equal(hot_places, np.argwhere(rate > 3))


def search(a, b, plane_count):
    """Search the middle of two recordings, in which hot pixels are, and then whole planes."""
    middle = [np.stack([view]) for view in two(3 * LIGHT + hot(0.004))]
    recordings = [Acquisition.open(one, axes="TYX") for one in (a, b)]
    numbers, empty = range(plane_count), np.zeros(middle[0].shape, bool)
    return find_fixed_pattern(recordings, middle, numbers, SIDE, empty)


def never_read(block):
    raise AssertionError("read")


def test_a_plane_that_was_stitched_is_searched_in_its_middle_only():
    zeros = da.zeros((1, 10_000, 10_000), dtype=np.uint8, chunks=(1, 1000, 1000))
    stitched = zeros.map_blocks(never_read, meta=zeros._meta)
    found = search(stitched, stitched, 1)
    assert len(found.hot) > 50 and found.searched == SIDE**2


def test_of_many_large_planes_those_of_16_megapixels_are_searched():
    read = set()

    def counted(block, block_info=None):
        read.add(block_info[0]["chunk-location"][0])
        return block

    zeros = da.zeros((6, 4096, 2048), dtype=np.uint8, chunks=(1, 4096, 2048))
    a, b = (zeros.map_blocks(one, meta=zeros._meta) for one in (counted, never_read))
    with refused("unreadable"):  # B is read after A
        search(a, b, 6)
    assert len(read) == 2


def test_hot_pixels_do_not_count_in_the_score_of_a_result():
    scores = []
    for dark in (np.zeros((SIDE, SIDE)), hot(0.005)):
        a, b = two(20 * LIGHT + dark)
        result = ndimage.gaussian_filter(np.where(dark > 0, 200, a).astype(np.float32), 1)
        scores.append(score_result(result, b, source=a).psnr_reference_free)
    assert scores[1] == pytest.approx(scores[0], abs=1)


def test_no_real_scene_and_no_photograph_has_a_fixed_pattern(real_data):
    for folder in sorted(real_data.glob("fmd/*")):
        views = [tifffile.imread(folder / f"capture_{k}.tif") for k in (1, 2)]
        assert not Pair.open(*views).pattern.is_notable, folder
    rng = np.random.default_rng(0)
    for file in sorted(glob.glob(str(real_data / "kodak" / "*.png")))[::12]:
        green = skimage.io.imread(file)[..., 1].astype(float)
        views = [green + rng.normal(0, 10, green.shape) for _ in range(2)]
        assert not Pair.open(*views).pattern.is_notable, file
    frames = tifffile.imread(real_data / "scmos" / "filaments_20frames.tif")
    assert 10 < len(Pair.open(frames[0], frames[1]).pattern.hot) < 200


def test_many_fields_of_view_share_the_fixed_pattern_of_their_detector():
    """It is searched for in some of them; of the others, each is still matched by itself."""
    part, problems = (slice(0, 96), slice(0, 96)), []
    dark = hot(0.004)
    fields = [two((np.roll(3 * LIGHT, k) + dark)[part], seed=k) for k in range(20)]
    fields[6][1] = 2 * fields[6][1].astype(np.float32)
    fields[13] = [fields[13][0], fields[13][0]]
    pairs = open_pairs(*fields, on_bad=problems.append)
    assert [one.code for one in problems] == ["duplicate"] and len(pairs) == 19
    for field, pair in zip([one for k, one in enumerate(fields) if k != 13], pairs, strict=True):
        assert (pair.first.plane(0) == field[0]).all()
        found = pair.pattern.detector.bad
        assert (found == pairs[5].pattern.detector.bad).sum() > found.size - 4
    assert pairs[6].matches[1].gain == pytest.approx(2, rel=0.05)
    assert pairs[5].matches[1].gain == pytest.approx(1, rel=0.05)
    true = np.argwhere(dark[part] > 0)
    assert len(pairs[5].pattern.hot) == pytest.approx(len(true), abs=0.15 * len(true))
