"""Zarr stores at an address: http and https for reading, s3 for reading and writing."""

import os
import re
from pathlib import Path
from typing import Any

from zarr.storage import FsspecStore

from napari_n2n.errors import BadInput

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
_READ = ("http", "https", "s3")
_WRITTEN = ("s3",)


def address_of(source: str | os.PathLike[str]) -> str | None:
    """Return the address that a text or a path is, such as https://host/a.zarr, else None.

    A scheme of two or more letters is no drive of Windows; a `Path` has lost one of the slashes.
    """
    text = source.as_posix() if isinstance(source, Path) else os.fspath(source)
    found = _ADDRESS.fullmatch(text)
    return f"{found[1].lower()}://{found[2].rstrip('/')}" if found else None


def name_in_address(address: str) -> str:
    """Return the last part of an address, without a query."""
    return address.split("?")[0].rstrip("/").rsplit("/", 1)[-1]


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
