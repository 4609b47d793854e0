"""Open files, arrays and layers as pixels with a header.

Only this module distinguishes kinds of sources. It reads metadata, and pixels only of formats that
cannot be read in parts.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io import ngff, tiff
from napari_n2n.io.header import Header, unit_name

AXES = "RTCZYX"
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True, eq=False)
class Source:
    """Pixels, usually not read yet, and their description.

    Attributes
    ----------
    pixels
        A numpy, dask or zarr array, or a memory-mapped file.
    header
        Description of the pixels; one letter of ``RTCZYX`` per dimension, in the source's order.
    path
        File that was opened, if any.
    axes_assumed
        True if the leading axes are unlabelled and guessed.
    """

    pixels: Any
    header: Header
    path: Path | None = None
    axes_assumed: bool = False


def open_source(source: Any, axes: str | None = None) -> Source:
    """Open a file, a folder with a zarr, an array or a napari image layer lazily.

    Parameters
    ----------
    source
        See `Acquisition.open`.
    axes
        One letter per dimension of the source, instead of the source's own labels.

    Raises
    ------
    BadInput
        If the source cannot be read, is not an image, or its axes do not fit.
    """
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source), axes)
    if hasattr(source, "multiscale") and hasattr(source, "axis_labels"):
        return _open_layer(source, axes)
    if hasattr(source, "dims") and hasattr(source, "coords"):
        named = _as_axes("".join(str(dim) for dim in source.dims).upper(), source.ndim)
        return _from_array(source.data, str(source.name or "array"), axes or named)
    if hasattr(source, "shape") and hasattr(source, "dtype"):
        return _from_array(source, "array", axes)
    raise BadInput(
        f"{type(source).__name__}: not an image: give a file, an array or a napari image layer",
        "format",
    )


def _as_axes(letters: str, count: int) -> str | None:
    """Return the letters if they label `count` axes, else None."""
    return letters if len(letters) == count and set(letters) <= set(AXES) else None


def _open_path(path: Path, axes: str | None) -> Source:
    if not path.exists():
        raise BadInput(f"{path}: no such file: check the spelling and the folder", "not_found")
    suffix = path.suffix.lower()
    readers = {
        **dict.fromkeys(tiff.SUFFIXES, tiff.read),
        **dict.fromkeys(_PICTURE_SUFFIXES, _read_picture),
        ".zarr": ngff.read,
        ".npy": _read_npy,
    }
    read = ngff.read if ngff.is_zarr(path) else readers.get(suffix)
    if read is None:
        if path.is_dir():
            raise BadInput(f"{path}: is a folder but not a zarr: name the files in it", "format")
        raise BadInput(
            f"{path}: cannot read {suffix or 'such'} files: "
            "save it as TIFF or OME-Zarr, or open it in napari and choose the layer",
            "format",
        )
    try:
        pixels, header = read(path)
    except BadInput:
        raise
    except Exception as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"{path}: cannot be read as {suffix or 'zarr'} ({cause}): save or copy the file again",
            "unreadable",
        ) from error
    if "S" in header.axes and axes is None:
        raise _colour_error(str(path))
    named = axes or _as_axes(header.axes, len(header.shape))
    opened = _from_array(pixels, _stem(path), named, header)
    return replace(opened, path=path.absolute())


def _read_npy(path: Path) -> tuple[Any, Header]:
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    mapped = tiff.Mapped(path, pixels.offset, pixels.shape, pixels.dtype)
    return (mapped if pixels.flags.c_contiguous else pixels), _unlabelled(pixels)


def _read_picture(path: Path) -> tuple[Any, Header]:
    from PIL import Image

    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    if pixels.ndim == 3:
        colours = pixels[..., :3]
        if not (colours == colours[..., :1]).all():
            raise _colour_error(str(path))
        pixels = colours[..., 0]
    return pixels, _unlabelled(pixels)


def _unlabelled(pixels: np.ndarray) -> Header:
    return Header(pixels.shape, pixels.dtype, "", (), ())


def _open_layer(layer: Any, axes: str | None) -> Source:
    if getattr(layer, "rgb", False):
        raise _colour_error(str(layer.name))
    data = layer.data[0] if layer.multiscale else layer.data
    labels = _as_axes("".join(str(label) for label in layer.axis_labels).upper(), layer.ndim)
    units = tuple(unit_name(str(unit)) for unit in layer.units)
    scale = tuple(float(step) for step in layer.scale)
    header = Header(data.shape, data.dtype, "", scale, units)
    return _from_array(data, str(layer.name), axes or labels, header)


def _from_array(array: Any, name: str, axes: str | None, header: Header | None = None) -> Source:
    """Return the source of an array; guess unlabelled axes of up to three dimensions (ZYX)."""
    shape = tuple(int(length) for length in array.shape)
    if len(shape) < 2:
        raise BadInput(
            f"{name}: shape {shape} is not an image: give an array with rows and columns", "format"
        )
    # Three or four values per pixel are taken as RGB(A). With 16 or fewer rows or columns the
    # array is more likely a short stack of narrow planes.
    if axes is None and len(shape) == 3 and shape[-1] in (3, 4) and min(shape[:2]) > 16:
        raise _colour_error(name)
    if axes is None and len(shape) > 3:
        raise BadInput(
            f"{name}: the {len(shape)} axes of shape {shape} are unlabelled: say which are time, "
            f"channels and depth, as in --axes {AXES[-len(shape) :]} (in napari: axis labels)",
            "axes",
        )
    named = {2: "YX", 3: "ZYX"}[len(shape)] if axes is None else axes
    known = header if header is not None and len(header.scale) == len(shape) else None
    found = Header(
        shape,
        np.dtype(array.dtype),
        checked_axes(name, shape, np.dtype(array.dtype), named),
        known.scale if known else (1.0,) * len(shape),
        known.units if known else ("pixel",) * len(shape),
        name,
        header.channels if header else (),
    )
    return Source(array, found, axes_assumed=axes is None and len(shape) > 2)


def checked_axes(name: str, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> str:
    """Return the axes in capitals if they, the shape and the pixel type describe an image.

    Raises
    ------
    BadInput
        If they do not; the message begins with `name`.
    """
    letters = axes.upper()
    if len(letters) != len(shape):
        raise BadInput(
            f"{name}: shape {shape} has {len(shape)} dimensions, not those of axes '{axes}': "
            f"give one letter of {AXES} per dimension",
            "axes",
        )
    if set(letters) - set(AXES) or len(set(letters)) != len(letters):
        raise BadInput(
            f"{name}: axes '{letters}' cannot be used: give each letter of {AXES} at most once "
            "(repeats, time, channels, depth, rows, columns)",
            "axes",
        )
    if not {"Y", "X"} <= set(letters):
        raise BadInput(f"{name}: axes '{letters}' lack rows Y or columns X: set --axes", "axes")
    if not (np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating)):
        raise BadInput(
            f"{name}: pixels are {dtype}, not numbers: convert to integers or floats", "format"
        )
    return letters


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".ome.zarr", ".ome.tiff", ".ome.tif"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return path.stem


def _colour_error(name: str) -> BadInput:
    return BadInput(
        f"{name}: is a colour (RGB) picture: give one grey-scale channel "
        "(in napari: Layers > Data > Split RGB)",
        "format",
    )
