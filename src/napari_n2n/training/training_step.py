"""What a training run reports while it runs."""

import copy
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from napari_n2n.model.denoiser import Denoiser, merge_channels
from napari_n2n.model.record import ModelRecord
from napari_n2n.training.prepare import Parts
from napari_n2n.training.provenance import empty_squares


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """Progress of a run.

    Attributes
    ----------
    step
        Number of steps done.
    progress
        Share of the run that is done, 0 to 1.
    seconds, remaining
        Training time so far and estimated time left, in seconds.
    loss
        Training loss, averaged over recent steps, in normalised units.
    held_out
        Error of the averaged weights on held-out blocks at the latest validation, in normalised
        units.
    psnr, psnr_se
        Reference-free PSNR on the held-out blocks and its standard error, in dB; None if it could
        not be determined.
    denoiser
        Function that returns a model with a copy of the current averaged weights, or None after the
        end of the run. If channels are trained one after another, the model contains the channels
        whose training has started.
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


def step_of(parts: Parts) -> TrainingStep:
    """Return the progress of one network."""
    history = parts.state.history
    progress = parts.schedule.progress(history)
    latest = history.curve[-1] if history.curve else None
    remaining = history.seconds * (1 - progress) / progress if progress > 0 else math.inf
    # A weak reference, so that a list of steps does not keep the weights of every run in memory.
    running = weakref.ref(parts.state)
    architecture, normalisations = parts.architecture, parts.normalisations
    squares, maps = empty_squares(parts.cache.pairs), parts.detector

    def denoiser() -> Denoiser | None:
        state = running()
        if state is None:
            return None
        scales = tuple(one.scale for one in normalisations)
        values = [one.values for one in normalisations]
        record = ModelRecord(values=values, empty_square=squares, detector=maps)
        return Denoiser((copy.deepcopy(state.average),), architecture, scales, record)

    return TrainingStep(
        step=history.step,
        progress=progress,
        seconds=history.seconds,
        remaining=remaining,
        loss=history.loss,
        held_out=latest.held_out if latest else None,
        psnr=latest.psnr if latest else None,
        psnr_se=latest.psnr_se if latest else None,
        denoiser=denoiser,
    )


def of_whole_run(
    step: TrainingStep, number: int, count: int, finished: Sequence[Denoiser] = ()
) -> TrainingStep:
    """Convert the progress of one of several networks to the progress of the whole run.

    Parameters
    ----------
    step
        Progress of the network.
    number, count
        Number of this network, from 0, and number of all networks.
    finished
        Models of the previous channels.
    """

    def denoiser() -> Denoiser | None:
        own = step.denoiser()
        return None if own is None else merge_channels([*finished, own])

    return replace(step, progress=(number + step.progress) / count, denoiser=denoiser)
