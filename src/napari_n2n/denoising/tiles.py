"""Cutting a plane or a volume so that tiled and whole results are equal.

A network whose output repeats itself under shifts by `stride`, and whose output pixels look no
farther than `halo`, gives the same values for a tile as for the whole plane, if the tile starts on
a multiple of the stride and is read with the halo around it. So no seam can appear and nothing has
to be blended. Around the plane the network sees its mirror image for a little way, so that the
network's own zero padding does not show at the edges.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a plane or volume.

    Attributes
    ----------
    read
        What to compute on, as (start, stop) along each axis; it may reach past the edges, where the
        image is mirrored.
    keep
        Slices of what was computed that are wanted.
    write
        Slices of the whole where they belong.
    """

    read: tuple[tuple[int, int], ...]
    keep: tuple[slice, ...]
    write: tuple[slice, ...]


def tiles(
    region: tuple[slice, ...],
    shape: tuple[int, ...],
    size: tuple[int, ...],
    halo: tuple[int, ...],
    stride: tuple[int, ...],
    margin: tuple[int, ...],
) -> Iterator[Tile]:
    """Cut a part of a plane or volume into tiles.

    Parameters
    ----------
    region
        The part that is wanted: start and stop along each axis.
    shape
        Of the whole.
    size
        Sides of the wanted part of a tile in pixels, rounded up to multiples of `stride`.
    halo
        Receptive field of the network in pixels, along each axis.
    stride
        Shift under which the network repeats itself, along each axis.
    margin
        How far the whole is continued by its mirror image along each axis, in pixels, rounded up
        likewise.
    """
    spans = [
        list(_spans(*numbers))
        for numbers in zip(region, shape, size, halo, stride, margin, strict=True)
    ]
    for parts in product(*spans):
        yield Tile(*(tuple(part[k] for part in parts) for k in range(3)))  # type: ignore[arg-type]


def _spans(
    part: slice, length: int, size: int, halo: int, stride: int, margin: int
) -> Iterator[tuple[tuple[int, int], slice, slice]]:
    size, halo, padded, margin = (
        rounded_up(number, stride) for number in (size, halo, length, margin)
    )
    start = part.start
    while start < part.stop:
        grid = start // stride * stride
        stop = min(grid + size, part.stop)
        first = max(-margin, grid - halo)
        last = min(padded + margin, rounded_up(stop, stride) + halo)
        yield (first, last), slice(start - first, stop - first), slice(start, stop)
        start = stop


def rounded_up(number: int, multiple: int) -> int:
    """Return the smallest multiple that is no less than a number."""
    return -(-number // multiple) * multiple


def mirrored(
    read: Callable[[tuple[slice, ...]], np.ndarray],
    shape: tuple[int, ...],
    where: tuple[tuple[int, int], ...],
) -> np.ndarray:
    """Read a part that may reach past the edges, where the image is continued by its mirror image.

    Parameters
    ----------
    read
        Called with the slices inside the image that are needed.
    shape
        Of the image.
    where
        (start, stop) along each axis; the edge pixel is not repeated.
    """
    inside, turns = [], []
    for length, (start, stop) in zip(shape, where, strict=True):
        period = max(2 * length - 2, 1)
        at = np.arange(start, stop) % period
        at = np.minimum(at, period - at) if length > 1 else at * 0
        inside.append(slice(int(at.min()), int(at.max()) + 1))
        turns.append(at - at.min())
    part = read(tuple(inside))
    for axis, turn in enumerate(turns):
        if len(turn) != part.shape[axis] or (np.diff(turn) != 1).any():
            part = np.take(part, turn, axis=axis)
    return part
