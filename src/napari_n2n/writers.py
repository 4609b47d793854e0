"""Which kind of file a result goes to, by the ending of its name."""

from pathlib import Path

from napari_n2n import ngff, tiff
from napari_n2n.header import Header

ENDINGS = (".ome.zarr", ".zarr", ".tif", ".tiff")
Writer = ngff.Writer | tiff.Writer


def open_writer(path: Path, header: Header, *, depth: int = 1, resume: bool = False) -> Writer:
    """Begin a result, or go on with one; see the writers of `ngff` and `tiff`."""
    kind = tiff.Writer if path.suffix in (".tif", ".tiff") else ngff.Writer
    return kind(path, header, depth=depth, resume=resume)
