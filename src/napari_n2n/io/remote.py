"""Zarr stores at an address: http and https for reading, s3 for reading and writing."""

from typing import Any

from zarr.storage import FsspecStore

from napari_n2n.errors import BadInput

_READ = ("http", "https", "s3")
_WRITTEN = ("s3",)


def remote_store(address: str, *, write: bool = False) -> FsspecStore:
    """Return the store at an address; nothing is read yet.

    Raises
    ------
    BadInput
        If its scheme is not supported, or the packages for it are not installed.
    """
    scheme = address.split(":", 1)[0]
    if scheme not in (_WRITTEN if write else _READ):
        verb, known = ("written to", _WRITTEN) if write else ("read from", _READ)
        raise BadInput(
            f"{address}: {scheme} is not supported: OME-Zarr is {verb} {', '.join(known)}; "
            + ("give a path" if write else "copy it to a disk first"),
            "output" if write else "format",
        )
    options: dict[str, Any] = {"asynchronous": True}
    try:
        return FsspecStore.from_url(address, storage_options=options, read_only=not write)
    except ImportError as error:
        raise BadInput(
            f"{address}: needs more packages: install them with pip install 'napari-n2n[remote]'",
            "output" if write else "format",
        ) from error
