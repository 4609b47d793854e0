"""Sides of the shards of a result: many small planes share one, so that there are few files."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from napari_n2n.io.header import Region

# Largest size of a shard of several planes, in bytes of its pixels. Larger: fewer files; smaller:
# less memory, and less to repeat after a crash.
_MOST_BYTES = 64 * 10**6
# Fewest shards, if the result has as many planes: it then appears step by step while it is written,
# and a crash costs a few percent of the work.
_FEWEST = 32


def shard_shape(shape: Sequence[int], itemsize: int, sides: Sequence[int]) -> tuple[int, ...]:
    """Return the sides of a shard, in pixels, one for each axis.

    Parameters
    ----------
    shape, itemsize
        Shape of the result, and bytes of a pixel.
    sides
        Largest sides along the last axes: of a plane, or of a volume.
    """
    leading = len(shape) - len(sides)
    inside = [min(side, length) for side, length in zip(sides, shape[leading:], strict=True)]
    boxes = math.prod(
        -(-length // side) for length, side in zip(shape[leading:], inside, strict=True)
    )
    count = math.prod(shape[:leading]) * boxes
    together = min(_MOST_BYTES // (math.prod(inside) * itemsize), count // _FEWEST)
    found: list[int] = []
    for length in reversed(shape[:leading]):
        found.insert(0, max(1, min(length, together)))
        together //= found[0]
        if found[0] < length:
            together = 1
    return (*found, *inside)


def frames(region: Region, dims: int) -> Iterator[Region]:
    """Yield the planes or volumes of a region: one index along each other axis."""
    leading = [range(part.start, part.stop) for part in region[:-dims]]
    for place in np.ndindex(*map(len, leading)):
        picked = (along[i] for along, i in zip(leading, place, strict=True))
        yield (*(slice(i, i + 1) for i in picked), *region[-dims:])


def inside(part: Region, whole: Region) -> Region:
    """Return the position of a part of a region, counted from the start of the region."""
    return tuple(
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, whole, strict=True)
    )
