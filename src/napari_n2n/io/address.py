"""Recognise addresses, such as s3://bucket/a.zarr, among paths."""

import os
import re
from pathlib import Path

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)


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
