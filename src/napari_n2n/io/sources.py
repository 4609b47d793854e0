"""Open files, arrays and layers as pixels with a header.

Only this module distinguishes kinds of sources. It reads metadata; of a `picture`, all pixels too.
"""

import logging
import math
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from napari_n2n.errors import BadInput
from napari_n2n.io import ngff_reader, other_formats, picture, tiff_reader
from napari_n2n.io.address import address_of, local_path, name_in_address
from napari_n2n.io.coordinates import header_of
from napari_n2n.io.crash_safe import is_partial
from napari_n2n.io.header import Header
from napari_n2n.io.image_name import split_image_name
from napari_n2n.io.layer_file import header_of_file
from napari_n2n.io.ngff_images import is_zarr
from napari_n2n.io.reading import OneLine
from napari_n2n.io.remote import remote_store
from napari_n2n.io.units import fits, unit_name

AXES = "RTCZYX"
_log = logging.getLogger("napari_n2n")
# Smallest and largest plausible pixel size, in its unit: an angstrom in metres is 1e-10; damaged or
# empty metadata have numbers outside this range (0, -1, 1e300).
_SMALLEST_STEP, _LARGEST_STEP = 1e-12, 1e12


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
    axes_from_file
        True if a layer does not label its axes, so they were read from its file.
    """

    pixels: Any
    header: Header
    path: Path | None = None
    axes_assumed: bool = False
    axes_from_file: bool = False


def open_source(source: Any, axes: str | None = None) -> Source:
    """Open a file, a folder with a zarr, an array or a napari image layer lazily.

    Parameters
    ----------
    source
        See `Acquisition.open`; a `Source` is returned unchanged if no axes are given.
    axes
        One letter per dimension of the source, instead of the source's own labels.

    Raises
    ------
    BadInput
        If the source cannot be read, is not an image, or its axes do not fit.
    """
    if isinstance(source, Source) and axes is None:
        return source
    if isinstance(source, str | os.PathLike):
        address = address_of(source)
        if address is not None and not Path(source).exists():
            return _open_address(address, axes)
        return _open_path(Path(os.fspath(source)), axes)
    kind = type(source).__name__
    with OneLine(f"{kind}: cannot be used as an image", "give a numpy array instead"):
        if hasattr(source, "multiscale") and hasattr(source, "axis_labels"):
            return _open_layer(source, axes)
        if hasattr(source, "dims") and hasattr(source, "coords"):
            return _open_labelled(source, axes)
        if hasattr(source, "detach") and hasattr(source, "cpu"):  # a tensor of PyTorch
            source = source.detach().cpu().numpy()
        if hasattr(source, "toarray"):
            raise BadInput(f"{kind}: is a sparse array: convert it with .toarray()", "format")
        if isinstance(source, np.matrix):  # its parts always have two axes
            source = np.asarray(source)
        if hasattr(source, "shape") and hasattr(source, "dtype"):
            return _from_array(source, "array", axes)
    raise BadInput(
        f"{kind}: not an image: give a file, a numpy array or a napari image layer", "format"
    )


def _as_axes(letters: str, count: int) -> str | None:
    """Return the letters if they label `count` axes, else None."""
    return letters if len(letters) == count and set(letters) <= set(AXES) else None


def _open_path(given: Path, axes: str | None) -> Source:
    path, image = split_image_name(expanded(given))
    if is_partial(path):
        raise BadInput(
            f"{path}: is an unfinished result: repeat its command with --resume, or delete it",
            "unfinished",
        )
    with OneLine(f"{path}: cannot be opened", "check the disk and your permissions"):
        _check_kind(path)
        zarr_folder = is_zarr(path)
        is_tiff = path.is_file() and tiff_reader.is_tiff(path)
    suffix = path.suffix.lower()
    if zarr_folder or suffix == ".zarr":
        read: _Read = partial(ngff_reader.read, wanted=image)
    elif suffix in _ZIPPED:
        read = partial(ngff_reader.read_zipped, wanted=image)
    elif path.is_dir():
        raise BadInput(f"{path}: is a folder but not a zarr: name the files in it", "format")
    elif suffix in _SINGLE and not is_tiff:
        read = _SINGLE[suffix]
        if image:
            raise BadInput(f"{path}: has only one image: leave out #{image}", "not_found")
    elif suffix in tiff_reader.SUFFIXES or is_tiff:
        read = partial(tiff_reader.read, lenient=bool(axes), wanted=image)
    elif not suffix:
        raise other_formats.no_reader(path)
    else:
        read = partial(other_formats.read, wanted=image)
    with OneLine(f"{path}: cannot be read as {suffix or 'zarr'}", "save or copy the file again"):
        pixels, header = read(path)
        if "S" in header.axes and axes is None:
            raise _colour_error(str(path), header.shape, header.axes)
        named = axes or _as_axes(header.axes, len(header.shape))
        name = "_".join([_stem(path), *image.split("/")]) if image else _stem(path)
        opened = _from_array(pixels, name, named, header, str(path))
    return replace(opened, path=path.absolute())


def _open_address(address: str, axes: str | None) -> Source:
    address, _, image = address.partition("#")
    if not re.search(r"\.zarr(/|$)", address.split("?")[0].lower()):
        raise BadInput(
            f"{address}: only OME-Zarr and zarr are read from an address (its name contains .zarr):"
            " copy other files to a disk first",
            "format",
        )
    with OneLine(f"{address}: cannot be read", "check the address, the network and your rights"):
        pixels, header = ngff_reader.read_store(remote_store(address), address, image)
        named = axes or _as_axes(header.axes, len(header.shape))
        return _from_array(pixels, _stem(Path(name_in_address(address))), named, header, address)


def expanded(path: Path) -> Path:
    """Return a path with ``~`` replaced by the home folder, also that of a file:// address."""
    path = local_path(path)
    try:
        return path.expanduser()
    except RuntimeError:  # no such user: a file with this name may exist
        return path


