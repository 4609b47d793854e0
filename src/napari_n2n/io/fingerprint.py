"""Describe the content of an acquisition, so that a resumed run notices if it has changed."""

import hashlib
import os
from itertools import islice
from pathlib import Path
from typing import Any

from napari_n2n.io.acquisition import Acquisition, evenly_spaced

# Planes that are read, and side in pixels of their middle part: a replaced recording differs in
# each of them, and they take less than a second.
_PLANES, _SIDE = 8, 512
# Most files of a store whose size and time are compared; listing so many takes a second.
_MOST_FILES = 10_000


def fingerprint(acquisition: Acquisition) -> dict[str, Any]:
    """Return values that change if an acquisition changes, as plain JSON.

    Returns
    -------
    dict
        ``file``: size in bytes and time of the last change, in ns, of the file or of the files of
        the store; null for an array. ``pixels``: shape, type, axes, saturation and a hash of parts
        of some planes. The name is not part of it, so a renamed or moved file is the same.
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


def state_of(path: Path) -> list[int]:
    """Return number, size and time of the last change of a file, or of the files of a folder."""
    files = [path]
    if path.is_dir():
        found = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        files = list(islice(found, _MOST_FILES + 1))
        if len(files) > _MOST_FILES:
            files = [file for file in path.iterdir() if file.is_file()]
    states = [file.stat() for file in files]
    sizes, times = [one.st_size for one in states], [one.st_mtime_ns for one in states]
    return [len(states), sum(sizes), max(times, default=0)]
