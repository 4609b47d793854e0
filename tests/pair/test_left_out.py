"""Borders, masks and frames that do not belong are found, named, and left out."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from conftest import blobs, noisy, refused
from scipy import ndimage

from napari_n2n import (
    Acquisition,
    Pair,
    TrainingSettings,
    denoise,
    measure_noise,
    open_pairs,
    train,
)
from napari_n2n.noise.sample import Sample
from napari_n2n.pair.bad_planes import _consensus
from napari_n2n.pair.empty_areas import empty_areas
from napari_n2n.quality.score import score_result
from napari_n2n.training.block_cache import BlockCache
from napari_n2n.training.held_out import HeldOut, HeldOutMask, held_out_of
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.normalisation import normalise
from napari_n2n.training.patches import Patches

SIDE = 192
RATE = (blobs((SIDE, SIDE), 3) - 95) / 2
INSIDE = np.zeros((SIDE, SIDE), bool)
INSIDE[30:-35, 25:-30] = True
CELLS = ndimage.gaussian_filter(np.random.default_rng(8).normal(size=(SIDE, SIDE)), 12) > -0.01


def camera(rate, rng):
    """2 ADU per electron, black level 100, read noise 3 ADU."""
    return np.round(2 * rng.poisson(rate) + rng.normal(100, 3, rate.shape)).astype(np.uint16)


def two(draw, *arguments):
    return [draw(*arguments, np.random.default_rng(seed)) for seed in (1, 2)]


def codes(pair):
    return {finding.code for finding in pair.findings}


def registered(views, dtype=np.float32):
    """Rotate like a registration does: with splines, and zeros where there is no data."""
    return [ndimage.rotate(v.astype(dtype), 15, reshape=False, order=3) for v in views]


EMPTY = {
    "border": lambda views: [np.where(INSIDE, v, 0) for v in views],
    "mask": lambda views: [np.where(CELLS, v, 0) for v in views],
    "border at the background": lambda views: [np.where(INSIDE, v, 103) for v in views],
    "rotated": registered,
    "borders that differ": lambda views: [
        np.where(np.roll(INSIDE, (k, -k), (0, 1)), v, 0) for k, v in enumerate(views)
    ],
}


@pytest.mark.parametrize("kind", EMPTY)
def test_empty_areas_do_not_change_the_noise(kind):
    pair = Pair.open(*EMPTY[kind](two(camera, RATE)))
    report = measure_noise(pair)
    assert "empty" in codes(pair) and not codes(pair) & {"shift", "gain", "clipped", "bad_frames"}
    assert pair.matches[1].gain == 1 and pair.shift == pytest.approx((0, 0), abs=0.25)
    if kind != "rotated":  # interpolation smooths the noise
        assert report.photon_gain == pytest.approx(2, rel=0.1)
        assert report.pedestal == pytest.approx(100, abs=6)
    assert report.black_share < 1e-3
    sample = Sample.of(pair)
    assert sample.empty.any() and not (sample.valid & sample.empty).any()
    assert normalise([pair])[0].values[0] > 60


def photons(rate, rng):
    return rng.poisson(rate).astype(np.uint8)


def clipped(rate, rng):
    return np.clip(rng.normal(rate - 8, 5), 0, None).astype(np.float32)


def saturated(rate, rng):
    return np.minimum(camera(rate, rng), 100 + int(rate.mean()))


def text(rate, rng):
    view = camera(rate, rng)
    for y, x in rng.integers(0, SIDE - 20, (8, 2)):
        view[y : y + 4, x : x + 20] = 255
    return view


DISKS = ndimage.gaussian_filter((np.hypot(*np.mgrid[-32:32, -32:32]) < 15).astype(float), 1.2)


@pytest.mark.parametrize(
    ("draw", "rate"),
    [
        *((photons, share * RATE / RATE.mean()) for share in (0.01, 0.1, 1)),
        (photons, 20 * np.tile(DISKS, (2, 2))),
        (clipped, RATE / 4),
        (saturated, RATE),
        (text, RATE),
    ],
    ids=["0.01 photons", "0.1 photons", "1 photon", "spots on nothing", "clipped", "full", "text"],
)
def test_zero_photons_and_saturated_pixels_are_not_empty(draw, rate):
    assert "empty" not in codes(Pair.open(*two(draw, rate)))


@pytest.mark.parametrize(("beside", "is_empty"), [(0, True), (25, True), (49, False)])
def test_a_dark_place_that_fades_is_data_if_its_value_occurs_elsewhere(beside, is_empty):
    rng = np.random.default_rng(0)
    views = [rng.integers(5, 50, (SIDE, SIDE)) for _ in range(2)]
    edge = np.zeros((SIDE, SIDE), bool)
    edge[49:115, 49:115] = True
    edge[50:114, 50:114] = False
    dark = np.flatnonzero(edge)[::5][:beside]  # 49 are more than 15 % of the edge, and 0.1 % of all
    for view in views:
        view[50:114, 50:114] = 0
        view.flat[dark] = 0
    assert empty_areas(views, [100, 100]).any() == is_empty


def movie(change=None, frame=8, count=14):
    rng = np.random.default_rng(4)
    frames = np.stack([camera(RATE[:64, :64], rng) for _ in range(count)])
    if change is not None:
        frames[frame] = change(rng)
    return frames


WAVES = 2 * np.sin(np.arange(64) / 5) ** 2
BAD = {
    "6 times as bright": lambda rng: camera(6 * RATE[:64, :64], rng),
    "0.3 times as bright": lambda rng: camera(0.3 * RATE[:64, :64], rng),
    "blank": lambda rng: np.zeros((64, 64)),
    "darker": lambda rng: camera(0 * RATE[:64, :64], rng),
    "saturated": lambda rng: np.full((64, 64), 65535),
    "different": lambda rng: camera(WAVES * RATE[:64, :64], rng),
    "out of focus or moved": lambda rng: camera(ndimage.gaussian_filter(RATE, 5)[:64, :64], rng),
}


def test_recordings_without_structure_are_compared_without_a_gain():
    rng = np.random.default_rng(0)
    dim, rough = (rng.normal(100, sigma, (9, 8, 8)) for sigma in (1, 4))
    line = _consensus(dim, rough + 50)
    assert line.gain == 1 and line.offset == pytest.approx(50, abs=0.5)
    scene = 40 * np.sin(np.arange(8))
    line = _consensus(dim + scene, 3 * (dim + scene) + rng.normal(0, 1, dim.shape))
    assert line.gain == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("frame", [0, 13])
def test_a_frame_that_does_not_belong_is_named_and_left_out(what, frame):
    (pair,) = open_pairs([movie(BAD[what], frame)], axes="TYX", split="T")
    (bad,) = pair.bad_planes
    assert (bad.plane, bad.frame, bad.what) == (frame // 2, str(frame), what)
    assert bad.acquisition.endswith("odd" if frame % 2 else "even")
    (finding,) = (finding for finding in pair.findings if finding.code == "bad_frames")
    assert f"{frame} ({what})" in finding.message
    (clean,) = open_pairs([movie()], axes="TYX", split="T")
    assert pair.noise == pytest.approx(clean.noise, rel=0.05)
    assert pair.matches[1].gain == pytest.approx(1, abs=0.02)
    scale, usual = (normalise([one])[0].scale for one in (pair, clean))
    assert (scale.gain, scale.offset) == pytest.approx((usual.gain, usual.offset), rel=0.05)


def bleaching(rng):
    return np.stack([camera(0.9**t * RATE, rng) for t in range(12)])


def one_plane_in_focus(rng):
    return np.stack([camera((z == 3) * RATE + 1, rng) for z in range(7)])


def brighter_and_brighter(rng):
    return np.stack([noisy(np.full((64, 64), 1000.0 * t), int(rng.integers(99))) for t in range(9)])


def drifting(rng):
    return np.stack([camera(np.roll(RATE, t, 0), rng) for t in range(12)])


@pytest.mark.parametrize("draw", [bleaching, one_plane_in_focus, brighter_and_brighter, drifting])
@pytest.mark.parametrize("axes", ["TYX", "ZYX"])
def test_stacks_that_change_have_no_bad_frames(draw, axes):
    if (draw, axes) == (one_plane_in_focus, "TYX"):
        pytest.skip("a movie with light in one frame is a flash")
    assert Pair.open(*two(draw), axes=axes).bad_planes == ()


def test_a_dark_plane_with_a_little_stray_light_in_one_recording_is_not_a_bad_frame():
    rate = (np.arange(12) != 5)[:, None, None] * RATE + 1
    a, b = two(camera, rate)
    b[5] += 10  # far above the noise of block means, and little against the scene
    assert Pair.open(a, b, axes="ZYX").bad_planes == ()


@pytest.mark.parametrize(("side", "empty"), [(8, True), (7, False)])
def test_an_area_is_empty_from_64_pixels_on(side, empty):
    views = [noisy(RATE, seed) + 1000 for seed in (1, 2)]
    for view in views:
        view[40 : 40 + side, 60 : 60 + side] = 0
    assert empty_areas(views, (np.inf, np.inf), rim=0).sum() == empty * side**2


def test_bad_planes_of_a_time_lapse_of_volumes_are_named_by_their_axes():
    stacks = two(lambda rng: camera(np.tile(RATE[:64, :64], (4, 3, 1, 1)), rng))
    stacks[1][2, 1] = 0
    pair = Pair.open(*stacks, axes="TZYX")
    (bad,) = pair.bad_planes
    assert measure_noise(pair).as_dict()["bad_frames"] == (asdict(bad),)
    assert (bad.frame, bad.acquisition, bad.what) == ("T 2 Z 1", "array", "blank")


def targets(pairs):
    """The target pixels of some training batches, and of those that are scored, in ADU."""
    scales = normalise(pairs)
    masks = [held_out_of(pair, 0, HeldOutMask) for pair in pairs]
    cpu = torch.device("cpu")
    cache = BlockCache(
        pairs, masks, scales, side=(32, 32), drawn=1, seed=0, device=cpu, memory=10**8
    )
    batches = [Patches(cache).draw(step, 16) for step in range(6)]
    cache.close()
    scored = HeldOut(pairs, masks, scales, LOSSES["l2"], stride=(4, 4), device=cpu).batches
    batches += [batch for _, batch in scored]
    return [scales[0].scale.inverse(batch.target[batch.weight > 0].numpy()) for batch in batches]


def test_no_pixel_of_a_border_or_a_bad_frame_is_a_target():
    frames = movie(BAD["6 times as bright"])
    frames[:, :, :9] = 0
    brightest = float(np.delete(frames, 8, 0).max())
    for batch in targets(open_pairs([frames], axes="TYX", split="T")):
        assert len(batch) and batch.min() > 60
        assert batch.max() <= 1.001 * brightest


def test_borders_and_blank_frames_are_returned_unchanged():
    frames = movie(BAD["blank"])
    frames[:, :, :9] = 0
    (pair,) = open_pairs([frames], axes="TYX", split="T")
    model = train(pair, TrainingSettings(steps=2, patch=32, batch=2, loss="l2", device="cpu"))
    result = np.asarray(denoise(model, Acquisition.open(frames, axes="TYX")))
    assert np.all(result[:, :, :9] == 0) and np.all(result[8] == 0)
    assert np.abs(result[3, :, 11:]).min() > 0


def test_a_border_does_not_raise_the_score_of_a_result():
    views = two(camera, RATE)
    result = ndimage.gaussian_filter(views[0].astype(np.float32), 0.6)
    whole = score_result(result, views[1], source=views[0])
    bordered = [np.where(INSIDE, view, 0) for view in (result, views[1], views[0])]
    inside = score_result(bordered[0], bordered[1], source=bordered[2])
    assert inside.psnr_reference_free == pytest.approx(whole.psnr_reference_free, abs=1.5)
    assert inside.data_range < 1.3 * whole.data_range


MASK = np.zeros((SIDE, SIDE), np.uint8)
MASK[40:110, 30:100], MASK[120:150, 90:160] = 1, 7


def disturbed(views, inside=MASK):
    """Strong noise outside a mask."""
    noise = two(lambda rng: rng.normal(0, 300, views[0].shape))
    return [
        np.where(inside, v, v + n).astype(np.float32) for v, n in zip(views, noise, strict=True)
    ]


def test_only_pixels_inside_a_mask_are_measured_and_trained_on():
    clean = two(camera, RATE)
    pair = Pair.open(*disturbed(clean), mask=MASK)
    assert codes(pair) == {"mask"}
    assert f"{np.mean(MASK > 0):.1%}" in pair.findings[0].message
    here = measure_noise(pair)
    assert here.noise_a == pytest.approx(measure_noise(Pair.open(*clean)).noise_a, rel=0.1)
    assert here.outlier_share < 1e-3 < measure_noise(Pair.open(*disturbed(clean))).outlier_share

    settings = TrainingSettings(steps=40, batch=2, patch=64, device="cpu")
    result = denoise(train(pair, settings), clean[0])
    truth = 2 * RATE + 100
    assert result.shape == RATE.shape  # denoised everywhere
    assert np.abs(result - truth)[MASK > 0].mean() < 0.7 * np.abs(clean[0] - truth)[MASK > 0].mean()


def test_no_pixel_outside_a_mask_is_a_target():
    bright = [np.where(MASK, view, view + 5000.0).astype(np.float32) for view in two(camera, RATE)]
    batches = targets([Pair.open(*bright, mask=MASK)])
    assert all(len(one) and one.max() < 3000 for one in batches)
    assert sum(map(len, batches[:6])) > 6 * 32 * 16 * 32 * 0.3  # patches are drawn inside


def test_only_the_part_around_a_mask_is_read():
    views = [np.tile(view, (1, 3)) for view in two(camera, RATE)]
    mask = np.zeros(views[0].shape, np.uint8)
    mask[50:90, 200:260] = 1
    part = Pair.open(*views, mask=mask).first
    rows, columns = slice(0, min(SIDE, 90 + 64)), slice(200 - 64, 260 + 64)
    assert part.plane_shape == (rows.stop, 60 + 2 * 64)
    assert (part.plane(0) == views[0][rows, columns]).all()


def test_a_mask_for_each_plane_leaves_out_planes_that_it_does_not_touch():
    frames = [
        np.stack([camera(RATE, np.random.default_rng(k + i)) for i in range(5)]) for k in (0, 9)
    ]
    inside = np.zeros((5, SIDE, SIDE), np.uint8)
    inside[1], inside[3, 50:150, 50:150] = MASK, 1
    bright = [np.where(inside, one, one + 5000.0).astype(np.float32) for one in frames]
    stacks = [Acquisition.open(one, axes="TYX") for one in bright]
    pair = Pair.open(*stacks, mask=inside)
    assert pair.planes(6).numbers == [1, 3] and "mask" in codes(pair)
    assert all(len(one) and one.max() < 3000 for one in targets([pair]))
    only = np.zeros_like(inside)
    only[2] = MASK  # drawn on one plane: for all planes
    assert Pair.open(*stacks, mask=only).planes(6).numbers == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("mask", "code", "words"),
    [
        (np.ones((SIDE, SIDE - 1)), "shape", "does not fit"),
        (np.ones((3, SIDE, SIDE)), "shape", "one for each"),
        (np.zeros((SIDE, SIDE)), "size", "0 pixels of the mask"),
        (np.pad(np.ones((20, 20)), (0, SIDE - 20)), "size", "400 pixels"),
        (np.full((SIDE, SIDE), 0.5), "format", "no mask"),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused_in_one_line(mask, code, words):
    with refused(code, words):
        Pair.open(*two(camera, RATE), mask=mask)


def test_hot_pixels_are_found_outside_a_mask_too():
    hot = np.random.default_rng(5).random((SIDE, SIDE)) < 0.004
    views = [np.where(hot, v + 3000, v).astype(np.float32) for v in two(camera, RATE)]
    bad = Pair.open(*views, mask=MASK).pattern.detector.bad
    assert bad.shape == hot.shape and (bad == hot).mean() > 0.9995
