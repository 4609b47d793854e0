"""Results that a power cut cannot spoil: flushed to the disk, and renamed only when whole."""

import os
import shutil
import sys
from pathlib import Path

from napari_n2n.errors import BadInput


def partial_path(path: Path) -> Path:
    """Where a result is built before it takes its own name."""
    return path.with_name(path.name + ".partial")


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Let nothing be replaced that nobody said may be.

    Raises
    ------
    BadInput
        If something stands at `path`, unless `overwrite` is True.
    """
    if path.exists() and not overwrite:
        raise BadInput(f"{path}: exists already: choose another name or folder, or add --overwrite")


def refuse_full_disk(path: Path, size: int) -> None:
    """Begin nothing that cannot end.

    Raises
    ------
    BadInput
        If so many bytes find no room where a result shall stand; its folder exists.
    """
    free = shutil.disk_usage(path.absolute().parent).free
    if free < size:
        raise BadInput(
            f"{path}: takes at least {size / 1e9:.3g} GB where {free / 1e9:.3g} GB are free: free "
            "some space, or let the result go to another disk"
        )


def flushed(path: Path) -> None:
    """Wait until a file, or a folder's list of names, has reached the disk."""
    if path.is_dir() and sys.platform == "win32":
        return  # has no such call
    handle = os.open(path, os.O_RDONLY if sys.platform != "win32" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def moved_into_place(built: Path, path: Path) -> Path:
    """Give a finished file or folder its name; what stood there goes only then. Returns `path`."""
    if built.is_file():
        built.replace(path)
    else:
        old = path.with_name(path.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if path.is_dir():
            path.rename(old)
        else:
            path.unlink(missing_ok=True)
        built.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    flushed(path.parent)
    return path
