"""Parts of a scene that are never learned from: which pixels, and the places that are scored there.

They lie apart from what is learned, choose the weights, and give the PSNR without a clean image.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from napari_n2n.io.acquisition import evenly_spaced, read_finite
from napari_n2n.io.header import Region
from napari_n2n.pair.pair import Pair
from napari_n2n.training.normalisation import Batch, Normalisation, maps

_SIDE = 20
_SHARE = 0.1
_RIM = 2
_PLACE = {2: (256, 256), 3: (24, 128, 128)}
_PLACES = 8


class HeldOut:
    """Small blocks, spread evenly over a plane, that never serve as a training target.

    About a tenth of the plane, in squares of 20 pixels or less, one at a random place in each cell
    of a grid.

    Parameters
    ----------
    shape
        Rows and columns.
    seed
        The same seed chooses the same blocks.
    """

    def __init__(self, shape: tuple[int, int], seed: int) -> None:
        self.side = min(_SIDE, min(shape) // 4)
        rng = np.random.default_rng((seed, 0x4E32))
        cell = self.side / math.sqrt(_SHARE)
        cells = [max(1, round(length / cell)) for length in shape]
        self.corners = np.empty((*cells, 2), np.int64)
        for axis, (count, length) in enumerate(zip(cells, shape, strict=True)):
            borders = np.arange(count + 1) * length // count
            free = borders[1:] - borders[:-1] - self.side + 1
            along = np.expand_dims(np.arange(count), 1 - axis)
            self.corners[..., axis] = borders[along] + rng.integers(
                np.broadcast_to(free[along], cells)
            )

    def mask(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a part of the plane as booleans, True where held out."""
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
        top, left = self.corners[..., 0] - rows.start, self.corners[..., 1] - columns.start
        touched = (top > -self.side) & (top < mask.shape[0])
        touched &= (left > -self.side) & (left < mask.shape[1])
        for y, x in zip(top[touched], left[touched], strict=True):
            mask[max(y, 0) : y + self.side, max(x, 0) : x + self.side] = True
        return mask


def held_out_batches(
    pairs: Sequence[Pair],
    normalisations: Sequence[Normalisation],
    masks: Sequence[HeldOut],
    *,
    stride: tuple[int, ...],
    device: torch.device,
) -> list[tuple[int, Batch]]:
    """Return channel and batch of one large place each, where only held-out pixels count.

    Every acquisition is the input once and the target once at each place; places are spread evenly
    over the pairs and their frames.

    Parameters
    ----------
    pairs, masks
        What is learned from, and which of its pixels are not.
    normalisations
        Of each channel.
    stride
        Sides of a place are multiples of this, along each axis that the network sees.
    device
        Where the batches are wanted.
    """
    dims = len(stride)
    grids = [_grid(pair.first.shape, dims) for pair in pairs]
    counts = [math.prod(len(axis) for axis in grid) for grid in grids]
    ends = np.cumsum(counts)
    batches = []
    for index in evenly_spaced(int(ends[-1]), max(_PLACES, len(pairs))):
        number = int(np.searchsorted(ends, index, side="right"))
        pair, grid, before = pairs[number], grids[number], int(ends[number]) - counts[number]
        where = np.unravel_index(index - before, [len(axis) for axis in grid])
        corner = [int(axis[i]) for axis, i in zip(grid, where, strict=True)]
        region = _place(pair.first.shape, corner, stride)
        made = _scored(pair, normalisations, masks[number], region, dims)
        batch = Batch(*(torch.from_numpy(images).to(device) for images in made))
        batches.append((pair.channel, batch))
    return batches


def _grid(shape: tuple[int, ...], dims: int) -> list[range]:
    """Where places begin along each axis: at every frame, and side by side within it."""
    leading = len(shape) - dims
    inside = [
        range(0, max(1, length - side // 2), side)
        for length, side in zip(shape[leading:], _PLACE[dims], strict=True)
    ]
    return [range(length) for length in shape[:leading]] + inside


def _place(shape: tuple[int, ...], corner: list[int], stride: tuple[int, ...]) -> Region:
    leading = len(shape) - len(stride)
    sides = (1,) * leading + _PLACE[len(stride)]
    steps = (1,) * leading + stride
    return tuple(
        slice(start, start + min(side, length - start) // step * step)
        for start, side, length, step in zip(corner, sides, shape, steps, strict=True)
    )


def _scored(
    pair: Pair,
    normalisations: Sequence[Normalisation],
    mask: HeldOut,
    region: Region,
    dims: int,
) -> tuple[np.ndarray, ...]:
    """Return inputs, targets and weights at a place, each of shape (views, 1, [Z,] Y, X)."""
    shape = tuple(part.stop - part.start for part in region[-dims:])
    # Neighbours' noise may be correlated: a rim of each block is neither learned nor scored.
    core = ndimage.binary_erosion(mask.mask(*region[-2:]), iterations=_RIM)
    scale = normalisations[pair.channel].scale
    views = [
        read_finite(one, region).reshape(shape).astype(np.float32) for one in pair.acquisitions
    ]
    parts = []
    for source in range(len(views)):
        target = (source + 1) % len(views)
        to = maps(pair, normalisations, source, target)
        parts.append(
            (
                scale(views[source]),
                views[target] * np.float32(to.target_gain) + np.float32(to.target_offset),
                np.broadcast_to(core, shape) & (views[target] < to.limit),
            )
        )
    return tuple(
        np.stack(images)[:, None].astype(np.float32) for images in zip(*parts, strict=True)
    )
