"""One recording, opened lazily: a dask array that knows its axes, pixel size and saturation level.

Everything a person may hold - a file, an array, a layer - becomes an `Acquisition` here and nowhere
else, so that no other room asks where pixels come from.
"""

import math
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_n2n import ngff
from napari_n2n.errors import BadInput

AXES = "TCZYX"
_TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".lsm")
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True, eq=False)
class Acquisition:
    """A recording of one scene.

    Attributes
    ----------
    data
        Lazy pixels, in the unit of the camera or file (ADU).
    axes
        One letter of ``TCZYX`` for each dimension, ending in ``YX``.
    scale, units
        Size of a pixel along each axis, and its unit ("micrometer", "second", "pixel").
    name
        What to call it in messages, reports and layers.
    path
        The file it came from, if any.
    axes_assumed
        True where the leading axes were not named by the source and are a guess.
    """

    data: da.Array
    axes: str
    scale: tuple[float, ...]
    units: tuple[str, ...]
    name: str
    path: Path | None = None
    axes_assumed: bool = False

    @classmethod
    def open(cls, source: Any, axes: str | None = None, name: str | None = None) -> "Acquisition":
        """Open a file, a folder with a zarr, an array or a napari image layer, reading no pixels.

        Parameters
        ----------
        source
            A path to TIFF, OME-TIFF, OME-Zarr, zarr, npy or PNG; a numpy, dask, zarr or xarray
            array; a napari ``Image`` layer (multiscale: its full resolution); an `Acquisition`.
        axes
            The letters of the dimensions, to overrule what the source says.
        name
            To overrule the source's own name.

        Raises
        ------
        BadInput
            If the source cannot be read, is not an image, or its axes do not fit.
        """
        opened = source if isinstance(source, cls) else _open(source)
        if name is not None:
            opened = replace(opened, name=name)
        if axes is not None:
            opened = replace(opened, axes=axes.upper(), axes_assumed=False)
        return _checked(opened)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis, in pixels."""
        return tuple(int(length) for length in self.data.shape)

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of a plane."""
        return self.shape[-2], self.shape[-1]

    @property
    def plane_count(self) -> int:
        """Number of YX planes."""
        return math.prod(self.shape[:-2])

    @property
    def saturation(self) -> float | None:
        """Largest value that the pixel type can hold; None for floats."""
        if np.issubdtype(self.data.dtype, np.integer):
            return float(np.iinfo(self.data.dtype).max)
        return None

    def plane(self, index: int) -> np.ndarray:
        """Read one plane, counted through all leading axes, in its own pixel type; shape (Y, X)."""
        leading = np.unravel_index(index, self.shape[:-2]) if self.shape[:-2] else ()
        return np.asarray(
            self.data[tuple(int(i) for i in leading)].compute(scheduler="synchronous")
        )

    def spread_planes(self, count: int) -> Iterator[tuple[int, np.ndarray]]:
        """Read up to `count` planes spread evenly over the stack, as (index, float32 plane)."""
        for index in spread(self.plane_count, count):
            yield index, self.plane(index).astype(np.float32)

    def cropped(self, rows: slice, columns: slice) -> "Acquisition":
        """Return the same recording, limited to a part of every plane."""
        return replace(self, data=self.data[..., rows, columns])


def spread(total: int, count: int) -> list[int]:
    """Return up to `count` of the numbers below `total`, spread evenly."""
    if total <= count:
        return list(range(total))
    return (
        sorted({round(i * (total - 1) / (count - 1)) for i in range(count)}) if count > 1 else [0]
    )


