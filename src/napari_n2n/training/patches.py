"""Endless aligned batches out of pairs of any size: input, target, and which pixels count.

Every place is drawn for an ordered pair of acquisitions and for its reverse, so that each noisy
recording serves as input and as target. Inputs keep their own gain; targets are mapped to the gain
of their input, so that a network gives every recording back on its own scale.

What is drawn, and from which blocks, is a function of seed and step alone, never of timing: a run
can be repeated, and resumed, to the bit.
"""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from napari_n2n.pair.pair import Pair
from napari_n2n.training.block_cache import Pool
from napari_n2n.training.held_out import HeldOut, held_out_batches
from napari_n2n.training.normalisation import Batch, Normalisation, maps
from napari_n2n.training.pixel_swap import Exchange

_ORIENTATIONS = 8


class Patches:
    """Batches drawn from a pool of blocks.

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
    exchange
        How the acquisitions of a place may exchange pixels; None if they may not.
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
        exchange: Exchange | None = None,
    ) -> None:
        self.pairs, self.normalisations = pairs, normalisations
        self.seed, self.device, self.stride = seed, device, stride
        self.dims, self._exchange = len(side), exchange
        shapes = [pair.first.shape[-self.dims :] for pair in pairs]
        smallest = [min(lengths) for lengths in zip(*shapes, strict=True)]
        self.side = tuple(
            min(wanted, length) // step * step
            for wanted, length, step in zip(side, smallest, stride, strict=True)
        )
        self._masks = [HeldOut(pair.first.plane_shape, seed) for pair in pairs]
        self.pool = Pool(
            pairs,
            self._masks,
            normalisations,
            side=self.side,
            drawn=places * math.prod(self.side),
            seed=seed,
            device=device,
            memory=memory,
        )
        self._grids = [grid.to(device) for grid in _grids(self.side)]

    @property
    def pixels(self) -> int:
        """Number of pixels in all acquisitions together."""
        return sum(pair.pixels for pair in self.pairs)

    def close(self) -> None:
        """End the reading."""
        self.pool.close()

    def held_out_batches(self) -> list[tuple[int, Batch]]:
        """Return channel and batch of every place that is scored; see there."""
        return held_out_batches(
            self.pairs, self.normalisations, self._masks, stride=self.stride, device=self.device
        )

    def draw(self, step: int, count: int) -> Batch:
        """Draw the batch of a step: `count` places, each in both directions.

        Returns
        -------
        Batch
            Of 2 * `count` patches, flipped and rotated at random, input and target alike.
        """
        rng = np.random.default_rng((self.seed, step))
        whole: list[tuple[int, ...]] = []
        real: list[tuple[float, ...]] = []
        for block in self.pool.chosen(step, rng.random(count)):
            pair = self.pairs[block.pair]
            frames, *lengths = block.shape
            frame = int(rng.integers(frames))
            corner = [
                _start(rng, length, side) for length, side in zip(lengths, self.side, strict=True)
            ]
            steps = [math.prod(lengths[k + 1 :]) for k in range(self.dims)]
            offset = frame * math.prod(lengths) + int(np.dot(corner, steps))
            counted = block.counted + corner[-2] * lengths[-1] + corner[-1]
            turn = int(rng.integers(_ORIENTATIONS * (2 if self.dims == 3 else 1)))
            one, other = (int(k) for k in rng.permutation(len(pair.acquisitions))[:2])
            ways = ((one, other), (other, one))
            there, back = (maps(pair, self.normalisations, *way) for way in ways)
            real += [(*there, back.limit), (*back, there.limit)]
            for way in ways:
                first, second = (block.pixels[view] + offset for view in way)
                whole.append((first, second, counted, turn, *steps))
        return self._gathered(whole, real, int(rng.integers(2**63)))

    def _gathered(
        self, whole: list[tuple[int, ...]], real: list[tuple[float, ...]], seed: int
    ) -> Batch:
        shape = (-1, *(1 for _ in self.side))
        first, second, counted, turn, *steps = (
            torch.tensor(whole, dtype=torch.int64).to(self.device, non_blocking=True).unbind(1)
        )
        gain, black, gain_to, black_to, limit, limit_of_source = (
            column.view(shape)
            for column in torch.tensor(real).to(self.device, non_blocking=True).unbind(1)
        )
        grids = [grid[turn] for grid in self._grids]
        inside = sum(grid * step.view(shape) for grid, step in zip(grids, steps, strict=True))
        in_plane = sum(
            grid * step.view(shape) for grid, step in zip(grids[-2:], steps[-2:], strict=True)
        )
        source = self.pool.pixels(first.view(shape) + inside)
        target = self.pool.pixels(second.view(shape) + inside)
        valid = target < limit
        view, other = source * gain + black, target * gain_to + black_to
        if self._exchange is not None:
            changed = self._exchange.drawn(grids[-2:], self.side[-2:], seed)
            valid = torch.where(changed, source < limit_of_source, valid)
            view, other = (
                torch.where(changed, *images) for images in ((other, view), (view, other))
            )
        weight = self.pool.counted(counted.view(shape) + in_plane) & valid
        return Batch(*(part[:, None] for part in (view, other, weight.float())))


def _start(rng: np.random.Generator, length: int, side: int) -> int:
    """Draw a patch's first pixel; the ends are drawn more often, as few patches reach them."""
    reach = side // 2
    return int(np.clip(rng.integers(-reach, length - side + reach + 1), 0, length - side))


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
