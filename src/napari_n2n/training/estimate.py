"""How long a training run will take: a few of its steps are taken, and timed, before it begins."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.model.device import choose_device, wait_for
from napari_n2n.noise.report import NoiseReport
from napari_n2n.pair.pair import Pair
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.settings import PRESETS, TrainingSettings
from napari_n2n.training.state import Run

_WARM_UP = 2
_MOST_STEPS = 12
_ENOUGH_SECONDS = 1.0
_CUT = 4
# Looking at the held-out blocks, and the average of the weights.
_BESIDE = 1.06


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a few steps told.

    Attributes
    ----------
    step_seconds
        Seconds that a step takes.
    timed
        Number of steps that were timed.
    usual_steps
        Most steps of the balanced preset, of all networks together.
    networks
        Number of networks that are trained one after the other.
    device
        Where the steps were taken: "cpu", "cuda" or "mps".
    """

    step_seconds: float
    timed: int
    usual_steps: float
    networks: int
    device: str

    def seconds(self, settings: TrainingSettings) -> float:
        """Return how long a run takes at most; one that sees no more improvement ends earlier."""
        effort = PRESETS[settings.preset].effort
        steps = self.usual_steps * effort
        if settings.steps is not None:
            steps = settings.steps * self.networks
        most = _BESIDE * self.step_seconds * steps
        if settings.minutes is not None:
            most = min(most, 60 * settings.minutes * self.networks)
        return most


def estimate(
    pairs: Sequence[Pair],
    settings: TrainingSettings,
    reports: Sequence[NoiseReport],
    cancelled: Callable[[], bool] = lambda: False,
) -> Estimate:
    """Time a few steps on a small part of the first pair.

    Parameters
    ----------
    pairs, settings, reports
        As `fit` takes them. How long a step takes depends on the device, the
        network, the patch and the batch, and hardly on how large the stacks are.
    cancelled
        Checked after every step; once it returns True, no further step is timed.

    Raises
    ------
    BadInput
        If the device, or volumes, cannot be had.
    """
    device = choose_device(settings.device)
    run = Run([_cut(pairs[0], settings)], settings, LOSSES["l2"], device, reports)
    with closing(run.patches):
        for _ in range(0 if cancelled() else _WARM_UP):
            run.advance(0.0)
        wait_for(device)
        began, timed, seconds = time.perf_counter(), 0, 0.0
        while timed < _MOST_STEPS and seconds < _ENOUGH_SECONDS:
            run.advance(0.0)
            wait_for(device)
            timed += 1
            seconds = time.perf_counter() - began
            if cancelled():
                break
    networks = len(reports) if settings.channels == "separate" else 1
    pixels = sum(pair.pixels for pair in pairs) // networks
    return Estimate(
        seconds / timed, timed, networks * run.usual_steps(pixels), networks, device.type
    )


def _cut(pair: Pair, settings: TrainingSettings) -> Pair:
    """Take the middle of a pair, in one frame of it."""
    kept = "ZYX"[-settings.dims :]
    return replace(
        pair,
        acquisitions=tuple(_middle(one, kept, settings.patch) for one in pair.acquisitions),
        channel=0,
    )


def _middle(one: Acquisition, kept: str, patch: int) -> Acquisition:
    for axis in one.axes:
        if axis not in kept:
            one = one.at(axis, one.shape[one.axes.index(axis)] // 2)
    starts = [max(0, (length - _CUT * patch) // 2) for length in one.plane_shape]
    return one.cropped(*(slice(start, start + _CUT * patch) for start in starts))
