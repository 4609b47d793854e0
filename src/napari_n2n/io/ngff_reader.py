"""Open zarr arrays and OME-Zarr images lazily, of all versions up to 0.5, with their metadata.

Metadata that are missing or of the wrong type are left out; axes that do not fit are refused.
"""

from pathlib import Path
from typing import Any

import zarr

from napari_n2n.errors import BadInput
from napari_n2n.io.header import Channel, Header, channel, number
from napari_n2n.io.ngff import AXIS_TYPES, UNFINISHED
from napari_n2n.io.reading import OneLine
from napari_n2n.io.units import unit_name

# OME-Zarr 0.1 and 0.2 do not name axes: their images always have these.
_FIRST_AXES = "TCZYX"


def read(path: Path) -> tuple[zarr.Array, Header]:
    """Open a zarr array or the highest resolution of an OME-Zarr image.

    Raises
    ------
    BadInput
        If the folder has no image, several arrays, or an image that is still being written.
    """
    return read_store(path.absolute(), str(path))


def read_store(store: Any, path: str) -> tuple[zarr.Array, Header]:
    """Do what `read` does for any store of zarr; `path` is its name in messages."""
    with OneLine(f"{path}: is not a readable zarr", "check that all its files were copied"):
        try:
            node: Any = zarr.open(store, mode="r")
        except FileNotFoundError as error:
            if isinstance(store, Path):
                raise
            cause = "no zarr is there, or it may not be read: check the address and your rights"
            raise BadInput(f"{path}: {cause}", "not_found") from error
    if isinstance(node, zarr.Array):
        xarrays: Any = node.attrs.get("_ARRAY_DIMENSIONS")
        names = getattr(node.metadata, "dimension_names", None) or xarrays or ()
        axes = "".join(str(name) for name in names).upper()
        fits = len(axes) == node.ndim and set(axes) <= set(AXIS_TYPES)
        return node, _plain_header(node, axes if fits else "")
    attributes: dict[str, Any] = dict(node.attrs)
    if UNFINISHED in attributes:
        raise BadInput(
            f"{path}: is an unfinished result: repeat its command with --resume, or delete it",
            "unfinished",
        )
    ome = attributes.get("ome", attributes)
    images = ome.get("multiscales") if isinstance(ome, dict) else None
    if not images:
        arrays = [name for name, _ in node.arrays()]
        if len(arrays) == 1:
            return node[arrays[0]], _plain_header(node[arrays[0]], "")
        listed = ", ".join(arrays) or "none"
        raise BadInput(
            f"{path}: has no OME-Zarr image (arrays in it: {listed}): name one, e.g. {path}/NAME",
            "format",
        )
    with OneLine(f"{path}: its OME-Zarr metadata do not fit", "name the array in it, e.g. PATH/0"):
        return _image(path, node, images[0], ome)


def _image(
    path: str, node: Any, image: dict[str, Any], ome: dict[str, Any]
) -> tuple[zarr.Array, Header]:
    """Open the highest resolution of an image."""
    dataset = image["datasets"][0]
    array = node[dataset["path"]]
    described = image.get("axes") or list(_FIRST_AXES)
    axes = [one if isinstance(one, dict) else {"name": one} for one in described]
    if len(axes) != array.ndim:
        raise BadInput(
            f"{path}: its metadata name {len(axes)} axes, its array has {array.ndim} (shape "
            f"{array.shape}): name the array and its axes, as in {path}/{dataset['path']} --axes "
            f"{_FIRST_AXES[-array.ndim :]}",
            "axes",
        )
    return array, Header(
        shape=array.shape,
        dtype=array.dtype,
        axes="".join(str(axis["name"]) for axis in axes).upper(),
        scale=_scale(array.ndim, dataset, image),
        units=tuple(unit_name(axis.get("unit")) for axis in axes),
        name=str(image.get("name") or ""),
        channels=_channels(ome.get("omero")),
    )


def _scale(ndim: int, *described: dict[str, Any]) -> tuple[float, ...]:
    """Return the product of all scales, NaN where one is not a number."""
    scale = [1.0] * ndim
    for one in described:
        for transform in one.get("coordinateTransformations") or ():
            if transform.get("type") == "scale":
                steps = [number(step) for step in transform.get("scale") or ()]
                scale = [a * b for a, b in zip(scale, [*steps, *[1.0] * ndim][:ndim], strict=True)]
    return tuple(scale)


def _channels(omero: Any) -> tuple[Channel, ...]:
    listed = omero.get("channels") if isinstance(omero, dict) else None
    return tuple(
        channel(one.get("label"), one.get("color")) if isinstance(one, dict) else Channel()
        for one in (listed if isinstance(listed, list) else ())
    )


def _plain_header(array: zarr.Array, axes: str) -> Header:
    return Header(array.shape, array.dtype, axes, (1.0,) * len(axes), ("pixel",) * len(axes))
