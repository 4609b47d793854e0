"""Estimate how long a training run will take, by timing a few steps before it starts."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from napari_n2n.model.device import choose_device, computes_in_bfloat16, out_of_memory, wait_for
from napari_n2n.model.network import Network
from napari_n2n.noise.report import NoiseReport
from napari_n2n.pair.pair import Pair
from napari_n2n.training.fit import take_step
from napari_n2n.training.initial_weights import initial_network
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.normalisation import Batch
from napari_n2n.training.patches import batch_size, patch_side
from napari_n2n.training.prepare import chosen_loss, trains_separately
from napari_n2n.training.schedule import usual_steps
from napari_n2n.training.settings import PRESETS, TrainingSettings

_WARM_UP = 2  # untimed steps, in which torch allocates memory and chooses algorithms
# Timing ends after this many steps or seconds. More: a more accurate estimate; fewer: faster.
_MOST_STEPS = 12
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
        Largest number of steps of the balanced preset, for all networks together.
    networks
        Number of networks that are trained one after another.
    device
        Device on which the steps were timed: "cpu", "cuda" or "mps".
    """

    step_seconds: float
    timed: int
    usual_steps: float
    networks: int
    device: str

    def seconds(self, settings: TrainingSettings) -> float:
        """Return the longest time of a run in seconds; it may stop improving and end earlier."""
        effort = PRESETS[settings.preset].effort
        steps = self.usual_steps * effort
        if settings.steps is not None:
            steps = settings.steps * self.networks
        most = _OVERHEAD * self.step_seconds * steps
        if settings.minutes is not None:
            most = min(most, 60 * settings.minutes * self.networks)
        return most


def estimate_time(
    pairs: Sequence[Pair],
    settings: TrainingSettings,
    reports: Sequence[NoiseReport],
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
        If the device is not available, or the settings ask for volumes and an image has no Z axis.
    """
    device = choose_device(settings.device)
    _, network = initial_network(settings, chosen_loss(settings, reports[0]), pairs)
    network = network.moved_to(device)
    side, count = patch_side(pairs, settings, network.stride), batch_size(settings)
    fitting = count
    while True:
        try:
            batch = _random_batch(2 * fitting, side, device)
            step_seconds, timed = time_step(network, batch, cancelled)
            break
        except torch.OutOfMemoryError as error:  # a run halves its batch too
            if fitting == 1:
                raise out_of_memory(device, "set a smaller --patch") from error
            fitting //= 2
    networks = len(reports) if trains_separately(settings, reports) else 1
    pixels = sum(pair.pixels for pair in pairs) // networks
    steps = networks * usual_steps(reports, pixels, 2 * count * math.prod(side))
    return TimeEstimate(step_seconds, timed, steps, networks, device.type)


def time_step(
    network: Network, batch: Batch, cancelled: Callable[[], bool] = lambda: False
) -> tuple[float, int]:
    """Return the seconds of a training step, and the number of steps that were timed.

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
    began, timed, seconds = time.perf_counter(), 0, 0.0
    while timed < _MOST_STEPS and seconds < _ENOUGH_SECONDS:
        step()
        timed += 1
        seconds = time.perf_counter() - began
        if cancelled():
            break
    return seconds / timed, timed


def _random_batch(count: int, side: tuple[int, ...], device: torch.device) -> Batch:
    images = torch.randn(count, 1, *side, generator=torch.Generator().manual_seed(0)).to(device)
    one = torch.ones([1] * images.dim(), device=device)
    return Batch(images, images, torch.ones_like(images), images > math.inf, one, 0 * one)
