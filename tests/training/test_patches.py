"""Patches and block cache: draws from stacks that fit into memory, and from larger ones."""

from functools import cache

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from conftest import blobs, noisy, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_n2n import Acquisition, Pair, open_pairs
from napari_n2n.model.building import build_network
from napari_n2n.training.block_cache import BlockCache
from napari_n2n.training.block_grid import BlockGrid
from napari_n2n.training.held_out import HeldOut, HeldOutMask
from napari_n2n.training.initial_weights import architecture
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.normalisation import normalise
from napari_n2n.training.patches import Patches, _start, patch_side
from napari_n2n.training.pixel_swap import PixelSwap
from napari_n2n.training.settings import TrainingSettings

PLANES, SIDE, CHUNK = 12, 128, 64
STEP = 1000.0


def regions():
    """Return a stack whose values number the chunks, in steps far above the noise."""
    rows, columns = (np.arange(SIDE) // CHUNK for _ in range(2))
    number = np.arange(PLANES)[:, None, None] * 4 + rows[:, None] * 2 + columns
    return (STEP * number).astype(np.float32)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A pair in a chunked store, larger than the small memory limits below."""
    folder = tmp_path_factory.mktemp("streamed")
    for name, seed in (("a", 1), ("b", 2)):
        store = zarr.create_array(
            folder / f"{name}.zarr",
            shape=(PLANES, SIDE, SIDE),
            chunks=(1, CHUNK, CHUNK),
            dtype="float32",
            dimension_names=("t", "y", "x"),
        )
        store[:] = noisy(regions(), seed, 1.0)
    return Pair.open(folder / "a.zarr", folder / "b.zarr")


def open_cache(pairs, memory, side=(32, 32), seed=0):
    return BlockCache(
        pairs,
        [HeldOutMask(pair.first.plane_shape, seed) for pair in pairs],
        normalise(pairs),
        side=side,
        drawn=8 * int(np.prod(side)),
        seed=seed,
        device=torch.device("cpu"),
        memory=memory,
    )


def open_patches(*given, **options):
    return Patches(open_cache(*given, **options))


def adu(pairs, values):
    return scale(tuple(pairs)).inverse(values.numpy())


@cache
def scale(pairs):
    return normalise(pairs)[0].scale


@pytest.mark.parametrize("memory", [10**9, 1_600_000], ids=["in memory", "streamed"])
def test_every_region_is_visited_in_proportion(pair, memory, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.block_grid.BLOCK", {2: (64, 64)})
    patches = open_patches([pair], memory)
    visits = np.zeros(4 * PLANES)
    for step in range(500):
        inputs = adu([pair], patches.draw(step, 8).input)
        visits += np.bincount(np.rint(inputs / STEP).astype(int).ravel(), minlength=len(visits))
    share = visits / visits.sum() * len(visits)
    assert 0.6 < share.min() and share.max() < 1.5


@pytest.mark.parametrize("swap", [None, PixelSwap(True, True)], ids=["apart", "swapped"])
def test_no_pixel_that_a_cosmic_ray_has_hit_is_a_target(swap):
    views = [noisy(blobs((128, 128)), seed, 5.0) for seed in (1, 2)]
    for seed, view in enumerate(views):
        view[tuple(np.random.default_rng(seed).integers(8, 120, (2, 6)))] += 20_000
    pair = Pair.open(*views)
    patches = Patches(open_cache([pair], 10**9), swap)
    batches = [patches.draw(step, 8) for step in range(10)]
    seen = np.stack([normalise([pair])[0].scale.inverse(one.target.numpy()) for one in batches])
    counted = np.stack([one.weight.numpy() > 0 for one in batches])
    assert seen.max() > 10_000 > seen[counted].max()


def test_no_part_of_a_plane_is_left_out():
    ramp = np.add.outer(np.arange(SIDE) * SIDE, np.arange(SIDE)).astype(np.float32)
    flat = [Acquisition.open(noisy(ramp, seed, 0.1)) for seed in (1, 2)]
    pairs = [Pair.open(*flat)]
    patches = open_patches(pairs, 10**9)
    visits = np.zeros(SIDE * SIDE)
    for step in range(400):
        inputs = adu(pairs, patches.draw(step, 8).input)
        at = np.rint(inputs).astype(int).clip(0, SIDE * SIDE - 1)
        visits += np.bincount(at.ravel(), minlength=len(visits))
    grid = visits.reshape(SIDE // 8, 8, SIDE // 8, 8).sum((1, 3)) / visits.sum() * (SIDE // 8) ** 2
    assert 0.2 < grid.min() and grid.max() < 2


def test_both_ends_of_a_plane_are_drawn_equally_often():
    rng = np.random.default_rng(0)
    starts = np.bincount([_start(rng, 20, 8) for _ in range(4000)])
    first, *middle, last = starts / 4000 * 21
    assert [first, last] == pytest.approx([5, 5], rel=0.15)
    assert middle == pytest.approx([1] * 11, rel=0.35)


def test_a_draw_depends_on_seed_and_step_only(pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.block_grid.BLOCK", {2: (64, 64)})
    steps = (0, 1, 2, 40, 41, 120)
    through = open_patches([pair], 1_600_000)
    seen = {step: through.draw(step, 4) for step in range(121)}
    for step in steps:
        again = open_patches([pair], 1_600_000).draw(step, 4)
        for name in ("input", "target", "weight"):
            assert torch.equal(getattr(seen[step], name), getattr(again, name))


def test_blocks_that_fit_are_read_once_and_the_cache_stays_within_its_memory(pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.block_grid.BLOCK", {2: (64, 64)})
    reads = []
    read = BlockCache._read
    monkeypatch.setattr(BlockCache, "_read", lambda self, k: reads.append(k) or read(self, k))
    fitting = open_patches([pair], 10**9)
    for step in range(200):
        fitting.draw(step, 8)
    assert sorted(reads) == list(range(4 * PLANES))
    small = open_cache([pair], 1_000_000)
    assert small.nbytes < 1_000_000 and small.slots < 4 * PLANES


@pytest.fixture(scope="module")
def many():
    """Forty fields of view with two channels, each of its own brightness."""
    views = [
        [
            1000 * field + np.stack([noisy(blobs((64, 64)), (seed, field, c)) for c in (0, 1)])
            for seed in (1, 2)
        ]
        for field in range(40)
    ]
    return open_pairs(*views, axes="CYX")


@pytest.mark.parametrize("memory", [10**9, 1_200_000], ids=["in memory", "streamed"])
def test_every_one_of_many_fields_of_view_is_used_after_few_steps(many, memory):
    open_for_run = open_patches(many, memory)
    used, twice = set(), 0
    for step in range(42):
        batch = open_for_run.draw(step, 8)
        brightness = batch.gain * batch.input.mean((2, 3), keepdim=True) + batch.offset
        seen = {round(float(one) / 1000) for one in brightness.ravel()}
        twice += len(used & seen)
        used |= seen
    assert used == set(range(40)) and twice > 0


def test_validation_reads_a_bounded_sample_of_all_fields_of_view(many):
    masks = [HeldOutMask(pair.first.plane_shape, 0) for pair in many]
    known = many, masks, normalise(many), LOSSES["l2"]
    scored = [
        HeldOut(*known, stride=(8, 8), device=torch.device("cpu"), seed=seed).batches
        for seed in (0, 0, 1)
    ]
    fields = [
        [round(float((one.gain * one.input + one.offset).mean()) / 1000) for _, one in batches]
        for batches in scored
    ]
    assert [channel for channel, _ in scored[0]].count(0) == len(scored[0]) // 2 == 32
    assert np.diff(sorted(fields[0])).max() <= 5 and min(fields[0]) < 3 and max(fields[0]) > 36
    assert fields[0] == fields[1] != fields[2]


def test_the_refusal_of_large_chunks_names_the_memory_they_need():
    whole = da.from_array(noisy(regions(), 1), chunks=(PLANES, SIDE, SIDE))
    other = da.from_array(noisy(regions(), 2), chunks=(PLANES, SIDE, SIDE))
    pair = Pair.open(Acquisition.open(whole, axes="TYX"), Acquisition.open(other, axes="TYX"))
    pairs = [pair, pair]
    with refused("memory") as refusal:
        open_patches(pairs, 1_000_000)
    need = int(str(refusal.value).split("--memory ")[1].split("MB")[0])
    open_patches(pairs, need * 10**6).draw(0, 2)


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(40, 3000),
    chunk=st.integers(1, 700),
    start=st.integers(0, 300),
    side=st.sampled_from([32, 40]),
)
def test_blocks_cover_a_stack_once_and_start_at_chunk_borders(length, chunk, start, side):
    start = min(start, length - side)
    source = da.zeros((side, length), chunks=(side, chunk), dtype=np.uint16)
    view = Acquisition.open(source).cropped(slice(0, side), slice(start, length))
    blocks = BlockGrid(_Single(view), (side, side))
    covered = np.zeros(view.shape, int)
    for number in range(blocks.count):
        region = blocks.region(number)
        covered[region] += 1
        assert all(part.stop - part.start >= side for part in region)
        assert region[1].start == 0 or (region[1].start + start) % chunk == 0
    assert (covered == 1).all()


class _Single:
    """Stand-in for a pair: all that a grid of blocks needs."""

    def __init__(self, first):
        self.first, self.mask = first, None


def test_volumes_are_drawn_with_their_depth():
    depth = np.broadcast_to(STEP * np.arange(24, dtype=np.float32)[:, None, None], (24, 64, 64))
    volumes = [Acquisition.open(noisy(depth, seed, 1.0), axes="ZYX") for seed in (1, 2)]
    pairs = [Pair.open(*volumes)]
    batch = open_patches(pairs, 10**9, side=(16, 32, 32)).draw(0, 8)
    assert batch.input.shape == (16, 1, 16, 32, 32)
    planes = np.rint(adu(pairs, batch.input)[:, 0].mean((2, 3)) / STEP)
    steps = np.diff(planes, axis=1)
    assert (steps == steps[:, :1]).all()
    assert set(steps[:, 0]) == {-1, 1}, "upwards and, flipped along the depth, downwards"


def test_repeats_channels_and_fields_become_pairs():
    rng = np.random.default_rng(0)
    scene = np.stack([blobs((64, 64), seed) for seed in range(2)])
    repeats = Acquisition.open(
        scene + rng.normal(0, 5, (4, 2, 64, 64)).astype(np.float32), axes="RCYX"
    )
    pairs = open_pairs([repeats], [repeats])
    assert [pair.channel for pair in pairs] == [0, 1, 0, 1]
    assert [len(pair.acquisitions) for pair in pairs] == [4] * 4
    patches = open_patches(pairs[:1], 10**9)
    drawn = {tuple(p) for s in range(60) for p in _acquisitions(patches, pairs[:1], s)}
    assert len(drawn) == 12  # all ordered pairs of four
    with refused("channels"):
        Pair.open(repeats)


def _acquisitions(patches, pairs, step):
    """Return which acquisitions a draw took, by comparing its pixels with them."""
    batch = patches.draw(step, 1)
    stack = np.stack([one.plane(0) for one in pairs[0].acquisitions])
    for values in (batch.input, batch.target):
        assert values.shape[1:] == (1, 32, 32)
    flat = stack.reshape(4, -1).round(2)
    found = []
    for source, target in zip(adu(pairs, batch.input), adu(pairs, batch.target), strict=True):
        pair = [
            int(np.argmax([np.isin(part.round(2), view).mean() for view in flat]))
            for part in (source, target)
        ]
        found.append(pair)
    return found


@pytest.mark.parametrize("planes", [2, 3, 5, 8, 11, 12, 15])
def test_patches_of_a_thin_volume_have_all_its_planes(planes):
    """Otherwise training meets its ends at another distance than denoising does."""
    volume = np.broadcast_to(blobs((48, 48)), (planes, 48, 48))
    pair = Pair.open(*(Acquisition.open(noisy(volume, seed), axes="ZYX") for seed in (1, 2)))
    settings = TrainingSettings(dims=3)
    stride = build_network(architecture(3, [pair])).stride
    assert planes % stride[0] == 0
    assert patch_side([pair], settings, stride)[0] == planes
