"""Block cache: a moving selection of blocks of the stacks, on the device, within a memory limit.

Stacks are read in blocks, which are cut between the chunks of their files. A background thread
reads blocks before they are used; each new block replaces the oldest one. The blocks in the cache
at a step depend on seed and step only, never on timing, so runs can be repeated and resumed. If
there are many small fields of view, several are read at each step and used at once.
"""

import logging
import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import read_finite
from napari_n2n.pair.empty_areas import filled
from napari_n2n.pair.pair import Pair
from napari_n2n.stats.affine import Affine
from napari_n2n.stats.statistics import over_blocks
from napari_n2n.training.block_grid import BLOCK, BlockGrid
from napari_n2n.training.held_out import Mask
from napari_n2n.training.normalisation import Normalisation

_log = logging.getLogger("napari_n2n")

_FIRST_BLOCKS = 4  # read before the first step; more: a later start, fewer: less varied first steps
_AHEAD = 2  # blocks read before they are used; more: more memory, fewer: the network waits for them
_CACHE_SHARE = 0.7  # of the memory limit; the rest is for reading, converting and copying
_LEAST_DATA = 1e-3  # smallest share of data: an empty block can be drawn if it is the only one
_PLACES = 4096  # of patches in a block inside a mask; fewer: some parts of the mask are never drawn
_CELL = 8  # side in pixels of the averages that show contrast beyond the noise


@dataclass(frozen=True, slots=True)
class CachedBlock:
    """A block in the cache.

    Attributes
    ----------
    pair
        Index of its pair.
    shape
        Shape in pixels, (frames, [Z,] Y, X); all other leading axes are merged into the frames.
    pixels
        For each acquisition, index of its first pixel in the cache.
    counted
        Index in the cache of the first pixel of its mask; the mask is False where held out or left
        out. Its shape is (Y, X), or that of the block if `BlockCache.leaves_out`.
    inside
        Places of patches, shape (places, axes of `shape`): pixels inside the mask of the pair; None
        if it has none.
    """

    pair: int
    shape: tuple[int, ...]
    pixels: tuple[int, ...]
    counted: int
    inside: np.ndarray | None


@dataclass(frozen=True, slots=True)
class _ReadBlock:
    """A block that was read and is not in the cache yet.

    Attributes
    ----------
    pair, shape
        As in `CachedBlock`.
    pixels
        Pixels of each acquisition, flat, in storage type.
    counted
        Mask, flat, False where held out or left out; see `CachedBlock`.
    weight
        Relative frequency of draws from the block.
    inside
        As in `CachedBlock`.
    """

    pair: int
    shape: tuple[int, ...]
    pixels: list[Tensor]
    counted: Tensor
    weight: float
    inside: np.ndarray | None


