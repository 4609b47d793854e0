"""The fixed pattern of a detector: errors that are equal in every exposure, and stay in a result.

It is common to both acquisitions of a pair, so a network cannot distinguish it from the scene.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.crash_safe import write_atomically
from napari_n2n.io.detector_map import DetectorMap
from napari_n2n.io.window import sub_slice
from napari_n2n.pair.hot_pixels import find_hot_pixels
from napari_n2n.pair.line_offsets import LineOffsets, column_offsets
from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Offsets of lines above this part of the noise of one acquisition are reported and corrected: the
# noise of a result is a few times as large.
_NOTABLE = 0.08
# Quantiles by which the intensities of A and B are compared, and difference of the gain from 1
# below which it is taken as 1: noise changes the quantiles.
_QUANTILES, _ALIKE = (0.05, 0.5, 0.95), 0.1
# Largest number of pixels of a plane that is searched as a whole: a larger plane was stitched from
# several images, because no detector has so many. And largest number of pixels of all planes
# together: searching them takes a few seconds.
_LARGEST_PLANE, _MOST_PIXELS = 2**26, 2**24


@dataclass(frozen=True, eq=False)
class FixedPattern:
    """Pattern that two acquisitions have in common although it is not light.

    Attributes
    ----------
    hot, dead
        Row and column of each hot and of each dead pixel in the planes of the source; shape (n, 2).
    searched
        Number of pixels that were searched.
    columns, rows
        Offsets of columns and rows; None if they could not be determined.
    detector
        The map that corrects the pattern, including what the acquisitions already correct; None if
        there is nothing to correct.
    """

    hot: np.ndarray
    dead: np.ndarray
    searched: int
    columns: LineOffsets | None
    rows: LineOffsets | None
    detector: DetectorMap | None

    @classmethod
    def unknown(cls, acquisition: Acquisition) -> "FixedPattern":
        """Return the pattern of a single acquisition: what the acquisition already corrects."""
        none = np.zeros((0, 2), np.int64)
        pixels = math.prod(acquisition.plane_shape)
        return cls(none, none, pixels, None, None, acquisition.detector)

    @property
    def is_notable(self) -> bool:
        """Whether the pattern would be visible in a result."""
        lines = (self.columns, self.rows)
        return bool(len(self.hot) + len(self.dead)) or any(
            one and one.values.any() for one in lines
        )

    @property
    def hot_share(self) -> float:
        """Share of hot pixels among the pixels that were searched."""
        return len(self.hot) / self.searched

    def write_points(self, path: Path) -> None:
        """Write the hot and dead pixels as a CSV file that napari opens as a layer of points."""
        places = [(name, y, x) for name, found in self._named for y, x in found]
        lines = [f"{index},{y},{x},{name}" for index, (name, y, x) in enumerate(places)]
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join(["index,axis-0,axis-1,kind", *lines, ""])
        write_atomically(path, text.encode())

    @property
    def _named(self) -> tuple[tuple[str, np.ndarray], ...]:
        return ("hot", self.hot), ("dead", self.dead)

    def message(self) -> str:
        """Return one or two sentences with the figures and what to do."""
        parts = [
            f"{len(places)} {name} pixels ({len(places) / self.searched:.2%})"
            for name, places in self._named
            if len(places)
        ]
        parts += [
            f"offsets of the {name} of {one.rms:.2g} ADU (root mean square)"
            for name, one in (("columns", self.columns), ("rows", self.rows))
            if one is not None and one.values.any()
        ]
        return (
            f"The detector has a fixed pattern, which is the same in all recordings and stays in "
            f"the result: {', '.join(parts)}. Left out of measuring. To remove it, train with "
            "--fixed-pattern repair, or subtract dark frames (option dark)."
        )


def find_fixed_pattern(
    acquisitions: Sequence[Acquisition],
    sampled: Sequence[np.ndarray],
    numbers: Sequence[int],
    side: int,
    empty: np.ndarray,
) -> FixedPattern:
    """Find hot and dead pixels, and offsets of columns and rows.

    The middle of the planes is searched, and the whole planes only if something is found there.

    Parameters
    ----------
    acquisitions
        Acquisitions of one scene, not cropped even if they are displaced; the first two are used.
    sampled
        For each acquisition, the middle parts of some planes; shape (planes, Y, X).
    numbers
        Numbers of these planes, without bad ones.
    side
        Largest side of the middle part.
    empty
        Where the middle part is empty; shape (planes, Y, X).
    """
    first = acquisitions[0]
    a, b = (np.asarray(np.mean(planes, axis=0, dtype=np.float64)) for planes in sampled[:2])
    counted = np.logical_not(empty.any(axis=0))
    found = _found(first.middle(side), a, b, len(numbers), counted)
    size = math.prod(first.plane_shape)
    if found.is_notable and a.size < size < _LARGEST_PLANE:
        few = numbers[: max(1, _MOST_PIXELS // size)]
        a, b = (_mean(one, few) for one in acquisitions[:2])
        found = _found(first, a, b, len(few), None)
    return found


def _found(
    view: Acquisition,
    a: np.ndarray,
    b: np.ndarray,
    count: int,
    counted: np.ndarray | None,
) -> FixedPattern:
    """Return the fixed pattern in the means of planes of two acquisitions.

    Parameters
    ----------
    view
        The first acquisition, or the part of it to which `a` and `b` belong.
    a, b, count
        Means of the planes of each, and their number.
    counted
        See `find_hot_pixels`.
    """
    b = _on_scale_of(a, b)
    part = slice(0, a.shape[0]), slice(0, a.shape[1])
    noise = float(np.median(np.abs(a - b))) * MAD_TO_SIGMA * math.sqrt(count / 2)
    columns, rows = _lines(a, b, noise, counted)
    # A line with a large offset may look like hot pixels, and these change the offsets a little.
    offsets = sum(
        np.expand_dims(one.values, axis) for axis, one in enumerate((columns, rows)) if one
    )
    hot, dead = find_hot_pixels(a - offsets, b - offsets, counted)
    bad = DetectorMap.without_offsets(hot | dead)
    if bad.bad.any():
        a, b = (bad.corrected(one, *part, math.inf) for one in (a, b))
        columns, rows = _lines(a, b, noise, counted)
    whole, place = in_source(view)
    start = [along.start for along in place]
    found = FixedPattern(
        np.argwhere(hot) + start, np.argwhere(dead) + start, a.size, columns, rows, None
    )
    before = view.detector
    if not found.is_notable:
        return replace(found, detector=before)
    detector = DetectorMap.without_offsets(np.zeros(whole, bool))
    detector.bad[place] = bad.bad
    for along, one, axis in ((detector.columns, columns, 1), (detector.rows, rows, 0)):
        if one is not None:
            along[place[axis]] = one.values
    return replace(found, detector=before.and_then(detector) if before else detector)


def in_source(acquisition: Acquisition) -> tuple[tuple[int, int], tuple[slice, slice]]:
    """Return the rows and columns of the source, and the part of them that is selected."""
    y, x = acquisition.order[-2:]
    parts = (sub_slice(acquisition.window[k], slice(None)) for k in (y, x))
    down, across = parts
    return (acquisition.source.shape[y], acquisition.source.shape[x]), (down, across)


def _lines(
    a: np.ndarray, b: np.ndarray, noise: float, counted: np.ndarray | None
) -> tuple[LineOffsets | None, LineOffsets | None]:
    """Return the offsets of columns and of rows; of planes with empty areas they are not known."""
    if counted is not None and not counted.all():  # registered, or masked
        return None, None
    columns = _notable(column_offsets(a, b), noise)
    if columns is not None:
        a, b = a - columns.values, b - columns.values
    return columns, _notable(column_offsets(a.T, b.T), noise)


def _mean(acquisition: Acquisition, numbers: Sequence[int]) -> np.ndarray:
    """Return the mean of some planes."""
    total = np.zeros(acquisition.plane_shape, np.float64)
    for _, plane in acquisition.planes_at(numbers):
        total += plane
    return total / len(numbers)


def _on_scale_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return B on the intensity scale of A, approximately, by the quantiles of both."""
    (low_a, middle_a, high_a), (low_b, middle_b, high_b) = (
        (float(value) for value in np.quantile(one, _QUANTILES)) for one in (a, b)
    )
    gain = (high_b - low_b) / (high_a - low_a) if high_a > low_a and high_b > low_b else 1.0
    return (b - middle_b) / (1.0 if abs(gain - 1) < _ALIKE else gain) + middle_a


def _notable(offsets: LineOffsets | None, noise: float) -> LineOffsets | None:
    """Return offsets whose values are zero if they are too small to matter."""
    if offsets is None or offsets.rms > _NOTABLE * noise:
        return offsets
    return replace(offsets, values=np.zeros_like(offsets.values))
