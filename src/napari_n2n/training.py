"""The training loop: a generator that yields after every few steps and returns the denoiser.

Stop, pause and progress come free at each `yield`. Spatially held-out blocks choose the weights
and, where neither steps nor minutes are given, decide when to end; the training loss chooses
nothing.
"""

import math
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from napari_n2n.checkpoint import restore, save
from napari_n2n.device import choose_device
from napari_n2n.generators import run_to_end
from napari_n2n.losses import LOSSES
from napari_n2n.model import Denoiser
from napari_n2n.noise import NoiseReport, measure_noise
from napari_n2n.pair import Pair
from napari_n2n.run import Run
from napari_n2n.settings import TrainingSettings

HELD_OUT_EVERY = 100
_YIELD_SECONDS = 0.2
_CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """Where a run stands.

    Attributes
    ----------
    step
        Steps done.
    progress
        Share of the run that is done, 0 to 1.
    seconds, remaining
        Time since the start, and the time that the rest may take.
    loss
        Training loss, averaged over recent steps, in normalised units.
    held_out
        Fixed error on held-out blocks with the averaged weights, in normalised units; that of the
        latest look.
    psnr, psnr_se
        Reference-free PSNR on the held-out blocks in dB and its standard error; None where it
        cannot be had.
    """

    step: int
    progress: float
    seconds: float
    remaining: float
    loss: float
    held_out: float | None
    psnr: float | None
    psnr_se: float | None


def fit(
    pair: Pair,
    settings: TrainingSettings | None = None,
    *,
    report: NoiseReport | None = None,
    stop: threading.Event | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> Generator[TrainingStep, None, Denoiser]:
    """Train on a pair; a generator of `TrainingStep` that returns the `Denoiser`.

    Parameters
    ----------
    pair
        What to learn from.
    settings
        See `TrainingSettings`.
    report
        What is known of the pair's noise; measured here if it is not given.
    stop
        Set it, and the run ends after the step under way and returns the best denoiser so far.
    checkpoint
        File in which the run's state is kept every half minute, to resume from.
    resume
        Go on from `checkpoint`.

    Raises
    ------
    BadInput
        If the pair, the device or the checkpoint cannot be used.
    """
    settings = settings or TrainingSettings()
    device = choose_device(settings.device)
    report = report or measure_noise(pair)
    loss = LOSSES[report.loss if settings.loss == "auto" else settings.loss]
    torch.manual_seed(settings.seed)
    run = Run(pair, settings, loss, device, report.training_factor)
    if resume and checkpoint is not None:
        restore(run, checkpoint)
    stop = stop or threading.Event()
    history = run.history
    started = time.monotonic() - history.seconds
    yielded = saved = time.monotonic()

    while (progress := run.progress()) < 1.0 and not stop.is_set():
        run.advance(progress)
        history.seconds = time.monotonic() - started
        if history.step % HELD_OUT_EVERY == 0:
            run.look_at_held_out()
        now = time.monotonic()
        if checkpoint is not None and now - saved > _CHECKPOINT_SECONDS:
            save(run, checkpoint)
            saved = time.monotonic()
        if now - yielded > _YIELD_SECONDS:
            yield _where(run)
            # Time spent by whoever pauses the generator is not training time.
            started += time.monotonic() - now
            yielded = time.monotonic()

    if checkpoint is not None and stop.is_set():
        save(run, checkpoint)
    run.look_at_held_out()
    yield _where(run)
    return run.denoiser(report.as_dict(), stopped=progress < 1.0)


def train(
    pair: Pair,
    settings: TrainingSettings | None = None,
    on_step: Callable[[TrainingStep], None] | None = None,
    **options: Any,
) -> Denoiser:
    """Train to the end: `fit` without the loop; `on_step` sees every `TrainingStep`."""
    return run_to_end(fit(pair, settings, **options), on_step)


def _where(run: Run) -> TrainingStep:
    history, progress = run.history, run.progress()
    latest = history.curve[-1] if history.curve else {}
    remaining = history.seconds * (1 - progress) / progress if progress > 0 else math.inf
    return TrainingStep(
        step=history.step,
        progress=progress,
        seconds=history.seconds,
        remaining=remaining,
        loss=history.loss,
        held_out=latest.get("held_out"),
        psnr=latest.get("psnr"),
        psnr_se=latest.get("psnr_se"),
    )
