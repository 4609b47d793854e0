"""Recognise addresses, such as s3://bucket/a.zarr, among paths."""

import os
import re
from pathlib import Path
from urllib.request import url2pathname

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)


def address_of(source: str | os.PathLike[str]) -> str | None:
    """Return the address that a text or a path is, such as https://host/a.zarr, else None.

    A scheme has two or more letters, a drive of Windows only one. A `Path` has lost one of the
    slashes. An address of a file on this computer, file:///data/a.zarr, counts as a path: see
    `local_path`.
    """
    found = _parts(source)
    return f"{found[0]}://{found[1].rstrip('/')}" if found and found[0] != "file" else None


def local_path(source: str | os.PathLike[str]) -> Path:
    """Return a path, also that of an address such as file:///data/a.zarr."""
    found = _parts(source)
    if not found or found[0] != "file":
        return Path(source)
    return Path(url2pathname(f"/{found[1].removeprefix('localhost/')}"))


def _parts(source: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Return the scheme of an address, and what follows the slashes."""
    text = source.as_posix() if isinstance(source, Path) else os.fspath(source)
    found = _ADDRESS.fullmatch(text)
    return (found[1].lower(), found[2]) if found else None


def name_in_address(address: str) -> str:
    """Return the last part of an address, without a query."""
    return address.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