class BlockCache:
    """Slots for blocks, filled in the background; `close` ends the reading.

    Parameters
    ----------
    pairs, masks
        The acquisitions, and the held-out blocks of each pair.
    normalisations
        One for each channel.
    side
        Sides of a patch in pixels.
    drawn
        Number of pixels that a step draws from each acquisition; this determines how fast blocks
        are replaced.
    seed
        Seed of the order of the blocks.
    device
        Device of the cache.
    memory
        Memory limit for cache and reading together, in bytes.

    Attributes
    ----------
    slots
        Number of blocks that fit.
    nbytes
        Bytes of the pixels in all slots.
    drawn
        Indices of the pairs of the latest choice.
    leaves_out
        Whether a pair has planes or areas that are no data: masks then cover all frames.

    Raises
    ------
    BadInput
        If fewer than two blocks fit.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        masks: Sequence[Mask],
        normalisations: Sequence[Normalisation],
        *,
        side: tuple[int, ...],
        drawn: int,
        seed: int,
        device: torch.device,
        memory: int,
    ) -> None:
        self.pairs, self.normalisations, self._masks = pairs, normalisations, masks
        self.side, self.seed, self.device = side, seed, device
        self._grids = [BlockGrid(pair, side) for pair in pairs]
        self._starts = np.cumsum([0, *(grid.count for grid in self._grids)])
        self.block_count = int(self._starts[-1])
        self._storage, kind = _storage({one.dtype for p in pairs for one in p.acquisitions})
        self._volume = max(math.prod(grid.largest) for grid in self._grids)
        self._plane = max(math.prod(grid.largest[-2:]) for grid in self._grids)
        self._images = max(len(pair.acquisitions) for pair in pairs)
        self.leaves_out = any(pair.leaves_out for pair in pairs)
        self._mask = self._volume if self.leaves_out else self._plane
        self.slots = self._fitting(memory)
        self._pixels, self._counted = self._allocated(kind)
        self.nbytes = self._pixels.nbytes
        self._cached: list[CachedBlock | None] = [None] * self.slots
        self._weights = np.zeros(self.slots)
        self._window, self._share = range(0), np.zeros(0)
        self._read_until = self._loaded = 0
        self._rate = drawn / self._volume
        self._at_once = self._read_at_once(drawn // math.prod(side))
        self._first = max(_FIRST_BLOCKS, self._at_once)
        self.drawn: set[int] = set()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="napari-n2n-reader")
        self._ahead: dict[int, Future[_ReadBlock]] = {}
        self._order: dict[int, np.ndarray] = {}

    def _fitting(self, memory: int) -> int:
        size = self._images * self._volume * np.dtype(self._storage).itemsize + self._mask
        fitting = int(memory * _CACHE_SHARE / size) - _AHEAD
        if fitting >= self.block_count:
            return self.block_count
        if fitting < 2:
            name = self.pairs[0].first.name
            need = math.ceil((2 + _AHEAD) * size / _CACHE_SHARE / 1e6)
            raise BadInput(
                f"{name}: its chunks of {self._volume} pixels do not fit into the memory limit: "
                f"set --memory {need}MB, or store the stack in smaller chunks",
                "memory",
            )
        return fitting

    def _read_at_once(self, patches: int) -> int:
        """Return how many blocks are read at each step until the cache is full.

        Small fields of view are read together until they have as many pixels as a block of usual
        size, at most one for every two patches of a step, and within the memory for reading.
        """
        if len(self.pairs) == len({pair.channel for pair in self.pairs}):  # one field of view
            return 1
        alike = math.prod(BLOCK[len(self.side)]) // self._volume
        return max(1, min(alike, patches // 2, self.slots // 8))

    def _allocated(self, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the cache's tensors, with fewer slots if the device has too little memory."""
        while True:
            try:
                return (
                    torch.empty(
                        self.slots, self._images, self._volume, dtype=kind, device=self.device
                    ),
                    torch.empty(self.slots, self._mask, dtype=torch.bool, device=self.device),
                )
            except torch.OutOfMemoryError as error:
                if self.slots < 4:  # two slots are needed
                    raise BadInput(
                        f"{self.device}: not enough memory for the acquisitions: close other "
                        "programs that use it, or train on the CPU",
                        "memory",
                    ) from error
            self.slots //= 2
            _log.info("out of memory on %s: %d blocks in the cache", self.device, self.slots)

    def close(self) -> None:
        """Stop reading blocks in the background."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def choose(self, step: int, numbers: np.ndarray) -> list[CachedBlock]:
        """Load the blocks of a step and return one for each random number.

        Parameters
        ----------
        step
            Number of the step, which determines the blocks in the cache.
        numbers
            Uniform random numbers, 0 to 1. Large blocks and blocks with more structure are chosen
            more often; if several blocks were read for this step, each of these is chosen once.
        """
        window = self._load(step)
        if window != self._window:
            weights = np.roll(self._weights, -window.start)[: len(window)]
            self._window, self._share = window, np.cumsum(weights)
        positions = np.searchsorted(self._share, numbers * self._share[-1], side="right")
        positions += window.start
        if self._at_once > 1:
            before = self._loaded_at(step - 1) if step > 0 else 0
            new = range(max(window.start, before), window.stop)[: len(positions)]
            positions[: len(new)] = new
        chosen = [self._cached[slot] for slot in positions % self.slots]
        self.drawn = {block.pair for block in chosen}
        return chosen

    def pixels(self, indices: Tensor) -> Tensor:
        """Return the pixels at flat indices of the cache, float32, in the shape of `indices`."""
        stored = self._pixels.view(-1)[indices]
        if self._storage == np.uint16:
            return (stored.to(torch.int32) & 0xFFFF).float()
        return stored.float()

    def counted(self, indices: Tensor) -> Tensor:
        """Return a mask, False where held out, in the shape of `indices`."""
        return self._counted.view(-1)[indices]

    def _loaded_at(self, step: int) -> int:
        """Return the number of blocks read up to a step, in the order of `_block_at`.

        Patches are drawn from the latest of these blocks, as many as there are slots.
        """
        filled = min(self.slots, self._first + step * self._at_once)
        if self.slots == self.block_count or filled < self.slots:
            return filled
        filling = -((self._first - self.slots) // self._at_once)  # steps until the cache is full
        return self.slots + int((step - filling) * self._rate)

    def _block_at(self, position: int) -> int:
        """Return the block read at a position; each epoch reads all once, in random order."""
        epoch, place = divmod(position, self.block_count)
        if epoch not in self._order:
            self._order = {k: v for k, v in self._order.items() if k == epoch - 1}
            rng = np.random.default_rng((self.seed, 0xB10C, epoch))
            self._order[epoch] = rng.permutation(self.block_count)
        return int(self._order[epoch][place])

    def _load(self, step: int) -> range:
        """Load the blocks of a step into their slots and return their positions."""
        end = self._loaded_at(step)
        window = range(max(0, end - self.slots), end)
        if self._loaded < window.start or self._loaded > end:  # a resumed run
            self._ahead.clear()
            self._loaded = self._read_until = window.start
        ahead = _AHEAD * self._at_once
        last = self.block_count if self.slots == self.block_count else end + ahead
        while self._loaded < end:
            while self._read_until < min(last, self._loaded + ahead):
                block = self._block_at(self._read_until)
                self._ahead[self._read_until] = self._reader.submit(self._read, block)
                self._read_until += 1
            self._store(self._loaded % self.slots, self._ahead.pop(self._loaded).result())
            self._loaded += 1
        return window

    def _store(self, slot: int, block: _ReadBlock) -> None:
        for image, pixels in enumerate(block.pixels):
            self._pixels[slot, image, : len(pixels)].copy_(pixels, non_blocking=True)
        self._counted[slot, : len(block.counted)].copy_(block.counted, non_blocking=True)
        starts = (
            (slot * self._images + image) * self._volume for image in range(len(block.pixels))
        )
        self._cached[slot] = CachedBlock(
            block.pair, block.shape, tuple(starts), slot * self._mask, block.inside
        )
        self._weights[slot] = block.weight

    def _read(self, index: int) -> _ReadBlock:
        """Read a block; runs in the reader's thread."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        pair = self.pairs[number]
        region = self._grids[number].region(index - int(self._starts[number]))
        pixels = [read_finite(acquisition, region) for acquisition in pair.acquisitions]
        shape = (-1, *(part.stop - part.start for part in region[-len(self.side) :]))
        scale = self.normalisations[pair.channel].scale
        flat = [
            torch.from_numpy(np.require(self._stored(values), None, ["W"])) for values in pixels
        ]
        seen, data, counts = pixels[0], 1.0, ~self._masks[number].mask(*region[-2:])
        counts &= ~pair.bad_pixels(*region[-2:])
        if self.leaves_out:
            lost = pair.left_out(region, pixels)
            seen, counts = filled(seen, lost), counts & ~lost
            data = max(1 - float(lost.mean()), _LEAST_DATA)
        whole, inside = pixels[0].reshape(shape).shape, None
        if pair.mask is not None:
            inside = _places(counts.reshape(whole), self.seed + index)
        counted = torch.from_numpy(counts.ravel())
        if self.device.type == "cuda":
            flat, counted = [values.pin_memory() for values in flat], counted.pin_memory()
        return _ReadBlock(
            number, whole, flat, counted, data * seen.size * _interest(seen, scale), inside
        )

    def _stored(self, values: np.ndarray) -> np.ndarray:
        if values.dtype == np.uint16 == self._storage:
            return values.view(np.int16).ravel()  # torch has few operations for uint16
        return values.astype(self._storage, copy=False).ravel()


