"""Find the chunks of a zarr on disk that are not stored.

By the zarr standard they are read as the fill value, usually 0. They may be missing because a copy
or a recording was interrupted. Noise is almost never exactly 0 in a whole plane, so a plane without
any chunk is refused. Other missing chunks are logged.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import zarr
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore

from napari_n2n.errors import BadInput

_log = logging.getLogger("napari_n2n")


def check_stored(
    array: zarr.Array,
    window: Sequence[slice | int],
    order: Sequence[int],
    values: np.ndarray,
    name: str,
) -> None:
    """Raise if a plane of the region that was read has no stored chunk.

    The files are looked up only for planes that contain the fill value.

    Parameters
    ----------
    array
        The source; only those in a folder or at an address are checked.
    window, order
        The region: see `read_pixels`.
    values
        Its pixels, with rows and columns last.
    name
        Name in the message.

    Raises
    ------
    BadInput
        If no chunk of a plane is stored.
    """
    if not isinstance(array.store, LocalStore | FsspecStore):
        return
    fill = 0 if array.fill_value is None else array.fill_value
    for place in np.ndindex(values.shape[:-2]):
        if not (values[place] == fill).any():
            continue
        where = list(window)
        for dimension, index in zip(order, place, strict=False):
            part = window[dimension]
            assert isinstance(part, slice)
            where[dimension] = part.start + index * (part.step or 1)
        read = [_is_stored(array, chunk) for chunk in _chunks(array, where)]
        if all(read):
            continue
        plane = [slice(None) if dimension in order[-2:] else p for dimension, p in enumerate(where)]
        if not any(read) and not any(_is_stored(array, chunk) for chunk in _chunks(array, plane)):
            leading = ", ".join(str(part) for part in where if isinstance(part, int))
            raise BadInput(
                f"{name}: plane {leading} is not stored (all its chunks are missing): copy the "
                "missing files, or leave this plane out",
                "unreadable",
            )
        _log_once(f"{name}: has chunks that are not stored: read as {fill}")


def _chunks(array: zarr.Array, where: Sequence[slice | int]) -> Iterator[tuple[int, ...]]:
    """Yield the indices of the chunks (or shards) that a region touches."""
    touched = []
    for part, side, length in zip(where, array.shards or array.chunks, array.shape, strict=True):
        if isinstance(part, int):
            touched.append(range(part // side, part // side + 1))
        else:
            start, stop, _ = part.indices(length)
            touched.append(range(start // side, -(-stop // side)))
    return product(*touched)


def _is_stored(array: zarr.Array, chunk: tuple[int, ...]) -> bool:
    key = array.metadata.encode_chunk_key(chunk)
    if isinstance(array.store, LocalStore):
        return (Path(array.store.root) / array.path / key).exists()
    return sync(array.store.exists(f"{array.path}/{key}" if array.path else key))


@cache
def _log_once(line: str) -> None:
    _log.warning(line)
