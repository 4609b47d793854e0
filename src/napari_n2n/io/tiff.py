"""Write TIFF files strip by strip, and rename them once they are complete."""

import math
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import tifffile

from napari_n2n.io.crash_safe import flush_to_disk, partial_path, rename_into_place
from napari_n2n.io.header import Header, Region, grid

_IMAGEJ_TYPES = ("uint8", "uint16", "float32")  # the grey-scale types of ImageJ
_CLASSIC_LIMIT = 2**31  # bytes: many readers treat the offsets of classic TIFF as signed 32 bit


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