def _places(counted: np.ndarray, seed: int) -> np.ndarray | None:
    """Return some of the pixels that count, as places of patches; None if there are none."""
    found = np.flatnonzero(counted)
    if len(found) > _PLACES:
        found = np.random.default_rng(seed).choice(found, _PLACES, replace=False)
    return np.stack(np.unravel_index(found, counted.shape), axis=1) if len(found) else None


def _interest(values: np.ndarray, scale: Affine) -> float:
    """Return the frequency of draws per pixel of a block: 0.5 if empty, up to 1.5 if structured.

    The contrast of the block is the standard deviation of the means of 8x8 pixels, in normalised
    units. A contrast of 0.5 gives a frequency of 1.
    """
    # Every n-th plane, so that at most a few million pixels are averaged.
    planes = values.reshape(-1, *values.shape[-2:])[:: max(1, values.size // 2**21)]
    means = over_blocks(planes, _CELL, partial(np.mean, dtype=np.float32))
    contrast = float(means.std()) * scale.gain
    return 0.5 + contrast / (contrast + 0.5)


def _storage(dtypes: set[np.dtype]) -> tuple[np.dtype, torch.dtype]:
    """Return the smallest types of numpy and torch that hold all pixels exactly."""
    kinds = {
        np.dtype(np.uint8): torch.uint8,
        np.dtype(np.int8): torch.int8,
        np.dtype(np.int16): torch.int16,
        np.dtype(np.uint16): torch.int16,
    }
    only = next(iter(dtypes)) if len(dtypes) == 1 else np.dtype(np.float32)
    return (only, kinds[only]) if only in kinds else (np.dtype(np.float32), torch.float32)
