"""Cutting a plane so that tiled and whole results are equal.

A network whose output repeats itself under shifts by `stride`, and whose output pixels look no
farther than `halo`, gives the same values for a tile as for the whole plane, if the tile starts on
a multiple of the stride and is read with the halo around it. So no seam can appear and nothing has
to be blended. Around the plane the network sees its mirror image for a little way, so that the
network's own zero padding does not show at the edges.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a plane.

    Attributes
    ----------
    read
        Rows and columns to compute on, as (start, stop); they may reach past the plane's edges,
        where it is mirrored.
    keep
        Slices of what was computed that are wanted.
    write
        Slices of the plane where they belong.
    """

    read: tuple[tuple[int, int], ...]
    keep: tuple[slice, ...]
    write: tuple[slice, ...]


def tiles(
    shape: tuple[int, ...], size: int, halo: int, stride: int, margin: int = 0
) -> Iterator[Tile]:
    """Cut a plane into tiles.

    Parameters
    ----------
    shape
        Rows and columns of the plane.
    size
        Side of the wanted part of a tile in pixels, rounded up to a multiple of `stride`.
    halo
        Receptive field of the network in pixels.
    stride
        Shift under which the network repeats itself.
    margin
        How far the plane is continued by its mirror image, in pixels, rounded up likewise.
    """
    spans = [list(_spans(length, size, halo, stride, margin)) for length in shape]
    for choice in np.ndindex(*(len(axis) for axis in spans)):
        parts = [spans[axis][i] for axis, i in enumerate(choice)]
        yield Tile(
            read=tuple(read for read, _, _ in parts),
            keep=tuple(keep for _, keep, _ in parts),
            write=tuple(write for _, _, write in parts),
        )


def _spans(
    length: int, size: int, halo: int, stride: int, margin: int
) -> Iterator[tuple[tuple[int, int], slice, slice]]:
    size, halo, padded, margin = (_up(number, stride) for number in (size, halo, length, margin))
    for start in range(0, length, size):
        stop = min(start + size, length)
        first = max(-margin, start - halo)
        last = min(padded + margin, _up(stop, stride) + halo)
        yield (first, last), slice(start - first, stop - first), slice(start, stop)


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def mirrored(plane: np.ndarray, read: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Read a part of a plane that may reach past its edges; the edge pixel is not repeated."""
    part = plane
    for axis, (start, stop) in enumerate(read):
        period = max(2 * plane.shape[axis] - 2, 1)
        where = np.arange(start, stop) % period
        part = np.take(part, np.minimum(where, period - where), axis=axis)
    return part
