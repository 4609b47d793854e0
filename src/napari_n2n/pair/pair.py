"""Two or more acquisitions of one scene, checked and brought onto one grid and intensity scale.

Training works only if they show the same scene with independent noise. Acquisitions that cannot be
used raise an error; a shift by whole pixels and a different gain or offset are measured and
corrected automatically.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition, evenly_spaced
from napari_n2n.io.detector_map import DetectorMap
from napari_n2n.io.header import Region
from napari_n2n.io.long_axes import on_same_axes
from napari_n2n.pair.bad_planes import BLANK, BadPlane, find_bad_planes
from napari_n2n.pair.checks import (
    Finding,
    find_ceilings,
    findings_about_left_out,
    findings_of,
    refuse_duplicate,
)
from napari_n2n.pair.dark_frames import corrected_by, dark_map
from napari_n2n.pair.empty_areas import empty_areas, filled, smallest_square
from napari_n2n.pair.fixed_pattern import FixedPattern, find_fixed_pattern
from napari_n2n.pair.hits import Hits, find_hits, without_hits
from napari_n2n.pair.matching import match_intensity, noise_levels
from napari_n2n.pair.registration import measure_shift, whole_pixels
from napari_n2n.stats.affine import Affine

# Smallest side of a plane for training, in pixels: one block of the statistics.
SMALLEST_SIDE = 32
# Number of planes that the checks read, and side in pixels of the middle part of each. More:
# smaller standard errors of shift and gain; fewer: faster.
SAMPLED_PLANES, SAMPLED_SIDE = 6, 1024


@dataclass(frozen=True, eq=False)
class Planes:
    """Aligned planes of all acquisitions of a pair.

    Attributes
    ----------
    numbers
        Their indices over all leading axes.
    views
        For each acquisition, float32, shape (planes, Y, X), without the fixed pattern of the
        detector; empty areas are `filled`.
    empty
        True in empty areas; shape (planes, Y, X).
    bad
        True for bad pixels of the detector, which have the mean of their neighbours; shape (Y, X).
    with_offsets
        The views with the offsets of columns and rows, so that integers are integers.
    """

    numbers: list[int]
    views: list[np.ndarray]
    empty: np.ndarray
    bad: np.ndarray
    with_offsets: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class Pair:
    """Acquisitions of one scene, cropped to the field of view that they share.

    Attributes
    ----------
    acquisitions
        Two or more, of one shape.
    matches
        For each, the map from the intensities of the first one to its own: ``B = gain A + offset``.
    shift
        Largest displacement (y, x) of any acquisition against the first, in pixels, before
        cropping.
    noise
        For each, the standard deviation of its noise on its own intensity scale; 0 if it is too
        small to be measured beside that of the others.
    offsets
        For each, the row and column of its original plane at which its cropped part starts.
    hits
        Sharp bright pixels in one acquisition only, such as cosmic rays; None if there are none.
    pattern
        The fixed pattern of the detector, which is left out of measuring.
    bad_planes
        Planes that are left out of measuring and training.
    empty_share
        Share of the sampled pixels in empty areas, such as borders; these are left out too.
    empty_square
        Side in pixels of the smallest square of equal pixels that is in empty areas only; None if
        there are none.
    findings
        What the user should know about the pair.
    channel
        Index of the channel, 0 if there is only one.
    """

    acquisitions: tuple[Acquisition, ...]
    matches: tuple[Affine, ...]
    noise: tuple[float, ...]
    shift: tuple[float, float]
    offsets: tuple[tuple[int, int], ...]
    findings: tuple[Finding, ...]
    pattern: FixedPattern
    hits: Hits | None = None
    bad_planes: tuple[BadPlane, ...] = ()
    empty_share: float = 0.0
    empty_square: int | None = None
    channel: int = 0

    @classmethod
    def open(cls, *sources: Any, axes: str | None = None, dark: Sequence[Any] = ()) -> "Pair":
        """Open, check, register and match acquisitions of one scene.

        Parameters
        ----------
        sources
            Two or more of whatever `Acquisition.open` takes, or one with an axis of repeats (R).
        axes
            Letters of their dimensions; replaces the labels in the sources.
        dark
            Dark frames: hot pixels are replaced and offsets subtracted; see `dark_map`.

        Raises
        ------
        BadInput
            If their shapes differ, one is too small, constant or not finite, two are the same
            image, or they have several channels (use `open_pairs` for these).
        """
        opened = open_repeats(sources, axes, detector=dark_map(dark) if dark else None)
        for acquisition in opened:
            if len(acquisition.along("C")) > 1:
                raise BadInput(
                    f"{acquisition.name}: has several channels, each with its own noise: "
                    "open_pairs makes a pair of each",
                    "channels",
                )
        return cls.of_acquisitions(
            [one for acquisition in opened for one in acquisition.along("C")]
        )

    @classmethod
    def of_acquisitions(
        cls, opened: list[Acquisition], channel: int = 0, pattern: FixedPattern | None = None
    ) -> "Pair":
        """Check, register and match acquisitions of one channel; `pattern` is searched if None."""
        opened = on_same_axes(opened)
        _same_shape(opened)
        bad = find_bad_planes(opened, SAMPLED_PLANES)
        numbers = spread(opened[0].plane_count, SAMPLED_PLANES, {one.plane for one in bad})
        sampled, empty = _sample(opened, numbers)
        for other in range(1, len(opened)):
            for earlier in range(other):
                refuse_duplicate(opened[earlier], opened[other], sampled[earlier], sampled[other])
        if pattern is None:
            pattern = find_fixed_pattern(opened, sampled, numbers, SAMPLED_SIDE, empty)
        seen = [one.corrected(pattern.detector) for one in opened]
        if pattern.is_notable:
            sampled, empty = _sample(seen, numbers)
        shifts = [(0.0, 0.0)] + [measure_shift(sampled[0], planes) for planes in sampled[1:]]
        cropped, offsets = _crop(seen, shifts)
        if any(start != offsets[0] for start in offsets):
            sampled, empty = _sample(cropped, numbers)
        counted = _counted(cropped, empty)
        cropped = [
            replace(one, measured_saturation=level)
            for one, level in zip(cropped, find_ceilings(sampled), strict=True)
        ]
        matches = _matches(sampled, counted)
        views = [
            match.inverse(np.stack(planes)) for match, planes in zip(matches, sampled, strict=True)
        ]
        hits = find_hits(views)
        if hits is not None:
            cleaned = without_hits(views, hits)
            sampled = [list(match(view)) for match, view in zip(matches, cleaned, strict=True)]
            matches = _matches(sampled, counted)
        blank = any(one.what == BLANK for one in bad)
        square = smallest_square(sampled) if blank or empty.any() else None
        largest = max(shifts, key=lambda shift: math.hypot(*shift))
        return cls(
            acquisitions=tuple(
                one.corrected(raw.detector) for one, raw in zip(cropped, opened, strict=True)
            ),
            matches=matches,
            noise=noise_levels(sampled, matches, counted),
            shift=largest,
            offsets=offsets,
            findings=(
                *findings_of(cropped, sampled, matches, largest, hits, pattern),
                *findings_about_left_out(cropped[0], bad, float(empty.mean())),
            ),
            hits=hits,
            pattern=pattern,
            bad_planes=bad,
            empty_share=float(empty.mean()),
            empty_square=square,
            channel=channel,
        )

    @property
    def first(self) -> Acquisition:
        """The first acquisition: its grid and intensities are the reference for the others."""
        return self.acquisitions[0]

    @property
    def pixels(self) -> int:
        """Number of pixels in all acquisitions together."""
        return len(self.acquisitions) * math.prod(self.first.shape)

    @property
    def leaves_out(self) -> bool:
        """Whether planes or areas are left out of measuring and training."""
        return bool(self.bad_planes) or self.empty_share > 0

    def left_out(self, region: Region, views: Sequence[np.ndarray]) -> np.ndarray:
        """Return which pixels of a region are no data: in bad planes or empty areas.

        Parameters
        ----------
        region
            One slice for each axis.
        views
            For each acquisition, the pixels of the region.
        """
        leading = [range(part.start, part.stop) for part in region[:-2]]
        numbers = np.zeros([1, *map(len, leading)], np.int64)[0]
        if leading:
            numbers = np.ravel_multi_index(np.ix_(*leading), self.first.shape[:-2])
        bad = np.isin(numbers, [one.plane for one in self.bad_planes])
        lost = np.zeros(views[0].shape, bool) | bad[..., None, None]
        if self.empty_share > 0:
            lost |= empty_areas(views, [one.saturation for one in self.acquisitions], rim=0)
        return lost

    def planes(self, count: int, side: int | None = None) -> "Planes":
        """Read aligned planes of all acquisitions, evenly spread over the stack, without bad ones.

        Planes larger than `side` pixels are cropped to their middle.
        """
        numbers = spread(self.first.plane_count, count, {one.plane for one in self.bad_planes})
        seen = self.corrected().acquisitions
        views = [_stack(one, numbers, side) for one in seen]
        empty = np.zeros(views[0].shape, bool)
        if self.empty_share > 0:
            empty = empty_areas(views, [one.saturation for one in self.acquisitions])
            views = [filled(view, empty) for view in views]
        with_offsets = views
        if any(one.detector is not None and one.detector.has_offsets for one in seen):
            without = [one.detector and one.detector.bad_only() for one in seen]
            parts = zip(seen, without, strict=True)
            with_offsets = [_stack(one.corrected(bad), numbers, side) for one, bad in parts]
        return Planes(numbers, views, empty, _bad(seen, side), with_offsets)

    def corrected(self) -> "Pair":
        """Return the pair without the fixed pattern of the detector: see `Acquisition.corrected`.

        The other attributes, which were measured without it, remain the same.
        """
        detector = self.pattern.detector
        return replace(
            self, acquisitions=tuple(one.corrected(detector) for one in self.acquisitions)
        )

    def bad_pixels(self, rows: slice, columns: slice) -> np.ndarray:
        """Return which pixels of a part of the planes are corrected bad pixels; shape (Y, X)."""
        return np.logical_or.reduce([one.bad_pixels(rows, columns) for one in self.acquisitions])

    def match(self, source: int, target: int) -> Affine:
        """Return the map from the intensities of acquisition `source` to those of `target`."""
        return self.matches[target].after(self.matches[source].inverse)


def open_repeats(
    sources: Sequence[Any],
    axes: str | None,
    split: str | None = None,
    detector: DetectorMap | None = None,
) -> list[Acquisition]:
    """Open sources and return each half and each repeat as a separate acquisition.

    Hot pixels and offsets are corrected by `detector`, the map of dark frames.
    """
    opened = [Acquisition.open(source, axes=axes) for source in sources]
    if detector is not None:
        opened = [corrected_by(one, detector) for one in opened]
    if split is not None:
        opened = [half for stack in opened for half in stack.split(split)]
    opened = [repeat for stack in opened for repeat in stack.along("R")]
    if len(opened) < 2:
        raise BadInput(
            "one acquisition is not a pair: give two acquisitions of the same scene, split a stack "
            "of one scene into even and odd frames (--split T), or label its axis of repeats R",
            "single",
        )
    return opened


def _same_shape(acquisitions: list[Acquisition]) -> None:
    first = acquisitions[0]
    for other in acquisitions[1:]:
        if other.shape != first.shape:
            raise BadInput(
                f"{other.name}: shape {other.shape} differs from {first.name}'s {first.shape}: "
                "both acquisitions must show the same field; crop them to one size",
                "shape",
            )
    if min(first.plane_shape) < SMALLEST_SIDE:
        raise BadInput(
            f"{first.name}: planes of {first.plane_shape[0]}x{first.plane_shape[1]} pixels are "
            f"too small for training: at least {SMALLEST_SIDE}x{SMALLEST_SIDE} are needed",
            "size",
        )


def _sample(
    acquisitions: Sequence[Acquisition], numbers: Sequence[int]
) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Read a few planes, or their middle parts if they are large.

    Returns
    -------
    planes, empty
        For each acquisition, its planes with empty areas filled; and where these are.
    """
    views = [_stack(acquisition, numbers, SAMPLED_SIDE) for acquisition in acquisitions]
    for acquisition, view in zip(acquisitions, views, strict=True):
        if all(np.ptp(plane) == 0 for plane in view):
            raise BadInput(
                f"{acquisition.name}: every pixel is {view.flat[0]:g}: "
                "nothing to train on; check the exposure or the channel",
                "constant",
            )
    empty = empty_areas(views, [float(view.max()) for view in views])
    if not empty.any() or empty.all():
        return [list(view) for view in views], np.zeros(empty.shape, bool)
    return [list(filled(view, empty)) for view in views], empty


