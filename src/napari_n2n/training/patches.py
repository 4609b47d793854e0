"""Batches of aligned patches, drawn at random from the block cache.

Every patch is used in both directions, so that each of two acquisitions is once the input and once
the target. Inputs keep their own gain; targets are mapped to the gain of their input, so that a
network returns every acquisition on its own intensity scale.

A batch depends on seed and step only, never on timing, so runs can be repeated and resumed exactly.
"""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from napari_n2n.pair.pair import Pair
from napari_n2n.training.block_cache import BlockCache
from napari_n2n.training.normalisation import Batch, maps
from napari_n2n.training.pixel_swap import PixelSwap
from napari_n2n.training.settings import TrainingSettings

_ORIENTATIONS = 8  # rotations by 90 degrees and flips of a plane
# Depth in pixels of a patch of a volume. Larger: more context along Z, slower steps.
VOLUME_DEPTH = 16
# Factor by which the batch size is divided for volumes, whose patches have 16 times as many pixels.
# Smaller: slower steps; larger: noisier gradients.
_PATCHES_PER_VOLUME = 8


def patch_side(
    pairs: Sequence[Pair], settings: TrainingSettings, stride: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the sides of a patch in pixels: multiples of the stride that fit into all stacks."""
    dims = len(stride)
    wanted = (VOLUME_DEPTH, settings.patch, settings.patch)[-dims:]
    shapes = [pair.first.shape[-dims:] for pair in pairs]
    smallest = [min(lengths) for lengths in zip(*shapes, strict=True)]
    return tuple(
        min(side, length) // step * step
        for side, length, step in zip(wanted, smallest, stride, strict=True)
    )


def batch_size(settings: TrainingSettings, dims: int) -> int:
    """Return the number of patches per step; fewer for volumes, whose patches are larger."""
    return max(1, settings.batch // _PATCHES_PER_VOLUME) if dims == 3 else settings.batch


class Patches:
    """Batches drawn from a block cache.

    Parameters
    ----------
    cache
        Blocks of the acquisitions; its `side` and `seed` are those of the patches.
    pixel_swap
        Which pixels the acquisitions swap; None: no pixels.
    """

    def __init__(self, cache: BlockCache, pixel_swap: PixelSwap | None = None) -> None:
        self._cache, self._swap = cache, pixel_swap
        self._hits = any(pair.hits is not None for pair in cache.pairs)
        self._grids = [grid.to(cache.device) for grid in _grids(cache.side)]

    def draw(self, step: int, count: int) -> Batch:
        """Draw and return the batch of a step: `count` patches, each in both directions.

        Returns
        -------
        Batch
            2 * `count` patches, flipped and rotated at random; input and target in the same way. A
            single recording gives `count` patches with equal input and target: see `Resampling`.
        """
        cache = self._cache
        rng = np.random.default_rng((cache.seed, step))
        whole: list[tuple[int, ...]] = []
        real: list[tuple[float, ...]] = []
        for block in cache.choose(step, rng.random(count)):
            pair = cache.pairs[block.pair]
            frames, *lengths = block.shape
            if block.inside is None:
                frame = int(rng.integers(frames))
                corner = [_start(rng, *ends) for ends in zip(lengths, cache.side, strict=True)]
            else:
                frame, *place = (int(at) for at in rng.choice(block.inside))
                ends = zip(place, lengths, cache.side, strict=True)
                corner = [_start_around(rng, *numbers) for numbers in ends]
            steps = [math.prod(lengths[k + 1 :]) for k in range(len(lengths))]
            offset = frame * math.prod(lengths) + int(np.dot(corner, steps))
            in_plane = corner[-2] * lengths[-1] + corner[-1]
            counted = block.counted + (offset if cache.leaves_out else in_plane)
            turn = int(rng.integers(_ORIENTATIONS * (2 if len(lengths) == 3 else 1)))
            chosen = [int(k) for k in rng.permutation(len(pair.acquisitions))[:2]]
            # Two acquisitions are used in both directions; a single one is both input and target.
            directions = [(one, other) for one, other in zip(chosen, chosen[::-1], strict=True)]
            each = [maps(pair, cache.normalisations, *way) for way in directions]
            real += [(*own, back.limit) for own, back in zip(each, each[::-1], strict=True)]
            for way in directions:
                first, second = (block.pixels[image] + offset for image in way)
                whole.append((first, second, counted, turn, *steps))
        return self._gather(whole, real, int(rng.integers(2**63)))

    def _gather(
        self, whole: list[tuple[int, ...]], real: list[tuple[float, ...]], seed: int
    ) -> Batch:
        """Gather the pixels of all patches at once.

        Parameters
        ----------
        whole
            For each patch, the indices in the cache of its first pixel in input, target and mask;
            its orientation; and the index steps along each axis.
        real
            For each patch, the values of its `Maps`, and the saturation limit of its input.
        seed
            Seed of the pixel swap.
        """
        cache = self._cache
        shape = (-1, *(1 for _ in cache.side))
        first, second, counted, turn, *steps = (
            torch.tensor(whole, dtype=torch.int64).to(cache.device, non_blocking=True).unbind(1)
        )
        numbers = torch.tensor(real, dtype=torch.float32)
        gain, offset, target_gain, target_offset, limit, *rest, input_limit = (
            column.view(shape) for column in numbers.to(cache.device, non_blocking=True).unbind(1)
        )
        grids = [grid[turn] for grid in self._grids]
        inside = sum(grid * step.view(shape) for grid, step in zip(grids, steps, strict=True))
        in_mask = inside
        if not cache.leaves_out:
            in_mask = sum(
                grid * step.view(shape) for grid, step in zip(grids[-2:], steps[-2:], strict=True)
            )
        source = cache.pixels(first.view(shape) + inside)
        target = cache.pixels(second.view(shape) + inside)
        first_gain, first_offset, *of_hits = rest
        saturated = target >= limit
        counted = cache.counted(counted.view(shape) + in_mask)
        images = source * gain + offset, target * target_gain + target_offset
        hit = self._hits and _is_hit(images[1], images[0], *of_hits)
        if self._swap is not None:
            swapped = self._swap.draw(grids[-2:], (cache.side[-2], cache.side[-1]), seed)
            saturated = torch.where(swapped, source >= input_limit, saturated)
            if self._hits:
                hit = torch.where(swapped, _is_hit(*images, *of_hits), hit)
            a, b = images
            images = torch.where(swapped, b, a), torch.where(swapped, a, b)
        if self._hits:
            counted = counted & ~hit
        parts = (*images, counted.float(), saturated, first_gain, first_offset)
        return Batch(*(part[:, None] for part in parts))


def _is_hit(
    values: Tensor, others: Tensor, gain: Tensor, offset: Tensor, smallest: Tensor
) -> Tensor:
    """Return where values are hit, like `Hits.where`; all on one intensity scale."""
    above = (values - others).clamp(min=0.0)
    return above**2 > torch.maximum(gain * others + offset, smallest)


def _start(rng: np.random.Generator, length: int, side: int) -> int:
    """Draw and return the start of a patch along an axis.

    The first and last positions are drawn more often, because fewer patches contain the pixels near
    the ends.
    """
    reach = side // 2
    return int(np.clip(rng.integers(-reach, length - side + reach + 1), 0, length - side))


def _start_around(rng: np.random.Generator, place: int, length: int, side: int) -> int:
    """Draw and return the start of a patch along an axis, so that the patch contains a place."""
    return int(np.clip(place - rng.integers(side), 0, length - side))


def _grids(side: tuple[int, ...]) -> list[Tensor]:
    """Return the source position of each pixel of a patch, for every flip and rotation.

    The result is one tensor for each axis, of shape (orientations, *side).
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