def _check_kind(path: Path) -> None:
    """Raise if a path is neither a file nor a folder: reading a pipe could wait forever."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        cause = "no such file: check the spelling and the folder"
        raise BadInput(f"{path}: {cause}", "not_found") from error
    kind = found.st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise BadInput(
            f"{path}: is a pipe, socket or device, not a file: save the image to a file first",
            "format",
        )
    if stat.S_ISREG(kind) and found.st_size == 0:
        raise BadInput(f"{path}: is empty (0 bytes): copy the file again", "unreadable")


def _read_npy(path: Path) -> tuple[Any, Header]:
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    mapped = tiff_reader.Mapped(path, pixels.offset, pixels.shape, pixels.dtype)
    header = Header(pixels.shape, pixels.dtype, "", (), ())
    return (mapped if pixels.flags.c_contiguous else pixels), header


_Read = Callable[[Path], tuple[Any, Header]]
_ZIPPED = (".zip", ".ozx")  # of stores of zarr; .ozx is that of OME-Zarr
# Formats whose files have one image; TIFF is known by its first bytes, whatever its suffix.
_SINGLE: dict[str, _Read] = {
    **dict.fromkeys(picture.SUFFIXES, picture.read),
    **dict.fromkeys(other_formats.MRC_SUFFIXES, other_formats.read_mrc),
    ".npy": _read_npy,
}


def _open_layer(layer: Any, axes: str | None) -> Source:
    if getattr(layer, "rgb", False):
        raise _colour_error(str(layer.name), getattr(layer.data, "shape", ()))
    data = layer.data[0] if layer.multiscale else layer.data
    labels = _as_axes("".join(str(label) for label in layer.axis_labels).upper(), layer.ndim)
    units = tuple(unit_name(str(unit)) for unit in layer.units)
    scale = tuple(float(step) for step in layer.scale)
    translation = tuple(float(place) for place in layer.translate)
    header = Header(data.shape, data.dtype, "", scale, units, translation=translation)
    if (file := header_of_file(layer, tuple(data.shape), _labelled_header)) is not None:
        if set(scale) == {1.0} and set(units) == {"pixel"}:
            header = replace(header, scale=file.scale, units=file.units)
        if (axes or labels or file.axes).upper() == file.axes:
            header = replace(header, channels=file.channels)
        if axes is None and labels is None:
            opened = _from_array(data, str(layer.name), file.axes, header)
            return replace(opened, axes_from_file=True)
    return _from_array(data, str(layer.name), axes or labels, header)


def _open_labelled(source: Any, axes: str | None) -> Source:
    """Open an array of xarray, whose dimensions have names and may have coordinates."""
    lines = {
        str(dim): (line.values, line.attrs.get("units"))
        for dim in source.dims
        if (line := source.coords.get(dim)) is not None
    }
    header = header_of(source.shape, source.dtype, [str(dim) for dim in source.dims], lines)
    named = axes or _as_axes(header.axes, source.ndim)
    return _from_array(source.data, str(source.name or "array"), named, header)


def _labelled_header(path: Path) -> Header | None:
    """Return the header of a file; None if its axes are not labelled."""
    opened = _open_path(path, None)
    return None if opened.axes_assumed else opened.header


def _from_array(
    array: Any, name: str, axes: str | None, header: Header | None = None, place: str = ""
) -> Source:
    """Return the source of an array; guess unlabelled axes of up to three dimensions (ZYX).

    `place` is its name in messages, if that is not `name`.
    """
    place = place or name
    shape = tuple(int(length) for length in array.shape)
    if len(shape) < 2:
        raise BadInput(
            f"{place}: shape {shape} is not an image: give an array with rows and columns", "format"
        )
    if 0 in shape:
        raise BadInput(
            f"{place}: shape {shape} contains no pixel: check that it was saved completely", "size"
        )
    _check_chunk(array, place)
    _check_map(array, place)
    if np.ma.is_masked(array):
        raise BadInput(
            f"{place}: has masked pixels: crop them away, or fill them with the background level",
            "not_finite",
        )
    # Three or four values per pixel are taken as RGB(A), two as grey and alpha. With 16 or fewer
    # rows or columns the array is more likely a short stack of narrow planes.
    if axes is None and len(shape) == 3 and shape[-1] in (2, 3, 4) and min(shape[:2]) > 16:
        raise _colour_error(place, shape)
    if axes is None and len(shape) > 3:
        raise BadInput(
            f"{place}: the {len(shape)} axes of shape {shape} are unlabelled: say which are time, "
            f"channels and depth, as in --axes {AXES[-len(shape) :]} (in napari: axis labels)",
            "axes",
        )
    named = {2: "YX", 3: "ZYX"}[len(shape)] if axes is None else axes
    letters = checked_axes(place, shape, np.dtype(array.dtype), named)
    header = header or Header(shape, np.dtype(array.dtype), letters, (), ())
    is_known = len(header.scale) == len(shape)
    steps = zip(letters, header.scale, header.units, strict=True) if is_known else ()
    usable = [_usable_step(place, *step) for step in steps] or [(1.0, "pixel")] * len(shape)
    found = replace(
        header,
        shape=shape,
        dtype=np.dtype(array.dtype),
        axes=letters,
        scale=tuple(step for step, _ in usable),
        units=tuple(unit for _, unit in usable),
        name=name,
        translation=_usable_translation(header, len(shape)),
    )
    assumed = axes is None and len(shape) > 2
    if assumed:
        _log.info("%s: its axes are unlabelled: %s is taken as %s", place, shape, letters)
    return Source(array, found, axes_assumed=assumed)


def _usable_translation(header: Header, count: int) -> tuple[float, ...]:
    """Return the translation in a header; empty if it is not one finite number for each axis."""
    known = header.translation
    return known if len(known) == count and all(map(math.isfinite, known)) else ()


def _check_map(array: Any, place: str) -> None:
    """Refuse a memory-mapped array whose file was cut off: reading it would end the process."""
    whole = array
    while isinstance(whole, np.ndarray) and isinstance(whole.base, np.ndarray):
        whole = whole.base
    if not isinstance(whole, np.memmap) or whole.filename is None:
        return
    path = Path(os.fsdecode(whole.filename))
    if path.is_file() and path.stat().st_size < whole.offset + whole.nbytes:
        raise BadInput(
            f"{place}: its memory-mapped file {path.name} was cut off: copy the file again",
            "unreadable",
        )


def _usable_step(place: str, axis: str, step: float, unit: str) -> tuple[float, str]:
    """Return a pixel size and its unit; log an impossible size, and return 1 pixel instead."""
    if not _SMALLEST_STEP <= step <= _LARGEST_STEP:
        _log.warning("%s: a pixel size of %s along %s is taken as unknown", place, step, axis)
        return 1.0, "pixel"
    if unit == "pixel" or fits(axis, unit):
        return step, unit
    if axis in "ZYXT":  # the axis has another label than in the file
        _log.info("%s: a pixel size in %s along %s is taken as unknown", place, unit, axis)
    return 1.0, "pixel"


def _check_chunk(array: Any, place: str) -> None:
    """Raise if a single chunk is larger than the memory of this computer."""
    chunks = getattr(array, "chunks", None)
    if not isinstance(chunks, tuple) or not all(isinstance(side, int) for side in chunks):
        return
    size, memory = math.prod(chunks) * np.dtype(array.dtype).itemsize, psutil.virtual_memory().total
    if size > memory:
        raise BadInput(
            f"{place}: one chunk ({'x'.join(map(str, chunks))} pixels) takes {size / 1e9:.3g} GB, "
            f"this computer has {memory / 1e9:.3g} GB of memory: save it in smaller chunks",
            "memory",
        )


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
    if dtype.kind not in "iuf":
        raise BadInput(
            f"{name}: pixels are {dtype}, not numbers: convert to integers or floats", "format"
        )
    return letters


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".ome.zarr.zip", ".ome.zarr", ".zarr.zip", ".ome.tiff", ".ome.tif"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return path.stem


def _colour_error(name: str, shape: tuple[int, ...], axes: str = "") -> BadInput:
    """Return the error for a picture in colours; they may also be recordings or a short stack."""
    if shape[-1] == 2:
        return BadInput(
            f"{name}: has two values per pixel, such as grey and alpha: save it without alpha, or "
            "add --axes YXR if these are two recordings of one scene",
            "format",
        )
    fix = "give one grey-scale channel (in napari: Layers > Data > Split RGB)"
    if not axes and len(shape) == 3:
        axes = "YXS" if shape[-1] in (3, 4) else "SYX"
    if "S" in axes:  # S: samples, the letter for colours
        count = shape[axes.index("S")]
        named = "".join("R" if one == "S" else one if one in AXES else "T" for one in axes)
        fix += f"; if these are {count} recordings of one scene, add --axes {named}"
    return BadInput(f"{name}: is a colour (RGB) picture: {fix}", "format")
