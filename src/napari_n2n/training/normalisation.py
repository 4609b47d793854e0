"""Normalised units, and batches in them.

A network sees every channel with black at 0 and a standard deviation of 1. A batch holds aligned
noisy images of the same places: the input, the target, and the weight of each target pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from napari_n2n.pair.pair import Pair
from napari_n2n.stats.affine import Affine

# Planes over all pairs, side in pixels of the part read of each, and every how many-th pixel of it:
# about a million values. More: slower to read; fewer: 1st percentile and deviation less certain.
_PLANES = 8
_SIDE = 1024
_EVERY = 7
_BLACK_PERCENTILE = 1  # black level; the minimum would follow a single outlier


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Intensities of one channel, from the first acquisitions of its pairs.

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
    """Return the normalisation of every channel, from a sample of all its fields of view."""
    by_channel: dict[int, list[np.ndarray]] = {}
    each = max(1, _PLANES // len(pairs))
    for pair in pairs:
        planes = [plane.ravel()[::_EVERY] for _, plane in pair.first.spread_planes(each, _SIDE)]
        by_channel.setdefault(pair.channel, []).extend(planes)
    return tuple(_of_sample(np.concatenate(planes)) for _, planes in sorted(by_channel.items()))


def _of_sample(values: np.ndarray) -> Normalisation:
    deviation = float(values.std())
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
        1 where a target pixel counts, 0 where it is held out or saturated.
    """

    input: Tensor
    target: Tensor
    weight: Tensor


class Maps(NamedTuple):
    """Numbers that turn the pixels of two acquisitions into an input and its target.

    Inputs keep their own gain; targets are mapped to the gain of their input.

    Attributes
    ----------
    gain, offset
        From the input's pixels to normalised units.
    target_gain, target_offset
        From the target's pixels to normalised units on the input's intensity scale.
    limit
        Pixels of the target at or above this value (ADU) are saturated.
    """

    gain: float
    offset: float
    target_gain: float
    target_offset: float
    limit: float


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
    return Maps(scale.gain, scale.offset, to_target.gain, to_target.offset, limit)
