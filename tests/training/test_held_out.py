"""Held-out blocks: never trained on, and the only pixels that are scored."""

from itertools import product

import numpy as np
import pytest
import torch
from conftest import blobs, noisy
from scipy import ndimage
from torch import nn

from napari_n2n import Acquisition, Pair, TrainingSettings, train
from napari_n2n.stats import image_quality
from napari_n2n.stats.statistics import Measurement
from napari_n2n.training.block_cache import BlockCache
from napari_n2n.training.held_out import HeldOut, HeldOutMask
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.normalisation import normalise
from napari_n2n.training.patches import Patches

SIDE = 96
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pair():
    """A pair without saturated pixels."""
    return Pair.open(*(noisy(blobs((SIDE, SIDE)), seed) for seed in (1, 2)))


@pytest.fixture(scope="module")
def mask():
    return HeldOutMask((SIDE, SIDE), 0)


def whole(mask):
    return mask.mask(slice(0, SIDE), slice(0, SIDE))


def open_patches(pair, mask, side=SIDE, seed=0):
    cache = BlockCache(
        [pair],
        [mask],
        normalise([pair]),
        side=(side, side),
        drawn=side**2,
        seed=seed,
        device=CPU,
        memory=10**9,
    )
    return Patches(cache)


def open_held_out(pair, mask):
    return HeldOut([pair], [mask], normalise([pair]), LOSSES["l2"], stride=(8, 8), device=CPU)


def orientations(plane):
    return [
        np.rot90(plane[:, ::-1] if flip else plane, turns)
        for flip, turns in product((False, True), range(4))
    ]


def test_held_out_pixels_are_never_trained_on(pair, mask):
    scale = normalise([pair])[0].scale
    originals = [orientations(scale(one.plane(0))) for one in pair.acquisitions]
    trained = orientations(~whole(mask))
    patches = open_patches(pair, mask)
    for step in range(12):
        batch = patches.draw(step, 1)
        for image, weight, source in zip(batch.input, batch.weight, (0, 1), strict=True):
            found = [
                turn
                for one in originals
                for turn, original in enumerate(one)
                if np.allclose(image[0], original, atol=1e-4)
            ]
            assert len(found) == 1, source
            np.testing.assert_array_equal(weight[0].numpy(), trained[found[0]])


def test_saturated_pixels_are_not_used_as_exact_targets(mask):
    a, b = (np.clip(noisy(blobs((SIDE, SIDE)), seed), 0, 255).astype(np.uint8) for seed in (1, 2))
    pair = Pair.open(a, b)
    batch = open_patches(pair, mask).draw(0, 2)
    top = normalise([pair])[0].scale(255.0)
    assert (batch.target[batch.exact == 1] < top - 1e-3).all()
    assert (batch.target >= top - 1e-3).any()


def test_only_the_inside_of_held_out_blocks_is_scored(pair, mask):
    inside = ndimage.binary_erosion(whole(mask), iterations=2)
    for _, batch in open_held_out(pair, mask).batches:
        for weight in batch.weight:
            np.testing.assert_array_equal(weight[0].numpy(), inside)


class Recalled(nn.Module):
    """Return the targets in the held-out blocks, and nonsense elsewhere, or the reverse."""

    memory_format = torch.channels_last

    def __init__(self, batch, shown):
        super().__init__()
        self.batch, self.shown = batch, torch.from_numpy(shown)

    def forward(self, _):
        return torch.where(self.shown, self.batch.target, self.batch.target + 100)


def test_the_score_is_the_error_in_the_held_out_blocks(pair, mask):
    held_out = open_held_out(pair, mask)
    ((_, batch),) = held_out.batches
    assert held_out.score(Recalled(batch, whole(mask))).error == 0
    assert held_out.score(Recalled(batch, ~whole(mask))).error == pytest.approx(100**2, rel=1e-3)


def windows(shape, pairs=1, dims=2):
    """Return the sides of the windows that are scored in equal pairs of a shape."""
    scene = np.broadcast_to(blobs(shape[-2:]), shape)
    axes = "ZYX" if dims == 3 else "TYX"[-len(shape) :]
    pair = Pair.open(*(Acquisition.open(noisy(scene, seed), axes=axes) for seed in (1, 2)))
    masks, stride = [HeldOutMask(shape[-2:], 0)] * pairs, (4,) * dims
    scales = normalise([pair])
    held_out = HeldOut([pair] * pairs, masks, scales, LOSSES["l2"], stride=stride, device=CPU)
    return [tuple(batch.input.shape[2:]) for _, batch in held_out.batches]


def test_a_validation_takes_as_long_in_large_recordings_as_in_small_ones():
    assert windows((264, 520)) == [(256, 256), (256, 256)]
    assert windows((32, 132, 130), dims=3) == [(24, 128, 128)]
    assert windows((20, 32, 32)) == [(32, 32)] * 8
    assert windows((32, 32), pairs=40) == [(32, 32)] * 40
    assert windows((256, 140), pairs=70) == [(128, 128)] * 64
    assert windows((4, 32, 32), pairs=20, dims=3) == [(4, 32, 32)] * 8


def test_another_seed_draws_other_patches_from_the_same_block(pair, mask):
    first, again, other = (
        open_patches(pair, mask, side=32, seed=seed).draw(5, 4).input for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_model_without_psnr_says_why(pair, monkeypatch):
    monkeypatch.setattr(image_quality, "psnr_reference_free", lambda *_: Measurement(None, None))
    settings = TrainingSettings(steps=1, patch=32, batch=1, loss="l2", device="cpu")
    record = train(pair, settings).record
    assert record.score is not None and record.score.psnr is None
    assert "too small to be determined from so few pixels" in record.score_reason
