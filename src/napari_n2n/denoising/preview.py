"""Denoise the plane on screen, with the current weights during training or with a finished model.

A preview delays training, so all previews together take at most a tenth of the training time: fast
previews are updated more often.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from napari_n2n.denoising.plan import Plan, Scene, corrected
from napari_n2n.denoising.predictor import Input, Predictor
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.header import Region
from napari_n2n.model.denoiser import Denoiser

_SHARE = 0.1  # of the training time is for previews
_MOST_SAVED = 3.0  # seconds; limits how many previews follow at once after a long pause
_MOST_OWED = 2.0  # seconds by which previews of new planes may exceed their share
_INTERVAL = 0.5  # seconds between previews of one plane; after less time, hardly any change shows
# The side of a preview is halved if it takes more than `_LONG` seconds, and doubled if less than
# `_SHORT`: doubling takes at most four times as long, so that the two do not alternate.
_LONG, _SHORT = 0.8, 0.1
_FIRST_SIDE, _SMALLEST_SIDE, _LARGEST_SIDE = 512, 128, 2048  # pixels


@dataclass(frozen=True, eq=False, slots=True)
class PreviewImage:
    """A part of one plane, denoised.

    Attributes
    ----------
    region
        The part, as one slice for each axis of the acquisition.
    pixels
        float32, of the region's shape, in the acquisition's unit.
    """

    region: Region
    pixels: np.ndarray


class Preview:
    """Denoises the planes that are on screen, one after another.

    Parameters
    ----------
    acquisition
        Acquisition on screen; only the pixels of the planes are read.
    device
        Device to compute on.
    memory
        Memory limit in bytes.
    plan
        For a finished model, the plan for the acquisition and others of its scene; None during
        training.
    cancelled
        As in `Predictor`.
    """

    def __init__(
        self,
        acquisition: Acquisition,
        device: torch.device,
        memory: int,
        plan: Plan | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        scenes = tuple(Scene((channel,)) for channel in acquisition.along("C"))
        self._in_training = plan is None
        self._plan = plan or Plan(scenes, acquisition.header, ())
        self._device, self._memory, self._cancelled = device, memory, cancelled
        self._channel = acquisition.axes.find("C")
        self._side = _FIRST_SIDE
        self._read: tuple[Region, list[Input]] | None = None
        self._used: tuple[Denoiser, Predictor] | None = None

    def denoise(self, denoiser: Denoiser, region: Region) -> PreviewImage | None:
        """Denoise a plane, or only its middle if the whole plane takes more than about a second.

        Parameters
        ----------
        denoiser
            The model.
        region
            A slice for each axis of the acquisition, all but the last two of length 1.

        Returns
        -------
        PreviewImage or None
            The denoised part, or None for a channel whose training has not started.

        Raises
        ------
        BadInput
            If a pixel is not finite, or memory is too small.
        Cancelled
            If `cancelled` returned True.
        """
        began = time.perf_counter()
        begun = self._channel < 0 or region[self._channel].start < len(denoiser.scales)
        if self._in_training and not begun:
            return None
        part = middle(region, self._side)
        predictor = self._predictor(denoiser)
        if self._read is None or self._read[0] != part:
            self._read = part, predictor.read(part)
        pixels = predictor.compute(part, self._read[1])
        self._adapt(time.perf_counter() - began)
        return PreviewImage(part, pixels)

    def _predictor(self, denoiser: Denoiser) -> Predictor:
        """Return the predictor for all planes, with the weights of `denoiser`."""
        if self._used is None:
            if self._in_training:  # the model has the map of the detector
                self._plan = replace(
                    self._plan,
                    scenes=tuple(
                        Scene(tuple(corrected(one, denoiser, k) for one in scene.acquisitions))
                        for k, scene in enumerate(self._plan.scenes)
                    ),
                )
            predictor = Predictor(
                denoiser, self._plan, self._device, self._memory, cancelled=self._cancelled
            )
        else:
            before, predictor = self._used
            if denoiser is not before:
                predictor.use(denoiser)
        self._used = denoiser, predictor
        return predictor

    def _adapt(self, seconds: float) -> None:
        if seconds > _LONG:
            self._side = max(self._side // 2, _SMALLEST_SIDE)
        elif seconds < _SHORT:
            self._side = min(self._side * 2, _LARGEST_SIDE)


class Pace:
    """Decides when to compute a preview: at once for a new plane, else within its time share."""

    def __init__(self) -> None:
        self._saved = 0.0
        self._cost = 0.0
        self._seen: Region | None = None
        self._last = 0.0

    def earn(self, seconds: float) -> None:
        """Add a tenth of the given training time to the time available for previews."""
        self._saved = min(self._saved + _SHARE * seconds, _MOST_SAVED)

    def allows(self, region: Region, *, idle: bool) -> bool:
        """Return whether to show a region now; `idle` is True while training is paused."""
        if region != self._seen:
            return idle or self._saved > -_MOST_OWED
        rested = time.monotonic() - self._last > _INTERVAL
        return not idle and rested and self._saved > self._cost

    def spend(self, seconds: float, region: Region, *, idle: bool) -> None:
        """Subtract the time of a preview, unless `idle`, and remember the region."""
        self._seen, self._cost, self._last = region, seconds, time.monotonic()
        if not idle:
            self._saved -= seconds


def middle(region: Region, side: int) -> Region:
    """Return the middle of a region, with at most `side` rows and columns."""
    cut = []
    for along in region[-2:]:
        length = min(side, along.stop - along.start)
        first = along.start + (along.stop - along.start - length) // 2
        cut.append(slice(first, first + length))
    return (*region[:-2], *cut)
