"""What the network is given at once: aligned noisy views of some places, in normalised units.

What the network sees of intensities: black at 0, a deviation of 1, channel by channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from napari_n2n.pair.pair import Pair
from napari_n2n.stats.affine import Affine

_PLANES = 8
_SIDE = 1024


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Intensities of one channel, learned from the first acquisitions of its pairs.

    Attributes
    ----------
    scale
        Map from ADU to normalised units: the 1st percentile becomes 0, the standard deviation 1.
    mean
        In normalised units.
    values
        Smallest and largest value, in ADU.
    """

    scale: Affine
    mean: float
    values: tuple[float, float]


def normalisations(pairs: Sequence[Pair]) -> tuple[Normalisation, ...]:
    """Return the normalisation of every channel, from a sample of all its fields of view."""
    by_channel: dict[int, list[np.ndarray]] = {}
    each = max(1, _PLANES // len(pairs))
    for pair in pairs:
        planes = [plane.ravel()[::7] for _, plane in pair.first.spread_planes(each, _SIDE)]
        by_channel.setdefault(pair.channel, []).extend(planes)
    return tuple(_of(np.concatenate(planes)) for _, planes in sorted(by_channel.items()))


def _of(values: np.ndarray) -> Normalisation:
    deviation = float(values.std())
    scale = Affine(1 / deviation, -float(np.percentile(values, 1)) / deviation)
    ends = float(values.min()), float(values.max())
    return Normalisation(scale, float(scale(values).mean()), ends)


@dataclass(frozen=True, slots=True)
class Batch:
    """Aligned tensors of shape (N, 1, [Z,] Y, X), in normalised units.

    Attributes
    ----------
    input, target
        Two noisy views of the same places.
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
        Pixels of the target at or above this are saturated.
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
    normalisations
        Of each channel.
    """
    scale = normalisations[pair.channel].scale
    to_target = scale.after(pair.match(target, source))
    limit = pair.acquisitions[target].saturation
    return Maps(scale.gain, scale.offset, to_target.gain, to_target.offset, limit)
