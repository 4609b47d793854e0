"""Open zarr arrays and OME-Zarr images lazily, of all versions up to 0.6, with their metadata.

Metadata that are missing or of the wrong type are left out; axes that do not fit are refused.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import zarr
from zarr.storage import ZipStore

from napari_n2n.errors import BadInput
from napari_n2n.io.address import address_of
from napari_n2n.io.coordinates import Coordinates, header_of
from napari_n2n.io.header import Channel, Header, channel, number
from napari_n2n.io.image_name import image_index, listed, say_choice
from napari_n2n.io.ngff_images import ZarrImages, array_names, list_images, metadata_of
from napari_n2n.io.ngff_metadata import AXIS_TYPES
from napari_n2n.io.ngff_writer import UNFINISHED
from napari_n2n.io.reading import OneLine
from napari_n2n.io.units import unit_name

# OME-Zarr 0.1 and 0.2 do not name axes: their images always have these.
_FIRST_AXES = "TCZYX"
# Files that describe an array or a group, at the top of a store.
_NODES = frozenset({"zarr.json", ".zarray", ".zgroup"})


def read(path: Path, wanted: str = "") -> tuple[zarr.Array, Header]:
    """Open a zarr array or the highest resolution of an OME-Zarr image.

    Parameters
    ----------
    path
        The folder.
    wanted
        Name or index of an image in it, or the path of a group or array in it. Empty: the largest
        image, except in a plate.

    Raises
    ------
    BadInput
        If the folder has no image, several arrays or wells, or an image that is still being
        written.
    """
    return read_store(path.absolute(), str(path), wanted)


def read_zipped(path: Path, wanted: str = "") -> tuple[zarr.Array, Header]:
    """Read a zarr store in a zip file, at its top or in its only folder; see `read`."""
    with OneLine(f"{path}: is not a readable zip file", "copy it again, or unpack it"):
        store = ZipStore(path.absolute(), mode="r", read_only=True)
        with ZipFile(path) as content:
            names = set(content.namelist())
    tops = {name.partition("/")[0] for name in names}
    inside = "" if tops & _NODES or len(tops) != 1 else tops.pop()
    if not names & {f"{inside}/{node}".lstrip("/") for node in _NODES}:
        raise BadInput(f"{path}: contains no zarr: give the file in it", "unreadable")
    return read_store(store, str(path), wanted, inside)


def read_store(
    store: Any, path: str, wanted: str = "", inside: str = ""
) -> tuple[zarr.Array, Header]:
    """Read any zarr store, or a group in it; see `read`.

    `path` is its name in messages, `inside` the path of the group.
    """
    fix = "check that all its files were copied"
    if address_of(path) is not None:
        fix = "check the address, the network, the server and your rights"
    with OneLine(f"{path}: is not a readable zarr", fix):
        try:
            node: Any = zarr.open(store, mode="r", path=inside or None)
        except FileNotFoundError as error:
            if isinstance(store, Path):
                raise
            cause = "no zarr is there, or it may not be read: check the address and your rights"
            raise BadInput(f"{path}: {cause}", "not_found") from error
    return _read_node(node, path, wanted)


def _read_node(node: Any, path: str, wanted: str = "") -> tuple[zarr.Array, Header]:
    """Open an array, or an image in a group."""
    if isinstance(node, zarr.Array):
        if wanted:
            raise BadInput(f"{path}: is one array: leave out #{wanted}", "not_found")
        return node, _plain_header(node)
    with OneLine(f"{path}: its OME-Zarr metadata do not fit", "name the array in it, e.g. PATH/0"):
        attributes: dict[str, Any] = dict(node.attrs)
        if UNFINISHED in attributes:
            raise BadInput(
                f"{path}: is an unfinished result: repeat its command with --resume, or delete it",
                "unfinished",
            )
        found = list_images(node)
        member = node.get(wanted) if wanted and wanted not in found.names else None
        if isinstance(member, zarr.Group):
            return _read_node(member, f"{path}#{wanted}")
        if not found.names:
            return _array_in(node, path, wanted)
        if wanted:
            index = image_index(found.names, wanted, path, found.titles)
        elif found.is_plate and len(found.names) > 1:
            raise BadInput(
                f"{path}: is a plate of {len(found.names)} fields: choose one, as in "
                f"{path}#{found.names[0]} ({listed(found.titles)})",
                "format",
            )
        else:
            index = found.largest(node)
            if len(found.names) > 1:
                say_choice(path, found.titles, index)
        array, header = _open_image(node, path, found, index)
        several = found.titles if len(found.names) > 1 else ()
        return array, replace(header, images=several, image=index)


def _open_image(node: Any, path: str, found: ZarrImages, index: int) -> tuple[zarr.Array, Header]:
    if found.multiscales:
        return _image(path, node, found.multiscales[index], metadata_of(node))
    return _read_node(node[found.names[index]], f"{path}#{found.names[index]}")


def _array_in(node: Any, path: str, wanted: str) -> tuple[zarr.Array, Header]:
    """Open the named array, or else the only image, of a group without OME-Zarr metadata.

    An array that has the name of a dimension contains coordinates, as xarray writes them.
    """
    above, _, name = wanted.rpartition("/")
    group = node.get(above) if above else node
    names = array_names(group) if isinstance(group, zarr.Group) else []
    arrays = [one for one in names if group[one].ndim > 1] or names
    if name in names or (len(arrays) == 1 and not wanted):
        array = group[name or arrays[0]]
        beside = {dim: group[dim] for dim in _named_dimensions(array) if dim in names}
        lines = {dim: (line[...], line.attrs.get("units")) for dim, line in beside.items()}
        return array, _plain_header(array, lines)
    what = f"has no image '{wanted}'" if wanted else "has no OME-Zarr image"
    listing = ", ".join(names) or "none"
    fix = f"name one, e.g. {path}#NAME"
    raise BadInput(f"{path}: {what} (arrays in it: {listing}): {fix}", "format")


def _named_dimensions(array: zarr.Array) -> tuple[str, ...]:
    """Return the names of the dimensions of an array; empty if it does not name all."""
    xarrays: Any = array.attrs.get("_ARRAY_DIMENSIONS")
    names = getattr(array.metadata, "dimension_names", None) or xarrays or ()
    return tuple(map(str, names)) if len(names) == array.ndim else ()


def _image(
    path: str, node: Any, image: dict[str, Any], ome: dict[str, Any]
) -> tuple[zarr.Array, Header]:
    """Open the highest resolution of an image."""
    dataset = image["datasets"][0]
    array = node[dataset["path"]]
    described, transformations = _coordinates(dataset, image)
    axes = [one if isinstance(one, dict) else {"name": one} for one in described]
    if len(axes) != array.ndim:
        raise BadInput(
            f"{path}: its metadata name {len(axes)} axes, its array has {array.ndim} (shape "
            f"{array.shape}): name the array and its axes, as in {path}/{dataset['path']} --axes "
            f"{_FIRST_AXES[-array.ndim :]}",
            "axes",
        )
    scale, translation = _scale_and_translation(array.ndim, transformations)
    return array, Header(
        shape=array.shape,
        dtype=array.dtype,
        axes="".join(str(axis["name"]) for axis in axes).upper(),
        scale=scale,
        # A unit without any pixel size says nothing about the pixels.
        units=tuple(unit_name(axis.get("unit") if transformations else None) for axis in axes),
        own_name=str(image.get("name") or ""),
        channels=_channels(ome.get("omero")),
        translation=translation,
    )


def _coordinates(dataset: dict[str, Any], image: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the axes of an array, and the transformations that give its pixel sizes.

    Since version 0.6 an image has coordinate systems. The transformation of the array names the
    system of its pixel sizes; other systems, such as that of the stage, are not used.
    """
    transformations = dataset.get("coordinateTransformations") or []
    systems = image.get("coordinateSystems")
    if not systems:
        common = image.get("coordinateTransformations") or []
        return image.get("axes") or list(_FIRST_AXES), [*transformations, *common]
    output = transformations[0].get("output") if transformations else None
    name = output.get("name") if isinstance(output, dict) else output
    named = [system for system in systems if system.get("name") == name]
    return (named or systems)[0]["axes"], transformations


