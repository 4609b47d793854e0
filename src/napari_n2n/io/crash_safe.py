"""Keep results safe from a crash or power cut: private names, atomic renaming, and a journal.

A result gets its name only once it is complete and on the disk. Until then its name contains a
random token, which its journal records. Only files that a journal or the running process names are
replaced or removed, never those that match a pattern. A journal lists the finished parts with a
check of what was written; a part is flushed to the disk before the journal lists it.
"""

import json
import os
import re
import secrets
import shutil
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput

Check = list[int]
"""Size in bytes and CRC-32 of a part of a result."""

_MAGIC = b'{"napari-n2n": "journal"'  # how a journal begins
_PARTIAL = re.compile(r"\.[0-9a-f]{8}\.partial$")  # see `partial_path`
# Attempts to rename on Windows, where a virus scanner may hold a new file open for some time; they
# are 0.1 s apart.
_ATTEMPTS = 20 if sys.platform == "win32" else 1


def new_token() -> str:
    """Return random letters that make a name private to one run."""
    return secrets.token_hex(4)


def partial_path(path: Path, token: str) -> Path:
    """Return the name of a result that is not complete yet."""
    return path.with_name(f"{path.name}.{token}.partial")


def is_partial(path: Path) -> bool:
    """Return whether a name is that of a result that is not complete yet."""
    return _PARTIAL.search(path.name) is not None


def _backup_path(path: Path, token: str) -> Path:
    """Return the name that an earlier result has while the new one is renamed."""
    return path.with_name(f"{path.name}.{token}.old")


def journal_path(path: Path) -> Path:
    """Return the name of the journal of a result."""
    return path.with_name(path.name + ".napari-n2n.journal")


