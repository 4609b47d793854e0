"""What the file of a napari layer says about its axes, pixel sizes and channels.

napari's own reader does not keep this information, but a layer names the file it was read from.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput
from napari_n2n.io.header import Header

Read = Callable[[Path], Header | None]
# Number of headers that are kept, so that a file is not opened each time its layer is used.
_KEPT = 64


def header_of_file(layer: Any, shape: tuple[int, ...], read: Read) -> Header | None:
    """Return the header of the file of a layer, reduced to the axes that the layer has.

    Parameters
    ----------
    layer
        A napari image layer.
    shape
        Shape of its pixels.
    read
        Returns the header of a file, None if its axes are not labelled; may raise `BadInput`.

    Returns
    -------
    Header or None
        None if the layer names no file, the file cannot be read, or its shape differs.
    """
    path = getattr(getattr(layer, "source", None), "path", None)
    if not isinstance(path, str):
        return None
    try:
        whole = _read_once(path, Path(path).stat().st_mtime_ns, read)
    except (OSError, ValueError):  # moved or deleted, or not a valid path
        return None
    return None if whole is None else _reduced(whole, shape)


@lru_cache(maxsize=_KEPT)
def _read_once(path: str, _modified: int, read: Read) -> Header | None:
    try:
        return read(Path(path))
    except BadInput:
        return None


def _reduced(whole: Header, shape: tuple[int, ...]) -> Header | None:
    """Leave out the channels, if they are separate layers, and axes of length one."""
    every = list(range(len(whole.shape)))
    long = [axis for axis in every if whole.shape[axis] > 1 or whole.axes[axis] in "YX"]
    for kept in (every, long):
        without_channels = [axis for axis in kept if whole.axes[axis] != "C"]
        for axes in (kept, without_channels):
            if tuple(whole.shape[axis] for axis in axes) == shape:
                letters = "".join(whole.axes[axis] for axis in axes)
                return replace(
                    whole,
                    shape=shape,
                    axes=letters,
                    scale=tuple(whole.scale[axis] for axis in axes),
                    units=tuple(whole.units[axis] for axis in axes),
                    channels=whole.channels if "C" in letters else (),
                )
    return None
