"""Copy a finished zarr from a disk to an address, so that other programs never see a part of it."""

from collections.abc import Iterator
from pathlib import Path

from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from napari_n2n.errors import BadInput

_ROOT = "zarr.json"  # without it, no program takes the rest for a zarr


def stored_keys(store: FsspecStore) -> set[str]:
    """Return the names of all files in a store."""

    async def listed() -> set[str]:
        return {key async for key in store.list()}

    return sync(listed())


def check_free(store: FsspecStore, address: str, *, overwrite: bool, resume: bool) -> None:
    """Raise if something is at an address and may not be replaced.

    Raises
    ------
    BadInput
        If there is a zarr and `overwrite` is False; or parts of one, such as after an upload that
        was interrupted, and `resume` is False, too.
    """
    there = stored_keys(store)
    if overwrite or not there or (resume and _ROOT not in there):
        return
    if _ROOT in there:
        raise BadInput(
            f"{address}: already exists: choose another name, or add --overwrite", "exists"
        )
    raise BadInput(
        f"{address}: has {len(there)} files of an unfinished result, or of another program: "
        "continue it with --resume, or replace it with --overwrite",
        "unfinished",
    )


def upload(folder: Path, store: FsspecStore) -> Iterator[float]:
    """Copy a zarr into a store, in place of what is there; yield the fraction done.

    The metadata of its root are removed first and written last.
    """
    keys = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    old = stored_keys(store)
    if _ROOT in old:
        sync(store.delete(_ROOT))
    for key in old - {_ROOT, *keys}:
        sync(store.delete(key))
    buffer = default_buffer_prototype().buffer
    for done, key in enumerate([*(key for key in keys if key != _ROOT), _ROOT], start=1):
        sync(store.set(key, buffer.from_bytes((folder / key).read_bytes())))
        yield done / len(keys)
