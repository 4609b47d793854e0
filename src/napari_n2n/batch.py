"""What the network is given at once: aligned noisy views of some places, in normalised units."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from napari_n2n.normalisation import Normalisation
from napari_n2n.pair import Pair


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
