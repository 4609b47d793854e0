"""Denoise two recordings in one call, for programs that embed this package."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np

from napari_n2n.defaults import MEMORY
from napari_n2n.denoising.in_memory import DenoisingProgress, denoise_in_memory
from napari_n2n.denoising.plan import make_plan
from napari_n2n.denoising.predictor import Cancelled
from napari_n2n.pair.recordings import open_pairs
from napari_n2n.training.fit import TrainingStep, fit
from napari_n2n.training.settings import TrainingSettings


def denoise_pair(
    a: Any,
    b: Any,
    *more: Any,
    settings: TrainingSettings | None = None,
    axes: str | None = None,
    memory: int = MEMORY,
    on_step: Callable[[TrainingStep | DenoisingProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> np.ndarray:
    """Train on two or more recordings of one scene and return their denoised average.

    Nothing is written to a disk. To keep the model, or to denoise other recordings with it, call
    `train` and `denoise`.

    Parameters
    ----------
    a, b, more
        Recordings of one scene: arrays, files, layers, or whatever `Acquisition.open` takes.
    settings
        Settings of the training; default `TrainingSettings()`. Its device is also used for
        denoising.
    axes
        One letter per dimension of each recording, such as "TYX", instead of their own labels.
    memory
        Memory limit of the denoising in bytes; the result needs additional memory.
    on_step
        Called with every `TrainingStep`, then with a `DenoisingProgress` after every plane or
        volume; both have a `progress`, 0 to 1.
    cancelled
        Called after training steps, several times in a second, and before every layer of the
        network while denoising; the run ends if it returns True.

    Returns
    -------
    numpy.ndarray
        float32, of the shape of `a` with its axes in the order TCZYX, on the intensity scale of
        `a`.

    Raises
    ------
    BadInput
        If a recording cannot be used, or the recordings do not show one scene.
    Cancelled
        If `cancelled` returned True.
    """
    settings, sources = settings or TrainingSettings(), (a, b, *more)
    training = fit(open_pairs(sources, axes=axes), settings)
    with closing(training):
        for step in training:
            if cancelled is not None and cancelled():
                raise Cancelled
            if on_step is not None:
                on_step(step)
    model = training.result
    plan = make_plan(model, *sources, axes=axes)
    run = denoise_in_memory(
        *(model, plan), device=settings.device, memory=memory, cancelled=cancelled
    )
    return run.finish(on_step)
