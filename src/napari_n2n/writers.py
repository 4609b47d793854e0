"""Which kind of file a result goes to, by the ending of its name."""

from pathlib import Path

from napari_n2n import ngff, tiff
from napari_n2n.header import Header

SHARD_SIDE = 2048
ENDINGS = (".ome.zarr", ".zarr", ".tif", ".tiff")
Writer = ngff.Writer | tiff.Writer


def shard_sides(dims: int) -> tuple[int, ...]:
    """Return the sides of what is computed and written at once: part of a plane, or of a volume."""
    return (SHARD_SIDE, SHARD_SIDE) if dims == 2 else (64, 512, 512)


def open_writer(path: Path, header: Header, *, dims: int = 2, resume: bool = False) -> Writer:
    """Begin a result, or go on with one; see the writers of `ngff` and `tiff`.

    Parameters
    ----------
    path, header, resume
        See there.
    dims
        2 for results that are made plane by plane, 3 for those made of volumes.
    """
    kind = tiff.Writer if path.suffix.lower() in (".tif", ".tiff") else ngff.Writer
    return kind(path, header, shard=shard_sides(dims), resume=resume)