def _checked(acquisition: Acquisition) -> Acquisition:
    name, axes, data = acquisition.name, acquisition.axes, acquisition.data
    if len(axes) != data.ndim:
        raise BadInput(
            f"{name}: {data.ndim} dimensions of shape {acquisition.shape} do not fit the axes "
            f"'{axes}': name one letter of {AXES} for each dimension"
        )
    if not axes.endswith("YX") or len(set(axes)) != len(axes) or set(axes) - set(AXES):
        raise BadInput(
            f"{name}: axes '{axes}' cannot be used: each may be one of {AXES}, once, "
            "ending in YX; transpose the stack or name its axes with --axes"
        )
    if "C" in axes and acquisition.shape[axes.index("C")] > 1:
        raise BadInput(
            f"{name}: has a channel axis of length {acquisition.shape[axes.index('C')]}: "
            "give one channel at a time (in napari: Layers > Data > Split Stack)"
        )
    if not (np.issubdtype(data.dtype, np.integer) or np.issubdtype(data.dtype, np.floating)):
        raise BadInput(
            f"{name}: pixels are {data.dtype}, not numbers: convert to integers or floats"
        )
    return acquisition


def _open(source: Any) -> Acquisition:
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source))
    if hasattr(source, "multiscale") and hasattr(source, "axis_labels"):
        return _open_layer(source)
    if hasattr(source, "dims") and hasattr(source, "coords"):
        named = "".join(str(dim) for dim in source.dims).upper()
        axes = named if len(named) == source.ndim and set(named) <= set(AXES) else None
        return _from_array(source.data, str(source.name or "array"), axes=axes)
    if hasattr(source, "shape") and hasattr(source, "dtype"):
        return _from_array(source, "array")
    raise BadInput(
        f"{type(source).__name__}: not an image: give a file, an array or a napari image layer"
    )


def _open_path(path: Path) -> Acquisition:
    if not path.exists():
        raise BadInput(f"{path}: no such file: check the spelling and the folder")
    suffix = path.suffix.lower()
    readers = {
        **dict.fromkeys(_TIFF_SUFFIXES, _open_tiff),
        **dict.fromkeys(_PICTURE_SUFFIXES, _open_picture),
        ".zarr": _open_zarr,
        ".npy": _open_npy,
    }
    looks_like_zarr = path.is_dir() and any(
        (path / marker).exists() for marker in ("zarr.json", ".zgroup", ".zarray")
    )
    reader = _open_zarr if looks_like_zarr else readers.get(suffix)
    if reader is None:
        raise BadInput(
            f"{path}: cannot read {'this folder' if path.is_dir() else f'{suffix} files'}: "
            "save as TIFF or OME-Zarr, or open it in napari and choose the layer"
        )
    try:
        return reader(path)
    except BadInput:
        raise
    except Exception as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"{path}: cannot be read as {suffix or 'zarr'} ({cause}): "
            "save it again or check the copy"
        ) from error


def _open_tiff(path: Path) -> Acquisition:
    import tifffile
    import zarr

    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        axes, shape = str(series.axes), series.shape
        scale = _tiff_scale(tif)
    if "S" in axes:
        raise _colour(str(path))
    try:
        pixels: Any = tifffile.memmap(path, mode="r", series=0)
    except ValueError:  # compressed or not contiguous
        pixels = zarr.open(tifffile.imread(path, aszarr=True, series=0, level=0), mode="r")
    return _from_array(
        np.asarray(pixels) if pixels.shape != shape else pixels,
        _stem(path),
        axes=axes if set(axes) <= set(AXES) else None,
        scale=scale,
        path=path,
    )


