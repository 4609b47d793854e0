"""Describe the content of an acquisition, so that a resumed run notices if it has changed.

Copying a file changes its time of change, so small files are compared by a hash of all bytes.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition, evenly_spaced

# Planes that are read, and side in pixels of their middle part: a replaced recording differs in
# each of them, and they take less than a second.
_PLANES, _SIDE = 8, 512
# Most files of a store whose size and time are compared; listing so many takes a second.
_MOST_FILES = 10_000
# Size in bytes up to which a whole file is hashed: this takes a tenth of a second, and a few
# seconds for the 16 files that are compared when training is resumed from a network disk.
_MOST_BYTES = 64 * 10**6


def fingerprint(acquisition: Acquisition) -> dict[str, Any]:
    """Return values that change if an acquisition changes, as plain JSON.

    Returns
    -------
    dict
        ``file``: `state_of` the file or store; null for an array. ``pixels``: shape, type, axes,
        saturation and a hash of parts of some planes. The name is not included, so renaming or
        moving a file does not change the values.
    """
    return {
        "file": None if acquisition.path is None else state_of(acquisition.path),
        "pixels": [
            list(acquisition.shape),
            str(acquisition.dtype),
            acquisition.axes,
            acquisition.measured_saturation,
            hash_of_pixels(acquisition),
        ],
    }


def hash_of_pixels(acquisition: Acquisition) -> str:
    """Return a hash of the middle of some planes, as hexadecimal digits."""
    digest = hashlib.sha256()
    middle = [
        slice((n - min(n, _SIDE)) // 2, (n + min(n, _SIDE)) // 2) for n in acquisition.shape[-2:]
    ]
    view = acquisition.cropped(*middle)
    for index in evenly_spaced(view.plane_count, _PLANES):
        digest.update(view.plane(index).tobytes())
    return digest.hexdigest()


def state_of(path: Path, *, contents: bool = True) -> list[Any]:
    """Return what changes if a file, or a file of a folder, changes.

    Returns
    -------
    list
        Number of files, size in bytes, time of the last change in ns, and with `contents` a hash
        of all bytes; null if they are too many.
    """
    files, whole = [path], True
    if path.is_dir():
        found = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        files = list(islice(found, _MOST_FILES + 1))
        if not (whole := len(files) <= _MOST_FILES):
            files = [file for file in path.iterdir() if file.is_file()]
    states = [file.stat() for file in files]
    size, times = sum(one.st_size for one in states), [one.st_mtime_ns for one in states]
    state: list[Any] = [len(states), size, max(times, default=0)]
    if contents:
        state.append(_hash_of_files(path, files) if whole and size <= _MOST_BYTES else None)
    return state


def same_state(before: list[Any], now: list[Any]) -> bool:
    """Return whether two results of `state_of` describe the same bytes.

    A copy may have another time of change; if a hash is missing, the times must be equal.
    """
    hashes = before[3:], now[3:]
    if all(one not in ([], [None]) for one in hashes):
        return hashes[0] == hashes[1]
    return before[:3] == now[:3]


def check_unchanged(before: Sequence[Any], now: Sequence[Any], title: Path) -> None:
    """Raise if inputs have changed since an interrupted run.

    Parameters
    ----------
    before, now
        Their `fingerprint` then and now.
    title
        The file that the run is resumed from.

    Raises
    ------
    BadInput
        If they have changed, or have another time and are too large to be compared.
    """
    before, now = json.loads(json.dumps([before, now]))
    restart = "start again with --overwrite, or without --resume"
    nothing: dict[str, Any] = {}
    found = [_difference(*pair) for pair in zip_longest(before, now, fillvalue=nothing)]
    if "content" in found:
        raise BadInput(
            f"{title}: the acquisitions have changed since the interrupted run: {restart}", "resume"
        )
    if "time" in found:
        raise BadInput(
            f"{title}: the acquisitions have another time than in the interrupted run, and are "
            f"too large to compare all bytes (more than {_MOST_BYTES / 1e6:g} MB): copy them with "
            f"their time (cp -p), or {restart}",
            "resume",
        )


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return "content" if the bytes differ, "time" if only the times are known to differ."""
    one, other = before.get("file"), now.get("file")
    if before.get("pixels") != now.get("pixels") or (one is None) != (other is None):
        return "content"
    if one is None or other is None or same_state(one, other):
        return ""
    return "time" if one[:2] == other[:2] and None in (*one[3:], *other[3:]) else "content"


def _hash_of_files(path: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        if file != path:
            digest.update(f"{file.relative_to(path).as_posix()} {file.stat().st_size} ".encode())
        with open(file, "rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
