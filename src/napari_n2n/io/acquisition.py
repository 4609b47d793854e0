"""One acquisition, opened lazily: its pixels, axes, pixel sizes and saturation.

All other packages read pixels through `Acquisition`, from every kind of file or array.
Cropping, choosing a channel and taking every other frame return views: no pixels are copied.
`read_finite` refuses pixels with values that cannot be used, and its message names their plane.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.detector_map import DetectorMap
from napari_n2n.io.header import Channel, Header, Region
from napari_n2n.io.pixel_values import as_float32, check_values, usable
from napari_n2n.io.reading import Guarded, read_pixels
from napari_n2n.io.sources import AXES, Source, checked_axes, open_source
from napari_n2n.io.window import chunk_shape, length, middle, sub_slice
from napari_n2n.io.window import evenly_spaced as evenly_spaced

# Side of a sampled plane, in pixels. Larger: a better estimate of the value range; smaller: less
# to read from a large plane (a million 16-bit pixels are 2 MB).
_SAMPLED_SIDE = 1024


@dataclass(frozen=True, eq=False)
class Acquisition:
    """One noisy recording of a scene.

    Attributes
    ----------
    source
        The pixels: a numpy, dask or zarr array, or a memory-mapped file.
    window
        The selected part of each dimension of `source`: a slice, or one index.
    order
        For each axis, the index of its dimension in `source`.
    axes
        One letter of ``RTCZYX`` per axis, in this order: repeats, time, channels, depth, rows,
        columns.
    scale, units, translation
        Size of a pixel along each axis, its unit ("micrometer"), and where the first pixel is.
    name, own_name
        Name in messages, reports and layers, and in the metadata of the file (empty: none).
    path
        File that was opened, if any.
    channels
        Names, colours and contrast of the channels, if known.
    axes_assumed
        True if the source does not label its leading axes and they are a guess.
    axes_from_file
        True if the source is a layer without labels, whose axes were read from its file.
    measured_saturation
        Largest value that the detector delivers, in ADU; None if it was not detected.
    detector
        Bad pixels and offsets of the source's planes, corrected on reading; None: unchanged.
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
    translation: tuple[float, ...] = ()
    axes_assumed: bool = False
    axes_from_file: bool = False
    measured_saturation: float | None = None
    detector: DetectorMap | None = None
    own_name: str = ""

    @classmethod
    def open(cls, source: Any, axes: str | None = None, name: str | None = None) -> "Acquisition":
        """Open a file, a folder with a zarr, an array or a napari image layer lazily.

        Parameters
        ----------
        source
            A path to TIFF, OME-TIFF, OME-Zarr, zarr, npy or PNG; a numpy, dask, zarr or xarray
            array; a napari ``Image`` layer (multiscale: its full resolution); an `Acquisition`.
            ``a.tif#2`` and ``a.zarr#NAME`` name one of several images in a file.
        axes
            One letter per dimension of the source, instead of the source's own labels.
        name
            Replaces the source's own name.

        Raises
        ------
        BadInput
            If the source cannot be read, is not an image, or its axes do not fit.
        """
        if not isinstance(source, cls):
            opened = cls._from_source(open_source(source, axes))
        elif axes is None:
            opened = source
        else:
            letters = checked_axes(source.name, source.shape, source.dtype, axes)
            opened = replace(source, axes=letters, axes_assumed=False, axes_from_file=False)
            opened = opened._sorted()
        return opened if name is None else opened._named(name)

    @classmethod
    def _from_source(cls, source: Source) -> "Acquisition":
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
            translation=header.translation or (0.0,) * len(header.shape),
            axes_assumed=source.axes_assumed,
            axes_from_file=source.axes_from_file,
            own_name=header.own_name,
        )._sorted()

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis, in pixels."""
        return tuple(length(self.window[dimension]) for dimension in self.order)

    @property
    def dtype(self) -> np.dtype:
        """Type of a pixel: float32 if pixels are corrected, else the type of the source."""
        return np.dtype(np.float32) if self.detector is not None else self.source_dtype

    @property
    def source_dtype(self) -> np.dtype:
        """Type of a pixel of the source."""
        return np.dtype(self.source.dtype).newbyteorder("=")

    @property
    def header(self) -> Header:
        """Description of the stack, for writing a result on the same grid."""
        return Header(
            *(self.shape, self.dtype, self.axes, self.scale, self.units, self.name, self.channels),
            translation=self.translation,
            own_name=self.own_name,
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
            whole = Guarded(array, str(self.path or self.name), self.path is not None)
            array = da.from_array(whole, chunks=chunks, name=False, inline_array=True)
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
        """Whether the axis before Y is labelled as depth or time, not guessed."""
        return self.axes[-3:-2] in ("Z", "T") and not self.axes_assumed

    @property
    def axes_in_doubt(self) -> bool:
        """Whether the leading axes are a guess and there are several planes."""
        return self.axes_assumed and self.plane_count > 1

    @property
    def frames(self) -> dict[str, int]:
        """Length of each axis along which a stack can be split: time first, two channels last."""
        lengths = dict(zip(self.axes[:-2], self.shape[:-2], strict=True))
        return {a: n for a in "TRZC" if (n := lengths.get(a, 1)) > 1 and (a != "C" or n == 2)}

    @property
    def saturation(self) -> float:
        """Largest value of the detector, or of the pixel type, in ADU; inf for floats."""
        if self.measured_saturation is not None:
            return self.measured_saturation
        if np.issubdtype(self.source_dtype, np.integer):
            return float(np.iinfo(self.source_dtype).max)
        return math.inf

    @property
    def chunks(self) -> tuple[tuple[int, int], ...]:
        """For each axis, the chunk length and the position of the first chunk border, in pixels.

        Reading a part of a chunk costs as much as reading all of it.
        """
        found = []
        for dimension in self.order:
            window, chunk = self.window[dimension], chunk_shape(self.source)[dimension]
            assert isinstance(window, slice)
            step = window.step or 1
            found.append((max(1, chunk // step), -(-(-window.start % chunk) // step)))
        return tuple(found)

    def read(self, region: Region) -> np.ndarray:
        """Read a region of the stack, one slice per axis, in the pixel type of the stack.

        Raises
        ------
        BadInput
            If it cannot be read, or pixels are masked.
        """
        picked = list(self.window)
        for dimension, part in zip(self.order, region, strict=True):
            picked[dimension] = sub_slice(self.window[dimension], part)
        down, across = self.order[-2:]

        def read(rows: slice, columns: slice) -> np.ndarray:
            picked[down], picked[across] = rows, columns
            return read_pixels(
                self.source,
                picked,
                self.order,
                name=str(self.path or self.name),
                is_file=self.path is not None,
            )

        place = sub_slice(picked[down], slice(None)), sub_slice(picked[across], slice(None))
        detector = self.detector
        return detector.read(read, *place, self.saturation) if detector else read(*place)

    def plane(self, index: int) -> np.ndarray:
        """Read the plane at an index over all leading axes, in its pixel type; shape (Y, X)."""
        leading = np.unravel_index(index, self.shape[:-2]) if self.shape[:-2] else ()
        region = (*(slice(int(i), int(i) + 1) for i in leading), slice(None), slice(None))
        return self.read(region).reshape(self.plane_shape)

    def sample_plane(self) -> np.ndarray:
        """Read one plane, or the middle of a large one, as float32, to estimate the value range."""
        ((_, plane),) = self.spread_planes(1, _SAMPLED_SIDE)
        return plane

    def spread_planes(
        self, count: int, side: int | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield index and float32 pixels of up to `count` planes, evenly spread over the stack.

        Planes larger than `side` pixels are cropped to their middle.

        Raises
        ------
        BadInput
            If they cannot be read, or used in float32.
        """
        return self.planes_at(evenly_spaced(self.plane_count, count), side)

    def planes_at(
        self, numbers: Iterable[int], side: int | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield index and float32 pixels of planes; see `spread_planes`."""
        view = self.middle(side)
        for index in numbers:
            yield index, as_float32(view.plane(index), self.name, index)

    def cropped(self, rows: slice, columns: slice) -> "Acquisition":
        """Return a view of a part of every plane."""
        return self._view({"Y": rows, "X": columns})

    def middle(self, side: int | None) -> "Acquisition":
        """Return a view of the middle of every plane, with at most `side` rows and columns."""
        return self.cropped(*middle(self.plane_shape, side))

    def corrected(self, detector: DetectorMap | None) -> "Acquisition":
        """Return a view whose pixels are corrected by a map of the detector when they are read."""
        return replace(self, detector=detector)

    def bad_pixels(self, rows: slice, columns: slice) -> np.ndarray:
        """Return where a part of a plane has bad pixels, which are replaced; shape (Y, X)."""
        place = tuple(
            sub_slice(self.window[dimension], part)
            for dimension, part in zip(self.order[-2:], (rows, columns), strict=True)
        )
        if self.detector is None:
            return np.zeros([length(part) for part in place], bool)
        return self.detector.bad[place]

    def every(self, axis: str, start: int, step: int) -> "Acquisition":
        """Return a view of the frames `start`, `start` + `step`, ... along an axis."""
        length = self.shape[self._axis_index(axis)]
        return self._view({axis: slice(start, length, step)})

    def split(self, axis: str) -> tuple["Acquisition", "Acquisition"]:
        """Return the even and the odd frames along an axis, as two views of equal length.

        Raises
        ------
        BadInput
            If there is no such axis, or fewer than two frames along it.
        """
        count = self.shape[self._axis_index(axis)] // 2
        if count == 0:
            raise BadInput(
                f"{self.name}: has one frame along {axis}: choose a stack with two or more frames",
                "single",
            )
        even, odd = (self.every(axis, start, 2) for start in (0, 1))
        even, odd = (one._view({axis: slice(0, count)}) for one in (even, odd))
        return even._named(f"{self.name} even"), odd._named(f"{self.name} odd")

    def at(self, axis: str, index: int) -> "Acquisition":
        """Return a view of one position along an axis, without that axis."""
        place = self._axis_index(axis)
        window = list(self.window)
        inside = sub_slice(window[self.order[place]], slice(index, index + 1))
        window[self.order[place]] = inside.start
        rest = [k for k in range(len(self.axes)) if k != place]
        channels = () if axis == "C" else self.channels
        return self._with_axes(rest, window=tuple(window), channels=channels)

    def along(self, axis: str) -> list["Acquisition"]:
        """Return a view for every position along an axis, or itself if it lacks the axis."""
        if axis not in self.axes:
            return [self]
        names = [channel.name for channel in self.channels] if axis == "C" else []
        count = self.shape[self._axis_index(axis)]
        labels = (
            names if len(names) == count and all(names) else [f"{axis}{i}" for i in range(count)]
        )
        parts = [self.at(axis, index) for index in range(count)]
        if count == 1:
            return parts
        return [p._named(f"{self.name} {label}") for p, label in zip(parts, labels, strict=True)]

    def _named(self, name: str) -> "Acquisition":
        return replace(self, name=name, own_name="")

    def _axis_index(self, axis: str) -> int:
        if axis not in self.axes:
            raise BadInput(
                f"{self.name}: has no axis '{axis}' (axes: {self.axes}): "
                "choose one of these, or set --axes",
                "axes",
            )
        return self.axes.index(axis)

    def _view(self, parts: dict[str, slice]) -> "Acquisition":
        window, scale, origin = list(self.window), list(self.scale), list(self.translation)
        for axis, part in parts.items():
            place = self._axis_index(axis)
            origin[place] += (part.start or 0) * scale[place]
            window[self.order[place]] = sub_slice(window[self.order[place]], part)
            scale[place] *= part.step or 1
        return replace(self, window=tuple(window), scale=tuple(scale), translation=tuple(origin))

    def _sorted(self) -> "Acquisition":
        """Return a view with the axes in the order RTCZYX."""
        rank = sorted(range(len(self.axes)), key=lambda k: AXES.index(self.axes[k]))
        return self._with_axes(rank)

    def _with_axes(self, places: list[int], **changes: Any) -> "Acquisition":
        """Return a view with the axes at these places, in this order, and with other changes."""
        return replace(
            self,
            order=tuple(self.order[k] for k in places),
            axes="".join(self.axes[k] for k in places),
            scale=tuple(self.scale[k] for k in places),
            units=tuple(self.units[k] for k in places),
            translation=tuple(self.translation[k] for k in places),
            **changes,
        )


def read_finite(acquisition: Acquisition, region: Region) -> np.ndarray:
    """Read a region, one slice per axis, and check that its values can be used.

    Raises
    ------
    BadInput
        See `check_values`.
    """
    values = acquisition.read(region)
    if not usable(values):
        for place in np.ndindex(*values.shape[:-2]):
            where = [part.start + i for part, i in zip(region[:-2], place, strict=True)]
            index = np.ravel_multi_index(where, acquisition.shape[:-2]) if where else 0
            check_values(values[place], acquisition.name, int(index))
    return values
