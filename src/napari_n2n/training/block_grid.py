"""The grid of the blocks in which a pair is read; the edges of blocks are edges of chunks."""

import math
from itertools import pairwise

import numpy as np

from napari_n2n.io.header import Region
from napari_n2n.pair.pair import Pair

# Sides of a block in pixels, [Z,] Y, X: 1 and 4 million pixels. Larger: fewer and longer reads;
# smaller: more places of a large stack in the cache at once.
BLOCK = {2: (1024, 1024), 3: (64, 256, 256)}


class BlockGrid:
    """Grid of the blocks in which the acquisitions of a pair are read, without those outside masks.

    Parameters
    ----------
    pair
        The pair; all its acquisitions are read in the same blocks.
    side
        Sides of a patch in pixels: the smallest sides of a block, unless the stack is smaller.
        Along the axes that patches do not have, a block is one chunk long.
    """

    def __init__(self, pair: Pair, side: tuple[int, ...]) -> None:
        shape, chunks, dims = pair.first.shape, pair.first.chunks, len(side)
        wanted = (*(1 for _ in shape[:-dims]), *BLOCK[dims])
        least = (*(1 for _ in shape[:-dims]), *side)
        self._edges = [
            _edges(*numbers) for numbers in zip(shape, wanted, least, chunks, strict=True)
        ]
        self._counts = [len(edges) - 1 for edges in self._edges]
        self.count = math.prod(self._counts)
        self._kept: list[int] | None = None
        if (mask := pair.mask) is not None:
            self._kept = [k for k in range(self.count) if mask.inside(self.region(k)).any()]
            self.count = len(self._kept)
        self.largest = tuple(max(b - a for a, b in pairwise(edges)) for edges in self._edges)

    def region(self, index: int) -> Region:
        """Return the region of a block in the stack."""
        place = index if self._kept is None else self._kept[index]
        where = np.unravel_index(place, self._counts)
        return tuple(
            slice(edges[int(i)], edges[int(i) + 1])
            for i, edges in zip(where, self._edges, strict=True)
        )


def _edges(length: int, wanted: int, least: int, chunk: tuple[int, int]) -> list[int]:
    """Return edges that cut an axis at chunk borders into nearly equal parts of about `wanted`."""
    size, phase = chunk
    count = max(1, min(round(length / max(wanted, size)), length // least))
    cuts = {
        min(length, max(0, phase + round((k * length / count - phase) / size) * size))
        for k in range(1, count)
    }
    edges = [0]
    for cut in sorted(cuts):
        if cut - edges[-1] >= least and length - cut >= least:
            edges.append(cut)
    return [*edges, length]
