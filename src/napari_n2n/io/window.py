"""Windows: the selected part of a source, for each of its dimensions a slice or one index."""

from typing import Any

import dask.array as da


def length(window: slice | int) -> int:
    """Return the number of positions in a slice of a window."""
    assert isinstance(window, slice)
    return len(range(window.start, window.stop, window.step or 1))


def sub_slice(window: slice | int, part: slice) -> slice:
    """Return a part of a window as a slice of the dimension that the window selects from."""
    assert isinstance(window, slice)
    inside = range(window.start, window.stop, window.step or 1)[part]
    return slice(inside.start, inside.stop, inside.step)


def middle(shape: tuple[int, ...], side: int | None) -> tuple[slice, ...]:
    """Return the middle part of each axis, at most `side` long; None: all of it."""
    return tuple(
        slice((whole - cut) // 2, (whole - cut) // 2 + cut)
        for whole in shape
        for cut in (min(whole, side or whole),)
    )


def evenly_spaced(total: int, count: int) -> list[int]:
    """Return up to `count` evenly spaced numbers from 0 to `total` - 1."""
    if total <= count:
        return list(range(total))
    return (
        sorted({round(i * (total - 1) / (count - 1)) for i in range(count)}) if count > 1 else [0]
    )


def chunk_shape(array: Any) -> tuple[int, ...]:
    """Return the shape of a chunk: a single pixel if the source has no chunks."""
    chunks = getattr(array, "chunks", None)
    if isinstance(array, da.Array):
        return tuple(max(lengths) for lengths in array.chunks)
    return tuple(chunks) if chunks is not None else (1,) * array.ndim
