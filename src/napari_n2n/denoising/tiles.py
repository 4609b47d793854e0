"""Cut a plane or a volume into tiles so that tiled and whole results are equal.

A network that is equivariant to shifts by `stride`, and whose output depends on no input pixel
farther away than `halo`, gives the same values for a tile as for the whole plane, if the tile
starts on a multiple of the stride and is read with the halo around it. Tiles therefore have no
seams and need no blending. At the edges of the image the network's own padding applies, as in
training; only sides that are no multiple of the stride are extended to one, by mirrored pixels.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

# Most tiles tried per axis. More: smaller tiles for little memory; fewer: faster choice in 3D.
_MOST_CUTS = 40


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a plane or volume.

    Attributes
    ----------
    read
        Part to compute on, as (start, stop) in pixels along each axis; it may reach past the edges,
        where the image is mirrored.
    keep
        Slices of the computed part that go into the result.
    write
        Slices of the whole image that these pixels fill.
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
) -> Iterator[Tile]:
    """Cut a part of a plane or volume into tiles.

    Parameters
    ----------
    region
        The part that the tiles fill: start and stop along each axis.
    shape
        Shape of the whole image.
    size
        Sides of a tile without its halo in pixels, rounded up to multiples of `stride`.
    halo
        Receptive field of the network in pixels, along each axis.
    stride
        Shift in pixels under which the network is equivariant, along each axis.
    """
    spans = [
        list(_spans(*numbers)) for numbers in zip(region, shape, size, halo, stride, strict=True)
    ]
    for along in product(*spans):
        read, keep, write = zip(*along, strict=True)
        yield Tile(read, keep, write)


def _spans(
    part: slice, length: int, size: int, halo: int, stride: int
) -> Iterator[tuple[tuple[int, int], slice, slice]]:
    # The receptive field is that of the pixel at the far end of a grid cell. A halo that is one
    # stride smaller would therefore give the same values; two strides smaller would not.
    size, halo, padded = (rounded_up(number, stride) for number in (size, halo, length))
    start = part.start
    while start < part.stop:
        grid = start // stride * stride
        stop = min(grid + size, part.stop)
        first = max(0, grid - halo)
        last = min(padded, rounded_up(stop, stride) + halo)
        yield (first, last), slice(start - first, stop - first), slice(start, stop)
        start = stop


@dataclass(frozen=True, slots=True)
class _Cut:
    """A way to cut an axis of a shard.

    Attributes
    ----------
    side
        Length of a tile in pixels, without its halo.
    read
        Largest length in pixels that is computed for a tile, with its halo.
    computed
        Length in pixels that is computed for all tiles together.
    """

    side: int
    read: int
    computed: int


def choose_tile(
    shape: tuple[int, ...],
    halo: tuple[int, ...],
    stride: tuple[int, ...],
    *,
    longest: tuple[int, ...],
    bytes_of: Callable[[tuple[int, ...]], float],
    memory: float,
) -> tuple[int, ...]:
    """Return the sides of the tiles that compute the fewest pixels twice and fit into memory.

    Parameters
    ----------
    shape, halo, stride
        See `tiles`.
    longest
        Longest sides of a tile in pixels: those of a shard.
    bytes_of
        Function that returns the memory in bytes that a tile with these sides, with its halo,
        needs.
    memory
        Largest memory in bytes of a tile; if all tiles need more, the one that needs least is used.
    """
    options = [
        _cuts(min(length, limit), length, *along)
        for length, limit, *along in zip(shape, longest, halo, stride, strict=True)
    ]
    choices = list(product(*options))
    needed = [bytes_of(tuple(cut.read for cut in one)) for one in choices]
    limit = max(memory, min(needed))
    fitting = [one for one, size in zip(choices, needed, strict=True) if size <= limit]
    best = min(fitting, key=lambda one: (math.prod(cut.computed for cut in one), -one[-1].side))
    return tuple(cut.side for cut in best)


def _cuts(shard: int, length: int, halo: int, stride: int) -> list[_Cut]:
    """List the ways to cut an axis of a shard into equal tiles."""
    halo = rounded_up(halo, stride)
    found: list[_Cut] = []
    for count in range(1, _MOST_CUTS + 1):
        side = rounded_up(-(-shard // count), stride)
        read = min(side + 2 * halo, rounded_up(length, stride))
        if not found or side < found[-1].side:
            found.append(_Cut(side, read, -(-shard // side) * read))
    return found


def rounded_up(number: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is not less than `number`."""
    return -(-number // multiple) * multiple


def mirrored(
    read: Callable[[tuple[slice, ...]], np.ndarray],
    shape: tuple[int, ...],
    where: tuple[tuple[int, int], ...],
) -> np.ndarray:
    """Read a part that may reach past the edges, where the image is mirrored.

    Parameters
    ----------
    read
        Function that returns the pixels of slices inside the image.
    shape
        Shape of the image.
    where
        (start, stop) in pixels along each axis; the edge pixel is not repeated.
    """
    inside, indices = [], []
    for length, (start, stop) in zip(shape, where, strict=True):
        period = max(2 * length - 2, 1)
        index = np.arange(start, stop) % period
        index = np.minimum(index, period - index) if length > 1 else index * 0
        inside.append(slice(int(index.min()), int(index.max()) + 1))
        indices.append(index - index.min())
    part = read(tuple(inside))
    for axis, index in enumerate(indices):
        if len(index) != part.shape[axis] or (np.diff(index) != 1).any():
            part = np.take(part, index, axis=axis)
    return part