def _scale_and_translation(
    ndim: int, transformations: list[Any]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Combine all transformations into one scale and one translation; NaN for invalid numbers."""
    scale, translation = [1.0] * ndim, [0.0] * ndim
    for transform in transformations:
        kind = transform.get("type")
        steps, offsets = [1.0] * ndim, [0.0] * ndim
        if kind == "sequence":
            inner = _scale_and_translation(ndim, transform.get("transformations") or [])
            steps, offsets = list(inner[0]), list(inner[1])
        elif kind == "scale":
            steps = _one_each(transform.get("scale"), ndim)
        elif kind == "translation":
            offsets = _one_each(transform.get("translation"), ndim)
        elif kind != "identity":  # such as a rotation
            steps = [math.nan] * ndim
        scale = [a * b for a, b in zip(scale, steps, strict=True)]
        translation = [a * b + c for a, b, c in zip(translation, steps, offsets, strict=True)]
    return tuple(scale), tuple(translation)


def _one_each(numbers: Any, ndim: int) -> list[float]:
    """Return a number for each axis; NaN for all if there are more or fewer, or none."""
    return [number(one) for one in numbers] if len(numbers or ()) == ndim else [math.nan] * ndim


def _channels(omero: Any) -> tuple[Channel, ...]:
    listed = omero.get("channels") if isinstance(omero, dict) else None
    return tuple(
        channel(one.get("label"), one.get("color"), one.get("window"))
        if isinstance(one, dict)
        else Channel()
        for one in (listed if isinstance(listed, list) else ())
    )


def _plain_header(array: zarr.Array, lines: Coordinates | None = None) -> Header:
    """Return the header of an array that names its own axes, if any."""
    dims = _named_dimensions(array)
    known = dims if set("".join(dims).upper()) <= set(AXIS_TYPES) else ()
    return header_of(array.shape, array.dtype, known, lines or {})
