"""What is known of a stack besides its pixels: axes, pixel sizes, channels, name.

Parts of a stack, a slice for each axis, and the grids of them in which results are written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_UNIT_NAMES = {
    "µm": "micrometer",
    "μm": "micrometer",
    "um": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "\\u00b5m": "micrometer",
    "nm": "nanometer",
    "mm": "millimeter",
    "s": "second",
    "sec": "second",
    "ms": "millisecond",
    "min": "minute",
    "": "pixel",
    "px": "pixel",
    "pixels": "pixel",
    "inch": "pixel",
}


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a stack.

    Attributes
    ----------
    name
        As the microscope gave it; empty where it gave none.
    colour
        Six hexadecimal digits, RRGGBB; empty where none is known.
    """

    name: str = ""
    colour: str = ""


@dataclass(frozen=True)
class Header:
    """Description of a stack; every tuple has one entry for each axis.

    Attributes
    ----------
    shape, dtype
        Of the pixels.
    axes
        One capital letter for each dimension; empty where nobody named them.
    scale, units
        Size of a pixel, and its unit ("micrometer", "second", "pixel").
    name
        Of the image.
    channels
        One for each channel; empty where nothing is known of them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    axes: str
    scale: tuple[float, ...]
    units: tuple[str, ...]
    name: str = ""
    channels: tuple[Channel, ...] = ()

    @property
    def steps(self) -> dict[str, tuple[float, str]]:
        """Size of a pixel and its unit, by axis."""
        return dict(zip(self.axes, zip(self.scale, self.units, strict=True), strict=True))


def unit_name(unit: str) -> str:
    """Return the name that OME-Zarr and napari use for a unit ("um" -> "micrometer")."""
    return _UNIT_NAMES.get(unit.strip(), unit.strip())


Region = tuple[slice, ...]


def grid(shape: Sequence[int], sides: Sequence[int]) -> Iterator[tuple[str, Region]]:
    """Cut a stack into boxes of one size, those at the far edges less; yields name and place.

    Parameters
    ----------
    shape, sides
        Length of the stack and of a box along each axis, in pixels. A name holds the number of the
        box along each axis, as in ``0/3/1``.
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
