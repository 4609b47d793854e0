"""Read TIFF files lazily; write them strip by strip, and rename them once they are complete."""

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
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")  # the grey-scale types of ImageJ
_CLASSIC_LIMIT = 2**31  # bytes: many readers treat the offsets of classic TIFF as signed 32 bit


class Mapped:
    """Uncompressed pixels of a file, memory-mapped again for every read.

    A map that stays open would keep all pages that were read in the memory of the process.

    Parameters
    ----------
    path, offset
        File, and position of the first pixel in it, in bytes.
    shape, dtype
        Shape and type of the pixels, in C order.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.path, self.offset, self.shape, self.dtype = path, offset, shape, dtype
        self.ndim = len(shape)

    def __getitem__(self, where: Any) -> np.ndarray:
        pixels = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return np.array(pixels[where])


class Paged:
    """Compressed pixels of a file, decoded page by page.

    Only the path is pickled, for the workers of a cluster.

    Parameters
    ----------
    path
        The file.
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
        The pixels (`Mapped`, or `Paged` if they are compressed) and the header, whose axes are the
        file's own letters. These may not be in ``RTCZYX``, such as S for colours.
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


def _ome_pixels(tif: tifffile.TiffFile) -> dict[str, Any]:
    """Return the ``Pixels`` element of the first image in the OME metadata, or an empty dict."""
    if not (tif.is_ome and tif.ome_metadata):
        return {}
    image = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]
    found: dict[str, Any] = (image[0] if isinstance(image, list) else image)["Pixels"]
    return found


def _steps(tif: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
    """Return pixel size and unit by axis, as far as OME or ImageJ metadata contain them."""
    found: dict[str, tuple[float, str]] = {}
    pixels = _ome_pixels(tif)
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
    listed = _ome_pixels(tif).get("Channel", ())
    channels = listed if isinstance(listed, list | tuple) else [listed]
    return tuple(
        Channel(str(one.get("Name", "")), _hexadecimal(one.get("Color"))) for one in channels
    )


def _hexadecimal(colour: Any) -> str:
    """Turn OME's signed RGBA number into RRGGBB."""
    return "" if colour is None else f"{int(colour) & 0xFFFFFFFF:08X}"[:6]


class Writer:
    """Write an ImageJ TIFF, or OME-TIFF for ``.ome.tif`` and if ImageJ's format does not suffice.

    Parameters
    ----------
    path
        Name of the finished file. Until `finish` it is ``path + ".partial"``.
    header
        Description of the stack.
    shard
        Sides in pixels along the last axes: a strip has as many pixels or fewer, but at least one
        complete row.
    resume
        Continue the unfinished file of an interrupted run.
    """

    def __init__(
        self, path: Path, header: Header, *, shard: tuple[int, ...], resume: bool = False
    ) -> None:
        self.path, self.header, self._shard = path, header, shard
        self._partial = partial_path(path)
        if not (resume and self._partial.exists()):
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            self._create()
        with tifffile.TiffFile(self._partial) as tif:
            self._offset = tif.series[0].dataoffset
        self._file = open(self._partial, "r+b", buffering=0)

    def _create(self) -> None:
        header, steps = self.header, self.header.steps
        size = int(np.prod(header.shape)) * header.dtype.itemsize
        named_ome = self.path.name.lower().endswith((".ome.tif", ".ome.tiff"))
        plain = not named_ome and str(header.dtype) in _IMAGEJ_TYPES and size < _CLASSIC_LIMIT
        in_order = header.axes == "".join(axis for axis in "TZCYX" if axis in header.axes)
        imagej = plain and in_order and not header.channels
        tifffile.imwrite(
            self._partial,
            shape=header.shape,
            dtype=header.dtype,
            imagej=imagej,
            ome=not imagej,
            bigtiff=size >= _CLASSIC_LIMIT,
            photometric="minisblack",
            metadata=_imagej(header) if imagej else _ome(header),
            resolution=(1 / steps["X"][0], 1 / steps["Y"][0]),
            resolutionunit="NONE",
        )

    def shards(self) -> Iterator[tuple[str, Region]]:
        """Yield name and region of every strip: complete rows of one or more planes."""
        shape, sides = self.header.shape, [1] * len(self.header.shape)
        sides[-len(self._shard) :] = self._shard
        sides = [min(side, length) for side, length in zip(sides, shape, strict=True)]
        rows = max(1, math.prod(sides) // math.prod(sides[:-2]) // shape[-1])
        sides[-2:] = [min(rows, shape[-2]), shape[-1]]
        return grid(shape, sides)

    def write(self, region: Region, values: np.ndarray) -> None:
        """Write complete rows of some planes and flush them to the disk."""
        *leading, rows, columns = self.header.shape
        frames = [range(part.start, part.stop) for part in region[:-2]]
        for frame, plane in zip(
            product(*frames), values.reshape(-1, *values.shape[-2:]), strict=True
        ):
            index = int(np.ravel_multi_index(frame, leading)) if leading else 0
            first = (index * rows + region[-2].start) * columns * self.header.dtype.itemsize
            content = memoryview(np.ascontiguousarray(plane, self.header.dtype).tobytes())
            self._file.seek(self._offset + first)
            while content:
                content = content[self._file.write(content) :]
        os.fsync(self._file.fileno())

    def pyramid(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield nothing: this TIFF has a single resolution."""
        return iter(())

    def finish(self) -> Path:
        """Rename the complete file to `path`, and return it."""
        self.close()
        flush_to_disk(self._partial)
        return rename_into_place(self._partial, self.path)

    def close(self) -> None:
        """Keep the unfinished file, so that it can be resumed."""
        self._file.close()

    def discard(self) -> None:
        """Delete the unfinished file."""
        self.close()
        self._partial.unlink(missing_ok=True)


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
            named["Color"] = [_ome_colour(colour) for colour in colours]
        metadata["Channel"] = named
    return metadata


def _ome_colour(colour: str) -> int:
    """Turn RRGGBB into OME's signed RGBA number."""
    number = int(colour + "FF", 16)
    return number - 2**32 if number >= 2**31 else number
