"""A map of a detector: its bad pixels and its offsets, and how they are corrected when reading.

The offset of each pixel is subtracted. A bad pixel gets a weighted mean of the good pixels around
it. The result does not depend on which region is read.
"""

import base64
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

# Distance in pixels up to which the neighbours of a bad pixel are used.
_REACH = 2

# Weights of the neighbours: a Gaussian with a standard deviation of one pixel.
_WEIGHTS = {
    (y, x): float(np.exp(-(y**2 + x**2) / 2))
    for y, x in product(range(-_REACH, _REACH + 1), repeat=2)
    if (y, x) != (0, 0)
}
# Step of stored offsets of pixels, as a part of their largest one: 16 bits hold 32,767 steps.
_STEPS = 32_767
# Fewest pixels of a plane that count as blank, which is no data, if they all have one value.
_LEAST_BLANK = 32
# Most pixels of a stored map: more than any detector has.
_MOST_PIXELS = 2**28


@dataclass(frozen=True, eq=False)
class DetectorMap:
    """Bad pixels and offsets of a detector, for its whole plane.

    Attributes
    ----------
    bad
        True for pixels without a usable value, such as hot and dead ones; shape (Y, X).
    columns, rows
        Offset of each column and of each row, in ADU.
    pixels
        Further offset of each pixel in ADU, shape (Y, X); None if it is not known.
    """

    bad: np.ndarray
    columns: np.ndarray
    rows: np.ndarray
    pixels: np.ndarray | None = None

    @classmethod
    def without_offsets(cls, bad: np.ndarray) -> "DetectorMap":
        """Return the map of a detector that has bad pixels only."""
        rows, columns = bad.shape
        return cls(bad, np.zeros(columns, np.float32), np.zeros(rows, np.float32))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the plane."""
        return self.bad.shape[0], self.bad.shape[1]

    @property
    def has_offsets(self) -> bool:
        """Whether any pixel has an offset."""
        return self.pixels is not None or bool(self.columns.any() or self.rows.any())

    @classmethod
    def of_fields(cls, maps: Sequence["DetectorMap"], fields: int) -> "DetectorMap":
        """Return the map of a detector from the maps of some of its fields of view.

        Parameters
        ----------
        maps
            One or more maps of one shape.
        fields
            Number of all fields of view, including those in which nothing was found.
        """
        pixels = [one.pixels for one in maps if one.pixels is not None]
        return cls(
            2 * np.sum([one.bad for one in maps], axis=0) >= fields,
            np.sum([one.columns for one in maps], axis=0) / fields,
            np.sum([one.rows for one in maps], axis=0) / fields,
            np.sum(pixels, axis=0) / fields if pixels else None,
        )

    def bad_only(self) -> "DetectorMap":
        """Return the map with its bad pixels only."""
        return self.without_offsets(self.bad)

    def and_then(self, more: "DetectorMap") -> "DetectorMap":
        """Return the map that corrects both; `more` was measured on corrected pixels."""
        pixels = [one.pixels for one in (self, more) if one.pixels is not None]
        return DetectorMap(
            self.bad | more.bad,
            self.columns + more.columns,
            self.rows + more.rows,
            sum(pixels[1:], pixels[0]) if pixels else None,
        )

    def read(
        self,
        read: Callable[[slice, slice], np.ndarray],
        rows: slice,
        columns: slice,
        saturation: float,
    ) -> np.ndarray:
        """Read a part of a plane, and the neighbours of the bad pixels at its edges; correct it.

        Parameters
        ----------
        read
            Function that returns the pixels in some rows and columns; shape (..., Y, X).
        rows, columns
            The wanted part, with start, stop and step.
        saturation
            See `corrected`.
        """
        wide = self._widened(rows, columns)
        values = self.corrected(read(*wide), *wide, saturation)
        inside = [
            slice(start, start + len(range(part.start, part.stop, part.step or 1)))
            for part, whole in zip((rows, columns), wide, strict=True)
            for start in (part.start - whole.start,)
        ]
        return values[..., inside[0], inside[1]]

    def _widened(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Return a part of the plane with the neighbours of the bad pixels at its edges."""
        if rows.step not in (1, None) or columns.step not in (1, None):
            return rows, columns
        part = self.bad[rows, columns]
        height, width = self.shape
        first, last = (int(edge.any()) * _REACH for edge in (part[:_REACH], part[-_REACH:]))
        left, right = (int(edge.any()) * _REACH for edge in (part[:, :_REACH], part[:, -_REACH:]))
        return (
            slice(max(0, rows.start - first), min(height, rows.stop + last), 1),
            slice(max(0, columns.start - left), min(width, columns.stop + right), 1),
        )

    def corrected(
        self, values: np.ndarray, rows: slice, columns: slice, saturation: float
    ) -> np.ndarray:
        """Return corrected pixels as float32.

        Parameters
        ----------
        values
            Shape (..., Y, X).
        rows, columns
            The part of the plane that they are from.
        saturation
            Pixels at or above this value are unchanged, so that they are still recognised.
        """
        offsets = self.rows[rows, None] + self.columns[None, columns]
        if self.pixels is not None:
            offsets = offsets + self.pixels[rows, columns]
        result = values.astype(np.float32)
        where = values < saturation
        if math.prod(values.shape[-2:]) >= _LEAST_BLANK:
            least, most = (end(axis=(-2, -1), keepdims=True) for end in (values.min, values.max))
            where &= least < most
        np.subtract(result, offsets.astype(np.float32), out=result, where=where)
        bad = self.bad[rows, columns]
        y, x = np.nonzero(bad)
        if not len(y):
            return result
        total, weights = np.zeros((*result.shape[:-2], len(y)), np.float32), np.zeros(len(y))
        for (down, across), weight in _WEIGHTS.items():
            to_y, to_x = y + down, x + across
            inside = (to_y >= 0) & (to_y < bad.shape[0]) & (to_x >= 0) & (to_x < bad.shape[1])
            to_y, to_x = to_y * inside, to_x * inside
            used = weight * (inside & ~bad[to_y, to_x])
            total += used.astype(np.float32) * result[..., to_y, to_x]
            weights += used
        known = weights > 0
        result[..., y[known], x[known]] = total[..., known] / weights[known].astype(np.float32)
        return result

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON for `from_dict`."""
        stored: dict[str, Any] = {
            "shape": list(self.shape),
            "bad": np.flatnonzero(self.bad).tolist(),
            "columns": [round(float(value), 4) for value in self.columns],
            "rows": [round(float(value), 4) for value in self.rows],
            "pixels": "",
            "step": 0.0,
        }
        if self.pixels is not None:
            step = max(float(np.abs(self.pixels).max()) / _STEPS, 1e-30)
            whole = np.rint(self.pixels / step).astype("<i2").tobytes()
            stored |= {"pixels": base64.b64encode(zlib.compress(whole)).decode(), "step": step}
        return stored

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "DetectorMap":
        """Return the map that `as_dict` described.

        Raises
        ------
        ValueError
            If the numbers do not fit each other.
        """
        height, width = (int(side) for side in stored["shape"])
        if height * width > _MOST_PIXELS:
            raise ValueError("the map of the detector is too large")
        if len(stored["rows"]) != height or len(stored["columns"]) != width:
            raise ValueError("the map of the detector has sides that differ from its shape")
        bad = np.zeros(height * width, bool)
        places = np.array(stored["bad"], np.int64)
        if len(places) and not 0 <= places.min() <= places.max() < bad.size:
            raise ValueError("the map of the detector has pixels outside of it")
        bad[places] = True
        pixels = None
        if stored.get("pixels"):
            # One byte more than expected, so that a longer content is noticed, not expanded.
            expander, size = zlib.decompressobj(), 2 * bad.size
            content = expander.decompress(base64.b64decode(stored["pixels"]), size + 1)
            if len(content) != size:
                raise ValueError("the map of the detector is incomplete")
            pixels = np.frombuffer(content, "<i2").reshape(height, width) * float(stored["step"])
            pixels = pixels.astype(np.float32)
        return cls(
            bad.reshape(height, width),
            np.array(stored["columns"], np.float32),
            np.array(stored["rows"], np.float32),
            pixels,
        )
