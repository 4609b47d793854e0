"""Read the files of microscopes (ND2, LIF, DV, CZI) with bioio, and MRC with mrcfile.

Both libraries are optional: without them such a file is refused, and the message names what to
install.
"""

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.header import Channel, Header, number
from napari_n2n.io.image_name import image_index, say_choice
from napari_n2n.io.tiff_reader import Mapped
from napari_n2n.io.units import unit_name

MRC_SUFFIXES = (".mrc", ".mrcs", ".rec", ".st")
_EXTRA = "'napari-n2n[formats]'"
# Packages that read each format; bioio-czi has another licence (GPL), so it is not part of the
# extra.
_PACKAGES = {
    **dict.fromkeys((".nd2", ".lif", ".dv", ".r3d", *MRC_SUFFIXES), _EXTRA),
    ".czi": "bioio bioio-czi",
}
SCENE_SUFFIXES = tuple(suffix for suffix in _PACKAGES if suffix not in MRC_SUFFIXES)
_HDF5 = (".h5", ".hdf5", ".hdf")  # files with data sets of any names
_SAVE = "save it as TIFF or OME-Zarr, or open it in napari and choose the layer"


def read(path: Path, wanted: str = "") -> tuple[Any, Header]:
    """Open an image of a microscope's file plane by plane.

    Parameters
    ----------
    path
        The file.
    wanted
        Name or index of the scene to read; empty: the largest.

    Raises
    ------
    BadInput
        If no installed library reads such files, or there is no such scene.
    """
    suffix = path.suffix.lower()
    opened = _opened(path, suffix)
    scenes, titles = _scenes(opened)
    if wanted:
        index = image_index(scenes, wanted, str(path), titles)
    else:
        sizes = [math.prod(shape) for shape in _shapes(opened)]
        index = sizes.index(max(sizes))
        if len(scenes) > 1:
            say_choice(str(path), titles, index)
    opened.set_scene(index)
    # Tiles of a mosaic (M) are put together; otherwise the reader's own axes are enough.
    whole = opened if "M" in opened.reader.dims.order else opened.reader
    pixels, axes = _without_single(whole.xarray_dask_data)
    return pixels, Header.of_sizes(
        *(pixels.shape, pixels.dtype, axes, _pixel_sizes(opened)),
        channels=tuple(Channel(str(name)) for name in opened.channel_names or ()),
        images=titles if len(titles) > 1 else (),
        image=index,
    )


def list_scenes(path: Path) -> tuple[tuple[str, ...], list[tuple[int, ...]]]:
    """Return the titles of all scenes of a file, and their shapes (TCZYX)."""
    opened = _opened(path, path.suffix.lower())
    return _scenes(opened)[1], _shapes(opened)


def _scenes(opened: Any) -> tuple[list[str], tuple[str, ...]]:
    """Return the names of the scenes, and their titles."""
    scenes = [str(scene) for scene in opened.scenes]
    return scenes, tuple(f"'{scene}'" for scene in scenes)


def _opened(path: Path, suffix: str) -> Any:
    """Return the image of bioio, whose chunks are planes if its reader allows that."""
    try:
        from bioio import BioImage
        from bioio_base.exceptions import UnsupportedFileFormatError
    except ImportError as error:
        raise no_reader(path) from error
    try:
        opened = BioImage(path)
        if "chunk_dims" in inspect.signature(type(opened.reader)).parameters:
            opened = BioImage(path, chunk_dims=["Y", "X"])
    except UnsupportedFileFormatError as error:
        raise no_reader(path) from error
    return opened


def no_reader(path: Path) -> BadInput:
    """Return the error for a file that cannot be read, with the packages that read it, if any."""
    suffix = path.suffix.lower()
    packages = _PACKAGES.get(suffix)
    fix = f"pip install {packages}, or {_SAVE}" if packages else _SAVE
    if suffix in _HDF5:
        fix = f"give a data set of h5py in Python, or {_SAVE}"
    return BadInput(f"{path}: cannot read {suffix or 'such'} files: {fix}", "format")


def _shapes(opened: Any) -> list[tuple[int, ...]]:
    shapes = []
    for index in range(len(opened.scenes)):
        opened.set_scene(index)
        shapes.append(tuple(opened.shape))
    return shapes


def _without_single(array: Any) -> tuple[Any, str]:
    """Return the pixels without axes of length 1, and the axes; readers add all of TCZYX."""
    dims = [str(dim) for dim in array.dims]
    kept = tuple(
        slice(None) if length > 1 or dim in "YX" else 0
        for dim, length in zip(dims, array.shape, strict=True)
    )
    axes = "".join(dim for dim, part in zip(dims, kept, strict=True) if part != 0)
    return array.data[kept], axes


def _pixel_sizes(opened: Any) -> dict[str, tuple[float, str]]:
    """Return pixel size and unit by axis; those that are 0 or unknown are left out."""
    found = {}
    described = getattr(opened, "dimension_properties", None)
    for axis in "ZYX":
        size = number(getattr(opened.physical_pixel_sizes, axis, None))
        unit = getattr(getattr(described, axis, None), "unit", None)
        if math.isfinite(size) and size > 0:
            size = float(f"{size:.7g}")  # some are stored with single precision
            found[axis] = (size, unit_name(str(unit)) if unit else "micrometer")
    seconds = getattr(opened.time_interval, "total_seconds", None)
    if seconds is not None and seconds() > 0:
        found["T"] = (float(seconds()), "second")
    return found


def read_mrc(path: Path) -> tuple[Mapped, Header]:
    """Open an MRC file; its pixels are read from the disk when they are needed.

    Raises
    ------
    BadInput
        If mrcfile is not installed.
    """
    try:
        import mrcfile
    except ImportError as error:
        raise no_reader(path) from error
    with mrcfile.mmap(path, mode="r") as file:
        data, header = file.data, file.header
        # The header says which axes of the sample its columns, rows and sections are.
        stored = [int(number) for number in (header.maps, header.mapr, header.mapc)]
        axes = "".join("XYZ"[k - 1] for k in stored) if sorted(stored) == [1, 2, 3] else "ZYX"
        is_stack = data.ndim == 4 or (data.ndim == 3 and not file.is_volume())
        labelled = "I" + axes[1 - data.ndim :] if is_stack else axes[-data.ndim :]
        sizes = {axis: number(file.voxel_size[axis.lower()]) for axis in axes}
        pixels = Mapped(path, data.offset, data.shape, np.dtype(data.dtype))
    known = {axis: (size, "angstrom") for axis, size in sizes.items() if size > 0}
    return pixels, Header.of_sizes(pixels.shape, pixels.dtype, labelled, known)
