"""TIFF in and out: lazily read, progressively written, under its own name only when whole."""

import math
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr

from napari_n2n.io.crash_safe import flush_to_disk, partial_path, rename_into_place
from napari_n2n.io.header import Channel, Header, Region, grid, unit_name

SUFFIXES = (".tif", ".tiff", ".btf", ".lsm")
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_LIMIT = 2**31


class Mapped:
    """Pixels that lie uncompressed in a file, mapped anew for every read.

    A map that stays open lets the pages it has touched pile up in the memory of the process.

    Parameters
    ----------
    path, offset
        Of the first pixel.
    shape, dtype
        Of the pixels, in C order.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.path, self.offset, self.shape, self.dtype = path, offset, shape, dtype
        self.ndim = len(shape)

    def __getitem__(self, where: Any) -> np.ndarray:
        pixels = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return np.array(pixels[where])


class Paged:
    """Pixels that lie compressed in a file, decoded page by page.

    It travels to other processes by its path.

    Parameters
    ----------
    path
        Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        store = tifffile.imread(path, aszarr=True, series=0, level=0)
        self._array: Any = zarr.open_array(store, mode="r")
        self.shape, self.dtype = self._array.shape, self._array.dtype
        self.ndim, self.chunks = len(self.shape), self._array.chunks

    def __getitem__(self, where: Any) -> np.ndarray:
        return np.asarray(self._array[where])

    def __reduce__(self) -> tuple[Any, ...]:
        return Paged, (self.path,)


def read(path: Path) -> tuple[Any, Header]:
    """Open a TIFF's first image without reading its pixels.

    Returns
    -------
    tuple
        Something to slice (`Mapped`, or `Paged` where the file is compressed), and the
        header; its axes are those that the file names, which may be letters of no meaning here,
        such as S for colours.
    """
    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        shape, dtype, axes = tuple(series.shape), np.dtype(series.dtype), str(series.axes)
        if series.keyframe.is_final and series.dataoffset is not None:
            byteorder = dtype.newbyteorder(tif.byteorder)
            pixels: Any = Mapped(path, series.dataoffset, shape, byteorder)
        else:
            pixels = Paged(path)
            if pixels.shape != shape:
                pixels = np.asarray(pixels[...]).reshape(shape)
        steps = _steps(tif)
        channels = _channels(tif)
    known = [steps.get(axis, (1.0, "pixel")) for axis in axes]
    return pixels, Header(
        shape=shape,
        dtype=dtype,
        axes=axes,
        scale=tuple(step for step, _ in known),
        units=tuple(unit for _, unit in known),
        channels=channels,
    )


def _pixels(tif: tifffile.TiffFile) -> dict[str, Any]:
    """Return the ``Pixels`` element of the first image in OME metadata; empty without such."""
    if not (tif.is_ome and tif.ome_metadata):
        return {}
    image = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]
    found: dict[str, Any] = (image[0] if isinstance(image, list) else image)["Pixels"]
    return found


