"""Pixel swap: which pixels A and B may swap, and how a batch changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs, noisy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_n2n import Pair
from napari_n2n.noise.measure import measure_noise
from napari_n2n.training.block_cache import BlockCache
from napari_n2n.training.held_out import HeldOutMask
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.normalisation import normalise
from napari_n2n.training.patches import Patches
from napari_n2n.training.pixel_swap import PixelSwap, allowed_swap

SHAPE = (192, 192)
SINGLE, ROWS = PixelSwap(True, True), PixelSwap(True, False)


def patches_of(pair, chosen):
    cache = BlockCache(
        [pair],
        [HeldOutMask(SHAPE, 0)],
        normalise([pair]),
        side=(32, 32),
        drawn=8 * 32 * 32,
        seed=0,
        device=torch.device("cpu"),
        memory=10**8,
    )
    return Patches(cache, chosen)


@pytest.fixture(scope="module")
def pair():
    return Pair.open(noisy(blobs(SHAPE), 1, 20.0), noisy(blobs(SHAPE), 2, 20.0))


@settings(deadline=None, max_examples=20)
@given(step=st.integers(0, 10**6), count=st.integers(1, 8))
def test_a_swap_moves_pixels_between_input_and_target_without_changing_values(pair, step, count):
    apart, mixed = (patches_of(pair, one).draw(step, count) for one in (None, SINGLE))
    for of_both in (torch.minimum, torch.maximum):
        assert torch.equal(of_both(apart.input, apart.target), of_both(mixed.input, mixed.target))


@pytest.mark.parametrize("wanted", [0.5, 1.0])
def test_half_of_the_pixels_are_swapped_in_the_given_share_of_patches(pair, wanted):
    apart, mixed = (patches_of(pair, one) for one in (None, PixelSwap(True, True, wanted)))
    moved = [apart.draw(k, 8).input != mixed.draw(k, 8).input for k in range(20)]
    share = torch.cat(moved).float().mean((1, 2, 3))
    assert (share > 0.05).float().mean() == pytest.approx(wanted, abs=0.1)
    assert share[share > 0.05].mean() == pytest.approx(0.5, abs=0.01)


def test_half_of_the_patches_are_not_swapped_if_one_acquisition_is_noisier(pair):
    scene = blobs(SHAPE)
    brighter = Pair.open(noisy(scene, 1, 20.0), 3 * noisy(scene, 2, 20.0))
    noisier = Pair.open(noisy(scene, 1, 20.0), noisy(scene, 2, 23.0))
    found = [allowed_swap([measure_noise(one)], LOSSES["l2"]) for one in (pair, brighter, noisier)]
    assert found == [SINGLE, SINGLE, PixelSwap(True, True, 0.5)]


@pytest.mark.parametrize("smoothed", ["noise_a", "noise_b"])
def test_training_can_start_with_a_smoothed_recording(pair, smoothed):
    report = replace(measure_noise(pair), **{smoothed: 0.0})
    assert allowed_swap([report], LOSSES["l2"]) == PixelSwap(True, True, 0.5)


def test_a_draw_can_be_repeated(pair):
    once, again = (patches_of(pair, SINGLE).draw(7, 4) for _ in range(2))
    assert torch.equal(once.input, again.input) and torch.equal(once.target, again.target)


@given(
    turns=st.lists(st.integers(0, 3), min_size=8, max_size=8),
    planes=st.sampled_from([(), (5,)]),
    along_x=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_lines_whose_pixels_share_noise_are_swapped_whole(turns, planes, along_x, seed):
    lines = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    rows, columns = (
        torch.stack([line.rot90(turn).expand(*planes, 16, 16) for turn in turns]) for line in lines
    )
    chosen = PixelSwap(along_y=not along_x, along_x=along_x)
    moved = chosen.draw((rows, columns), (16, 16), seed)
    number = columns if along_x else rows
    for patch, numbers in zip(moved, number, strict=True):
        for line in range(16):
            assert len(set(patch[numbers == line].tolist())) == 1


def test_a_saturated_pixel_is_left_out_of_the_loss_wherever_it_moves():
    a, b = (noisy(blobs(SHAPE) / 3, seed, 20.0).clip(0, 200).astype(np.uint8) for seed in (1, 2))
    a[::3, ::5] = 255
    pair = Pair.open(a, b)
    batch = patches_of(pair, SINGLE).draw(0, 8)
    top = normalise([pair])[0].scale(254.5)
    saturated = batch.target >= top
    assert saturated.any() and not (batch.exact.bool() & saturated).any()


def smeared(seed, width):
    noise = np.random.default_rng(seed).normal(0, 100, SHAPE)
    return (blobs(SHAPE) + ndimage.gaussian_filter(noise, width)).astype(np.float32)


@pytest.mark.parametrize(
    ("width", "expected"),
    [((0, 0), SINGLE), ((0, 1), ROWS), ((1, 0), PixelSwap(False, True)), ((1, 1), None)],
    ids=["independent", "correlated in x", "in y", "in both"],
)
def test_only_pixels_with_independent_noise_are_swapped(width, expected):
    report = measure_noise(Pair.open(smeared(1, width), smeared(2, width)))
    assert allowed_swap([report], LOSSES["l2"]) == expected


def test_nothing_is_swapped_if_the_acquisitions_differ_in_more_than_noise(pair):
    report = measure_noise(pair)
    assert allowed_swap([report], LOSSES["l2"]) == SINGLE
    assert allowed_swap([report], LOSSES["l1"]) is None
    assert allowed_swap([replace(report, shift=(0.0, 0.4))], LOSSES["l2"]) is None
    still = blobs(SHAPE)
    moved = np.where(np.arange(SHAPE[1]) < 60, np.roll(still, 6, axis=0), still)
    changed = measure_noise(Pair.open(noisy(still, 1, 5.0), noisy(moved, 2, 5.0)))
    assert allowed_swap([changed], LOSSES["l2"]) is None
    assert allowed_swap([report, changed], LOSSES["l2"]) is None
