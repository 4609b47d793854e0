"""Describe stacks (shape, axes, pixel sizes, channels, name) and regions of stacks."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WINDOW = ("min", "max", "start", "end")
"""Keys of the four values of a window in OME-Zarr."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a stack.

    Attributes
    ----------
    name
        Name from the file; empty if it has none.
    colour
        Six hexadecimal digits, RRGGBB; empty if unknown.
    window
        Smallest and largest value, and the values shown as black and as full colour, as in
        OME-Zarr; empty if unknown.
    """

    name: str = ""
    colour: str = ""
    window: tuple[float, ...] = ()


@dataclass(frozen=True)
class Header:
    """Description of a stack; `shape`, `scale` and `units` have one entry per axis.

    Attributes
    ----------
    shape, dtype
        Shape and type of the pixels.
    axes
        One capital letter per dimension; empty if unlabelled.
    scale, units
        Size of a pixel, and its unit ("micrometer", "second", "pixel").
    name
        Name of the image.
    channels
        One per channel; empty if the file does not describe them.
    images, image
        Name and shape of every image in the file, and the index of this one; empty and 0 if the
        file has only one.
    translation
        Position of the first pixel along each axis, in its unit; empty if unknown.
    own_name
        Name of the image in the metadata of its file; empty if it has none.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    axes: str
    scale: tuple[float, ...]
    units: tuple[str, ...]
    name: str = ""
    channels: tuple[Channel, ...] = ()
    images: tuple[str, ...] = ()
    image: int = 0
    translation: tuple[float, ...] = ()
    own_name: str = ""

    @classmethod
    def of_sizes(
        cls,
        shape: tuple[int, ...],
        dtype: np.dtype,
        axes: str,
        sizes: Mapping[str, tuple[float, str]],
        **more: Any,
    ) -> "Header":
        """Return the header of a file that names pixel sizes and units of some of its axes.

        Parameters
        ----------
        shape, dtype, axes
            See `Header`.
        sizes
            Size and unit by axis; an axis that is not in it has pixels of size 1.
        more
            Other fields.
        """
        known = [sizes.get(axis, (1.0, "pixel")) for axis in axes]
        scale, units = tuple(size for size, _ in known), tuple(unit for _, unit in known)
        return cls(shape, dtype, axes, scale, units, **more)

    @property
    def written_name(self) -> str:
        """Name for the metadata of a new file."""
        return self.own_name or self.name

    @property
    def steps(self) -> dict[str, tuple[float, str]]:
        """Size of a pixel and its unit, by axis."""
        return dict(zip(self.axes, zip(self.scale, self.units, strict=True), strict=True))


def number(value: object) -> float:
    """Return a number from the metadata of a file, or NaN if it is not a number."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def channel(name: object, colour: object, window: object = None) -> Channel:
    """Return a channel with what a file's metadata say about it, as far as this is valid."""
    known = isinstance(colour, str) and re.fullmatch("[0-9A-Fa-f]{6}", colour)
    given = window if isinstance(window, dict) else {}
    limits = tuple(number(given.get(key)) for key in WINDOW)
    shown = all(map(math.isfinite, limits)) and limits[2] < limits[3]
    return Channel(
        name if isinstance(name, str) else "", str(colour) if known else "", limits if shown else ()
    )


Region = tuple[slice, ...]
"""A part of a stack: one slice per axis."""


def grid(shape: Sequence[int], sides: Sequence[int]) -> Iterator[tuple[str, Region]]:
    """Divide a stack into boxes of equal size, smaller at the far edges; yield name and region.

    Parameters
    ----------
    shape, sides
        Length of the stack and of a box along each axis, in pixels.

    Yields
    ------
    tuple
        Index of the box along each axis as a name, such as ``0/3/1``, and its region.
    """
    counts = [-(-length // side) for length, side in zip(shape, sides, strict=True)]
    for place in np.ndindex(*counts):
        yield (
            "/".join(str(number) for number in place),
            tuple(
                slice(i * side, min((i + 1) * side, length))
                for i, side, length in zip(place, sides, shape, strict=True)
            ),
        )
