"""The pixels on which noise is measured: a few planes of a pair, with their surroundings."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from napari_n2n.pair.hits import without_hits
from napari_n2n.pair.pair import Pair
from napari_n2n.stats.statistics import groups_of_blocks, neighbourhood

# Number of planes of a stack, and side in pixels of the middle part of each: at most 1.6 million
# pixels. More: smaller standard errors; fewer: faster.
_PLANES, _SIDE_OF_MANY = 6, 512
# Side in pixels of the middle part of a single plane.
_SIDE_OF_ONE = 1024
# Rows and columns of tiles, for standard errors of figures that depend on neighbours; and smallest
# side of a tile in pixels: one block of `shared_noise`.
_TILES, _SMALLEST_TILE = (2, 4), 32
# Share of the pixels at the smallest value above which it may be the lower limit of the detector.
_PILED = 1e-3
# Average number of pixels per value below which the values are taken as continuous.
_PIXELS_PER_VALUE = 4


@dataclass(frozen=True, eq=False)
class Sample:
    """Aligned pixels of the first two acquisitions of a pair, on the first one's intensity scale.

    Attributes
    ----------
    a, b
        Shape (planes, Y, X). Where a pixel is hit, it has the value of the other acquisition.
    surroundings
        Smoothed mean of A and B around each pixel, without the pixel itself, so that it does not
        depend on the pixel's noise.
    valid
        False for excluded pixels: initially those that are saturated or hit in A or B, bad pixels
        of the detector, and empty ones.
    empty
        True in empty areas, such as borders, which are not valid. A and B have the mirror image of
        the data there, so that blocks and neighbourhoods have the statistics of the data.
    saturated, cut, cut_twice
        True where A or B has its largest possible value; where A or B has its smallest possible
        value; and where both have it.
    lower_limit
        The smallest possible value, the larger one of A and B, in ADU of A; minus infinity if
        there are few pixels at the smallest value.
    saturated_share, black_share
        Share of the pixels of both with the largest value, and with the smallest value.
    group
        Number of the group of each pixel, 0 to 15, for standard errors by jackknife.
    quantum
        Step between pixel values in ADU: 1 for most integers, the gain of a detector that counts
        photons; 0 for continuous values.
    """

    a: np.ndarray
    b: np.ndarray
    surroundings: np.ndarray
    valid: np.ndarray
    empty: np.ndarray
    saturated: np.ndarray
    cut: np.ndarray
    cut_twice: np.ndarray
    lower_limit: float
    saturated_share: float
    black_share: float
    group: np.ndarray
    quantum: float

    @classmethod
    def of(cls, pair: Pair) -> "Sample":
        """Read a few planes of a pair, or their middle parts if they are large."""
        first, second = pair.acquisitions[:2]
        side = _SIDE_OF_ONE if first.plane_count == 1 else _SIDE_OF_MANY
        planes = pair.planes(_PLANES, side)
        a, raw = planes.views[:2]
        b = pair.matches[1].inverse(raw)
        integers = planes.with_offsets[:2]
        hit = np.zeros(a.shape, bool)
        if pair.hits is not None:
            seen, (a, b) = (a, b), without_hits((a, b), pair.hits)
            hit = (a != seen[0]) | (b != seen[1])
        saturated = np.stack(
            [values >= one.saturation for values, one in ((a, first), (raw, second))]
        )
        limits = [_lower_limit(values) for values in integers]
        black = np.stack([values <= limit for values, limit in zip(integers, limits, strict=True)])
        return cls(
            a=a,
            b=b,
            surroundings=neighbourhood((a + b) / 2),
            valid=~(saturated[0] | saturated[1] | hit | planes.empty | planes.bad),
            empty=planes.empty,
            saturated=saturated[0] | saturated[1],
            cut=black[0] | black[1],
            cut_twice=black[0] & black[1],
            lower_limit=max(limits[0], float(pair.matches[1].inverse(limits[1]))),
            saturated_share=float(saturated.mean()),
            black_share=float(black.mean()),
            group=groups_of_blocks(a.shape),
            quantum=step_of(integers[0]),
        )

    @property
    def difference(self) -> np.ndarray:
        """``A - B``, shape (planes, Y, X)."""
        return self.a - self.b

    @property
    def valid_difference(self) -> np.ndarray:
        """``A - B``, with 0 for excluded pixels outside empty areas."""
        return np.where(self.valid | self.empty, self.difference, 0.0)

    @property
    def contrast(self) -> float:
        """Standard deviation of the scene in ADU: the root of the covariance of A and B."""
        together = np.mean((self.a - self.a.mean()) * (self.b - self.b.mean()))
        return float(np.sqrt(max(float(together), 0.0)))

    def without(self, pixels: np.ndarray) -> "Sample":
        """Return the same sample with some pixels excluded."""
        return replace(self, valid=self.valid & ~pixels)

    def tiles(self) -> Iterator[tuple[slice, slice, slice]]:
        """Yield the slices of eight tiles, for standard errors; none if they are too small."""
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
        """Return the part of the sample in one tile."""
        names = ("a", "b", "surroundings", "valid", "empty", "saturated", "cut", "cut_twice")
        parts = {name: getattr(self, name)[tile] for name in (*names, "group")}
        return replace(self, **parts)


def _lower_limit(values: np.ndarray) -> float:
    """Return the smallest value if it is zero or if many pixels have it; else minus infinity."""
    smallest = float(values.min())
    piled = float((values == smallest).mean()) > _PILED
    return smallest if smallest == 0 or piled else -np.inf


def step_of(values: np.ndarray) -> float:
    """Return the typical (median) step between pixel values; 0 if few values repeat."""
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) < 2 or len(levels) > values.size / _PIXELS_PER_VALUE:
        return 0.0
    gaps = np.diff(levels)
    nearest = np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf))
    order = np.argsort(nearest)
    middle = np.searchsorted(np.cumsum(counts[order]), values.size / 2)
    return float(nearest[order][middle])
