"""The pixels that noise is measured on: a few planes of a pair, with their surroundings."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from napari_n2n.pair.pair import Pair
from napari_n2n.stats.statistics import groups_of_blocks, neighbourhood

_PLANES = 6
_SIDE_OF_ONE = 1024
_SIDE_OF_MANY = 512
_SMALLEST_TILE = 32
# Fewer pixels than this to a value, and they are taken for numbers without steps.
_PIXELS_PER_VALUE = 4


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
        False where a pixel does not count: here where one of the two is saturated.
    saturated, cut, cut_twice
        True where one of the two is at the largest value that it can have; where one is at zero,
        below which it has no values; and where both are.
    saturated_share, black_share
        Of the pixels of both.
    group
        Numbers 0 to 7, for standard errors by leaving groups out.
    quantum
        Step between the values that pixels take: 1 for most integers, the gain of a detector that
        counts photons; 0 where there are none.
    """

    a: np.ndarray
    b: np.ndarray
    surroundings: np.ndarray
    valid: np.ndarray
    saturated: np.ndarray
    cut: np.ndarray
    cut_twice: np.ndarray
    saturated_share: float
    black_share: float
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
        black = np.stack([_cut_off(values) for values in (a, raw)])
        return cls(
            a=a,
            b=b,
            surroundings=neighbourhood((a + b) / 2),
            valid=~(saturated[0] | saturated[1]),
            saturated=saturated[0] | saturated[1],
            cut=black[0] | black[1],
            cut_twice=black[0] & black[1],
            saturated_share=float(saturated.mean()),
            black_share=float(black.mean()),
            group=groups_of_blocks(a.shape),
            quantum=step_of(a),
        )

    @property
    def difference(self) -> np.ndarray:
        """``A - B``, shape (planes, Y, X)."""
        return self.a - self.b

    @property
    def valid_difference(self) -> np.ndarray:
        """``A - B``, 0 where that is not valid."""
        return np.where(self.valid, self.difference, 0.0)

    @property
    def contrast(self) -> float:
        """Standard deviation of the scene, by what A and B have in common, in ADU."""
        together = np.mean((self.a - self.a.mean()) * (self.b - self.b.mean()))
        return float(np.sqrt(max(float(together), 0.0)))

    def without(self, pixels: np.ndarray) -> "Sample":
        """Return the same sample with some pixels not valid."""
        return replace(self, valid=self.valid & ~pixels)

    def tiles(self) -> Iterator[tuple[slice, slice, slice]]:
        """Cut every plane into eight tiles, for standard errors; none where they are too small."""
        rows, columns = self.a.shape[1] // 2, self.a.shape[2] // 4
        if min(rows, columns) < _SMALLEST_TILE:
            return
        for number in range(8):
            y, x = divmod(number, 4)
            yield (
                slice(None),
                slice(y * rows, (y + 1) * rows),
                slice(x * columns, (x + 1) * columns),
            )

    def of_tile(self, tile: tuple[slice, slice, slice]) -> "Sample":
        """Return a part of the sample."""
        names = ("a", "b", "surroundings", "valid", "saturated", "cut", "cut_twice", "group")
        return replace(self, **{name: getattr(self, name)[tile] for name in names})


def _cut_off(values: np.ndarray) -> np.ndarray:
    """Tell which pixels are at zero where nothing lies below."""
    return values <= 0 if values.min() == 0 else np.zeros(values.shape, bool)


def step_of(values: np.ndarray) -> float:
    """Step between the values that most of the pixels take; 0 if there are about as many values."""
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) < 2 or len(levels) > values.size / _PIXELS_PER_VALUE:
        return 0.0
    gaps = np.diff(levels)
    nearest = np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf))
    order = np.argsort(nearest)
    middle = np.searchsorted(np.cumsum(counts[order]), values.size / 2)
    return float(nearest[order][middle])
