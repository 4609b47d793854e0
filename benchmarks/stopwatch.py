"""Time a run as a user does: measuring the noise counts, scoring the network does not."""

import time
from collections.abc import Callable

from napari_n2n import Denoiser, Pair, TrainingSettings, TrainingStep, train
from napari_n2n.training.fit import take_step
from napari_n2n.training.prepare import Parts
from napari_n2n.training.schedule import learning_rate

NEXT_LOOK = 1.1  # ratio of the times at which a run is scored: a wait is known to 10 %


def timed(
    pair: Pair, settings: TrainingSettings, look: Callable[[TrainingStep, float], None]
) -> tuple[Denoiser, float]:
    """Train; return the model and the seconds that this took.

    Parameters
    ----------
    look
        Called with each reported step and the seconds so far; its own time is not counted.
    """
    began, away = time.monotonic(), 0.0

    def pause(step: TrainingStep) -> None:
        nonlocal away
        paused = time.monotonic()
        look(step, paused - began - away)
        away += time.monotonic() - paused

    denoiser = train(pair, settings, pause)
    return denoiser, time.monotonic() - began - away


def scored(
    pair: Pair, settings: TrainingSettings, score: Callable[[Denoiser], float]
) -> tuple[Denoiser, float, dict[float, float]]:
    """Train; return the model, the seconds that this took, and the scores by seconds.

    The first is that of the network before the first step, where it is pretrained; the last is that
    of the model.
    """
    curve: dict[float, float] = {}

    def look(step: TrainingStep, seconds: float) -> None:
        if not curve or seconds >= NEXT_LOOK * max(curve):
            denoiser = step.denoiser()
            if denoiser is not None:
                curve[seconds] = score(denoiser)

    denoiser, seconds = timed(pair, settings, look)
    curve[seconds] = score(denoiser)
    return denoiser, seconds, curve


def advance(parts: Parts, progress: float) -> None:
    """Take one step of a run with default settings, as the loop of `fit` does."""
    state, settings = parts.state, TrainingSettings()
    batch = parts.patches.draw(state.history.step, state.batch_size)
    state.set_learning_rate(learning_rate(settings.learning_rate, state.history.step, progress))
    loss = take_step(state.network, state.optimizer, batch, parts.loss, progress, parts.bfloat16)
    state.finish_step(loss, settings.averaging)
