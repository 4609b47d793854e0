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
# Longest path in characters on Windows, with 12 reserved for the files in a folder, as there.
_LONGEST_ON_WINDOWS = 259 - 12
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])( *\.|$)", re.IGNORECASE)
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


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

    Missing folders above it are created and removed likewise.
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


def check_keeps_inputs(out: Path, inputs: Iterable[Any]) -> None:
    """Raise if writing a result would replace or change an input, whatever its spelling.

    Files are compared by identity, so links, ``..`` and upper and lower case make no difference.

    Parameters
    ----------
    out
        Path of the result.
    inputs
        Paths, or what was opened from them: acquisitions, layers, zarr arrays, memory maps.

    Raises
    ------
    BadInput
        If `out` is one of the inputs, is in an input's zarr, or contains an input.
    """
    place = Path(os.path.realpath(out))
    for file in chain.from_iterable(map(_files_of, inputs)):
        real = Path(os.path.realpath(file))
        whole = _whole_zarr(real)
        if _same(out, real) or _same(out, whole):
            raise _replaces(out, "is the input", file)
        if any(_same(folder, whole) for folder in (*place.parents, *out.parents)):
            raise _replaces(out, "is inside the input", file)
        if any(_same(out, folder) for folder in real.parents):
            raise _replaces(out, "contains the input", file)


def _replaces(out: Path, what: str, file: Path) -> BadInput:
    return BadInput(f"{out}: {what} {file}: choose another name for the result", "output")


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _whole_zarr(path: Path) -> Path:
    """Return the outermost zarr that a path is in, or the path."""
    whole = path
    for folder in path.parents:
        if not any((folder / name).exists() for name in _ZARR_FILES):
            break
        whole = folder
    return whole


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