def _steps(tif: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
    """Read the pixel size of each axis, where OME or ImageJ metadata have one."""
    found: dict[str, tuple[float, str]] = {}
    pixels = _pixels(tif)
    for axis, key, unit in (
        *((axis, f"PhysicalSize{axis}", "µm") for axis in "XYZ"),
        ("T", "TimeIncrement", "s"),
    ):
        if key in pixels:
            found[axis] = (float(pixels[key]), unit_name(pixels.get(f"{key}Unit", unit)))
    if tif.is_imagej and not found:
        metadata = tif.imagej_metadata or {}
        unit = unit_name(str(metadata.get("unit", "pixel")))
        for axis in "XY":
            resolution = tif.pages.first.tags.get(f"{axis}Resolution")
            if resolution is not None and resolution.value[0]:
                found[axis] = (resolution.value[1] / resolution.value[0], unit)
        if "spacing" in metadata:
            found["Z"] = (float(metadata["spacing"]), unit)
        if "finterval" in metadata:
            found["T"] = (float(metadata["finterval"]), "second")
    return found


def _channels(tif: tifffile.TiffFile) -> tuple[Channel, ...]:
    listed = _pixels(tif).get("Channel", ())
    channels = listed if isinstance(listed, list | tuple) else [listed]
    return tuple(
        Channel(str(one.get("Name", "")), _hexadecimal(one.get("Color"))) for one in channels
    )


def _hexadecimal(colour: Any) -> str:
    """Turn OME's signed RGBA number into RRGGBB."""
    return "" if colour is None else f"{int(colour) & 0xFFFFFFFF:08X}"[:6]


class Writer:
    """A TIFF under construction: OME for ``.ome.tif`` and beyond ImageJ's limits, else ImageJ.

    Parameters
    ----------
    path
        Where the finished file will stand. Until `finish` it grows beside it, as
        ``path + ".partial"``.
    header
        Of the stack.
    shard
        Most pixels to be written at once, along the last axes; rows are always whole.
    resume
        Go on with the file that an earlier run left, instead of beginning anew.
    """

    def __init__(
        self, path: Path, header: Header, *, shard: tuple[int, ...], resume: bool = False
    ) -> None:
        self.path, self.header, self._shard = path, header, shard
        self._building = partial_path(path)
        if not (resume and self._building.exists()):
            self._building.parent.mkdir(parents=True, exist_ok=True)
            self._create()
        with tifffile.TiffFile(self._building) as tif:
            self._offset = tif.series[0].dataoffset
        self._file = os.open(self._building, os.O_RDWR | getattr(os, "O_BINARY", 0))

    def _create(self) -> None:
        header, steps = self.header, self.header.steps
        size = int(np.prod(header.shape)) * header.dtype.itemsize
        named_ome = self.path.name.lower().endswith((".ome.tif", ".ome.tiff"))
        plain = not named_ome and str(header.dtype) in _IMAGEJ_TYPES and size < _LIMIT
        in_order = header.axes == "".join(axis for axis in "TZCYX" if axis in header.axes)
        imagej = plain and in_order and not header.channels
        tifffile.imwrite(
            self._building,
            shape=header.shape,
            dtype=header.dtype,
            imagej=imagej,
            ome=not imagej,
            bigtiff=size >= _LIMIT,
            photometric="minisblack",
            metadata=_imagej(header) if imagej else _ome(header),
            resolution=(1 / steps["X"][0], 1 / steps["Y"][0]),
            resolutionunit="NONE",
        )

    def shards(self) -> Iterator[tuple[str, Region]]:
        """Yield the name and place of every strip: whole rows of one plane or more."""
        shape, sides = self.header.shape, [1] * len(self.header.shape)
        sides[-len(self._shard) :] = self._shard
        sides = [min(side, length) for side, length in zip(sides, shape, strict=True)]
        rows = max(1, math.prod(sides) // math.prod(sides[:-2]) // shape[-1])
        sides[-2:] = [min(rows, shape[-2]), shape[-1]]
        return grid(shape, sides)

    def write(self, region: Region, values: np.ndarray) -> None:
        """Write whole rows of some planes, and see them safe on the disk."""
        *leading, rows, columns = self.header.shape
        frames = [range(part.start, part.stop) for part in region[:-2]]
        for frame, plane in zip(
            product(*frames), values.reshape(-1, *values.shape[-2:]), strict=True
        ):
            index = int(np.ravel_multi_index(frame, leading)) if leading else 0
            first = (index * rows + region[-2].start) * columns * self.header.dtype.itemsize
            content = memoryview(np.ascontiguousarray(plane, self.header.dtype).tobytes())
            os.lseek(self._file, self._offset + first, os.SEEK_SET)
            while content:
                content = content[os.write(self._file, content) :]
        os.fsync(self._file)

    def pyramid(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield nothing: a TIFF has one resolution here."""
        return iter(())

    def finish(self) -> Path:
        """Give the file its name. Returns `path`."""
        os.close(self._file)
        flush_to_disk(self._building)
        return rename_into_place(self._building, self.path)

    def close(self) -> None:
        """Leave the file as it is, to be gone on with."""
        os.close(self._file)

    def discard(self) -> None:
        """Remove what was written so far."""
        os.close(self._file)
        self._building.unlink(missing_ok=True)


def _imagej(header: Header) -> dict[str, object]:
    steps = header.steps
    metadata: dict[str, object] = {"axes": header.axes, "unit": _imagej_unit(steps["X"][1])}
    if "Z" in steps:
        metadata["spacing"] = steps["Z"][0]
    if "T" in steps:
        metadata["finterval"] = steps["T"][0]
    return metadata


def _imagej_unit(unit: str) -> str:
    return {"micrometer": "um", "nanometer": "nm", "millimeter": "mm"}.get(unit, unit)


def _ome(header: Header) -> dict[str, object]:
    symbols = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "second": "s"}
    metadata: dict[str, object] = {"axes": header.axes, "Name": header.name}
    for axis, (step, unit) in header.steps.items():
        if unit == "pixel" or axis == "C":
            continue
        key = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
        metadata[key] = step
        metadata[f"{key}Unit"] = symbols.get(unit, unit)
    if header.channels:
        named: dict[str, list[object]] = {"Name": [channel.name for channel in header.channels]}
        colours = [channel.colour for channel in header.channels]
        if all(colours):
            named["Color"] = [_signed(colour) for colour in colours]
        metadata["Channel"] = named
    return metadata


def _signed(colour: str) -> int:
    """Turn RRGGBB into OME's signed RGBA number."""
    number = int(colour + "FF", 16)
    return number - 2**32 if number >= 2**31 else number
