"""Write TIFF files strip by strip, and rename them once they are complete."""

import json
import math
import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5
from xml.sax.saxutils import unescape

import numpy as np
import tifffile

from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import (
    Check,
    check_of,
    flush_to_disk,
    named_in_errors,
    partial_path,
    remove,
    rename_into_place,
)
from napari_n2n.io.header import Header, Region, grid
from napari_n2n.io.shard_layout import shard_shape
from napari_n2n.io.units import converted, symbol

_TAG = "napari-n2n-job"  # key of the job's tag in the description of a file
_NOTE = "napari-n2n-provenance"  # key of the provenance there, one line of JSON
TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
"""Types of pixels that OME-TIFF can store."""
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")  # the grey-scale types of ImageJ
_CLASSIC_LIMIT = 2**31  # bytes: many readers treat the offsets of classic TIFF as signed 32 bit


class Writer:
    """Write an ImageJ TIFF, or OME-TIFF for ``.ome.tif`` and what ImageJ's format cannot store.

    Parameters
    ----------
    path
        Name of the finished file.
    header
        Description of the stack.
    shard
        Sides in pixels along the last axes: a strip has as many pixels or fewer, but at least one
        complete row.
    token
        Part of the name of the unfinished file.
    tag
        Identifies the job in the finished file; see `read_tag`.
    note
        What made the result, plain JSON; see `read_note`. A resumed file keeps its note.
    resume
        Open the unfinished file with this token, and never create one.

    Attributes
    ----------
    partial
        The unfinished file.

    Raises
    ------
    FileNotFoundError
        If `resume` is True, but there is no such file.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        *,
        shard: tuple[int, ...],
        token: str,
        tag: str = "",
        note: dict[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self.path, self.header, self._shard = path, header, shard
        self._own = ({_TAG: tag} if tag else {}) | ({_NOTE: json.dumps(note)} if note else {})
        self.partial = partial_path(path, token)
        self._size = math.prod(header.shape) * header.dtype.itemsize
        if not resume:
            with named_in_errors(path):
                self.partial.touch(exist_ok=False)
                try:
                    self._create()
                except BaseException:
                    remove(self.partial)
                    raise
        offset = self._pixels_at()
        if offset is None:
            raise FileNotFoundError(f"{self.partial}: no such unfinished result")
        self._offset = offset
        self._regions = dict(self.shards())
        self._file = open(self.partial, "r+b", buffering=0)

    def _pixels_at(self) -> int | None:
        """Open the unfinished file and return where its pixels begin; None if it is damaged."""
        header = self.header
        try:
            with tifffile.TiffFile(self.partial) as tif:
                series = tif.series[0]
                planes = [length for length in header.shape if length > 1]
                same = [length for length in series.shape if length > 1] == planes
                offset = series.dataoffset
                if not same or np.dtype(series.dtype) != header.dtype or offset is None:
                    return None
        except Exception:
            return None
        return int(offset) if self.partial.stat().st_size >= offset + self._size else None

    def _create(self) -> None:
        header, steps = self.header, self.header.steps
        size = self._size
        named_ome = self.path.name.lower().endswith((".ome.tif", ".ome.tiff"))
        plain = not named_ome and str(header.dtype) in _IMAGEJ_TYPES and size < _CLASSIC_LIMIT
        in_order = header.axes == "".join(axis for axis in "TZCYX" if axis in header.axes)
        imagej = plain and in_order and not any(one.name for one in header.channels)
        tifffile.imwrite(
            self.partial,
            shape=header.shape,
            dtype=header.dtype,
            imagej=imagej,
            ome=not imagej,
            bigtiff=size >= _CLASSIC_LIMIT,
            photometric="minisblack",
            metadata=_imagej(header) | self._own if imagej else _ome(header, self._own),
            resolution=(1 / steps["X"][0], 1 / steps["Y"][0]),
            resolutionunit="NONE",
        )

    def shards(self) -> Iterator[tuple[str, Region]]:
        """Yield name and region of every strip: complete rows of one or more planes."""
        shape = self.header.shape
        sides = list(shard_shape(shape, self.header.dtype.itemsize, self._shard))
        rows = max(1, math.prod(sides) // math.prod(sides[:-2]) // shape[-1])
        sides[-2:] = [min(rows, shape[-2]), shape[-1]]
        return grid(shape, sides)

    def write(self, region: Region, values: np.ndarray) -> None:
        """Write complete rows of some planes and flush them to the disk."""
        planes = values.reshape(-1, *values.shape[-2:])
        with named_in_errors(self.path):
            for place, plane in zip(self._places(region), planes, strict=True):
                content = memoryview(np.ascontiguousarray(plane, self.header.dtype).tobytes())
                self._file.seek(place)
                while content:
                    content = content[self._file.write(content) :]
            os.fsync(self._file.fileno())

    def _places(self, region: Region) -> Iterator[int]:
        """Yield where in the file the rows of a region begin, plane by plane."""
        *leading, rows, columns = self.header.shape
        for frame in product(*(range(part.start, part.stop) for part in region[:-2])):
            index = int(np.ravel_multi_index(frame, leading)) if leading else 0
            first = (index * rows + region[-2].start) * columns
            yield self._offset + first * self.header.dtype.itemsize

    def check(self, name: str) -> Check | None:
        """Return the check of a strip as it is on the disk; None if it is missing."""
        region = self._regions.get(name)
        if region is None:
            return None
        lines = region[-2].stop - region[-2].start
        size = lines * self.header.shape[-1] * self.header.dtype.itemsize
        content = bytearray()
        with open(self.partial, "rb") as file:
            for place in self._places(region):
                file.seek(place)
                content += file.read(size)
        return check_of(bytes(content))

    def pyramid(self) -> Iterator[list[str]]:
        """Yield nothing: this TIFF has a single resolution."""
        return iter(())

    def finer(self, name: str) -> list[str]:
        """Raise: see `pyramid`."""
        raise KeyError(name)

    def average(self, name: str) -> None:
        """Raise: see `pyramid`."""
        raise KeyError(name)

    def complete(self) -> None:
        """Verify the complete file, and flush it to the disk.

        Raises
        ------
        BadInput
            If the file is damaged.
        """
        self.close()
        if self._pixels_at() != self._offset:
            raise BadInput(
                f"{self.path}: {self.partial.name} is incomplete, because another program changed "
                "it: repeat the command with --resume",
                "unfinished",
            )
        with named_in_errors(self.path):
            flush_to_disk(self.partial)

    def rename(self) -> Path:
        """Give the complete file its name, and return this path."""
        with named_in_errors(self.path):
            return rename_into_place(self.partial, self.path)

    def close(self) -> None:
        """Keep the unfinished file, so that it can be resumed."""
        self._file.close()

    def discard(self) -> None:
        """Delete the unfinished file."""
        self.close()
        remove(self.partial)


def read_tag(path: Path) -> str:
    """Return the tag of the job that wrote a TIFF; empty if it is not known."""
    found = re.search(rf"^{_TAG}=(\w+)", _description(path), re.MULTILINE)
    return found[1] if found else ""


def read_note(path: Path) -> str:
    """Return the note that a `Writer` has stored, as JSON; empty if there is none."""
    found = re.search(rf"^{_NOTE}=(.*)$", _description(path), re.MULTILINE)
    return found[1] if found else ""


def _description(path: Path) -> str:
    """Return the part of a TIFF's description with our keys, one in each line."""
    try:
        with tifffile.TiffFile(path) as tif:
            text = str(tif.pages.first.description)
            if not tif.is_ome:
                return text
        found = re.search("<Description>(.*?)</Description>", text, re.DOTALL)
        return unescape(found[1], {"&quot;": '"'}) if found else ""
    except Exception:
        return ""


def _imagej(header: Header) -> dict[str, object]:
    """Return the metadata of ImageJ, which has one unit of length, and seconds."""
    steps = header.steps
    unit = steps["X"][1]
    metadata: dict[str, object] = {"axes": header.axes, "unit": _imagej_unit(unit)}
    for key, axis, wanted in (("spacing", "Z", unit), ("finterval", "T", "second")):
        step = converted(*steps[axis], wanted) if axis in steps else None
        if step is not None:
            metadata[key] = step
    return metadata


def _imagej_unit(unit: str) -> str:
    return symbol(unit).replace("µ", "u")


def _ome(header: Header, own: dict[str, str]) -> dict[str, object]:
    metadata: dict[str, object] = {"axes": header.axes, "Name": header.written_name}
    if own:
        metadata["Description"] = "\n".join(f"{key}={value}" for key, value in own.items())
        # The same run gives the same bytes; by default it is random.
        metadata["UUID"] = str(uuid5(NAMESPACE_OID, f"{header} {own}"))
    for axis, (step, unit) in header.steps.items():
        if unit == "pixel" and (step == 1.0 or axis not in "ZYX"):
            continue
        key = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
        metadata[key] = step
        metadata[f"{key}Unit"] = symbol(unit)
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
