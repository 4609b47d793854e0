"""Check where a result may be written: its name, its disk, and that it replaces no input."""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput
from napari_n2n.io.address import address_of, local_path
from napari_n2n.io.image_name import split_image_name

# Names that the program derives from that of a result are up to 19 bytes longer:
# ".napari-n2n.journal" and, shorter, ".napari-n2n.lock", ".TOKEN.partial" and ".TOKEN.old".
_LONGER = 19
# Longest name in bytes where the system does not say it: that of ext4, NTFS and APFS.
_LONGEST = 255
# Longest path on Windows, in characters; as Windows does, 12 are reserved for file names.
_LONGEST_ON_WINDOWS = 259 - 12
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])( *\.|$)", re.IGNORECASE)
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")

_Identity = tuple[int, int]
"""Device and inode of a file or folder."""


def output_path(out: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a result; ``~`` means the home folder.

    Raises
    ------
    BadInput
        If the file system cannot store a file of this name.
    """
    if (address := address_of(out)) is not None:
        raise BadInput(
            f"{address}: is an address: only the denoised image of one scene is written to one, as "
            "s3://bucket/name.ome.zarr (in Python denoise_to_address): give a path",
            "output",
        )
    try:
        path = local_path(out).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{out}: has no such home folder: give the whole path", "output") from error
    if path.name in ("", "..") or "\0" in str(path):
        raise BadInput(f"{out!s}: is not the name of a file: give one", "output")
    path = path.absolute()
    folder = next(one for one in path.parents if one.exists() or one == one.parent)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{path}: {folder} is a file, not a folder: choose another name", "output")
    longest = _longest_name(folder) - _LONGER
    if (length := len(os.fsencode(path.name))) > longest:
        raise BadInput(
            f"{path}: its name has {length} bytes, and at most {longest} are possible there: "
            "choose a shorter one",
            "output",
        )
    if sys.platform == "win32":
        _check_windows_name(path)
    return path


def output_file(out: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a result that is one file, as `output_path` does.

    Raises
    ------
    BadInput
        Also if a folder has this name, which no option replaces.
    """
    path = output_path(out)
    if path.is_dir():
        raise BadInput(f"{out}: is a folder: choose another name", "output")
    return path


@contextmanager
def created_folder(folder: Path) -> Iterator[None]:
    """Create a folder before a run, not after it; remove it if an error leaves it empty.

    Missing parent folders are created and removed in the same way.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for one in missing:
            with suppress(OSError):  # not empty
                one.rmdir()
        raise


def _longest_name(folder: Path) -> int:
    """Return the length in bytes of the longest name that a folder's file system can store."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows has no such function
        return _LONGEST


def _check_windows_name(path: Path) -> None:
    if _RESERVED.match(path.name) or path.name.endswith((" ", ".")):
        raise BadInput(f"{path}: Windows reserves this name: choose another one", "output")
    if len(str(path)) + _LONGER > _LONGEST_ON_WINDOWS:
        raise BadInput(
            f"{path}: has more than {_LONGEST_ON_WINDOWS - _LONGER} characters, too many for "
            "Windows: choose a shorter name or folder",
            "output",
        )


class Inputs:
    """The inputs of a run: no result may replace an input, however its path is written.

    Files are compared by identity, so links, ``..`` and upper and lower case make no difference.
    Each input and each folder is looked up once, so that many results can be checked against many
    inputs.

    Parameters
    ----------
    inputs
        Paths, or what was opened from them: acquisitions, layers, zarr arrays, memory maps.
    """

    def __init__(self, inputs: Iterable[Any]) -> None:
        self._of_folders: dict[Path, _Identity | None] = {}
        self._zarrs: dict[Path, bool] = {}
        # Of each identity, an input: the input itself, its whole zarr, the folders it is in.
        self._files: dict[_Identity, Path] = {}
        self._whole: dict[_Identity, Path] = {}
        self._folders: dict[_Identity, Path] = {}
        for file in chain.from_iterable(map(_files_of, inputs)):
            real = Path(os.path.realpath(file))
            whole = self._whole_zarr(real)
            _note(self._whole, _identity(whole), file)
            _note(self._files, _identity(real), file)
            for folder in real.parents:
                _note(self._folders, self._of_folder(folder), file)

    def check_keeps(self, out: Path) -> None:
        """Raise if writing a result would replace or change an input.

        Raises
        ------
        BadInput
            If `out` is one of the inputs, is in an input's zarr, or contains an input.
        """
        own = _identity(out)
        if own in self._files or own in self._whole:
            raise _replaces(out, "is the input", (self._files | self._whole)[own])
        for folder in (*Path(os.path.realpath(out)).parents, *out.parents):
            if (found := self._of_folder(folder)) in self._whole:
                raise _replaces(out, "is inside the input", self._whole[found])
        if own in self._folders:
            raise _replaces(out, "contains the input", self._folders[own])

    def _of_folder(self, folder: Path) -> _Identity | None:
        if folder not in self._of_folders:
            self._of_folders[folder] = _identity(folder)
        return self._of_folders[folder]

    def _whole_zarr(self, path: Path) -> Path:
        """Return the outermost zarr that a path is in, or the path."""
        whole = path
        for folder in path.parents:
            if folder not in self._zarrs:
                self._zarrs[folder] = any((folder / name).exists() for name in _ZARR_FILES)
            if not self._zarrs[folder]:
                break
            whole = folder
        return whole


def check_keeps_inputs(out: Path, inputs: Iterable[Any]) -> None:
    """Raise `BadInput` if writing a result would replace or change an input; see `Inputs`."""
    Inputs(inputs).check_keeps(out)


def _replaces(out: Path, what: str, file: Path) -> BadInput:
    return BadInput(f"{out}: {what} {file}: choose another name for the result", "output")


def _identity(path: Path) -> _Identity | None:
    """Return the identity of a file or folder, equal for all its names; None if it is missing."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _note(known: dict[_Identity, Path], identity: _Identity | None, file: Path) -> None:
    if identity is not None:
        known.setdefault(identity, file)


def _files_of(source: Any) -> Iterator[Path]:
    """Yield the files that a source is read from, as far as they are known."""
    if isinstance(source, str | os.PathLike):
        yield split_image_name(local_path(source).expanduser())[0]
        return
    for holder in (source, getattr(source, "source", None)):  # an acquisition or layer has a source
        store = getattr(holder, "store", None)
        places = [getattr(holder, "path", None), getattr(holder, "filename", None)]
        if store is not None:  # of a zarr array, whose path is its name in the store
            places = [getattr(store, "root", None)]
        yield from (Path(place) for place in places if isinstance(place, str | os.PathLike))


def check_overwrite(path: Path, *, overwrite: bool) -> None:
    """Raise if the output exists and overwrite is False.

    Raises
    ------
    BadInput
        If `path` exists and `overwrite` is False.
    """
    if os.path.lexists(path) and not overwrite:
        raise BadInput(
            f"{path}: already exists: choose another name or folder, or add --overwrite", "exists"
        )


def check_disk_space(path: Path, size: int) -> None:
    """Raise if the disk is too full.

    Parameters
    ----------
    path
        Where the result will be; its folder exists.
    size
        Its size in bytes.

    Raises
    ------
    BadInput
        If fewer bytes are free.
    """
    free = shutil.disk_usage(path.absolute().parent).free
    if free < size:
        raise BadInput(
            f"{path}: not enough disk space: at least {size / 1e9:.3g} GB needed, "
            f"{free / 1e9:.3g} GB free: delete files, or choose another disk",
            "disk",
        )
