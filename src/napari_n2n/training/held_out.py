"""Validation: blocks excluded from training, and the score of a network on these blocks.

The score selects the weights and gives the reference-free PSNR.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from napari_n2n.io.acquisition import evenly_spaced, read_finite
from napari_n2n.io.header import Region
from napari_n2n.model.device import release_memory
from napari_n2n.model.network import Network
from napari_n2n.pair.pair import Pair
from napari_n2n.stats import image_quality
from napari_n2n.stats.statistics import Measurement, mean_over_blocks
from napari_n2n.training.losses import Loss
from napari_n2n.training.normalisation import Batch, Normalisation, hits_of, maps
from napari_n2n.training.resampling import Resampling

# Largest side of a held-out block in pixels. Larger: fewer, less representative blocks; smaller:
# the rim is a larger part of each.
_SIDE = 20
# Share of the plane that is held out. Larger: a more certain score; smaller: more to train on.
_SHARE = 0.1
# Pixels at each edge of a block that are neither trained on nor scored: neighbours may share noise.
_RIM = 2
# Inside a mask, the blocks are placed again until their share is at least this part of that of the
# whole plane: a small mask may be between the blocks. The seeds differ by a prime number, so that
# they are not the usual seeds of other runs (0, 1, 2).
_SHARE_INSIDE, _ATTEMPTS, _SEED_STEP = 0.7, 30, 1_000_003
# Sides in pixels ([Z,] Y, X) and smallest number of the windows that are scored. More: a more
# certain score; fewer: less time for each validation.
_WINDOW = {2: (256, 256), 3: (24, 128, 128)}
_WINDOWS = 8
# Sides and largest number of windows if there are more pairs than the number above: at most twice
# as many pixels, so that validation needs about as much time and memory as with few pairs. Windows
# of planes are smaller here, to show more pairs. Windows of volumes keep their size: few of their
# pixels have all their surroundings inside.
_SMALL_WINDOW = {2: (128, 128), 3: (24, 128, 128)}
_MOST_WINDOWS = {2: 64, 3: 8}
_WEIGHT = 2  # of the fields of a `Batch`
# Side in pixels of the middle of a plane from which the range of values is taken.
_FOR_RANGE = 1024


class Mask(Protocol):
    """Base class: pixels of a plane that are never a training target."""

    def mask(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the mask of a part of the plane, True where held out."""


