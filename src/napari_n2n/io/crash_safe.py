"""Keep results safe from a crash or power cut: atomic renaming, flushing, and a journal to resume.

A result gets its name only once it is complete and on the disk. A journal lists its finished parts;
a part is flushed to the disk before the journal lists it.
"""

import json
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput


def partial_path(path: Path) -> Path:
    """Return the name of a result that is not complete yet."""
    return path.with_name(path.name + ".partial")


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the list of files of a folder, is on the disk."""
    if path.is_dir() and sys.platform == "win32":
        return  # Windows cannot flush a folder
    handle = os.open(path, os.O_RDONLY if sys.platform != "win32" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename_into_place(built: Path, path: Path) -> Path:
    """Rename a complete file or folder, replacing `path` if it exists; return `path`."""
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


def write_atomically(path: Path, content: bytes) -> Path:
    """Write a file so that after a crash it is either the old or the new one; return `path`.

    While it is written it has a random name in the same folder, so no other file is replaced.
    """
    partial = path.with_name(f".napari-n2n-{secrets.token_hex(4)}.partial")
    with open(partial, "xb") as handle:
        try:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        except BaseException:
            handle.close()
            partial.unlink()
            raise
    try:
        return rename_into_place(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


class Journal:
    """A text file: the first line describes the job, each other line names a finished part.

    Parameters
    ----------
    path
        The journal's file.
    job
        Description of the job, plain JSON. A resumed job must have the same values; only those of
        keys that start with an underscore may differ and are taken from the journal.
    resume
        Continue an existing journal.

    Attributes
    ----------
    job
        Description of the job; if it is resumed, that of the first run.
    done
        Names of the finished parts.

    Raises
    ------
    BadInput
        If the interrupted run had a different value.
    """

    def __init__(self, path: Path, job: dict[str, Any], *, resume: bool = False) -> None:
        self.path = path
        self.job: dict[str, Any] = json.loads(json.dumps(job))
        self.done: set[str] = set()
        before = path.read_bytes() if resume and path.exists() else b""
        whole = before[: before.rfind(b"\n") + 1]  # a crash may have cut the last line
        if whole:
            self._resume(whole.decode().splitlines())
            os.truncate(path, len(whole))
        else:
            path.write_bytes(json.dumps(job).encode() + b"\n")
        flush_to_disk(path)
        flush_to_disk(path.parent)

    def _resume(self, lines: list[str]) -> None:
        before = json.loads(lines[0])
        changed = [
            key for key in self.job if not key.startswith("_") and before.get(key) != self.job[key]
        ]
        if changed:
            raise BadInput(
                f"{self.path}: the interrupted run had another {changed[0]}: "
                "repeat its command with --resume, or start again with --overwrite",
                "resume",
            )
        self.job = before
        self.done = set(lines[1:])

    def add(self, name: str) -> None:
        """List a part as finished; call this after the part has been flushed to the disk."""
        with open(self.path, "ab") as handle:
            handle.write(name.encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        self.done.add(name)

    def remove(self) -> None:
        """Delete the journal, once the job is finished."""
        self.path.unlink(missing_ok=True)


def read_journal(path: Path) -> set[str]:
    """Return the names of the finished parts; empty if there is no journal."""
    return set(path.read_text().splitlines()[1:]) if path.exists() else set()


def journal_path(path: Path) -> Path:
    """Return the name of the journal of a result."""
    return path.with_name(path.name + ".journal")
