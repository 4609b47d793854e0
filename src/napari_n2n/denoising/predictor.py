"""From a region of a result to its pixels: what must be read, and the network in exact tiles."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from napari_n2n.denoising.plan import Plan, Scene
from napari_n2n.denoising.tiles import Tile, mirrored, rounded_up, tiles
from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition, read_finite
from napari_n2n.io.header import Region
from napari_n2n.io.writers import shard_sides
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import free_memory
from napari_n2n.pair.registration import common_part

_SMALLEST_TILE = 64
_MOST_CUTS = 40
_TILE_SHARE = 0.5


@dataclass(frozen=True, eq=False, slots=True)
class Input:
    """Pixels of one acquisition for one region of the result, with the surroundings it takes.

    Attributes
    ----------
    view
        Number of the acquisition in its scene.
    target
        Part of the region that these pixels are for.
    wanted
        The same part, in the acquisition's own pixels.
    pixels, origin
        What was read, and where along each axis it begins.
    """

    view: int
    target: Region
    wanted: Region
    pixels: np.ndarray
    origin: tuple[int, ...]


class Engine:
    """Computes any region of a result; the same values however the result is cut.

    Parameters
    ----------
    denoiser, work
        The model, and what it is applied to.
    device
        Where to compute.
    memory
        Limit in bytes.

    Attributes
    ----------
    tile
        Sides of what goes through the network at once, without surroundings.
    """

    def __init__(self, denoiser: Denoiser, work: Plan, device: torch.device, memory: int) -> None:
        self.denoiser, self.work, self.memory = denoiser.to(device), work, memory
        free = free_memory(device)
        self._margin = tuple(
            min(2 * step, length // 2)
            for step, length in zip(
                denoiser.stride, work.header.shape[-denoiser.dims :], strict=True
            )
        )
        self.tile = self._fitting(memory * _TILE_SHARE if free is None else 0.6 * free)
        self._held: dict[tuple[int, int], tuple[Region, np.ndarray]] = {}

    def _fitting(self, memory: float) -> tuple[int, ...]:
        """Choose the tiles that fit into memory and compute the fewest pixels twice."""
        shape = self.work.header.shape[-self.denoiser.dims :]
        limits = shard_sides(self.denoiser.dims)
        numbers = (self.denoiser.receptive_field, self.denoiser.stride, self._margin)
        options = [
            _cuts(min(length, limit), length, *along)
            for length, limit, *along in zip(shape, limits, *numbers, strict=True)
        ]
        allowed = memory / self.denoiser.bytes_per_pixel
        choices = list(product(*options))
        fitting = [one for one in choices if math.prod(cut.read for cut in one) <= allowed]
        if not fitting:
            fitting = [min(choices, key=lambda one: math.prod(cut.read for cut in one))]
        best = min(fitting, key=lambda one: (math.prod(cut.computed for cut in one), -one[-1].side))
        return tuple(cut.side for cut in best)

    def read(self, region: Region) -> list[Input]:
        """Read what the network needs for a region of the result: one plane, or one volume."""
        scene, inside = self._scene(region)
        inputs = []
        for view, (one, start) in enumerate(zip(scene.acquisitions, scene.starts, strict=True)):
            moved = [a - b for a, b in zip(start, scene.starts[0], strict=True)]
            wanted, target = list(inside), [slice(0, p.stop - p.start) for p in inside]
            for axis, step in zip((-2, -1), moved, strict=True):
                here, _ = common_part(step, one.shape[axis])
                first = max(inside[axis].start, here.start)
                last = max(first, min(inside[axis].stop, here.stop))
                wanted[axis] = slice(first + step, last + step)
                target[axis] = slice(first - inside[axis].start, last - inside[axis].start)
            if any(part.stop <= part.start for part in wanted):
                continue
            reach = self._surroundings(wanted, one.shape)
            pixels = self._fetched((id(scene), view), one, reach)
            origin = tuple(part.start for part in reach)
            inputs.append(Input(view, tuple(target), tuple(wanted), pixels, origin))
        return inputs

    def compute(self, region: Region, inputs: list[Input]) -> np.ndarray:
        """Denoise a region of the result, shape and type as it is to be stored."""
        scene, inside = self._scene(region)
        shape = tuple(part.stop - part.start for part in inside)
        total, shares = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for one in inputs:
            acquisition = scene.acquisitions[one.view]
            clean = self._denoised(one, acquisition.shape, self._channel(region))
            # Beyond saturation nothing was measured, nor learned.
            np.minimum(clean, np.float32(acquisition.saturation), out=clean)
            weight = np.float32(scene.weights[one.view])
            total[one.target] += weight * scene.maps[one.view](clean)
            shares[one.target] += weight
        full = tuple(part.stop - part.start for part in region)
        return _as_type(total / shares, self.work.header.dtype).reshape(full)

    def _channel(self, region: Region) -> int:
        axes = self.work.header.axes
        return region[axes.index("C")].start if "C" in axes else 0

    def _scene(self, region: Region) -> tuple[Scene, Region]:
        """Return the channel that a region lies in, and the region without that axis."""
        axes = self.work.header.axes
        kept = tuple(part for axis, part in zip(axes, region, strict=True) if axis != "C")
        return self.work.scenes[self._channel(region)], kept

    def _surroundings(self, wanted: list[slice], shape: tuple[int, ...]) -> Region:
        dims = self.denoiser.dims
        reach = [slice(part.start, part.stop) for part in wanted]
        numbers = (self.denoiser.receptive_field, self.denoiser.stride)
        for axis, (halo, step) in enumerate(zip(*numbers, strict=True), start=-dims):
            more = halo + 4 * step  # to the grid, and for the mirror image at the edges
            first, last = reach[axis].start - more, reach[axis].stop + more
            reach[axis] = slice(max(0, first), min(shape[axis], last))
        return tuple(reach)

    def _fetched(self, key: tuple[int, int], one: Acquisition, region: Region) -> np.ndarray:
        """Read a region; where chunks are longer, read them whole and keep them for the next."""
        if key in self._held:
            place, pixels = self._held[key]
            ends = zip(place, region, strict=True)
            if all(a.start <= b.start and b.stop <= a.stop for a, b in ends):
                return pixels[_relative(region, [part.start for part in place])]
        whole = tuple(
            _to_chunks(part, length, *chunk)
            for part, length, chunk in zip(region, one.shape, one.chunks, strict=True)
        )
        longer = any(
            chunk > part.stop - part.start
            for part, (chunk, _) in zip(region, one.chunks, strict=True)
        )
        size = np.prod([part.stop - part.start for part in whole]) * one.dtype.itemsize
        if not longer or size > self.memory / 8:
            return read_finite(one, region)
        pixels = read_finite(one, whole)
        self._held[key] = whole, pixels
        return pixels[_relative(region, [part.start for part in whole])]

    def _denoised(self, one: Input, shape: tuple[int, ...], channel: int) -> np.ndarray:
        """Run the network over an input in tiles, halving them while memory is too small."""
        dims = self.denoiser.dims
        spatial = one.wanted[-dims:]
        result = np.empty([part.stop - part.start for part in one.wanted], np.float32)
        frames = [range(part.stop - part.start) for part in one.wanted[:-dims]]
        try:
            for frame in np.ndindex(*(len(numbers) for numbers in frames)):
                pixels, clean = one.pixels[frame], result[frame]

                def part_of(inside: Region, pixels: np.ndarray = pixels) -> np.ndarray:
                    return pixels[_relative(inside, one.origin[-dims:])]

                for tile in self._tiles(spatial, shape[-dims:]):
                    image = mirrored(part_of, shape[-dims:], tile.read)
                    (made,) = self.denoiser.predict(image[None], channel, self.work.turns)
                    clean[_relative(tile.write, [p.start for p in spatial])] = made[tile.keep]
        except torch.OutOfMemoryError as error:
            if max(self.tile) // 2 < _SMALLEST_TILE:
                raise BadInput(
                    "out of memory on the device even for small tiles: close other programs that "
                    "use it, or denoise on the CPU",
                    "memory",
                ) from error
            self.tile = tuple(max(side // 2, 16) for side in self.tile)
            return self._denoised(one, shape, channel)
        return result

    def _tiles(self, spatial: Region, shape: tuple[int, ...]) -> Iterator[Tile]:
        halo, stride = self.denoiser.receptive_field, self.denoiser.stride
        return tiles(spatial, shape, self.tile, halo, stride, self._margin)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A way to cut a shard along one axis.

    Attributes
    ----------
    side
        Of a tile, without surroundings.
    read
        Most pixels that a tile computes.
    computed
        Pixels that all tiles together compute.
    """

    side: int
    read: int
    computed: int


def _cuts(shard: int, length: int, halo: int, stride: int, margin: int) -> list[_Cut]:
    """List ways to cut an axis of a shard into equal tiles."""
    halo, around = rounded_up(halo, stride), rounded_up(margin, stride)
    found: list[_Cut] = []
    for count in range(1, _MOST_CUTS + 1):
        side = rounded_up(-(-shard // count), stride)
        read = min(side + 2 * halo, length + 2 * around + stride)
        if not found or side < found[-1].side:
            found.append(_Cut(side, read, -(-shard // side) * read))
    return found


def _relative(region: Region, origin: Sequence[int]) -> Region:
    return tuple(
        slice(part.start - start, part.stop - start)
        for part, start in zip(region, origin, strict=True)
    )


def _to_chunks(part: slice, length: int, size: int, phase: int) -> slice:
    """Widen a part of an axis to whole chunks of a size, one of which begins at a phase."""
    first = phase + (part.start - phase) // size * size
    last = phase + rounded_up(part.stop - phase, size)
    return slice(max(0, first), min(length, last))


def _as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.rint(values).clip(limits.min, limits.max)
    return values.astype(dtype, copy=False)
