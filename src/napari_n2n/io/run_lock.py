"""Let one run at a time write an output, with a lock of the operating system.

The lock is on a small file beside the output, ``NAME.napari-n2n.lock``, that names its holder. The
system releases the lock when the process ends, even if it is killed. The file of a killed process
blocks no run: the next run of the same output uses and deletes it.

A file system without locks (some network disks): the run continues, and a warning is logged.
"""

import errno
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import named_in_errors
from napari_n2n.io.output_path import created_folder

_MAGIC = "napari-n2n lock"  # first value of the file; a file without it belongs to someone else
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
_BYTE = 2**30  # position of the locked byte on Windows, where the locked part cannot be read

_log = logging.getLogger("napari_n2n")
# Outputs that this process writes. Some network disks do not lock against the own process.
_held: set[str] = set()
_changing = threading.Lock()


def lock_path(path: Path) -> Path:
    """Return the name of the lock file of an output."""
    return path.with_name(path.name + ".napari-n2n.lock")


@contextmanager
def locked(path: Path, title: Path | None = None) -> Iterator[None]:
    """Hold the lock of an output: a file, a store, or a model with its checkpoint.

    Missing folders above the output are created, and removed again if an error leaves them empty.

    Parameters
    ----------
    path
        The output; the lock file is beside it.
    title
        What a message calls it, if not by its path.

    Raises
    ------
    BadInput
        If another run, in this process or another one, writes this output.
    """
    path, title = path.absolute(), title or path
    with (
        created_folder(path.parent),
        _held_here(path, title),
        _held_by_the_system(path, title),
    ):
        yield


@contextmanager
def _held_here(path: Path, title: Path) -> Iterator[None]:
    key = os.path.join(os.path.realpath(path.parent), path.name)
    with _changing:
        if key in _held:
            raise _busy(title, "another run of this program")
        _held.add(key)
    try:
        yield
    finally:
        with _changing:
            _held.discard(key)


@contextmanager
def _held_by_the_system(path: Path, title: Path) -> Iterator[None]:
    file = lock_path(path)
    with named_in_errors(title):
        handle = _acquire(title, file)
    try:
        yield
    finally:
        if handle is not None:
            _release(handle, file)


def _acquire(title: Path, file: Path) -> int | None:
    """Return the handle of the locked file; None if the file system has no locks."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        locked_here = False
        try:
            holder = _holder(handle, file)
            if not (locked_here := _try_lock(handle)):
                raise _busy(title, holder)
            # The previous holder deletes the file: a lock on a deleted file excludes no one.
            if _is_at(handle, file):
                _write_holder(handle)
                return handle
        except OSError as error:
            if locked_here:  # the disk is full; delete before unlocking, see `_release`
                file.unlink(missing_ok=True)
            os.close(handle)
            if error.errno not in _NO_LOCKS:
                raise
            file.unlink(missing_ok=True)
            _log.warning("%s: its disk has no locks: start only one run for this output", title)
            return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _release(handle: int, file: Path) -> None:
    """Delete the file before unlocking it: an unlocked file could belong to the next run."""
    with suppress(OSError):  # Windows: deleted below, unless another process has opened it
        file.unlink()
    os.close(handle)  # the system releases the lock of a closed file
    if sys.platform == "win32":
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _try_lock(handle: int) -> bool:
    """Lock a file without waiting; return whether it was free."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, _BYTE, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EAGAIN, errno.EDEADLK}:
            return False
        raise
    return True


def _is_at(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(file))
    except FileNotFoundError:
        return False


def _write_holder(handle: int) -> None:
    since = time.strftime("%Y-%m-%d %H:%M")
    content = json.dumps([_MAGIC, os.getpid(), socket.gethostname(), since])
    os.lseek(handle, 0, os.SEEK_SET)
    os.ftruncate(handle, 0)
    os.write(handle, content.encode())


def _holder(handle: int, file: Path) -> str:
    """Return a description of the process that wrote a lock file.

    Raises
    ------
    BadInput
        If the file is not a lock file.
    """
    content = os.read(handle, 1000)
    if not content:  # it is being written
        return "another run"
    try:
        magic, pid, host, since = json.loads(content)
    except ValueError:
        magic = pid = host = since = None
    if magic != _MAGIC:
        raise BadInput(
            f"{file}: is not a lock of napari-n2n, which needs this name: move the file, or choose "
            "another name for the result",
            "output",
        )
    return f"process {pid} on {host} (since {since})"


def _busy(title: Path, holder: str) -> BadInput:
    return BadInput(
        f"{title}: {holder} is writing it: wait until it ends, or choose another name", "busy"
    )
