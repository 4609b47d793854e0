"""Compute any region of a result: read the pixels for it, and apply the network in tiles."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_n2n.denoising.expected_error import Contribution, expected_error
from napari_n2n.denoising.plan import Plan, Scene
from napari_n2n.denoising.tile_queue import computed
from napari_n2n.denoising.tiles import Tile, choose_tile, mirrored, rounded_up, tiles
from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition, read_finite
from napari_n2n.io.header import Region
from napari_n2n.io.pixel_values import as_type
from napari_n2n.io.shard_layout import frames, inside
from napari_n2n.io.writers import shard_sides
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import check_memory, free_memory
from napari_n2n.model.error_model import REACH
from napari_n2n.pair.empty_areas import flat
from napari_n2n.pair.registration import common_part

_SMALLEST_TILE = 64  # pixels; smaller tiles consist of little more than their halo
_CPU_SHARE = 0.5  # of the memory limit; the rest holds the shards being read and written
_GPU_SHARE = 0.6  # of the free memory of a device; the rest is a reserve for other programs
_CACHE_SHARE = 1 / 8  # of the memory limit, for chunks that the next region needs too

_log = logging.getLogger("napari_n2n")


class Cancelled(Exception):
    """The `cancelled` callback of a `Predictor` returned True."""


@dataclass(frozen=True, eq=False, slots=True)
class Input:
    """Pixels of one acquisition from which a region of the result is computed.

    Attributes
    ----------
    index
        Index of the acquisition in its scene.
    target
        Part of the region that is computed from these pixels.
    wanted
        The same part, counted in pixels of the acquisition.
    pixels, origin
        The pixels, including the halo, and the position of the first one along each axis.
    """

    index: int
    target: Region
    wanted: Region
    pixels: np.ndarray
    origin: tuple[int, ...]

    @property
    def raw(self) -> np.ndarray:
        """The pixels without the halo."""
        return self.pixels[_relative(self.wanted, self.origin)]


class Predictor:
    """Computes any region of a result; the values do not depend on the division into regions.

    Each predictor has its own copy of the model on the device, so that several can use one model at
    the same time.

    Parameters
    ----------
    denoiser, plan
        The model, and the acquisitions to denoise.
    device
        Device to compute on.
    memory
        Memory limit in bytes.
    tile
        Sides of a tile without its halo in pixels; chosen to fit into memory by default.
    cancelled
        Called before every layer of the network: one tile of a volume may take minutes.

    Attributes
    ----------
    tile
        Sides of a tile, as given or chosen; halved when the device runs out of memory.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        plan: Plan,
        device: torch.device,
        memory: int,
        *,
        tile: tuple[int, ...] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self.plan, self.memory = plan, memory
        self._device, self._cancelled = device, cancelled
        self.use(denoiser)
        self.tile = tile or fitting_tile(denoiser, plan, device, memory)
        _log.info("denoising on %s in tiles of %s pixels", device, self.tile)
        self._cache: dict[tuple[int, int], tuple[Region, np.ndarray]] = {}

    def use(self, denoiser: Denoiser) -> None:
        """Replace the weights by those of a model with the same network."""
        self.denoiser = denoiser.to(self._device)
        if self._cancelled is not None:
            for network in self.denoiser.ready:
                for module in network.modules():
                    module.register_forward_pre_hook(self._check)

    def _check(self, *_: Any) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled

    def read(self, region: Region) -> list[Input]:
        """Read the pixels needed for a region, which is one plane or volume of the result."""
        scene, inside = self._scene(self._with_surroundings(region))
        inputs = []
        for index, (one, start) in enumerate(zip(scene.acquisitions, scene.starts, strict=True)):
            shift = [a - b for a, b in zip(start, scene.starts[0], strict=True)]
            wanted, target = list(inside), [slice(0, p.stop - p.start) for p in inside]
            for axis, step in zip((-2, -1), shift, strict=True):
                here, _ = common_part(step, one.shape[axis])
                first = max(inside[axis].start, here.start)
                last = max(first, min(inside[axis].stop, here.stop))
                wanted[axis] = slice(first + step, last + step)
                target[axis] = slice(first - inside[axis].start, last - inside[axis].start)
            if any(part.stop <= part.start for part in wanted):
                continue
            reach = self._with_halo(wanted, one.shape)
            pixels = self._read_cached((id(scene), index), one, reach)
            origin = tuple(part.start for part in reach)
            inputs.append(Input(index, tuple(target), tuple(wanted), pixels, origin))
        return inputs

    def compute(self, region: Region, inputs: list[Input]) -> np.ndarray:
        """Denoise a region of the result, in the shape and pixel type of the output.

        Raises
        ------
        BadInput
            If the device has too little memory even for small tiles, or a pixel of the result is
            NaN or infinite, such as after an overflow.
        Cancelled
            If the callback returns True.
        """
        whole = self._with_surroundings(region)
        channel, (scene, inside) = self._channel(region), self._scene(whole)
        shape = tuple(part.stop - part.start for part in inside)
        total, weights = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        parts = []
        for one in inputs:
            acquisition = scene.acquisitions[one.index]
            denoised = self._denoised(one, acquisition.shape, channel)
            empty = self._empty(one, channel)
            if empty is not None:
                np.copyto(denoised, one.raw, where=empty, casting="unsafe")
            if self.denoiser.record.loss_of(channel) != "likelihood":
                # Saturated pixels are not trained on, so larger values would be meaningless.
                np.minimum(denoised, np.float32(acquisition.saturation), out=denoised)
            weight, mapped = np.float32(scene.weights[one.index]), scene.maps[one.index](denoised)
            total[one.target] += weight * mapped
            weights[one.target] += weight
            if self.plan.quantity == "error":
                unknown = one.raw >= acquisition.saturation
                unknown |= acquisition.bad_pixels(*one.wanted[-2:])
                if empty is not None:
                    unknown |= empty
                parts.append(Contribution(one.target, mapped, unknown))
        result = total / weights
        if not np.isfinite(result).all():
            raise self._not_finite(whole, result.reshape([p.stop - p.start for p in whole]))
        if self.plan.quantity == "error":
            model = self.denoiser.record.error_of(channel)
            assert model is not None  # see `make_plan`
            inner = _relative(region[-2:], [part.start for part in whole[-2:]])
            error = expected_error(model, result, parts, scene.maps[0])
            result = error[..., inner[0], inner[1]]
        result = result.reshape([part.stop - part.start for part in region])
        return as_type(result, self.plan.header.dtype)

    def frames(self, region: Region) -> Iterator[Region]:
        """Yield the planes or volumes of a region, which are computed one after another."""
        return frames(region, self.denoiser.dims)

    def shard(self, region: Region) -> np.ndarray:
        """Read and denoise a region of several planes or volumes."""
        shape = [part.stop - part.start for part in region]
        whole = np.empty(shape, self.plan.header.dtype)
        for frame in self.frames(region):
            whole[inside(frame, region)] = self.compute(frame, self.read(frame))
        return whole

    def _with_surroundings(self, region: Region) -> Region:
        """Return a region with the pixels around it that decide its expected error."""
        if self.plan.quantity == "result":
            return region
        sides = zip(region[-2:], self.plan.header.shape[-2:], strict=True)
        wider = (slice(max(0, p.start - REACH), min(side, p.stop + REACH)) for p, side in sides)
        return (*region[:-2], *wider)

    def _not_finite(self, region: Region, result: np.ndarray) -> BadInput:
        """Return the error for a region of the result with pixels that are NaN or infinite."""
        bad = ~np.isfinite(result)
        first = np.argwhere(bad)[0]
        place = ", ".join(
            f"{axis} {part.start + index}"
            for axis, part, index in zip(self.plan.header.axes, region, first, strict=True)
        )
        return BadInput(
            f"{self.plan.header.name}: {bad.mean():.2%} of the pixels of a part are NaN or "
            f"infinite, the first at {place}: check the recording for extreme values there",
            "not_finite",
        )

    def _channel(self, region: Region) -> int:
        axes = self.plan.header.axes
        return region[axes.index("C")].start if "C" in axes else 0

    def _scene(self, region: Region) -> tuple[Scene, Region]:
        """Return the channel of a region, and the region without the channel axis."""
        axes = self.plan.header.axes
        kept = tuple(part for axis, part in zip(axes, region, strict=True) if axis != "C")
        return self.plan.scenes[self._channel(region)], kept

    def _with_halo(self, wanted: list[slice], shape: tuple[int, ...]) -> Region:
        dims = self.denoiser.dims
        reach = [slice(part.start, part.stop) for part in wanted]
        numbers = (self.denoiser.receptive_field, self.denoiser.stride)
        for axis, (halo, step) in enumerate(zip(*numbers, strict=True), start=-dims):
            # Rounding tile and halo to the grid adds at most one stride each on either side, and an
            # image whose side is no multiple of the stride is extended by less than one more
            # stride.
            more = halo + 3 * step
            first, last = reach[axis].start - more, reach[axis].stop + more
            reach[axis] = slice(max(0, first), min(shape[axis], last))
        return tuple(reach)

    def _read_cached(self, key: tuple[int, int], one: Acquisition, region: Region) -> np.ndarray:
        """Read a region; if its chunks are longer, read whole chunks and keep them for the next."""
        if key in self._cache:
            place, pixels = self._cache[key]
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
        if not longer or size > self.memory * _CACHE_SHARE:
            return read_finite(one, region)
        pixels = read_finite(one, whole)
        self._cache[key] = whole, pixels
        return pixels[_relative(region, [part.start for part in whole])]

    def _denoised(self, one: Input, shape: tuple[int, ...], channel: int) -> np.ndarray:
        """Apply the network to an input in tiles, halving the tiles if memory is too small."""
        dims = self.denoiser.dims
        spatial = one.wanted[-dims:]
        result = np.empty([part.stop - part.start for part in one.wanted], np.float32)
        frames = [range(part.stop - part.start) for part in one.wanted[:-dims]]
        places = [
            (frame, tile)
            for frame in np.ndindex(*(len(numbers) for numbers in frames))
            for tile in self._tiles(spatial, shape[-dims:])
        ]

        def image(frame: tuple[int, ...], tile: Tile) -> np.ndarray:
            def read(inside: Region) -> np.ndarray:
                return one.pixels[frame][_relative(inside, one.origin[-dims:])]

            return mirrored(read, shape[-dims:], tile.read)[None]

        def denoise(images: Tensor) -> Tensor:
            return self.denoiser.apply(images, channel, self.plan.turns)

        try:
            with np.errstate(over="ignore"):  # found in the result
                outputs = computed((image(*place) for place in places), denoise, self._device)
                for (frame, tile), output in zip(places, outputs, strict=True):
                    target = _relative(tile.write, [part.start for part in spatial])
                    result[frame][target] = output[0][tile.keep]
        except torch.OutOfMemoryError as error:
            if max(self.tile) // 2 < _SMALLEST_TILE:
                raise BadInput(
                    "not enough memory on the device even for small tiles: close other programs "
                    "that use it, or denoise on the CPU",
                    "memory",
                ) from error
            self.tile = tuple(max(side // 2, 16) for side in self.tile)
            _log.info("out of memory: tiles of %s pixels", self.tile)
        else:
            return result
        # Not in the handler: its error keeps the tensors of the failed tile in memory.
        return self._denoised(one, shape, channel)

    def _empty(self, one: Input, channel: int) -> np.ndarray | None:
        """Return the empty areas of an input; they are copied unchanged to the result."""
        sides = self.denoiser.record.empty_square
        side = sides[channel if len(sides) > 1 else 0] if sides else None
        if side is None:
            return None
        empty = np.zeros(one.pixels.shape, bool)
        for plane in np.ndindex(*empty.shape[:-2]):
            empty[plane] = flat(one.pixels[plane], side)
        return empty[_relative(one.wanted, one.origin)]

    def _tiles(self, spatial: Region, shape: tuple[int, ...]) -> Iterator[Tile]:
        halo, stride = self.denoiser.receptive_field, self.denoiser.stride
        return tiles(spatial, shape, self.tile, halo, stride)


def fitting_tile(
    denoiser: Denoiser, plan: Plan, device: torch.device, memory: int
) -> tuple[int, ...]:
    """Return the sides of the tiles that a `Predictor` with these arguments uses, in pixels."""
    check_memory(memory)
    free = free_memory(device)
    available = memory * _CPU_SHARE if free is None else free * _GPU_SHARE
    return choose_tile(
        plan.header.shape[-denoiser.dims :],
        denoiser.receptive_field,
        denoiser.stride,
        longest=shard_sides(denoiser.dims),
        bytes_of=denoiser.bytes_of,
        memory=available,
    )


def _relative(region: Region, origin: Sequence[int]) -> Region:
    return tuple(
        slice(part.start - start, part.stop - start)
        for part, start in zip(region, origin, strict=True)
    )


def _to_chunks(part: slice, length: int, size: int, phase: int) -> slice:
    """Widen a part of an axis to whole chunks of length `size`, one of which starts at `phase`."""
    first = phase + (part.start - phase) // size * size
    last = phase + rounded_up(part.stop - phase, size)
    return slice(max(0, first), min(length, last))
