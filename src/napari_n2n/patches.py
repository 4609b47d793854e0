"""Endless aligned batches out of pairs of any size: input, target, and which pixels count.

Pixels are read in whole blocks of chunks, a background thread ahead of their use, into a pool of
slots that stays within a limit of memory. Every place is drawn for an ordered pair of acquisitions
and for its reverse, so that each noisy recording serves as input and as target. Inputs keep their
own gain; targets are mapped to the gain of their input, so that a network gives every recording
back on its own scale.

What is drawn, and from which blocks, is a function of seed and step alone, never of timing: a run
can be repeated, and resumed, to the bit.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from napari_n2n.acquisition import Region, spread
from napari_n2n.affine import Affine
from napari_n2n.errors import BadInput
from napari_n2n.finite import read_finite
from napari_n2n.normalisation import Normalisation
from napari_n2n.pair import HeldOut, Pair

BLOCK = {2: (1024, 1024), 3: (64, 256, 256)}
_PLACE = {2: (256, 256), 3: (24, 128, 128)}
_PLACES = 8
_RIM = 2
_FIRST_BLOCKS = 4
_AHEAD = 2
_POOL_SHARE = 0.7
_ORIENTATIONS = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Aligned tensors of shape (N, 1, [Z,] Y, X), in normalised units.

    Attributes
    ----------
    input, target
        Two noisy views of the same places.
    weight
        1 where a target pixel counts, 0 where it is held out or saturated.
    """

    input: Tensor
    target: Tensor
    weight: Tensor


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


@dataclass(frozen=True, slots=True)
class _Block:
    """A block's pixels on the way into the pool.

    Attributes
    ----------
    pair
        Number of the pair it is of.
    shape
        In pixels, (leading axes as one, [Z,] Y, X).
    pixels
        Of each acquisition, flat, in storage type.
    counts
        Flat (Y, X), False where held out.
    weight
        How often to draw from it, against others.
    """

    pair: int
    shape: tuple[int, ...]
    pixels: list[Tensor]
    counts: Tensor
    weight: float