def _stack(acquisition: Acquisition, numbers: Sequence[int], side: int | None) -> np.ndarray:
    return np.stack([plane for _, plane in acquisition.planes_at(numbers, side)])


def _bad(acquisitions: Sequence[Acquisition], side: int | None) -> np.ndarray:
    """Return the bad pixels of all acquisitions in the middle of their planes; shape (Y, X)."""
    middle = [one.middle(side) for one in acquisitions]
    return np.logical_or.reduce([one.bad_pixels(slice(None), slice(None)) for one in middle])


def _counted(acquisitions: Sequence[Acquisition], empty: np.ndarray) -> np.ndarray | None:
    """Return which sampled pixels are data, shape (planes, Y, X); None if all are."""
    without = empty | _bad(acquisitions, SAMPLED_SIDE)
    return ~without if without.any() else None


def _matches(sampled: list[list[np.ndarray]], counted: np.ndarray | None) -> tuple[Affine, ...]:
    first, *others = sampled
    return (Affine(), *(match_intensity(first, planes, counted) for planes in others))


def spread(total: int, count: int, without: Collection[int]) -> list[int]:
    """Return up to `count` evenly spaced numbers below `total`, the nearest others to bad ones."""
    numbers = set(evenly_spaced(total, count))
    for bad in sorted(numbers & set(without)):
        free = [n for n in range(total) if n not in without and n not in numbers]
        if free:
            numbers.add(min(free, key=lambda n: abs(n - bad)))
        if len(numbers) > 1:
            numbers.remove(bad)
    return sorted(numbers)


def _crop(
    acquisitions: list[Acquisition], shifts: list[tuple[float, float]]
) -> tuple[list[Acquisition], tuple[tuple[int, int], ...]]:
    """Crop each acquisition to the field of view that all of them share."""
    whole = np.array([[whole_pixels(step) for step in shift] for shift in shifts])
    low, high = whole.min(axis=0), whole.max(axis=0)
    shape = np.array(acquisitions[0].plane_shape) - (high - low)
    starts = whole - low
    if not (high - low).any():
        return acquisitions, ((0, 0),) * len(acquisitions)
    if shape.min() < SMALLEST_SIDE:
        raise BadInput(
            f"{acquisitions[0].name}: the acquisitions share only {shape[0]}x{shape[1]} pixels: "
            "choose two recordings of the same field",
            "size",
        )
    cropped = [
        acquisition.cropped(*(slice(int(s), int(s + n)) for s, n in zip(start, shape, strict=True)))
        for acquisition, start in zip(acquisitions, starts, strict=True)
    ]
    return cropped, tuple((int(y), int(x)) for y, x in starts)
