"""What a network makes of the plane that somebody looks at, while it still learns or afterwards.

While it learns, looking costs time that training would have: a tenth of that time is put aside for
it, so that a look comes as often as it is cheap.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch

from napari_n2n.denoising.plan import Plan, Scene
from napari_n2n.denoising.predictor import Engine, Input
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.header import Region
from napari_n2n.model.denoiser import Denoiser

_SHARE = 0.1
_MOST_SAVED = 3.0
_MOST_OWED = 2.0
_AGAIN = 0.5  # seconds: more often than this, nothing new is seen
_LONG, _SHORT = 0.8, 0.1
_FIRST_SIDE, _SMALLEST_SIDE, _LARGEST_SIDE = 512, 128, 2048


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """A part of one plane, denoised.

    Attributes
    ----------
    region
        Which part: a slice for each axis of the acquisition.
    pixels
        float32, of the region's shape, in the acquisition's unit.
    """

    region: Region
    pixels: np.ndarray


class Preview:
    """Denoises what is looked at, with whatever weights there are.

    Parameters
    ----------
    acquisition
        What is looked at; of its pixels only those that are needed are read.
    device
        Where to compute.
    memory
        Limit in bytes.
    work
        What a finished network is to make of the acquisition, and of others of the scene with it;
        none while one learns.
    """

    def __init__(
        self,
        acquisition: Acquisition,
        device: torch.device,
        memory: int,
        work: Plan | None = None,
    ) -> None:
        scenes = tuple(Scene((channel,)) for channel in acquisition.along("C"))
        self._learning = work is None
        self._work = work or Plan(scenes, acquisition.header, ())
        self._device, self._memory = device, memory
        self._channel = acquisition.axes.find("C")
        self._side = _FIRST_SIDE
        self._read: tuple[Region, list[Input]] | None = None

    def look(self, denoiser: Denoiser, region: Region) -> Look | None:
        """Denoise a plane, or of a large one the middle that can be had within a second.

        Parameters
        ----------
        denoiser
            The weights.
        region
            A slice for each axis of the acquisition, all but the last two of length 1.

        Returns
        -------
        Look or None
            None for a channel that a network which learns has not yet begun.

        Raises
        ------
        BadInput
            If a pixel is not finite, or memory is too small.
        """
        began = time.perf_counter()
        begun = self._channel < 0 or region[self._channel].start < len(denoiser.scales)
        if self._learning and not begun:
            return None
        part = middle(region, self._side)
        engine = Engine(denoiser, self._work, self._device, self._memory)
        if self._read is None or self._read[0] != part:
            self._read = part, engine.read(part)
        pixels = engine.compute(part, self._read[1])
        self._adapt(time.perf_counter() - began)
        return Look(part, pixels)

    def _adapt(self, taken: float) -> None:
        if taken > _LONG:
            self._side = max(self._side // 2, _SMALLEST_SIDE)
        elif taken < _SHORT:
            self._side = min(self._side * 2, _LARGEST_SIDE)


class Pace:
    """Says when to look: at something new at once, again when training has paid for it."""

    def __init__(self) -> None:
        self._saved = 0.0
        self._cost = 0.0
        self._seen: Region | None = None
        self._last = 0.0

    def earn(self, seconds: float) -> None:
        """Put a tenth of the time that training took aside."""
        self._saved = min(self._saved + _SHARE * seconds, _MOST_SAVED)

    def allows(self, region: Region, *, idle: bool) -> bool:
        """Tell whether to look at a region now; `idle` while no training waits for it."""
        if region != self._seen:
            return idle or self._saved > -_MOST_OWED
        rested = time.monotonic() - self._last > _AGAIN
        return not idle and rested and self._saved > self._cost

    def spend(self, seconds: float, region: Region, *, idle: bool) -> None:
        """Pay for a look."""
        self._seen, self._cost, self._last = region, seconds, time.monotonic()
        if not idle:
            self._saved -= seconds


def middle(region: Region, side: int) -> Region:
    """Cut the rows and columns of a region to at most a number of pixels about their middle."""
    cut = []
    for along in region[-2:]:
        length = min(side, along.stop - along.start)
        first = along.start + (along.stop - along.start - length) // 2
        cut.append(slice(first, first + length))
    return (*region[:-2], *cut)
