"""Read pixels of a source, and turn every error of a source into one line that names the place.

Files can be damaged, disks can fail and the graph of a dask array can raise anything. All pixels
are read by `read_pixels`, and all files are opened inside `OneLine`, so no such error reaches the
user as a traceback.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import dask.array as da
import numpy as np
import zarr
from zarr.storage import FsspecStore

from napari_n2n.errors import BadInput
from napari_n2n.io.stored_chunks import check_stored

# Longest cause of an error in a message, in characters: two lines of a terminal.
_LONGEST_CAUSE = 160
# Fixes for pixels that cannot be read from a file, an address, or an array or layer.
COPY_AGAIN = "copy or save the file again, or crop away the damaged part"
_CONNECT = "check the network and the server, and repeat the command"
_COMPUTE = "compute the array yourself to find the error, or save it to a file first"


class OneLine:
    """Context manager that turns an error of a source into a `BadInput` with one line.

    A `BadInput`, Ctrl-C and the end of a generator pass unchanged.

    Parameters
    ----------
    problem
        What could not be done: "a.tif: plane 3 cannot be read".
    fix
        What to do about it.
    """

    def __init__(self, problem: str, fix: str = COPY_AGAIN) -> None:
        self._problem, self._fix = problem, fix

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, BadInput):
            raise BadInput(
                f"{self._problem} ({cause(error)}): {self._fix}", "unreadable"
            ) from error


def cause(error: Exception) -> str:
    """Return the text of an error in one short line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_CAUSE:
        text = text[:_LONGEST_CAUSE] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def read_pixels(
    source: Any, window: Sequence[slice | int], order: Sequence[int], *, name: str, is_file: bool
) -> np.ndarray:
    """Read a part of a source.

    Parameters
    ----------
    source
        A numpy, dask or zarr array, or anything that is indexed like one.
    window
        For each dimension of the source, a slice with start, stop and step, or one index.
    order
        The dimensions that are slices, in the order of the result's axes; the last two are rows and
        columns.
    name, is_file
        Name in messages, and whether it is a file.

    Raises
    ------
    BadInput
        If the source raises, delivers another shape or pixel type than it declares, or if pixels
        are masked.
    """
    lengths = tuple(
        len(range(part.start, part.stop, part.step or 1))
        for part in window
        if isinstance(part, slice)
    )
    kept = sorted(order)
    turn = [kept.index(dimension) for dimension in order]
    place = _place(name, window, order)
    with OneLine(f"{place} cannot be read", _fix(source, is_file)):
        values = source[tuple(window)]
        if isinstance(values, da.Array):
            values = values.compute(scheduler="synchronous")
        if np.ma.is_masked(values):
            raise _masked_error(place, values)
        values = np.asarray(values)
        if values.shape != lengths:
            raise ValueError(f"shape {values.shape} instead of {lengths}")
        values = _of_type(values, np.dtype(source.dtype).newbyteorder("=")).transpose(turn)
        if isinstance(source, zarr.Array):
            check_stored(source, window, order, values, name)
    return np.ascontiguousarray(values)


def _fix(source: Any, is_file: bool) -> str:
    if isinstance(source, zarr.Array) and isinstance(source.store, FsspecStore):
        return _CONNECT
    return COPY_AGAIN if is_file else _COMPUTE


class Guarded:
    """A source whose pixels are read by `read_pixels`, for the graph of a dask array.

    Parameters
    ----------
    source
        A numpy or zarr array, or a memory-mapped file.
    name, is_file
        See `read_pixels`.
    """

    def __init__(self, source: Any, name: str, is_file: bool) -> None:
        self._source, self._name, self._is_file = source, name, is_file
        self.shape, self.ndim = tuple(source.shape), len(source.shape)
        self.dtype = np.dtype(source.dtype).newbyteorder("=")

    def __getitem__(self, where: tuple[slice | int, ...]) -> np.ndarray:
        window = [
            slice(*part.indices(length)) if isinstance(part, slice) else int(part)
            for part, length in zip(where, self.shape, strict=True)
        ]
        order = [dimension for dimension, part in enumerate(window) if isinstance(part, slice)]
        return read_pixels(self._source, window, order, name=self._name, is_file=self._is_file)


def _of_type(values: np.ndarray, declared: np.dtype) -> np.ndarray:
    """Return values in the declared type; a dask graph may deliver others."""
    floats = values.dtype.kind == declared.kind == "f"
    if not (floats or np.can_cast(values.dtype, declared)):
        raise TypeError(f"pixels are {values.dtype} instead of {declared}")
    return values.astype(declared, copy=False)


def _place(name: str, window: Sequence[slice | int], order: Sequence[int]) -> str:
    """Return the name and the position of a region in its source: "a.tif: planes 0, 3-5"."""
    leading = [
        [part] if isinstance(part, int) else range(part.start, part.stop, part.step or 1)
        for dimension, part in enumerate(window)
        if dimension not in order[-2:]
    ]
    if not leading:
        return f"{name}: the plane"
    several = any(len(where) > 1 for where in leading)
    named = (f"{where[0]}-{where[-1]}" if len(where) > 1 else f"{where[0]}" for where in leading)
    return f"{name}: plane{'s' if several else ''} {', '.join(named)}"


def _masked_error(place: str, values: Any) -> BadInput:
    share = float(np.ma.getmaskarray(values).mean())
    return BadInput(
        f"{place}: {share:.2%} of the pixels are masked: "
        "crop them away, or fill them with the background level",
        "not_finite",
    )
