"""Normalised units, and batches of images in these units.

In normalised units every channel has its black level at 0 and a standard deviation of 1. A batch
contains aligned noisy images of the same places: input, target, and the weight of each target
pixel.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_n2n.io.acquisition import evenly_spaced
from napari_n2n.model.network import Stabilisation, to_stabilised
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.pair.hits import Hits, without_hits
from napari_n2n.pair.pair import Pair
from napari_n2n.stats.affine import Affine

# Number of planes over all pairs, side in pixels of the part that is read, and distance of the
# pixels used: about a million values. More: slower; fewer: percentile and deviation less certain.
_PLANES = 8
_SIDE = 1024
_EVERY = 7
# Largest number of pairs of a channel that are read: half a million values of 256x256 planes.
_PAIRS = 64
# Smallest variance at black, as a part of that at the darkest measured level.
_DARK = 0.1
_BLACK_PERCENTILE = 1  # black level; the minimum would follow a single outlier


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Intensity statistics of one channel, from the first acquisition of each of its pairs.

    Attributes
    ----------
    scale
        Map from ADU to normalised units: the 1st percentile becomes 0, the standard deviation 1.
    mean
        Mean intensity in normalised units.
    values
        Smallest and largest value, in ADU.
    """

    scale: Affine
    mean: float
    values: tuple[float, float]


def normalise(pairs: Sequence[Pair]) -> tuple[Normalisation, ...]:
    """Return the normalisation of every channel, from sampled planes of its fields of view."""
    each = max(1, _PLANES // len(pairs))
    channels = sorted({pair.channel for pair in pairs})
    return tuple(
        _of_sample(_sample([pair for pair in pairs if pair.channel == channel], each))
        for channel in channels
    )


def _sample(pairs: Sequence[Pair], count: int) -> np.ndarray:
    """Return pixels of up to `count` planes of each pair, or of some of many pairs."""
    chosen = (pairs[index] for index in evenly_spaced(len(pairs), _PAIRS))
    return np.concatenate([values for pair in chosen for values in _values(pair, count)])


def _values(pair: Pair, count: int) -> Iterator[np.ndarray]:
    """Yield pixels of sampled planes of the first acquisition.

    Hits have the value of the second acquisition; bad planes and empty areas are left out.
    """
    planes = pair.planes(count, _SIDE)
    first = planes.views[0]
    if pair.hits is not None:
        second = pair.matches[1].inverse(planes.views[1])
        first = without_hits((first, second), pair.hits)[0]
    for plane, empty in zip(first, planes.empty, strict=True):
        values, skip = plane.ravel()[::_EVERY], empty.ravel()[::_EVERY]
        yield values[~skip] if skip.any() else values


def stabilise(
    pairs: Sequence[Pair], normalisation: Normalisation, model: NoiseModel
) -> Stabilisation | None:
    """Return variance-stabilised intensities for one channel; None if they are not needed.

    They are needed if the variance of the noise spans a wide range: otherwise bright structures
    have such large values that the network neglects dim ones.

    Parameters
    ----------
    pairs
        The pairs of the channel.
    normalisation, model
        Intensity statistics and noise of the channel.
    """
    if not model.spans_wide_range:
        return None
    levels, variances = np.array(model.levels), np.array(model.variances)
    scale = normalisation.scale
    gain = max(float(variances[-1] - variances[0]) / float(levels[-1] - levels[0]), 0.0)
    black = scale.inverse(0.0)
    dark = max(
        float(variances[0]) - gain * max(float(levels[0]) - black, 0.0), _DARK * variances[0]
    )
    curve = Stabilisation(gain * scale.gain, float(dark) * scale.gain**2, 1.0)
    each = max(1, _PLANES // len(pairs))
    values = _sample(pairs, each)
    normal = torch.from_numpy(scale(values).astype(np.float32))
    spread = float(to_stabilised(normal, torch.tensor(curve)).std())
    return curve._replace(spread=spread)


def _of_sample(values: np.ndarray) -> Normalisation:
    deviation = float(values.std(dtype=np.float64))
    black = float(np.percentile(values, _BLACK_PERCENTILE))
    scale = Affine(1 / deviation, -black / deviation)
    extremes = float(values.min()), float(values.max())
    return Normalisation(scale, float(scale(values).mean()), extremes)


@dataclass(frozen=True, slots=True)
class Batch:
    """Aligned tensors of shape (N, 1, [Z,] Y, X), in normalised units.

    Attributes
    ----------
    input, target
        Two noisy images of the same places.
    weight
        1 for target pixels that count, 0 for those that are held out, left out or hit.
    saturated
        True for target pixels at the upper limit of the detector.
    gain, offset
        Map from the normalised units of each image to ADU of the pair's first acquisition; shape
        (N, 1, [1,] 1, 1).
    """

    input: Tensor
    target: Tensor
    weight: Tensor
    saturated: Tensor
    gain: Tensor
    offset: Tensor

    @property
    def exact(self) -> Tensor:
        """The weights, 0 also for saturated pixels."""
        return self.weight * ~self.saturated


class Maps(NamedTuple):
    """Numbers that convert the pixels of two acquisitions to an input and its target.

    Inputs keep their own gain; targets are mapped to the gain of their input.

    Attributes
    ----------
    gain, offset
        Map from the input's pixels (ADU) to normalised units.
    target_gain, target_offset
        Map from the target's pixels (ADU) to normalised units on the input's intensity scale.
    limit
        Pixels of the target at or above this value (ADU) are saturated.
    first_gain, first_offset
        Map from normalised units to ADU of the pair's first acquisition.
    hit_gain, hit_offset, hit_smallest
        Limits of `Hits` in the input's normalised units.
    """

    gain: float
    offset: float
    target_gain: float
    target_offset: float
    limit: float
    first_gain: float
    first_offset: float
    hit_gain: float = 0.0
    hit_offset: float = 0.0
    hit_smallest: float = math.inf


def maps(pair: Pair, normalisations: Sequence[Normalisation], source: int, target: int) -> Maps:
    """Return the maps for acquisition `source` of a pair as input and `target` as its target.

    Parameters
    ----------
    pair
        The acquisitions and their intensity match.
    normalisations
        One for each channel.
    source, target
        Indices of two acquisitions of the pair.
    """
    scale = normalisations[pair.channel].scale
    to_target = scale.after(pair.match(target, source))
    limit = pair.acquisitions[target].saturation
    first = scale.after(pair.matches[source]).inverse
    given = Maps(
        gain=scale.gain,
        offset=scale.offset,
        target_gain=to_target.gain,
        target_offset=to_target.offset,
        limit=limit,
        first_gain=first.gain,
        first_offset=first.offset,
    )
    hits = hits_of(pair, normalisations, source)
    if hits is None:
        return given
    return given._replace(hit_gain=hits.gain, hit_offset=hits.offset, hit_smallest=hits.smallest)


def hits_of(pair: Pair, normalisations: Sequence[Normalisation], source: int) -> Hits | None:
    """Return the hits of a pair in the normalised units of a source; None if there are none."""
    scale = normalisations[pair.channel].scale.after(pair.matches[source])
    return pair.hits and pair.hits.on(scale)