def _tiff_scale(tif: Any) -> dict[str, tuple[float, str]]:
    """Read the pixel size of each axis, where OME or ImageJ metadata have one."""
    import tifffile

    found: dict[str, tuple[float, str]] = {}
    if tif.is_ome and tif.ome_metadata:
        image = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        for axis in "XYZ":
            if f"PhysicalSize{axis}" in pixels:
                unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
                found[axis] = (float(pixels[f"PhysicalSize{axis}"]), ngff.unit_name(unit))
        if "TimeIncrement" in pixels:
            unit = pixels.get("TimeIncrementUnit", "s")
            found["T"] = (float(pixels["TimeIncrement"]), ngff.unit_name(unit))
    elif tif.is_imagej:
        metadata = tif.imagej_metadata or {}
        unit = ngff.unit_name(str(metadata.get("unit", "pixel")))
        for axis in "XY":
            resolution = tif.pages[0].tags.get(f"{axis}Resolution")
            if resolution is not None and resolution.value[0]:
                found[axis] = (resolution.value[1] / resolution.value[0], unit)
        if "spacing" in metadata:
            found["Z"] = (float(metadata["spacing"]), unit)
        if "finterval" in metadata:
            found["T"] = (float(metadata["finterval"]), "second")
    return found


def _open_zarr(path: Path) -> Acquisition:
    image = ngff.read(path)
    scale = dict(zip(image.axes, zip(image.scale, image.units, strict=True), strict=True))
    axes = image.axes if len(image.axes) == image.array.ndim else None
    return _from_array(image.array, _stem(path), axes=axes, scale=scale, path=path)


def _open_npy(path: Path) -> Acquisition:
    return _from_array(np.load(path, mmap_mode="r", allow_pickle=False), _stem(path), path=path)


def _open_picture(path: Path) -> Acquisition:
    from PIL import Image

    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    if pixels.ndim == 3:
        colours = pixels[..., :3]
        if not (colours == colours[..., :1]).all():
            raise _colour(str(path))
        pixels = colours[..., 0]
    return _from_array(pixels, _stem(path), path=path)


def _open_layer(layer: Any) -> Acquisition:
    if getattr(layer, "rgb", False):
        raise _colour(str(layer.name))
    data = layer.data[0] if layer.multiscale else layer.data
    labels = "".join(str(label) for label in layer.axis_labels).upper()
    axes = labels if len(labels) == layer.ndim and set(labels) <= set(AXES) else None
    units = tuple(ngff.unit_name(str(unit)) for unit in layer.units)
    opened = _from_array(data, str(layer.name), axes=axes)
    return replace(opened, scale=tuple(float(step) for step in layer.scale), units=units)


def _from_array(
    array: Any,
    name: str,
    axes: str | None = None,
    scale: dict[str, tuple[float, str]] | None = None,
    path: Path | None = None,
) -> Acquisition:
    """Wrap any array; guess the axes that nobody named, and say so."""
    shape = tuple(array.shape)
    if len(shape) < 2:
        raise BadInput(
            f"{name}: shape {shape} is not an image: at least rows and columns are needed"
        )
    if len(shape) == 3 and shape[-1] in (3, 4) and axes is None and min(shape[:2]) > 16:
        raise _colour(name)
    if isinstance(array, da.Array):
        data = array
    else:
        chunks = getattr(array, "shards", None) or getattr(array, "chunks", None)
        if chunks is None:
            chunks = (1,) * (len(shape) - 2) + shape[-2:]
        # A random token: dask would otherwise read the whole file to make a name of its content.
        data = da.from_array(
            array, chunks=chunks, name=f"n2n-{uuid.uuid4().hex}", inline_array=True
        )
    assumed = axes is None
    if axes is None:
        axes = {2: "YX", 3: "ZYX", 4: "TZYX", 5: AXES}.get(len(shape), "?" * len(shape))
        assumed = len(shape) > 2
    known = scale or {}
    steps = [known.get(axis, (1.0, "pixel")) for axis in axes]
    return Acquisition(
        data=data,
        axes=axes,
        scale=tuple(step for step, _ in steps),
        units=tuple(unit for _, unit in steps),
        name=name,
        path=path,
        axes_assumed=assumed,
    )


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".ome.zarr", ".ome.tiff", ".ome.tif"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return path.stem


def _colour(name: str) -> BadInput:
    return BadInput(
        f"{name}: is a colour (RGB) picture, not a measurement: give the grey-scale channel "
        "(in napari: Layers > Data > Split RGB)"
    )
