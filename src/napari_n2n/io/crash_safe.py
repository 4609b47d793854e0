"""What of a long piece of work is done, on disk, so that it can go on after a crash.

Results that a power cut cannot spoil: flush_to_disk to the disk, and renamed only when whole.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput


def partial_path(path: Path) -> Path:
    """Where a result is built before it takes its own name."""
    return path.with_name(path.name + ".partial")


def check_overwrite(path: Path, *, overwrite: bool) -> None:
    """Let nothing be replaced that nobody said may be.

    Raises
    ------
    BadInput
        If something stands at `path`, unless `overwrite` is True.
    """
    if path.exists() and not overwrite:
        raise BadInput(
            f"{path}: exists already: choose another name or folder, or add --overwrite", "exists"
        )


def check_disk_space(path: Path, size: int) -> None:
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
            "some space, or let the result go to another disk",
            "disk",
        )


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of names, has reached the disk."""
    if path.is_dir() and sys.platform == "win32":
        return  # has no such call
    handle = os.open(path, os.O_RDONLY if sys.platform != "win32" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename_into_place(built: Path, path: Path) -> Path:
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
    flush_to_disk(path.parent)
    return path


class Journal:
    """A file with a description of the job on its first line and a name on each other.

    Parameters
    ----------
    path
        Of the file.
    job
        What is being done, plain JSON; work that goes on must be the same.
    resume
        Take up what an earlier run noted, where there is such.

    Raises
    ------
    BadInput
        If the earlier run did something else.
    """

    def __init__(self, path: Path, job: dict[str, Any], *, resume: bool = False) -> None:
        self.path = path
        self.job: dict[str, Any] = json.loads(json.dumps(job))
        self.done: set[str] = set()
        before = path.read_bytes() if resume and path.exists() else b""
        whole = before[: before.rfind(b"\n") + 1]  # what follows the last line feed was cut off
        if whole:
            self._take_up(whole.decode().splitlines())
            os.truncate(path, len(whole))
        else:
            path.write_bytes(json.dumps(job).encode() + b"\n")
        flush_to_disk(path)
        flush_to_disk(path.parent)

    def _take_up(self, lines: list[str]) -> None:
        before = json.loads(lines[0])
        changed = [
            key for key in self.job if not key.startswith("_") and before.get(key) != self.job[key]
        ]
        if changed:
            raise BadInput(
                f"{self.path}: the unfinished run had another {changed[0]}: "
                "repeat its command with --resume, or begin anew with --overwrite",
                "resume",
            )
        self.job = before
        self.done = set(lines[1:])

    def add(self, name: str) -> None:
        """Note that a part is done, once it is safe on the disk."""
        with open(self.path, "ab") as handle:
            handle.write(name.encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        self.done.add(name)

    def remove(self) -> None:
        """The work is done."""
        self.path.unlink(missing_ok=True)


def read_journal(path: Path) -> set[str]:
    """Return what a journal notes as done; nothing where there is none."""
    return set(path.read_text().splitlines()[1:]) if path.exists() else set()


def journal_path(path: Path) -> Path:
    """Where a result's progress is noted while it grows."""
    return path.with_name(path.name + ".journal")
