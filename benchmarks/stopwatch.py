"""How long a person waits: a run is timed from before its noise is measured; looking is free."""

import time
from collections.abc import Callable

from napari_n2n import Denoiser, Pair, TrainingSettings, TrainingStep, train


def timed(
    pair: Pair, settings: TrainingSettings, look: Callable[[TrainingStep, float], None]
) -> tuple[Denoiser, float]:
    """Train; returns the model and the seconds that this took.

    Parameters
    ----------
    look
        Called now and then with where the run stands and its seconds so far, at no cost of time.
    """
    began, away = time.monotonic(), 0.0

    def pause(step: TrainingStep) -> None:
        nonlocal away
        paused = time.monotonic()
        look(step, paused - began - away)
        away += time.monotonic() - paused

    denoiser = train(pair, settings, pause)
    return denoiser, time.monotonic() - began - away
