"""The training loop: a generator that yields after every few steps and returns the denoiser.

Stop, pause and progress come free at each `yield`. Spatially held-out blocks choose the weights
and, where neither steps nor minutes are given, decide when to end; the training loss chooses
nothing.
"""

import math
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from napari_n2n.generators import Steps, as_steps
from napari_n2n.model.denoiser import Denoiser, joined
from napari_n2n.model.device import choose_device
from napari_n2n.noise.advice import advised_loss
from napari_n2n.noise.measure import measure_channels
from napari_n2n.noise.report import NoiseReport
from napari_n2n.pair.pair import Pair
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.settings import TrainingSettings
from napari_n2n.training.state import Run, restore, save

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
    denoiser
        Call it for a copy of the averaged weights as they are now, to look at or to keep; None
        once the run is over. Where channels are trained one after the other, it knows those that
        have begun.
    """

    step: int
    progress: float
    seconds: float
    remaining: float
    loss: float
    held_out: float | None
    psnr: float | None
    psnr_se: float | None
    denoiser: Callable[[], Denoiser | None] = field(default=lambda: None, repr=False, compare=False)


@as_steps
def fit(
    pairs: Pair | Sequence[Pair],
    settings: TrainingSettings | None = None,
    *,
    reports: Sequence[NoiseReport] | None = None,
    stop: threading.Event | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> Generator[TrainingStep, None, Denoiser]:
    """Train; a generator of `TrainingStep` that returns the `Denoiser`.

    Parameters
    ----------
    pairs
        What to learn from: a pair, or several fields of view and channels from `open_pairs`.
    settings
        See `TrainingSettings`.
    reports
        What is known of the noise of each channel; measured here if it is not given.
    stop
        Set it, and the run ends after the step under way and returns the best denoiser so far.
    checkpoint
        File in which the run's state is kept every half minute, to resume from.
    resume
        Go on from `checkpoint`.

    Raises
    ------
    BadInput
        If a pair, the device or the checkpoint cannot be used.
    """
    pairs = [pairs] if isinstance(pairs, Pair) else list(pairs)
    settings = settings or TrainingSettings()
    stop = stop or threading.Event()
    reports = reports or measure_channels(pairs)
    channels = len(reports)
    if settings.channels == "together" or channels == 1:
        return (yield from _run(pairs, settings, reports, stop, checkpoint, resume))
    parts: list[Denoiser] = []
    for channel in range(channels):
        own = [replace(pair, channel=0) for pair in pairs if pair.channel == channel]
        kept = checkpoint and checkpoint.with_name(f"{checkpoint.name}.{channel}")
        again = resume and kept is not None and kept.exists()
        run = Steps(_run(own, settings, reports[channel : channel + 1], stop, kept, again))
        with closing(run):
            for step in run:
                yield _of_all(step, tuple(parts), channels)
        parts.append(run.result)
    return joined(parts)


def _of_all(step: TrainingStep, before: Sequence[Denoiser], count: int) -> TrainingStep:
    """Turn a step of one channel's run into one of all channels' runs."""

    def denoiser() -> Denoiser | None:
        own = step.denoiser()
        return None if own is None else joined([*before, own])

    return replace(step, progress=(len(before) + step.progress) / count, denoiser=denoiser)


def _run(
    pairs: Sequence[Pair],
    settings: TrainingSettings,
    reports: Sequence[NoiseReport],
    stop: threading.Event,
    checkpoint: Path | None,
    resume: bool,
) -> Generator[TrainingStep, None, Denoiser]:
    device = choose_device(settings.device)
    loss = LOSSES[advised_loss(reports) if settings.loss == "auto" else settings.loss]
    run = Run(pairs, settings, loss, device, reports)
    with closing(run.patches):
        if resume and checkpoint is not None:
            restore(run, checkpoint)
        history = run.history
        started = time.monotonic() - history.seconds
        yielded = saved = time.monotonic()

        if run.warm and history.step == 0:  # it is worth a look before the first step
            run.look_at_held_out()
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

        if checkpoint is not None:
            save(run, checkpoint)
        run.look_at_held_out()
        yield _where(run)
        return run.denoiser([report.as_dict() for report in reports], stopped=progress < 1.0)


def train(
    pairs: Pair | Sequence[Pair],
    settings: TrainingSettings | None = None,
    on_step: Callable[[TrainingStep], None] | None = None,
    **options: Any,
) -> Denoiser:
    """Train to the end: `fit` without the loop; `on_step` sees every `TrainingStep`."""
    return fit(pairs, settings, **options).finish(on_step)


def _where(run: Run) -> TrainingStep:
    history, progress = run.history, run.progress()
    latest = history.curve[-1] if history.curve else {}
    remaining = history.seconds * (1 - progress) / progress if progress > 0 else math.inf
    alive = weakref.ref(run)  # a list of steps keeps no pixels

    def denoiser() -> Denoiser | None:
        here = alive()
        return None if here is None else here.snapshot()

    return TrainingStep(
        step=history.step,
        progress=progress,
        seconds=history.seconds,
        remaining=remaining,
        loss=history.loss,
        held_out=latest.get("held_out"),
        psnr=latest.get("psnr"),
        psnr_se=latest.get("psnr_se"),
        denoiser=denoiser,
    )
