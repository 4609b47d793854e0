"""List the images in a file: series of a TIFF, images and wells of a zarr, scenes."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import zarr

from napari_n2n.io import other_formats, tiff_reader
from napari_n2n.io.ngff_images import is_zarr, list_images
from napari_n2n.io.sources import expanded

_MARKERS = ("zarr.json", ".zattrs")  # files in a zarr that change with its list of images
# Number of files whose lists are kept: a form asks for them again after each change.
_KEPT = 32


@dataclass(frozen=True)
class FileImages:
    """The images in a file.

    Attributes
    ----------
    names
        Name of each image after a ``#``; empty for a file that has no images or is damaged.
    titles
        Text for the user.
    shapes
        Their shapes as text, equal for images of one size.
    """

    names: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()


def images_in_file(path: Path) -> FileImages:
    """Return the images in a file; none if the path names one of them, or cannot be read."""
    path = expanded(path)
    try:
        stamps = [
            (found.st_mtime_ns, found.st_size)
            for one in (path, *(path / marker for marker in _MARKERS))
            if one.exists()
            for found in [one.stat()]
        ]
        return _listed(path.absolute(), tuple(stamps)) if stamps else FileImages()
    except Exception:  # the error is reported when the file is read
        return FileImages()


@lru_cache(_KEPT)
def _listed(path: Path, _stamps: tuple[Any, ...]) -> FileImages:
    """List the images; `_stamps` change with the files, so that the cache is never outdated."""
    if path.is_file() and tiff_reader.is_tiff(path):
        titles = tiff_reader.image_titles(path)
        names = tuple(map(str, range(len(titles))))
        return FileImages(names, titles, tuple(title.rpartition("(")[2] for title in titles))
    if is_zarr(path) or path.suffix.lower() == ".zarr":
        return _in_zarr(zarr.open(path, mode="r"))
    if path.suffix.lower() in other_formats.SCENE_SUFFIXES:
        titles, shapes = other_formats.list_scenes(path)
        return FileImages(tuple(map(str, range(len(titles)))), titles, tuple(map(str, shapes)))
    return FileImages()


def _in_zarr(node: Any) -> FileImages:
    if not isinstance(node, zarr.Group):
        return FileImages()
    found = list_images(node)
    # A plate has thousands of fields, all of one size.
    shapes = [
        "" if found.is_plate else str(found.shape(node, index)) for index in range(len(found.names))
    ]
    return FileImages(found.names, found.titles, tuple(shapes))
