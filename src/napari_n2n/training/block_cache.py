"""Blocks of stacks of any size on the device, within a limit of memory.

A background thread reads blocks ahead of their use into slots, the oldest block giving way to the
next. Which blocks are there at a step is a function of seed and step alone, never of timing.

The grid of blocks that a stack is read in, on borders between its chunks.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import read_finite
from napari_n2n.io.header import Region
from napari_n2n.pair.pair import Pair
from napari_n2n.stats.affine import Affine
from napari_n2n.training.held_out import HeldOut
from napari_n2n.training.normalisation import Normalisation

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


_FIRST_BLOCKS = 4
_AHEAD = 2
_POOL_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Resident:
    """A block that is in the pool.

    Attributes
    ----------
    pair
        Number of the pair it is of.
    shape
        In pixels, (leading axes as one, [Z,] Y, X).
    pixels
        For each acquisition, where its first pixel lies in the pool.
    counted
        Where the first of the booleans of its plane (Y, X) lies, False where held out.
    """

    pair: int
    shape: tuple[int, ...]
    pixels: tuple[int, ...]
    counted: int


@dataclass(frozen=True, slots=True)
class _Read:
    """A block on the way into the pool.

    Attributes
    ----------
    pair, shape
        As they will be of its `Resident`.
    pixels
        Of each acquisition, flat, in storage type.
    counted
        Flat (Y, X), False where held out.
    weight
        How often to draw from it, against others.
    """

    pair: int
    shape: tuple[int, ...]
    pixels: list[Tensor]
    counted: Tensor
    weight: float


class Pool:
    """Slots for blocks, filled in the background.

    Parameters
    ----------
    pairs, masks
        What is learned from, and which of its pixels are held out.
    normalisations
        Of each channel.
    side
        Of a patch: no block is smaller, unless its stack is.
    drawn
        Number of pixels that a step is expected to draw; decides how fast blocks are replaced.
    seed
        Decides the order of the blocks.
    device
        Where the pool lies.
    memory
        Limit for pool and reading together, in bytes.

    Attributes
    ----------
    slots
        Number of blocks that fit.
    nbytes
        Of the pixels in all slots.

    Raises
    ------
    BadInput
        If not even two blocks fit.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        masks: Sequence[HeldOut],
        normalisations: Sequence[Normalisation],
        *,
        side: tuple[int, ...],
        drawn: int,
        seed: int,
        device: torch.device,
        memory: int,
    ) -> None:
        self.pairs, self._masks, self._normalisations = pairs, masks, normalisations
        self.seed, self.device = seed, device
        self._dims = len(side)
        self._blocks = [Blocks(pair, self._dims, side) for pair in pairs]
        self._starts = np.cumsum([0, *(blocks.count for blocks in self._blocks)])
        self.block_count = int(self._starts[-1])
        self._storage, kind = _storage({one.dtype for p in pairs for one in p.acquisitions})
        self._volume = max(math.prod(blocks.largest) for blocks in self._blocks)
        self._plane = max(math.prod(blocks.largest[-2:]) for blocks in self._blocks)
        self._views = max(len(pair.acquisitions) for pair in pairs)
        self.slots = self._fitting(memory)
        self._pixels = torch.empty(self.slots, self._views, self._volume, dtype=kind, device=device)
        self._counted = torch.empty(self.slots, self._plane, dtype=torch.bool, device=device)
        self.nbytes = self._pixels.nbytes
        self._residents: list[Resident | None] = [None] * self.slots
        self._weights = np.zeros(self.slots)
        self._window, self._share = range(0), np.zeros(0)
        self._read_until = self._loaded = 0
        self._rate = drawn / self._volume
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="napari-n2n-reader")
        self._ahead: dict[int, Future[_Read]] = {}
        self._order: dict[int, np.ndarray] = {}

    def _fitting(self, memory: int) -> int:
        size = self._views * self._volume * np.dtype(self._storage).itemsize + self._plane
        fitting = int(memory * _POOL_SHARE / size) - _AHEAD
        if fitting >= self.block_count:
            return self.block_count
        if fitting < 2:
            name = self.pairs[0].first.name
            need = math.ceil((2 + _AHEAD) * size / _POOL_SHARE / 1e6)
            raise BadInput(
                f"{name}: its chunks hold {self._volume} pixels, more than fit into the memory "
                f"allowed: allow {need} MB (--memory {need}MB), or store it in smaller chunks",
                "memory",
            )
        return fitting

    def close(self) -> None:
        """End the reading."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def chosen(self, step: int, numbers: np.ndarray) -> list[Resident]:
        """Have the blocks of a step in the pool, and return those that some numbers fall on.

        Parameters
        ----------
        step
            Decides which blocks are there.
        numbers
            Evenly spread in 0 to 1. Large and rich blocks are fallen on more often.
        """
        window = self._load(step)
        if window != self._window:
            weights = np.roll(self._weights, -window.start)[: len(window)]
            self._window, self._share = window, np.cumsum(weights)
        places = np.searchsorted(self._share, numbers * self._share[-1], side="right")
        slots = (window.start + places) % self.slots
        return [self._residents[slot] for slot in slots]

    def pixels(self, places: Tensor) -> Tensor:
        """Return stored pixels as float32, counted through the pool, in the shape of `places`."""
        stored = self._pixels.view(-1)[places]
        if self._storage == np.uint16:
            return (stored.to(torch.int32) & 0xFFFF).float()
        return stored.float()

    def counted(self, places: Tensor) -> Tensor:
        """Return which pixels are learned from, False where held out, like `pixels`."""
        return self._counted.view(-1)[places]

    def _loaded_at(self, step: int) -> int:
        """Return how many blocks have been read up to a step, in the order of `_sequence`.

        The latest of them, as many as there are slots, are those that are drawn from.
        """
        filled = min(self.slots, _FIRST_BLOCKS + step)
        if self.slots == self.block_count or filled < self.slots:
            return filled
        return self.slots + int((step - (self.slots - _FIRST_BLOCKS)) * self._rate)

    def _sequence(self, position: int) -> int:
        """Return which block is read at a position: all of them, shuffled; then all anew."""
        epoch, place = divmod(position, self.block_count)
        if epoch not in self._order:
            self._order = {k: v for k, v in self._order.items() if k == epoch - 1}
            rng = np.random.default_rng((self.seed, 0xB10C, epoch))
            self._order[epoch] = rng.permutation(self.block_count)
        return int(self._order[epoch][place])

    def _load(self, step: int) -> range:
        """Have the blocks of a step in their slots; returns their positions."""
        end = self._loaded_at(step)
        window = range(max(0, end - self.slots), end)
        if self._loaded < window.start or self._loaded > end:  # elsewhere: a resumed run
            self._ahead.clear()
            self._loaded = self._read_until = window.start
        last = self.block_count if self.slots == self.block_count else end + _AHEAD
        while self._loaded < end:
            while self._read_until < min(last, self._loaded + _AHEAD):
                block = self._sequence(self._read_until)
                self._ahead[self._read_until] = self._reader.submit(self._read, block)
                self._read_until += 1
            self._place(self._loaded % self.slots, self._ahead.pop(self._loaded).result())
            self._loaded += 1
        return window

    def _place(self, slot: int, block: _Read) -> None:
        for view, pixels in enumerate(block.pixels):
            self._pixels[slot, view, : len(pixels)].copy_(pixels, non_blocking=True)
        self._counted[slot, : len(block.counted)].copy_(block.counted, non_blocking=True)
        starts = ((slot * self._views + view) * self._volume for view in range(len(block.pixels)))
        self._residents[slot] = Resident(block.pair, block.shape, tuple(starts), slot * self._plane)
        self._weights[slot] = block.weight

    def _read(self, index: int) -> _Read:
        """Read a block; in the reader's thread."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        pair = self.pairs[number]
        region = self._blocks[number].region(index - int(self._starts[number]))
        pixels = [read_finite(acquisition, region) for acquisition in pair.acquisitions]
        shape = (-1, *(part.stop - part.start for part in region[-self._dims :]))
        scale = self._normalisations[pair.channel].scale
        flat = [torch.from_numpy(self._stored(values)) for values in pixels]
        counted = torch.from_numpy(~self._masks[number].mask(*region[-2:]).ravel())
        if self.device.type == "cuda":
            flat, counted = [values.pin_memory() for values in flat], counted.pin_memory()
        return _Read(
            number,
            pixels[0].reshape(shape).shape,
            flat,
            counted,
            pixels[0].size * _interest(pixels[0], scale),
        )

    def _stored(self, values: np.ndarray) -> np.ndarray:
        if values.dtype == np.uint16 == self._storage:
            return values.view(np.int16).ravel()  # torch computes little with uint16
        return values.astype(self._storage, copy=False).ravel()


def _interest(values: np.ndarray, scale: Affine) -> float:
    """How often to draw from a block, against its size: 0.5 for an empty one, 1.5 for a rich one.

    By the standard deviation of the means of 8x8 pixels, in normalised units, in a few planes.
    """
    planes = values.reshape(-1, *values.shape[-2:])[:: max(1, values.size // 2**21)]
    rows, columns = (length // 8 for length in planes.shape[-2:])
    cells = planes[:, : rows * 8, : columns * 8].reshape(len(planes), rows, 8, columns, 8)
    contrast = float(cells.mean(axis=(2, 4), dtype=np.float32).std()) * scale.gain
    return 0.5 + contrast / (contrast + 0.5)


def _storage(dtypes: set[np.dtype]) -> tuple[np.dtype, torch.dtype]:
    """Choose the type that keeps the pixels exactly in the least memory."""
    kinds = {
        np.dtype(np.uint8): torch.uint8,
        np.dtype(np.int8): torch.int8,
        np.dtype(np.int16): torch.int16,
        np.dtype(np.uint16): torch.int16,
    }
    only = next(iter(dtypes)) if len(dtypes) == 1 else np.dtype(np.float32)
    return (only, kinds[only]) if only in kinds else (np.dtype(np.float32), torch.float32)
