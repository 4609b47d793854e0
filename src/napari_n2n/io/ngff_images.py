"""Recognise zarr folders, and list the images in one: OME-Zarr, bioformats2raw, or a plate."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from zarr.core.sync import sync


@dataclass(frozen=True)
class ZarrImages:
    """The images in a group.

    Attributes
    ----------
    names
        Name of each image, or the path of its group if it has its own group.
    multiscales
        Description of each, if all are in this group; else empty.
    is_plate
        Whether they are the fields of the wells of a plate.
    """

    names: tuple[str, ...]
    multiscales: tuple[dict[str, Any], ...] = ()
    is_plate: bool = False

    @property
    def titles(self) -> tuple[str, ...]:
        """Text for messages."""
        return tuple(f"'{name}'" for name in self.names)

    def largest(self, node: Any) -> int:
        """Return the index of the image with the most pixels."""
        if len(self.names) == 1:
            return 0
        sizes = [math.prod(self.shape(node, index)) for index in range(len(self.names))]
        return sizes.index(max(sizes))

    def shape(self, node: Any, index: int) -> tuple[int, ...]:
        """Return the shape of an image, (0,) if it is damaged."""
        try:
            if self.multiscales:
                group, image = node, self.multiscales[index]
            else:
                group = node[self.names[index]]
                image = _multiscales(group)[0]
            return tuple(group[image["datasets"][0]["path"]].shape)
        except (KeyError, IndexError, TypeError, ValueError):  # damaged: another one is read
            return (0,)


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a zarr array or group, of format 2 or 3."""
    return any((path / marker).exists() for marker in ("zarr.json", ".zgroup", ".zarray"))


def metadata_of(group: Any) -> dict[str, Any]:
    """Return the metadata of OME-Zarr, which begin with ``ome`` since version 0.5."""
    attributes = dict(group.attrs)
    found = attributes.get("ome", attributes)
    return found if isinstance(found, dict) else {}


def list_images(group: Any) -> ZarrImages:
    """Return the images in a group; of a plate, one for each field of each well."""
    multiscales = _multiscales(group)
    if multiscales:
        return ZarrImages(tuple(_unique_names(multiscales)), tuple(multiscales))
    metadata = metadata_of(group)
    if isinstance(metadata.get("plate"), dict):
        return ZarrImages(tuple(_fields(group, metadata["plate"])), is_plate=True)
    if isinstance(metadata.get("well"), dict):
        return ZarrImages(tuple(_paths(metadata["well"].get("images"))), is_plate=True)
    if "bioformats2raw.layout" in metadata:
        return ZarrImages(tuple(_series(group)))
    return ZarrImages(())


def array_names(group: Any) -> list[str]:
    """Return the names of the arrays in a group.

    `Group.arrays` warns about every other file in the folder.
    """
    if group.metadata.consolidated_metadata is not None:
        return sorted(name for name, _ in group.arrays())
    return sorted(name for name in sync(_listed(group)) if isinstance(group.get(name), zarr.Array))


async def _listed(group: Any) -> list[str]:
    return [name async for name in group.store.list_dir(group.path)]


def _multiscales(group: Any) -> list[dict[str, Any]]:
    described = metadata_of(group).get("multiscales") or []
    if not isinstance(described, list) or not all(isinstance(one, dict) for one in described):
        raise TypeError("multiscales are not a list of objects")
    return described


def _unique_names(images: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the name of each image, or its index if the name is missing or not unique."""
    names = [str(one.get("name") or "") for one in images]
    for index, name in enumerate(names):
        yield name if name and names.count(name) == 1 else str(index)


def _series(group: Any) -> Iterator[str]:
    """Yield the paths of the images that bioformats2raw wrote: 0, 1, 2 and so on."""
    ome = group.get("OME")
    listed = metadata_of(ome).get("series") if isinstance(ome, zarr.Group) else None
    if isinstance(listed, list):
        yield from (str(name) for name in listed)
        return
    index = 0
    while isinstance(member := group.get(str(index)), zarr.Group) and _multiscales(member):
        yield str(index)
        index += 1


def _fields(group: Any, plate: dict[str, Any]) -> Iterator[str]:
    """Yield the path of each field of each well: row, column and field, such as A/1/0."""
    for well in _paths(plate.get("wells")):
        member = group.get(well)
        if isinstance(member, zarr.Group):
            described = metadata_of(member).get("well")
            fields = described.get("images") if isinstance(described, dict) else None
            yield from (f"{well}/{field}" for field in _paths(fields))


def _paths(listed: Any) -> Iterator[str]:
    """Yield the paths in a list of objects; objects without a path are left out."""
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and isinstance(one.get("path"), str):
            yield one["path"]
