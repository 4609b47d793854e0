"""The sample that noise is measured on: a few planes of a pair, with their surroundings."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from napari_n2n.pair.pair import Pair
from napari_n2n.stats.statistics import groups_of_blocks, neighbourhood

# Planes of a stack, and pixels along the sides of the middle of each that is measured: at most 1.6
# million pixels. More: smaller standard errors; fewer: faster.
_PLANES, _SIDE_OF_MANY = 6, 512
# Pixels along the sides of the middle of a single plane.
_SIDE_OF_ONE = 1024
# Rows and columns of tiles, for standard errors of what depends on neighbours; and the smallest
# side in pixels that a tile may have: one block of `shared_noise`.
_TILES, _SMALLEST_TILE = (2, 4), 32
# Values with fewer pixels each on average are taken as continuous, without steps.
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
        False where a pixel is excluded: at first where one of the two is saturated.
    saturated, cut, cut_twice
        True where one of the two is at its largest possible value; where one is at zero, its
        smallest possible value; and where both are.
    saturated_share, black_share
        Share of the pixels of both that are at the largest value, and at zero.
    group
        Numbers 0 to 7, for standard errors by leaving groups out.
    quantum
        Step between pixel values in ADU: 1 for most integers, the gain of a detector that counts
        photons; 0 for continuous values.
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
        """Read a few planes, or the middle of each if they are large."""
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
        """Standard deviation of the scene in ADU: the root of the covariance of A and B."""
        together = np.mean((self.a - self.a.mean()) * (self.b - self.b.mean()))
        return float(np.sqrt(max(float(together), 0.0)))

    def without(self, pixels: np.ndarray) -> "Sample":
        """Return the same sample with some pixels not valid."""
        return replace(self, valid=self.valid & ~pixels)

    def tiles(self) -> Iterator[tuple[slice, slice, slice]]:
        """Yield eight tiles of every plane, for standard errors; none if too small."""
        down, across = _TILES
        rows, columns = self.a.shape[1] // down, self.a.shape[2] // across
        if min(rows, columns) < _SMALLEST_TILE:
            return
        for y, x in product(range(down), range(across)):
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
    """Return where pixels are at zero, if that is the smallest value."""
    return values <= 0 if values.min() == 0 else np.zeros(values.shape, bool)


def step_of(values: np.ndarray) -> float:
    """Return the step between the values of most pixels; 0 if values hardly repeat."""
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) < 2 or len(levels) > values.size / _PIXELS_PER_VALUE:
        return 0.0
    gaps = np.diff(levels)
    nearest = np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf))
    order = np.argsort(nearest)
    middle = np.searchsorted(np.cumsum(counts[order]), values.size / 2)
    return float(nearest[order][middle])
