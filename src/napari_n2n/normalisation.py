"""What the network sees of intensities: black at 0, a deviation of 1, channel by channel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_n2n.affine import Affine
from napari_n2n.pair import Pair

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
