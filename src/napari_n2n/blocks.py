"""The grid of blocks that a stack is read in, on borders between its chunks."""

import math
from itertools import pairwise

import numpy as np

from napari_n2n.pair import Pair
from napari_n2n.regions import Region

BLOCK = {2: (1024, 1024), 3: (64, 256, 256)}


class Blocks:
    """The grid of blocks that a pair's stack is read in.

    Parameters
    ----------
    pair
        All its acquisitions are read at the same places.
    dims
        Number of axes, at the end, that the network sees; along the leading ones a block is one
        chunk long.
    side
        Of a patch: no block is smaller, unless the stack is.
    """

    def __init__(self, pair: Pair, dims: int, side: tuple[int, ...]) -> None:
        self.pair = pair
        shape, chunks = pair.first.shape, pair.first.chunks
        wanted = (*(1 for _ in shape[:-dims]), *BLOCK[dims])
        least = (*(1 for _ in shape[:-dims]), *side)
        self._edges = [
            _edges(*numbers) for numbers in zip(shape, wanted, least, chunks, strict=True)
        ]
        self._counts = [len(edges) - 1 for edges in self._edges]
        self.count = math.prod(self._counts)
        self.largest = tuple(max(b - a for a, b in pairwise(edges)) for edges in self._edges)

    def region(self, index: int) -> Region:
        """Return the place of a block in the stack."""
        where = np.unravel_index(index, self._counts)
        return tuple(
            slice(edges[int(i)], edges[int(i) + 1])
            for i, edges in zip(where, self._edges, strict=True)
        )


def _edges(length: int, wanted: int, least: int, chunk: tuple[int, int]) -> list[int]:
    """Cut an axis into nearly equal parts of about `wanted`, on borders between chunks."""
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
