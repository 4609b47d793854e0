"""One recording, opened lazily: pixels to be read where they lie, with axes, sizes and saturation.

No room above asks where pixels come from. Cropping, choosing a channel or taking every other frame
makes another view of the same pixels; nothing is copied.

Pixels that are numbers: NaN and infinity are refused where they are read, with their plane.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.header import Channel, Header, Region
from napari_n2n.io.sources import AXES, Source, checked_axes, open_source

_SAMPLED_SIDE = 1024


@dataclass(frozen=True, eq=False)
class Acquisition:
    """A recording of one scene.

    Attributes
    ----------
    source
        Where the pixels lie: a numpy, dask or zarr array, or a mapped file.
    window
        The part of each of its dimensions that is meant: a slice, or one index.
    order
        For each axis, the dimension of `source` that it is.
    axes
        One letter of ``RTCZYX`` for each axis, in this order: repeats, time, channels, depth, rows,
        columns.
    scale, units
        Size of a pixel along each axis, and its unit ("micrometer", "second", "pixel").
    name
        What to call it in messages, reports and layers.
    path
        The file it came from, if any.
    channels
        Names and colours, where they are known.
    axes_assumed
        True where the leading axes were not named by the source and are a guess.
    measured_saturation
        Largest value that the detector delivers, where that is known.
    """

    source: Any
    window: tuple[slice | int, ...]
    order: tuple[int, ...]
    axes: str
    scale: tuple[float, ...]
    units: tuple[str, ...]
    name: str
    path: Path | None = None
    channels: tuple[Channel, ...] = ()
    axes_assumed: bool = False
    measured_saturation: float | None = None

    @classmethod
    def open(cls, source: Any, axes: str | None = None, name: str | None = None) -> "Acquisition":
        """Open a file, a folder with a zarr, an array or a napari image layer, reading no pixels.

        Parameters
        ----------
        source
            A path to TIFF, OME-TIFF, OME-Zarr, zarr, npy or PNG; a numpy, dask, zarr or xarray
            array; a napari ``Image`` layer (multiscale: its full resolution); an `Acquisition`.
        axes
            The letters of the dimensions as they lie, to overrule what the source says.
        name
            To overrule the source's own name.

        Raises
        ------
        BadInput
            If the source cannot be read, is not an image, or its axes do not fit.
        """
        if not isinstance(source, cls):
            opened = cls._whole(open_source(source, axes))
        elif axes is None:
            opened = source
        else:
            letters = checked_axes(source.name, source.shape, source.dtype, axes)
            opened = replace(source, axes=letters, axes_assumed=False)._sorted()
        return opened if name is None else replace(opened, name=name)

    @classmethod
    def _whole(cls, source: Source) -> "Acquisition":
        header = source.header
        return cls(
            source=source.pixels,
            window=tuple(slice(0, length, 1) for length in header.shape),
            order=tuple(range(len(header.shape))),
            axes=header.axes,
            scale=header.scale,
            units=header.units,
            name=header.name,
            path=source.path,
            channels=header.channels,
            axes_assumed=source.axes_assumed,
        )._sorted()

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis, in pixels."""
        return tuple(_length(self.window[dimension]) for dimension in self.order)

    @property
    def dtype(self) -> np.dtype:
        """Type of a pixel."""
        return np.dtype(self.source.dtype).newbyteorder("=")

    @property
    def header(self) -> Header:
        """Description for whoever writes a result on the same grid."""
        return Header(
            self.shape, self.dtype, self.axes, self.scale, self.units, self.name, self.channels
        )

    @property
    def data(self) -> da.Array:
        """The pixels as a lazy dask array."""
        array = self.source
        if not isinstance(array, da.Array):
            plane = tuple(
                length if dimension in self.order[-2:] else 1
                for dimension, length in enumerate(array.shape)
            )
            chunks = getattr(array, "shards", None) or getattr(array, "chunks", None) or plane
            # Without name=False dask would read the whole file to hash its content.
            array = da.from_array(array, chunks=chunks, name=False, inline_array=True)
        kept = sorted(self.order)
        return array[self.window].transpose([kept.index(dimension) for dimension in self.order])

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of a plane."""
        return self.shape[-2], self.shape[-1]

    @property
    def plane_count(self) -> int:
        """Number of YX planes."""
        return math.prod(self.shape[:-2])

    @property
    def has_depth(self) -> bool:
        """Whether one axis is depth, and not merely taken for it."""
        return "Z" in self.axes and not self.axes_assumed

    @property
    def axes_in_doubt(self) -> bool:
        """Whether it matters that the leading axes are a guess."""
        return self.axes_assumed and self.plane_count > 1

    @property
    def frames(self) -> dict[str, int]:
        """Number of frames along each axis that a stack can be split along, first of all time."""
        lengths = dict(zip(self.axes[:-2], self.shape[:-2], strict=True))
        return {axis: lengths[axis] for axis in "TRZ" if axis in lengths and lengths[axis] > 1}

    @property
    def saturation(self) -> float:
        """Largest value that the detector, or else the pixel type, can tell; inf for floats."""
        if self.measured_saturation is not None:
            return self.measured_saturation
        if np.issubdtype(self.dtype, np.integer):
            return float(np.iinfo(self.dtype).max)
        return math.inf

    @property
    def chunks(self) -> tuple[tuple[int, int], ...]:
        """For each axis, how long a chunk of the source is, and where the first border lies.

        Reading less than a chunk costs as much as reading it whole.
        """
        found = []
        for dimension in self.order:
            window, chunk = self.window[dimension], _chunks(self.source)[dimension]
            assert isinstance(window, slice)
            step = window.step or 1
            found.append((max(1, chunk // step), -(-(-window.start % chunk) // step)))
        return tuple(found)

    def read(self, region: Region) -> np.ndarray:
        """Read a part of the stack, a slice for each axis, in its own pixel type."""
        picked = list(self.window)
        for dimension, part in zip(self.order, region, strict=True):
            picked[dimension] = _within(self.window[dimension], part)
        values = self.source[tuple(picked)]
        if isinstance(values, da.Array):
            values = values.compute(scheduler="synchronous")
        kept = sorted(self.order)
        turned = np.asarray(values).transpose([kept.index(dimension) for dimension in self.order])
        return np.ascontiguousarray(turned, self.dtype)

    def plane(self, index: int) -> np.ndarray:
        """Read one plane, counted through all leading axes, in its own pixel type; shape (Y, X)."""
        leading = np.unravel_index(index, self.shape[:-2]) if self.shape[:-2] else ()
        region = (*(slice(int(i), int(i) + 1) for i in leading), slice(None), slice(None))
        return self.read(region).reshape(self.plane_shape)

    def sample_plane(self) -> np.ndarray:
        """Read one plane, or its middle where it is large, as float32; to get an idea of values."""
        ((_, plane),) = self.spread_planes(1, _SAMPLED_SIDE)
        return plane

    def spread_planes(
        self, count: int, side: int | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Read up to `count` planes spread evenly over the stack, as (index, float32 plane).

        Of planes larger than `side` pixels, the middle.
        """
        middle = [
            slice((length - cut) // 2, (length - cut) // 2 + cut)
            for length in self.plane_shape
            for cut in (min(length, side or length),)
        ]
        view = self.cropped(*middle)
        for index in evenly_spaced(self.plane_count, count):
            yield index, view.plane(index).astype(np.float32)

    def cropped(self, rows: slice, columns: slice) -> "Acquisition":
        """Return the same recording, limited to a part of every plane."""
        return self._narrowed({"Y": rows, "X": columns})

    def every(self, axis: str, start: int, step: int) -> "Acquisition":
        """Return the frames `start`, `start` + `step`, ... along an axis."""
        length = self.shape[self._place(axis)]
        return self._narrowed({axis: slice(start, length, step)})

    def split(self, axis: str) -> tuple["Acquisition", "Acquisition"]:
        """Return the even and the odd frames along an axis, as two views of the same pixels.

        Raises
        ------
        BadInput
            If there is no such axis, or fewer than two frames along it.
        """
        count = self.shape[self._place(axis)] // 2
        if count == 0:
            raise BadInput(
                f"{self.name}: has one frame along {axis}: give a stack with two or more to split",
                "single",
            )
        even, odd = (self.every(axis, start, 2) for start in (0, 1))
        even, odd = (one._narrowed({axis: slice(0, count)}) for one in (even, odd))
        return replace(even, name=f"{self.name} even"), replace(odd, name=f"{self.name} odd")

    def at(self, axis: str, index: int) -> "Acquisition":
        """Return the recording at one position of an axis, without that axis."""
        place = self._place(axis)
        window = list(self.window)
        inside = _within(window[self.order[place]], slice(index, index + 1))
        window[self.order[place]] = inside.start
        rest = [k for k in range(len(self.axes)) if k != place]
        return replace(
            self,
            window=tuple(window),
            order=tuple(self.order[k] for k in rest),
            axes="".join(self.axes[k] for k in rest),
            scale=tuple(self.scale[k] for k in rest),
            units=tuple(self.units[k] for k in rest),
            channels=() if axis == "C" else self.channels,
        )

    def along(self, axis: str) -> list["Acquisition"]:
        """Return the recordings at every position of an axis; itself alone if it has none."""
        if axis not in self.axes:
            return [self]
        names = [channel.name for channel in self.channels] if axis == "C" else []
        count = self.shape[self._place(axis)]
        labels = (
            names if len(names) == count and all(names) else [f"{axis}{i}" for i in range(count)]
        )
        parts = [self.at(axis, index) for index in range(count)]
        if count == 1:
            return parts
        return [
            replace(part, name=f"{self.name} {label}")
            for part, label in zip(parts, labels, strict=True)
        ]

    def _place(self, axis: str) -> int:
        if axis not in self.axes:
            raise BadInput(
                f"{self.name}: has no axis '{axis}' (its axes are {self.axes}): "
                "choose one of these, or name them with --axes",
                "axes",
            )
        return self.axes.index(axis)

    def _narrowed(self, parts: dict[str, slice]) -> "Acquisition":
        window, scale = list(self.window), list(self.scale)
        for axis, part in parts.items():
            place = self._place(axis)
            window[self.order[place]] = _within(window[self.order[place]], part)
            scale[place] *= part.step or 1
        return replace(self, window=tuple(window), scale=tuple(scale))

    def _sorted(self) -> "Acquisition":
        """Bring the axes into their order."""
        rank = sorted(range(len(self.axes)), key=lambda k: AXES.index(self.axes[k]))
        return replace(
            self,
            order=tuple(self.order[k] for k in rank),
            axes="".join(self.axes[k] for k in rank),
            scale=tuple(self.scale[k] for k in rank),
            units=tuple(self.units[k] for k in rank),
        )


def evenly_spaced(total: int, count: int) -> list[int]:
    """Return up to `count` of the numbers below `total`, spread evenly."""
    if total <= count:
        return list(range(total))
    return (
        sorted({round(i * (total - 1) / (count - 1)) for i in range(count)}) if count > 1 else [0]
    )


def _length(window: slice | int) -> int:
    assert isinstance(window, slice)
    return len(range(window.start, window.stop, window.step or 1))


def _within(window: slice | int, part: slice) -> slice:
    """Take a part of a window, as a slice of the window's own dimension."""
    assert isinstance(window, slice)
    inside = range(window.start, window.stop, window.step or 1)[part]
    return slice(inside.start, inside.stop, inside.step)


def _chunks(array: Any) -> tuple[int, ...]:
    """Shape of what is read at once: a chunk where there are such, else a plane's row."""
    chunks = getattr(array, "chunks", None)
    if isinstance(array, da.Array):
        return tuple(max(lengths) for lengths in array.chunks)
    return tuple(chunks) if chunks is not None else (1,) * array.ndim


def check_finite(plane: np.ndarray, acquisition: Acquisition, index: int) -> np.ndarray:
    """Return a plane of an acquisition, or a part of one, whose pixels are all finite.

    Parameters
    ----------
    plane
        Shape (Y, X).
    acquisition, index
        What it was read from, and its number there.

    Raises
    ------
    BadInput
        If a pixel is NaN or infinite.
    """
    good = np.isfinite(plane)
    if not good.all():
        raise BadInput(
            f"{acquisition.name}: {1 - good.mean():.2%} of plane {index} is NaN or infinite: "
            "crop it off or fill it with the background level",
            "not_finite",
        )
    return plane


def read_finite(acquisition: Acquisition, region: Region) -> np.ndarray:
    """Read a part of a stack, a slice for each axis, whose pixels are all finite.

    Raises
    ------
    BadInput
        If a pixel is NaN or infinite.
    """
    values = acquisition.read(region)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        for place in np.ndindex(*values.shape[:-2]):
            where = [part.start + i for part, i in zip(region[:-2], place, strict=True)]
            index = np.ravel_multi_index(where, acquisition.shape[:-2]) if where else 0
            check_finite(values[place], acquisition, int(index))
    return values
