"""The pixels that noise is measured on: a few planes of a pair, with their surroundings."""

from dataclasses import dataclass

import numpy as np

from napari_n2n.pair import Pair
from napari_n2n.quality import neighbourhood

GROUPS = 8
_PLANES = 6
_BLOCK = 32
_SIDE_OF_ONE = 1024
_SIDE_OF_MANY = 512


@dataclass(frozen=True, eq=False)
class Sample:
    """Aligned pixels of the first two acquisitions of a pair, in the first one's intensities.

    Attributes
    ----------
    a, b
        Shape (planes, Y, X).
    surroundings
        Smoothed mean of both around each pixel, without the pixel itself: the noise of a pixel has
        no part in it.
    valid
        False where one of the two is saturated.
    saturated_share
        Of the pixels of both, at the largest value that their type can hold.
    group
        Numbers 0 to 7 in blocks of 32x32 pixels (less in a small plane, so that every number
        occurs), for standard errors by leaving groups out.
    quantum
        Step of integer pixels; 0 for floats.
    """

    a: np.ndarray
    b: np.ndarray
    surroundings: np.ndarray
    valid: np.ndarray
    saturated_share: float
    group: np.ndarray
    quantum: float

    @classmethod
    def of(cls, pair: Pair) -> "Sample":
        """Read a few planes, or the middle of each where they are large."""
        first, second = pair.acquisitions[:2]
        side = _SIDE_OF_ONE if first.plane_count == 1 else _SIDE_OF_MANY
        a, raw = (
            np.stack([plane for _, plane in one.spread_planes(_PLANES, side)])
            for one in (first, second)
        )
        b = pair.matches[1].inverse(raw)
        saturated = np.stack(
            [values >= one.saturation for values, one in ((a, first), (raw, second))]
        )
        block = min(_BLOCK, min(a.shape[1:]) // GROUPS)
        y, x = (np.arange(length) // block for length in a.shape[1:])
        pattern = (y[:, None] + 3 * x[None, :]) % GROUPS
        whole = np.issubdtype(first.dtype, np.integer)
        return cls(
            a=a,
            b=b,
            surroundings=neighbourhood((a + b) / 2),
            valid=~(saturated[0] | saturated[1]),
            saturated_share=float(saturated.mean()),
            group=np.broadcast_to(pattern, a.shape),
            quantum=1.0 if whole else 0.0,
        )

    @property
    def difference(self) -> np.ndarray:
        """``A - B``, shape (planes, Y, X)."""
        return self.a - self.b
