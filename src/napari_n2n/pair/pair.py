"""Two or more acquisitions of one scene, checked and brought onto one grid and intensity scale.

Training works only if they show the same scene with independent noise. Acquisitions that cannot be
used raise an error; a shift by whole pixels and a different gain or offset are measured and
corrected automatically.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from napari_n2n.io.acquisition import Acquisition
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
from napari_n2n.pair.common_field import check_same_shape, to_common_field
from napari_n2n.pair.dark_frames import dark_map
from napari_n2n.pair.empty_areas import empty_areas, filled, smallest_square
from napari_n2n.pair.fixed_pattern import FixedPattern, find_fixed_pattern
from napari_n2n.pair.hits import Hits
from napari_n2n.pair.planes import Planes
from napari_n2n.pair.registration import measure_shift
from napari_n2n.pair.repeats import check_one_channel, open_repeats, open_single
from napari_n2n.pair.sampled import (
    SAMPLED_PLANES,
    SAMPLED_SIDE,
    Sampled,
    bad_pixels,
    spread,
    stacked,
)
from napari_n2n.pair.training_mask import TrainingMask
from napari_n2n.stats.affine import Affine


@dataclass(frozen=True, eq=False)
class Pair:
    """Acquisitions of one scene, cropped to the field of view that they share.

    Attributes
    ----------
    acquisitions
        Two or more, of one shape; one if there is a single recording (see `single`).
    matches
        For each, the map from the intensities of the first one to its own: ``B = gain A + offset``.
    shift
        Largest displacement (y, x) of any acquisition against the first, in pixels, before
        cropping.
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
    mask
        Where pixels are used; None: everywhere.
    """

    acquisitions: tuple[Acquisition, ...]
    matches: tuple[Affine, ...]
    shift: tuple[float, float]
    offsets: tuple[tuple[int, int], ...]
    findings: tuple[Finding, ...]
    pattern: FixedPattern
    hits: Hits | None = None
    bad_planes: tuple[BadPlane, ...] = ()
    empty_share: float = 0.0
    empty_square: int | None = None
    channel: int = 0
    mask: TrainingMask | None = None

    @classmethod
    def open(
        cls, *sources: Any, axes: str | None = None, dark: Sequence[Any] = (), mask: Any = None
    ) -> "Pair":
        """Open, check, register and match acquisitions of one scene.

        Parameters
        ----------
        sources
            Two or more sources that `Acquisition.open` accepts, or one with an axis of repeats (R).
        axes
            Letters of their dimensions; replaces the labels in the sources.
        dark
            Dark frames: hot pixels are replaced and offsets subtracted; see `dark_map`.
        mask
            Image that is not 0 where pixels are used for measuring and training; see
            `TrainingMask`.

        Raises
        ------
        BadInput
            If their shapes differ, one is too small, constant or not finite, two are the same
            image, or they have several channels (use `open_pairs` for these).
        """
        opened = open_repeats(sources, axes, detector=dark_map(dark) if dark else None)
        for acquisition in opened:
            check_one_channel(acquisition)
        return cls.of_acquisitions(
            [one for acquisition in opened for one in acquisition.along("C")], mask=mask
        )

    @classmethod
    def single(
        cls, source: Any, axes: str | None = None, dark: Sequence[Any] = (), mask: Any = None
    ) -> "Pair":
        """Open and check a scene that was recorded only once.

        Displacement, hits and fixed pattern stay unknown: they need a second recording.

        Parameters
        ----------
        source, axes, dark, mask
            As in `open`.

        Raises
        ------
        BadInput
            If it is too small, constant or not finite, or has several channels.
        """
        opened = open_single([source], axes, detector=dark_map(dark) if dark else None)
        check_one_channel(opened)
        return cls.of_acquisitions(opened.along("C"), mask=mask)

    @classmethod
    def of_acquisitions(
        cls,
        opened: list[Acquisition],
        channel: int = 0,
        pattern: FixedPattern | None = None,
        mask: Any = None,
    ) -> "Pair":
        """Check, register and match acquisitions of one channel; find `pattern` if it is None."""
        opened = on_same_axes(opened)
        check_same_shape(opened)
        whole, inside, start = opened, None, (0, 0)
        if mask is not None:
            opened, inside, start = _around(TrainingMask.open(mask, opened[0]), opened)
        bad = find_bad_planes(opened, SAMPLED_PLANES)
        numbers = spread(opened[0].plane_count, SAMPLED_PLANES, _unused(bad, inside))
        sampled = Sampled.read(opened, numbers, inside)
        for other in range(1, len(opened)):
            for earlier in range(other):
                views = sampled.views[earlier], sampled.views[other]
                refuse_duplicate(opened[earlier], opened[other], *views)
        if pattern is None and len(opened) == 1:
            pattern = FixedPattern.unknown(opened[0])
        if pattern is None:
            found = sampled if inside is None else Sampled.read(whole, numbers, None)
            pattern = find_fixed_pattern(whole, found.views, numbers, SAMPLED_SIDE, found.empty)
        seen = [one.corrected(pattern.detector) for one in opened]
        if pattern.is_notable:
            sampled = Sampled.read(seen, numbers, inside)
        first, *others = sampled.views
        shifts = [(0.0, 0.0)] + [measure_shift(first, planes) for planes in others]
        cropped, offsets = to_common_field(seen, shifts)
        if any(corner != offsets[0] for corner in offsets):
            inside = inside and inside.cropped(*_place(offsets[0], cropped[0]))
            sampled = Sampled.read(cropped, numbers, inside)
        cropped = [
            replace(one, measured_saturation=level)
            for one, level in zip(cropped, find_ceilings(sampled.views), strict=True)
        ]
        matches = sampled.matches()
        hits = sampled.hits(matches)
        if hits is not None:
            sampled = sampled.without_hits(matches, hits)
            matches = sampled.matches()
        copied = sampled.share > 0 or any(one.what == BLANK for one in bad)
        largest = max(shifts, key=lambda shift: math.hypot(*shift))
        return cls(
            acquisitions=tuple(
                one.corrected(raw.detector) for one, raw in zip(cropped, opened, strict=True)
            ),
            matches=matches,
            shift=largest,
            offsets=tuple((start[0] + y, start[1] + x) for y, x in offsets),
            findings=(
                *findings_of(cropped, sampled, matches, largest, hits, pattern),
                *findings_about_left_out(cropped[0], bad, sampled.share, inside),
            ),
            hits=hits,
            pattern=pattern,
            bad_planes=bad,
            empty_share=sampled.share,
            empty_square=smallest_square(sampled.views) if copied else None,
            channel=channel,
            mask=inside,
        )

    @property
    def first(self) -> Acquisition:
        """The first acquisition: its grid and intensities are the reference for the others."""
        return self.acquisitions[0]

    @cached_property
    def noise(self) -> tuple[float, ...]:
        """For each acquisition, the standard deviation of its noise on its own intensity scale.

        The noise is 0 if it is too small to measure beside that of the others, or if there are no
        others. It is measured on first use, because of many fields of view only a few need it.
        """
        if self.is_single:
            return (0.0,)
        unused = _unused(self.bad_planes, self.mask)
        numbers = spread(self.first.plane_count, SAMPLED_PLANES, unused)
        sampled = Sampled.read(self.corrected().acquisitions, numbers, self.mask)
        if self.hits is not None:
            sampled = sampled.without_hits(self.matches, self.hits)
        return sampled.noise(self.matches)

    @property
    def is_single(self) -> bool:
        """Whether there is one recording only."""
        return len(self.acquisitions) == 1

    @property
    def pixels(self) -> int:
        """Number of pixels in all acquisitions together."""
        return len(self.acquisitions) * math.prod(self.first.shape)

    @property
    def leaves_out(self) -> bool:
        """Whether planes or areas are left out of measuring and training."""
        return bool(self.bad_planes) or self.empty_share > 0 or self.mask is not None

    def left_out(self, region: Region, views: Sequence[np.ndarray]) -> np.ndarray:
        """Return which pixels of a region are not used: in bad planes or empty areas, or outside.

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
        if self.mask is not None:
            lost |= ~self.mask.inside(region)
        return lost

    def planes(self, count: int, side: int | None = None) -> Planes:
        """Read aligned planes of all acquisitions, evenly spread over the stack, without bad ones.

        Planes larger than `side` pixels are cropped to their middle.
        """
        numbers = spread(self.first.plane_count, count, _unused(self.bad_planes, self.mask))
        seen = self.corrected().acquisitions
        views = [stacked(one, numbers, side) for one in seen]
        empty = np.zeros(views[0].shape, bool)
        if self.empty_share > 0:
            empty = empty_areas(views, [one.saturation for one in self.acquisitions])
        if self.mask is not None:
            empty |= self.mask.outside_of_planes(numbers, side)
        if empty.any():
            views = [filled(view, empty) for view in views]
        with_offsets = views
        if any(one.detector is not None and one.detector.has_offsets for one in seen):
            without = [one.detector and one.detector.bad_only() for one in seen]
            parts = zip(seen, without, strict=True)
            with_offsets = [stacked(one.corrected(bad), numbers, side) for one, bad in parts]
        return Planes(numbers, views, empty, bad_pixels(seen, side), with_offsets)

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


def _around(
    mask: TrainingMask, opened: list[Acquisition]
) -> tuple[list[Acquisition], TrainingMask, tuple[int, int]]:
    """Crop acquisitions and mask to the part around the mask; also return where it starts."""
    rows, columns = mask.box()
    cropped = [one.cropped(rows, columns) for one in opened]
    return cropped, mask.cropped(rows, columns), (rows.start, columns.start)


def _place(corner: tuple[int, int], part: Acquisition) -> tuple[slice, slice]:
    (y, x), (rows, columns) = corner, part.plane_shape
    return slice(y, y + rows), slice(x, x + columns)


def _unused(bad: Sequence[BadPlane], mask: TrainingMask | None) -> set[int]:
    """Return the planes that are left out entirely."""
    return {one.plane for one in bad} | (mask.outside_planes if mask is not None else set())