def check_of(content: bytes | memoryview) -> Check:
    """Return the check of the content of a part."""
    return [len(content), zlib.crc32(content)]


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Add the name of the result to errors of the system, such as a full disk.

    Such errors name no file, or only the unfinished one.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the list of files of a folder, is on the disk."""
    if path.is_dir() and sys.platform == "win32":
        return  # Windows cannot flush a folder
    handle = os.open(path, os.O_RDONLY if sys.platform != "win32" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename_into_place(built: Path, path: Path, token: str = "") -> Path:
    """Rename a complete file or folder, replacing `path` if it exists; return `path`.

    A file is replaced atomically. No system can do this with folders: the earlier one gets the name
    ``NAME.TOKEN.old`` for a moment. After a crash at this moment, `discard_unfinished` and
    `restore` return it to its name.
    """
    if not (built.is_dir() and os.path.lexists(path)):
        _rename(built, path)
    else:
        backup = _backup_path(path, token or new_token())
        _rename(path, backup)
        try:
            _rename(built, path)
        except BaseException:
            _rename(backup, path)
            raise
        remove(backup)
    flush_to_disk(path.parent)
    return path


def _rename(source: Path, target: Path) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            source.replace(target)
            return
        except PermissionError as error:
            if attempt + 1 == _ATTEMPTS:
                raise BadInput(
                    f"{target}: cannot be replaced ({error.strerror}): close it in other programs, "
                    "and check your permissions",
                    "output",
                ) from error
            time.sleep(0.1)


def remove(path: Path) -> None:
    """Remove a file or folder if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> Path:
    """Write a file so that after a crash it is either the old or the new one; return `path`.

    While it is written it has a random name in the same folder, so no other file is replaced.
    """
    partial = path.with_name(f".napari-n2n-{new_token()}.partial")
    with named_in_errors(path):
        try:
            with open(partial, "xb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
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
        Description of the job, plain JSON. A resumed job must have the same values, except for
        those of keys that start with an underscore.

    Attributes
    ----------
    token
        Part of the private names of the result.
    done
        Names of the finished parts, with their checks.
    """

    def __init__(self, path: Path, job: dict[str, Any]) -> None:
        self.path = path
        self.job: dict[str, Any] = json.loads(json.dumps(job))
        self.token, self.done = new_token(), dict[str, Any]()
        self._file: int | None = None  # inode of the unfinished result

    @classmethod
    def begin(cls, path: Path, job: dict[str, Any]) -> "Journal":
        """Create the file, or replace that of an earlier job.

        Raises
        ------
        BadInput
            If `path` is not a journal.
        """
        if path.exists():
            _content(path)
        journal = cls(path, job)
        journal._write()
        return journal

    def _write(self) -> None:
        first = {"napari-n2n": "journal", "token": self.token, "file": self._file, "job": self.job}
        write_atomically(self.path, json.dumps(first).encode() + b"\n")

    def restart(self, partial: Path) -> None:
        """Start again with another token, because no part of the unfinished result is as listed.

        The unfinished result is removed if it was just created. It is kept if parts were listed: it
        may belong to another program.
        """
        if not self.done and self.created(partial):
            remove(partial)
        self.token, self._file = new_token(), None
        self.done.clear()
        self._write()

    def claim(self, partial: Path) -> None:
        """Record that this job has created the unfinished result, before it lists parts of it."""
        self._file = partial.stat().st_ino
        self._write()

    def created(self, partial: Path) -> bool:
        """Return whether the unfinished result is the one that this job created."""
        # Without a number the run was killed before it claimed the file; the name has the token.
        return partial.exists() and self._file in (None, partial.stat().st_ino)

    def check_same(self, job: dict[str, Any]) -> None:
        """Raise if the interrupted job was a different job.

        Raises
        ------
        BadInput
            If a value differs.
        """
        now = json.loads(json.dumps(job))
        changed = [key for key in now if not key.startswith("_") and self.job.get(key) != now[key]]
        if changed:
            raise BadInput(
                f"{self.path}: the interrupted run had another {changed[0]}: "
                "repeat its command with --resume, or start again with --overwrite",
                "resume",
            )

    def add(self, name: str, check: Any = None) -> None:
        """List a part as finished; call this after the part has been flushed to the disk."""
        with open(self.path, "ab") as handle:
            handle.write(json.dumps([name, check]).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        self.done[name] = check

    def remove(self) -> None:
        """Delete the journal, once the job is finished."""
        self.path.unlink(missing_ok=True)


def read_journal(path: Path) -> Journal | None:
    """Return the journal of an interrupted job; None if there is none.

    Lines that a crash has cut or that are damaged count as not listed.

    Raises
    ------
    BadInput
        If the file is not a journal, or its first line is damaged.
    """
    if not path.exists() or not (content := _content(path)):
        return None
    first, *others = content[: content.rfind(b"\n") + 1].split(b"\n")
    try:
        header = json.loads(first)
        journal = Journal(path, header["job"])
        journal.token, journal._file = str(header["token"]), header["file"]
        if not journal.token.isalnum() or not isinstance(journal.job, dict):
            raise ValueError("wrong types")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(
            f"{path}: is damaged, so the run cannot be resumed: start again with --overwrite",
            "resume",
        ) from error
    for line in others:
        try:
            name, check = json.loads(line)
            journal.done[str(name)] = check
        except (ValueError, TypeError, RecursionError):
            continue
    if len(content) > content.rfind(b"\n") + 1:
        os.truncate(path, content.rfind(b"\n") + 1)
    return journal


def _content(path: Path) -> bytes:
    content = path.read_bytes() if path.is_file() else b"a folder"
    if content and not content.startswith(_MAGIC):
        raise BadInput(
            f"{path}: is not a journal of napari-n2n, which needs this name: move the file, or "
            "choose another name for the result",
            "resume",
        )
    return content


def restore(path: Path, journal: Journal) -> None:
    """Undo or complete the replacement of a result that a crash interrupted."""
    backup = _backup_path(path, journal.token)
    if backup.exists():
        if os.path.lexists(path):
            remove(backup)
        else:
            _rename(backup, path)


def discard_unfinished(path: Path) -> None:
    """Remove the unfinished result and the journal of an interrupted run; hold the lock of `path`.

    A file that another program has put in place of the unfinished result is kept.

    Raises
    ------
    BadInput
        If the file with the name of the journal is not a journal.
    """
    file = journal_path(path)
    try:
        journal = read_journal(file)
    except BadInput:
        if not file.is_file() or not file.read_bytes().startswith(_MAGIC):
            raise
        journal = None  # ours, but damaged
    if journal is not None:
        restore(path, journal)
        if journal.created(partial := partial_path(path, journal.token)):
            remove(partial)
    file.unlink(missing_ok=True)
