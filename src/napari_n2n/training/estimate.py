"""Estimate how long a training run will take, by timing a few steps before it starts."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from napari_n2n.model.device import choose_device, computes_in_bfloat16, out_of_memory, wait_for
from napari_n2n.model.network import Network
from napari_n2n.noise.measure import Report
from napari_n2n.pair.pair import Pair
from napari_n2n.training.dimensions import choose_dimensions
from napari_n2n.training.fit import take_step
from napari_n2n.training.initial_weights import initial_network
from napari_n2n.training.losses import LOSSES, chosen_loss
from napari_n2n.training.normalisation import Batch
from napari_n2n.training.patches import batch_size, patch_side
from napari_n2n.training.prepare import trains_separately
from napari_n2n.training.schedule import usual_steps
from napari_n2n.training.settings import PRESETS, TrainingSettings, networks

_WARM_UP = 2  # untimed steps, in which torch allocates memory and chooses algorithms
# Timing ends after the largest number of steps; or after these seconds, but not before the smallest
# number of steps. More: a more accurate estimate; fewer: faster. One step alone may be ten times
# slower than the others.
_MOST_STEPS = 12
_FEW_STEPS = 4
_ENOUGH_SECONDS = 1.0
# Ratio of the time of a run to that of its optimiser steps: measured on two cores, drawing adds
# 4 %, averaging 0.3 % and validation 1 %.
_OVERHEAD = 1.06


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Estimated time of a run.

    Attributes
    ----------
    step_seconds
        Seconds per step.
    timed
        Number of steps that were timed.
    usual_steps
        Largest number of steps of the balanced preset, for all channels together.
    channels
        Number of channels that are trained one after another.
    device
        Device on which the steps were timed: "cpu", "cuda" or "mps".
    planes
        Reason why planes are trained with or without neighbours; empty if there is no choice.
    quick_seconds, slow_seconds
        First and third quartile of the seconds per step; None: `step_seconds`.
    """

    step_seconds: float
    timed: int
    usual_steps: float
    channels: int
    device: str
    planes: str = ""
    quick_seconds: float | None = None
    slow_seconds: float | None = None

    def range(self, settings: TrainingSettings) -> tuple[float, float]:
        """Return the longest time of a run in seconds, for quick steps and for slow steps."""
        step = self.step_seconds
        low, high = (
            replace(self, step_seconds=step if each is None else choose(each, step))
            for each, choose in ((self.quick_seconds, min), (self.slow_seconds, max))
        )
        return low.seconds(settings), high.seconds(settings)

    def seconds(self, settings: TrainingSettings) -> float:
        """Return the longest time of a run in seconds; it may stop improving and end earlier."""
        effort = PRESETS[settings.preset].effort
        steps = self.usual_steps * effort
        if settings.steps is not None:
            steps = settings.steps * self.channels
        most = _OVERHEAD * self.step_seconds * steps * networks(settings)
        if settings.minutes is not None:
            most = min(most, 60 * settings.minutes * self.channels)
        return most


def estimate_time(
    pairs: Sequence[Pair],
    settings: TrainingSettings,
    reports: Sequence[Report],
    cancelled: Callable[[], bool] = lambda: False,
) -> TimeEstimate:
    """Estimate the time of a run from a few steps on random images.

    Parameters
    ----------
    pairs, settings, reports
        As for `fit`. The time of a step depends on the device, the network, the patch size and the
        batch size, and hardly on the stacks.
    cancelled
        Checked after every step; once it returns True, no further step is timed.

    Raises
    ------
    BadInput
        If the device is not available, or the settings ask for volumes and an image has no Z or T
        axis.
    """
    device = choose_device(settings.device)
    channel = 0 if trains_separately(settings, reports) else None
    loss = chosen_loss(settings, reports[0])
    dimensions = choose_dimensions(settings, pairs, reports)
    _, network = initial_network(settings, loss, pairs, dimensions.count, channel=channel)
    network = network.moved_to(device)
    side = patch_side(pairs, settings, network.stride)
    count = batch_size(settings, dimensions.count)
    fitting = count
    while True:
        try:
            batch = _random_batch(2 * fitting, side, device)
            times = time_step(network, batch, cancelled)
            break
        except torch.OutOfMemoryError as error:  # a run halves its batch too
            if fitting == 1:
                raise out_of_memory(device, "set a smaller --patch") from error
            fitting //= 2
    channels = len(reports) if trains_separately(settings, reports) else 1
    pixels = sum(pair.pixels for pair in pairs) // channels
    steps = channels * usual_steps(reports, pixels, 2 * count * math.prod(side))
    quick, slow = (float(value) for value in np.quantile(times, (0.25, 0.75)))
    mean = sum(times) / len(times)
    return TimeEstimate(
        *(mean, len(times), steps, channels, device.type),
        planes=dimensions.reason,
        quick_seconds=quick,
        slow_seconds=slow,
    )


def time_step(
    network: Network, batch: Batch, cancelled: Callable[[], bool] = lambda: False
) -> list[float]:
    """Return the seconds of each of a few training steps.

    Parameters
    ----------
    network
        The network; a copy is trained.
    batch
        Images of one step, on the network's device.
    cancelled
        See `estimate_time`.
    """
    device = batch.input.device
    network = copy.deepcopy(network).train()
    optimizer = torch.optim.Adam(network.parameters())
    bfloat16 = computes_in_bfloat16(device)

    def step() -> None:
        take_step(network, optimizer, batch, LOSSES["l2"], bfloat16=bfloat16)
        wait_for(device)

    for _ in range(0 if cancelled() else _WARM_UP):
        step()
    seconds: list[float] = []
    while len(seconds) < _MOST_STEPS:
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
        if cancelled() or (len(seconds) >= _FEW_STEPS and sum(seconds) > _ENOUGH_SECONDS):
            break
    return seconds


def _random_batch(count: int, side: tuple[int, ...], device: torch.device) -> Batch:
    images = torch.randn(count, 1, *side, generator=torch.Generator().manual_seed(0)).to(device)
    one = torch.ones([1] * images.dim(), device=device)
    return Batch(images, images, torch.ones_like(images), images > math.inf, one, 0 * one)
