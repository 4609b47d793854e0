"""Sample a few planes of all acquisitions of a pair, to check, register and match them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition, evenly_spaced
from napari_n2n.pair.empty_areas import empty_areas, filled
from napari_n2n.pair.hits import Hits, find_hits, without_hits
from napari_n2n.pair.matching import match_intensity, noise_levels
from napari_n2n.pair.training_mask import TrainingMask
from napari_n2n.stats.affine import Affine
from napari_n2n.stats.statistics import neighbourhood

# Number of planes that the checks read, and side in pixels of the middle part of each. More:
# smaller standard errors of shift and gain; fewer: faster.
SAMPLED_PLANES, SAMPLED_SIDE = 6, 1024


@dataclass(frozen=True, eq=False)
class Sampled:
    """The same planes of all acquisitions of a pair, or their middle parts if they are large.

    Attributes
    ----------
    views
        For each acquisition, its planes with empty areas and those outside the mask filled; shape
        (planes, Y, X).
    empty
        True in these areas; shape (planes, Y, X).
    bad
        Bad pixels of the detector; shape (Y, X).
    share
        Share of empty pixels, without those outside the mask.
    """

    views: list[np.ndarray]
    empty: np.ndarray
    bad: np.ndarray
    share: float

    @classmethod
    def read(
        cls, acquisitions: Sequence[Acquisition], numbers: list[int], mask: TrainingMask | None
    ) -> "Sampled":
        """Read some planes of acquisitions of one shape.

        Raises
        ------
        BadInput
            If every plane of an acquisition has a single value.
        """
        views = [stacked(acquisition, numbers, SAMPLED_SIDE) for acquisition in acquisitions]
        for acquisition, view in zip(acquisitions, views, strict=True):
            if all(np.ptp(plane) == 0 for plane in view):
                raise BadInput(
                    f"{acquisition.name}: every pixel is {view.flat[0]:g}: "
                    "nothing to train on; check the exposure or the channel",
                    "constant",
                )
        empty = empty_areas(views, [float(view.max()) for view in views])
        if empty.all():
            empty[:] = False
        share = float(empty.mean())
        if mask is not None:
            empty = empty | mask.outside_of_planes(numbers, SAMPLED_SIDE)
        if empty.any():
            views = [filled(view, empty) for view in views]
        return cls(views, empty, bad_pixels(acquisitions, SAMPLED_SIDE), share)

    @cached_property
    def surroundings(self) -> list[np.ndarray]:
        """For each acquisition, the `neighbourhood` of every pixel; shape (planes, Y, X)."""
        return [neighbourhood(view) for view in self.views]

    @cached_property
    def counted(self) -> np.ndarray | None:
        """Which pixels are data, shape (planes, Y, X); None if all are."""
        without = self.empty | self.bad
        return ~without if without.any() else None

    def matches(self) -> tuple[Affine, ...]:
        """Return for each acquisition the map from the intensities of the first to its own."""
        first, *others = zip(self.views, self.surroundings, strict=True)
        return (Affine(), *(match_intensity(first, other, self.counted) for other in others))

    def hits(self, matches: Sequence[Affine]) -> Hits | None:
        """Return the hits; None if there are none, or no second acquisition."""
        if len(self.views) < 2:
            return None
        a, b, around_a, around_b = (
            match.inverse(values)
            for part in (self.views, self.surroundings)
            for match, values in zip(matches[:2], part[:2], strict=True)
        )
        return find_hits((a, b), (around_a + around_b) / 2)

    def without_hits(self, matches: Sequence[Affine], hits: Hits) -> "Sampled":
        """Return the planes in which hits have the value of another acquisition."""
        views = [match.inverse(view) for match, view in zip(matches, self.views, strict=True)]
        cleaned = without_hits(views, hits)
        return replace(self, views=[m(view) for m, view in zip(matches, cleaned, strict=True)])

    def noise(self, matches: tuple[Affine, ...]) -> tuple[float, ...]:
        """Return for each acquisition the standard deviation of its noise, on its own scale."""
        return noise_levels(self.views, matches, self.counted)


def stacked(acquisition: Acquisition, numbers: Sequence[int], side: int | None) -> np.ndarray:
    """Read planes, or their middle parts of at most `side` pixels; shape (planes, Y, X)."""
    return np.stack([plane for _, plane in acquisition.planes_at(numbers, side)])


def bad_pixels(acquisitions: Sequence[Acquisition], side: int | None) -> np.ndarray:
    """Return the bad pixels of all acquisitions in the middle of their planes; shape (Y, X)."""
    middle = [one.middle(side) for one in acquisitions]
    return np.logical_or.reduce([one.bad_pixels(slice(None), slice(None)) for one in middle])


def spread(total: int, count: int, without: Collection[int]) -> list[int]:
    """Return up to `count` evenly spaced numbers below `total`, with bad ones replaced."""
    numbers = set(evenly_spaced(total, count))
    for bad in sorted(numbers & set(without)):
        free = [n for n in range(total) if n not in without and n not in numbers]
        if free:
            numbers.add(min(free, key=lambda n: abs(n - bad)))
        if len(numbers) > 1:
            numbers.remove(bad)
    return sorted(numbers)