class Patches:
    """A pool of blocks on the device, and batches drawn from it.

    Parameters
    ----------
    pairs
        What to learn from: fields of view, and channels.
    normalisations
        Of each channel.
    side
        Of a patch in pixels along each axis that the network sees; smaller where the stacks are.
    stride
        Patch sides are multiples of this.
    places
        Number of places that a batch is expected to have; decides how fast blocks are replaced.
    seed
        Decides the held-out blocks and every draw.
    device
        Where the batches are wanted, and the pool lies.
    memory
        Limit for pool and reading together, in bytes.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        normalisations: Sequence[Normalisation],
        *,
        side: tuple[int, ...],
        stride: tuple[int, ...],
        places: int,
        seed: int,
        device: torch.device,
        memory: int,
    ) -> None:
        self.pairs, self.normalisations = pairs, normalisations
        self.seed, self.device, self.stride = seed, device, stride
        self.dims = len(side)
        shapes = [pair.first.shape[-self.dims :] for pair in pairs]
        smallest = [min(lengths) for lengths in zip(*shapes, strict=True)]
        self.side = tuple(
            _whole(min(wanted, length), step)
            for wanted, length, step in zip(side, smallest, stride, strict=True)
        )
        self._masks = [HeldOut(pair.first.plane_shape, seed) for pair in pairs]
        self._blocks = [Blocks(pair, self.dims, self.side) for pair in pairs]
        self._starts = np.cumsum([0, *(blocks.count for blocks in self._blocks)])
        self.block_count = int(self._starts[-1])
        self._storage, self._type = _storage({one.dtype for p in pairs for one in p.acquisitions})
        self._volume = max(math.prod(blocks.largest) for blocks in self._blocks)
        self._plane = max(math.prod(blocks.largest[-2:]) for blocks in self._blocks)
        self._views = max(len(pair.acquisitions) for pair in pairs)
        slots = self._slots(memory)
        self._pool = torch.empty(slots, self._views, self._volume, dtype=self._type, device=device)
        self._counts = torch.empty(slots, self._plane, dtype=torch.bool, device=device)
        self._resident: list[_Block | None] = [None] * slots
        self._read_until = self._loaded = 0
        self._rate = places * math.prod(self.side) / self._volume
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="napari-n2n-reader")
        self._ahead: dict[int, Future[_Block]] = {}
        self._order: dict[int, np.ndarray] = {}
        self._grids = [grid.to(device) for grid in _grids(self.side)]

    def _slots(self, memory: int) -> int:
        size = self._views * self._volume * np.dtype(self._storage).itemsize + self._plane
        fitting = int(memory * _POOL_SHARE / size) - _AHEAD
        if fitting >= self.block_count:
            return self.block_count
        if fitting < 2:
            name = self.pairs[0].first.name
            need = math.ceil((2 + _AHEAD) * size / _POOL_SHARE / 1e6)
            raise BadInput(
                f"{name}: its chunks hold {self._volume} pixels, more than fit into the memory "
                f"allowed: allow {need} MB (--memory {need}MB), or store it in smaller chunks"
            )
        return fitting

    @property
    def pixels(self) -> int:
        """Number of pixels in all acquisitions together."""
        return sum(len(pair.acquisitions) * math.prod(pair.first.shape) for pair in self.pairs)

    def close(self) -> None:
        """End the reading."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    # -- which blocks are there at a step ----------------------------------------------------------

    def loaded_at(self, step: int) -> int:
        """Return how many blocks have been read up to a step, in the order of `sequence`.

        The latest of them, as many as there are slots, are those that are drawn from.
        """
        slots = len(self._resident)
        filled = min(slots, _FIRST_BLOCKS + step)
        if slots == self.block_count or filled < slots:
            return filled
        return slots + int((step - (slots - _FIRST_BLOCKS)) * self._rate)

    def sequence(self, position: int) -> int:
        """Return which block is read at a position: all of them, shuffled; then all anew."""
        epoch, place = divmod(position, self.block_count)
        if epoch not in self._order:
            self._order = {k: v for k, v in self._order.items() if k == epoch - 1}
            rng = np.random.default_rng((self.seed, 0xB10C, epoch))
            self._order[epoch] = rng.permutation(self.block_count)
        return int(self._order[epoch][place])

    def _load(self, step: int) -> range:
        """Have the blocks of a step in their slots; returns their positions."""
        slots, end = len(self._resident), self.loaded_at(step)
        window = range(max(0, end - slots), end)
        if self._loaded < window.start or self._loaded > end:  # elsewhere: a resumed run
            self._ahead.clear()
            self._loaded = self._read_until = window.start
        last = self.block_count if slots == self.block_count else end + _AHEAD
        while self._loaded < end:
            while self._read_until < min(last, self._loaded + _AHEAD):
                block = self.sequence(self._read_until)
                self._ahead[self._read_until] = self._reader.submit(self._read, block)
                self._read_until += 1
            self._place(self._loaded % slots, self._ahead.pop(self._loaded).result())
            self._loaded += 1
        return window

    def _place(self, slot: int, block: _Block) -> None:
        for view, pixels in enumerate(block.pixels):
            self._pool[slot, view, : len(pixels)].copy_(pixels, non_blocking=True)
        self._counts[slot, : len(block.counts)].copy_(block.counts, non_blocking=True)
        self._resident[slot] = replace(block, pixels=[], counts=block.counts[:0])  # now in the pool

    def _read(self, index: int) -> _Block:
        """Read a block; in the reader's thread."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        pair = self.pairs[number]
        region = self._blocks[number].region(index - int(self._starts[number]))
        pixels = [read_finite(acquisition, region) for acquisition in pair.acquisitions]
        shape = (-1, *(part.stop - part.start for part in region[-self.dims :]))
        scale = self.normalisations[pair.channel].scale
        flat = [torch.from_numpy(self._stored(values)) for values in pixels]
        counts = torch.from_numpy(~self._masks[number].mask(*region[-2:]).ravel())
        if self.device.type == "cuda":
            flat, counts = [values.pin_memory() for values in flat], counts.pin_memory()
        return _Block(
            number,
            pixels[0].reshape(shape).shape,
            flat,
            counts,
            pixels[0].size * _interest(pixels[0], scale),
        )

    def _stored(self, values: np.ndarray) -> np.ndarray:
        if values.dtype == np.uint16 == self._storage:
            return values.view(np.int16).ravel()  # torch computes little with uint16
        return values.astype(self._storage, copy=False).ravel()

    def _float(self, stored: Tensor) -> Tensor:
        if self._storage == np.uint16:
            return (stored.to(torch.int32) & 0xFFFF).float()
        return stored.float()

    # -- batches -----------------------------------------------------------------------------------

    def draw(self, step: int, count: int) -> Batch:
        """Draw the batch of a step: `count` places, each in both directions.

        Returns
        -------
        Batch
            Of 2 * `count` patches, flipped and rotated at random, input and target alike.
        """
        window = self._load(step)
        slots = np.array([position % len(self._resident) for position in window])
        blocks: list[_Block] = [self._resident[slot] for slot in slots]
        rng = np.random.default_rng((self.seed, step))
        share = np.cumsum([block.weight for block in blocks])
        chosen = np.searchsorted(share, rng.random(count) * share[-1], side="right")
        whole: list[tuple[int, ...]] = []
        real: list[tuple[float, ...]] = []
        for number in chosen:
            block, slot = blocks[number], int(slots[number])
            pair = self.pairs[block.pair]
            frames, *lengths = block.shape
            frame = int(rng.integers(frames))
            corner = [
                _start(rng, length, side) for length, side in zip(lengths, self.side, strict=True)
            ]
            steps = [math.prod(lengths[k + 1 :]) for k in range(self.dims)]
            offset = frame * math.prod(lengths) + int(np.dot(corner, steps))
            masked = slot * self._plane + corner[-2] * lengths[-1] + corner[-1]
            turn = int(rng.integers(_ORIENTATIONS * (2 if self.dims == 3 else 1)))
            one, other = (int(k) for k in rng.permutation(len(pair.acquisitions))[:2])
            for source, target in ((one, other), (other, one)):
                first, second = (
                    (slot * self._views + view) * self._volume + offset for view in (source, target)
                )
                whole.append((first, second, masked, turn, *steps))
                real.append(self._maps(pair, source, target))
        return self._gathered(whole, real)

    def _maps(self, pair: Pair, source: int, target: int) -> tuple[float, ...]:
        """Numbers that turn stored pixels into normalised ones, and the target's saturation."""
        scale = self.normalisations[pair.channel].scale
        to_target = scale.after(pair.match(target, source))
        saturation = pair.acquisitions[target].saturation
        limit = math.inf if saturation is None else saturation - 0.5
        return scale.gain, scale.offset, to_target.gain, to_target.offset, limit

    def _gathered(self, whole: list[tuple[int, ...]], real: list[tuple[float, ...]]) -> Batch:
        shape = (-1, *(1 for _ in self.side))
        first, second, masked, turn, *steps = (
            torch.tensor(whole, dtype=torch.int64).to(self.device, non_blocking=True).unbind(1)
        )
        gain, black, gain_to, black_to, limit = (
            column.view(shape)
            for column in torch.tensor(real).to(self.device, non_blocking=True).unbind(1)
        )
        grids = [grid[turn] for grid in self._grids]
        inside = sum(grid * step.view(shape) for grid, step in zip(grids, steps, strict=True))
        in_plane = sum(
            grid * step.view(shape) for grid, step in zip(grids[-2:], steps[-2:], strict=True)
        )
        pool, counts = self._pool.view(-1), self._counts.view(-1)
        source = self._float(pool[first.view(shape) + inside])
        target = self._float(pool[second.view(shape) + inside])
        weight = counts[masked.view(shape) + in_plane] & (target < limit)
        parts = (source * gain + black, target * gain_to + black_to, weight.float())
        return Batch(*(part[:, None] for part in parts))

    def held_out_batches(self) -> list[tuple[int, Batch]]:
        """Return channel and batch of one large place each, where only held-out pixels count.

        Every acquisition is the input once and the target once at each place; places are spread
        evenly over the pairs and their frames.
        """
        grids = [
            [
                range(length) if axis < len(pair.first.shape) - self.dims else starts
                for axis, length in enumerate(pair.first.shape)
                for starts in (_place_starts(length, self._place_side(axis, pair)),)
            ]
            for pair in self.pairs
        ]
        counts = [math.prod(len(axis) for axis in grid) for grid in grids]
        ends = np.cumsum(counts)
        batches = []
        for index in spread(int(ends[-1]), max(_PLACES, len(self.pairs))):
            number = int(np.searchsorted(ends, index, side="right"))
            grid, before = grids[number], int(ends[number]) - counts[number]
            where = np.unravel_index(index - before, [len(axis) for axis in grid])
            corner = [int(axis[i]) for axis, i in zip(grid, where, strict=True)]
            batches.append((self.pairs[number].channel, self._held_out(number, corner)))
        return batches

    def _place_side(self, axis: int, pair: Pair) -> int:
        inside = axis - (len(pair.first.shape) - self.dims)
        return 1 if inside < 0 else _PLACE[self.dims][inside]

    def _held_out(self, number: int, corner: list[int]) -> Batch:
        pair = self.pairs[number]
        leading = len(corner) - self.dims
        steps = (1,) * leading + self.stride
        region = tuple(
            slice(start, start + _whole(min(self._place_side(axis, pair), length - start), step))
            for axis, (start, length, step) in enumerate(
                zip(corner, pair.first.shape, steps, strict=True)
            )
        )
        shape = tuple(part.stop - part.start for part in region[leading:])
        # Neighbours' noise may be correlated: a rim of each block is neither learned nor scored.
        core = ndimage.binary_erosion(self._masks[number].mask(*region[-2:]), iterations=_RIM)
        scale = self.normalisations[pair.channel].scale
        views = [
            read_finite(one, region).reshape(shape).astype(np.float32) for one in pair.acquisitions
        ]
        parts = []
        for source in range(len(views)):
            target = (source + 1) % len(views)
            *_, gain, offset, limit = self._maps(pair, source, target)
            weight = np.broadcast_to(core, shape) & (views[target] < limit)
            parts.append(
                (
                    scale(views[source]),
                    views[target] * np.float32(gain) + np.float32(offset),
                    weight,
                )
            )
        return Batch(
            *(
                torch.from_numpy(np.stack(images)[:, None].astype(np.float32)).to(self.device)
                for images in zip(*parts, strict=True)
            )
        )