class HeldOutMask:
    """Small blocks, spread evenly over a plane, that are never a training target.

    The blocks cover about a tenth of the plane. They are squares of at most 20 pixels, one at a
    random position in each cell of a grid.

    Parameters
    ----------
    shape
        Rows and columns of the plane.
    seed
        Seed of the positions.
    """

    def __init__(self, shape: tuple[int, int], seed: int) -> None:
        self.side = min(_SIDE, min(shape) // 4)
        rng = np.random.default_rng((seed, 0x4E32))  # each use of the seed has its own stream
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
        """Return the mask of a part of the plane, True where held out."""
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
        top, left = self.corners[..., 0] - rows.start, self.corners[..., 1] - columns.start
        touched = (top > -self.side) & (top < mask.shape[0])
        touched &= (left > -self.side) & (left < mask.shape[1])
        for y, x in zip(top[touched], left[touched], strict=True):
            mask[max(y, 0) : y + self.side, max(x, 0) : x + self.side] = True
        return mask


def held_out_of(pair: Pair, seed: int, make: Callable[[tuple[int, int], int], Mask]) -> Mask:
    """Return which pixels of a pair are held out; of those inside its mask, about as many.

    Parameters
    ----------
    pair, seed
        The pair, and the seed of the positions.
    make
        Returns the held-out pixels for the shape of a plane and a seed.
    """
    shape = pair.first.plane_shape
    whole = slice(0, shape[0]), slice(0, shape[1])
    made = best = make(shape, seed)
    if pair.mask is None:
        return made
    most, wanted = -1.0, made.mask(*whole).mean() * _SHARE_INSIDE
    for attempt in range(1, _ATTEMPTS):
        share = float(made.mask(*whole)[pair.mask.anywhere].mean())
        if share > most:
            best, most = made, share
        if most >= wanted:
            break
        made = make(shape, seed + attempt * _SEED_STEP)
    return best


@dataclass(frozen=True, slots=True)
class Score:
    """Score of a network on the held-out blocks.

    Attributes
    ----------
    error
        Mean validation error in normalised units, as defined by `Loss.held_out`.
    psnr, psnr_se
        Reference-free PSNR and its standard error in dB; None if it could not be determined.
    """

    error: float
    psnr: float | None
    psnr_se: float | None


class HeldOut:
    """The held-out blocks of all pairs, ready to score networks.

    Parameters
    ----------
    pairs, masks
        The acquisitions, and the held-out blocks of each pair.
    normalisations
        One for each channel.
    loss
        The loss; its `held_out` function gives the score.
    stride
        Stride of the network along each of its axes.
    device
        Device on which networks are scored.
    seed
        Seed of the choice of windows if there are more pairs than windows.
    resampling
        Makes the images that are scored if there is one recording; None for pairs.

    Attributes
    ----------
    batches
        Channel and batch of every window that is scored. Only held-out pixels have a weight of 1.
    data_range
        For each channel, the range in ADU that its PSNR refers to.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        masks: Sequence[Mask],
        normalisations: Sequence[Normalisation],
        loss: Loss,
        *,
        stride: tuple[int, ...],
        device: torch.device,
        seed: int = 0,
        resampling: Resampling | None = None,
    ) -> None:
        self.loss, self._resampling = loss, resampling
        self.batches = [
            (channel, Batch(*(torch.from_numpy(image).to(device) for image in images)))
            for channel, images in _windows(pairs, masks, normalisations, stride, seed)
        ]
        self.data_range = [_data_range(pairs, k) for k in range(len(normalisations))]
        self._units = [
            one.scale.gain * values
            for one, values in zip(normalisations, self.data_range, strict=True)
        ]

    def score(self, network: Network) -> Score:
        """Score a network, which must be in evaluation mode."""
        batches = [batch for _, batch in self.batches]
        with torch.inference_mode():
            if self._resampling is not None:
                drawn = enumerate(batches)
                batches = [self._resampling.draw(network, batch, (0, k)) for k, batch in drawn]
            predictions = [_predicted(network, batch.input) for batch in batches]
        errors = [
            self.loss.held_out_error(prediction, batch)
            for prediction, batch in zip(predictions, batches, strict=True)
        ]
        psnr = self._psnr(predictions)
        return Score(float(torch.stack(errors).mean()), psnr.value, psnr.error)

    def _psnr(self, predictions: list[Tensor]) -> Measurement:
        """Return the reference-free PSNR over all held-out blocks, in the range of each channel."""
        # Outliers make the mean squared error meaningless. With one recording, the noise is not
        # known well enough: a few per cent of it are as large as the error of a result.
        if self.loss.statistic != "mean" or self._resampling is not None:
            return Measurement(None, None)
        parts = self._squared_errors(predictions)
        return image_quality.psnr_reference_free(mean_over_blocks(parts), 1.0)

    def _squared_errors(self, predictions: list[Tensor]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield weighted squared errors, in parts of the range, and weights of each window."""
        for prediction, (channel, batch) in zip(predictions, self.batches, strict=True):
            result, a, b, weight = (
                tensor[:, 0].cpu().numpy()
                for tensor in (prediction, batch.input, batch.target, batch.exact)
            )
            squares = image_quality.squared_errors(result, a, b, weight)
            yield squares / self._units[channel] ** 2, weight


def _predicted(network: Network, images: Tensor) -> Tensor:
    """Return the output of a network for images; one by one if memory is too small for all."""
    images = images.contiguous(memory_format=network.memory_format)
    try:
        return network(images).float()
    except torch.OutOfMemoryError:
        if len(images) == 1:
            raise
    # Not in the handler: its error keeps the tensors of the failed pass in memory.
    release_memory(images.device)
    return torch.cat([network(images[k : k + 1]).float() for k in range(len(images))])


def _data_range(pairs: Sequence[Pair], channel: int) -> float:
    pair = next(pair for pair in pairs if pair.channel == channel)
    plane = pair.planes(1, _FOR_RANGE).views[0][0]
    return image_quality.data_range(plane.astype(pair.first.source_dtype))


def _windows(
    pairs: Sequence[Pair],
    masks: Sequence[Mask],
    normalisations: Sequence[Normalisation],
    stride: tuple[int, ...],
    seed: int,
) -> list[tuple[int, tuple[np.ndarray, ...]]]:
    """Return channel and images of windows spread evenly over the pairs and their frames.

    Every acquisition is the input once and the target once in each window.
    """
    dims = len(stride)
    sides = (_SMALL_WINDOW if len(pairs) > _WINDOWS else _WINDOW)[dims]
    places = [_Windows(pair, stride, sides) for pair in pairs]
    counts = [one.count for one in places]
    ends = np.cumsum(counts)
    windows = []
    for index in _chosen([pair.channel for pair in pairs], counts, _MOST_WINDOWS[dims], seed):
        number = int(np.searchsorted(ends, index, side="right"))
        pair, before = pairs[number], int(ends[number]) - counts[number]
        window = places[number].region(index - before)
        windows.append((pair.channel, _images(pair, masks[number], normalisations, window, dims)))
    # Windows in bad frames or empty areas contain no pixel to score.
    return [one for one in windows if one[1][_WEIGHT].any()] or windows


def _chosen(channels: Sequence[int], counts: Sequence[int], most: int, seed: int) -> list[int]:
    """Return the windows to score, numbered over all pairs.

    Every pair has at least one window if there are no more than `most` pairs. Otherwise each
    channel gets the same number: its windows are divided into so many equal parts, and one window
    is drawn from each part.

    Parameters
    ----------
    channels, counts
        For each pair, its channel and its number of windows.
    """
    if len(counts) <= _WINDOWS:
        return evenly_spaced(sum(counts), _WINDOWS)
    if len(counts) <= most:
        return evenly_spaced(sum(counts), most)
    of_window = np.repeat(channels, counts)
    rng = np.random.default_rng((seed, 0x5C04E))
    chosen: list[int] = []
    for channel in sorted(set(channels)):
        own = np.flatnonzero(of_window == channel)
        parts = np.array_split(own, max(1, most // len(set(channels))))
        chosen += [int(rng.choice(part)) for part in parts if len(part)]
    return sorted(chosen)


class _Windows:
    """The windows of a pair, side by side in every frame; inside a mask if the pair has one."""

    def __init__(self, pair: Pair, stride: tuple[int, ...], sides: tuple[int, ...]) -> None:
        self._shape, self._stride, self._sides = pair.first.shape, stride, sides
        self._starts = _window_starts(self._shape, sides)
        self.count = math.prod(len(axis) for axis in self._starts)
        self._kept: list[int] | None = None
        if (mask := pair.mask) is not None:
            touched = [k for k in range(self.count) if mask.inside(self.region(k)).any()]
            self._kept = touched or list(range(self.count))
            self.count = len(self._kept)

    def region(self, index: int) -> Region:
        """Return a window."""
        place = index if self._kept is None else self._kept[index]
        where = np.unravel_index(place, [len(axis) for axis in self._starts])
        corner = [int(axis[i]) for axis, i in zip(self._starts, where, strict=True)]
        return _window(self._shape, corner, self._stride, self._sides)


def _window_starts(shape: tuple[int, ...], sides: tuple[int, ...]) -> list[range]:
    """Return the starts of windows along each axis: every frame, and side by side within it."""
    leading = len(shape) - len(sides)
    inside = [
        range(0, max(1, length - side // 2), side)
        for length, side in zip(shape[leading:], sides, strict=True)
    ]
    return [range(length) for length in shape[:leading]] + inside


def _window(
    shape: tuple[int, ...], corner: list[int], stride: tuple[int, ...], sides: tuple[int, ...]
) -> Region:
    """Return the window at a corner, its sides multiples of the stride and within the stack."""
    leading = len(shape) - len(stride)
    sides = (1,) * leading + sides
    steps = (1,) * leading + stride
    return tuple(
        slice(start, start + min(side, length - start) // step * step)
        for start, side, length, step in zip(corner, sides, shape, steps, strict=True)
    )


def _images(
    pair: Pair,
    mask: Mask,
    normalisations: Sequence[Normalisation],
    window: Region,
    dims: int,
) -> tuple[np.ndarray, ...]:
    """Return the fields of the `Batch` of a window: every acquisition is once the input."""
    shape = tuple(part.stop - part.start for part in window[-dims:])
    core = ndimage.binary_erosion(mask.mask(*window[-2:]), iterations=_RIM)
    scale = normalisations[pair.channel].scale
    read = [read_finite(one, window) for one in pair.acquisitions]
    core = np.broadcast_to(core & ~pair.bad_pixels(*window[-2:]), shape)
    if pair.leaves_out:
        core = core & ~pair.left_out(window, read).reshape(shape)
    images = [values.reshape(shape).astype(np.float32) for values in read]
    parts = []
    for source in range(len(images)):
        target = (source + 1) % len(images)
        to = maps(pair, normalisations, source, target)
        first = scale(images[source])
        second = images[target] * np.float32(to.target_gain) + np.float32(to.target_offset)
        counted = core
        hits = hits_of(pair, normalisations, source)
        if hits is not None:
            counted = counted & ~hits.in_either(first, second)
        parts.append(
            (
                *(image.astype(np.float32) for image in (first, second, counted)),
                images[target] >= to.limit,
                *(np.full([1] * dims, one, np.float32) for one in (to.first_gain, to.first_offset)),
            )
        )
    return tuple(np.stack(part)[:, None] for part in zip(*parts, strict=True))