def _interest(values: np.ndarray, scale: Affine) -> float:
    """How often to draw from a block, against its size: 0.5 for an empty one, 1.5 for a rich one.

    By the standard deviation of the means of 8x8 pixels, in normalised units, in a few planes.
    """
    planes = values.reshape(-1, *values.shape[-2:])[:: max(1, values.size // 2**21)]
    rows, columns = (length // 8 for length in planes.shape[-2:])
    cells = planes[:, : rows * 8, : columns * 8].reshape(len(planes), rows, 8, columns, 8)
    contrast = float(cells.mean(axis=(2, 4), dtype=np.float32).std()) * scale.gain
    return 0.5 + contrast / (contrast + 0.5)


def _start(rng: np.random.Generator, length: int, side: int) -> int:
    """Draw a patch's first pixel; the ends are drawn more often, as few patches reach them."""
    reach = side // 2
    return int(np.clip(rng.integers(-reach, length - side + reach + 1), 0, length - side))


def _place_starts(length: int, side: int) -> range:
    return range(0, max(1, length - side // 2), side)


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


def _grids(side: tuple[int, ...]) -> list[Tensor]:
    """Where each pixel of a patch comes from along each axis, for every flip and rotation.

    Tensors of shape (orientations, patch's shape), one for each axis.
    """
    grids: list[list[Tensor]] = [[] for _ in side]
    axes = [torch.arange(length) for length in side]
    for flip_z, flip, turns in product(range(2) if len(side) == 3 else (0,), range(2), range(4)):
        if side[-1] != side[-2]:
            turns = turns // 2 * 2
        for axis, grid in enumerate(torch.meshgrid(*axes, indexing="ij")):
            if flip_z:
                grid = grid.flip(0)
            if flip:
                grid = grid.flip(-2)
            grids[axis].append(torch.rot90(grid, turns, (-2, -1)))
    return [torch.stack(grid).contiguous() for grid in grids]


def _whole(length: int, stride: int) -> int:
    return length // stride * stride
