"""Training behind a window: open, measure, train, denoise, and say at each turn what is done."""

import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from napari_n2n.denoising import DenoisingStep
from napari_n2n.device import use_threads
from napari_n2n.model import Denoiser
from napari_n2n.recipe import Recipe
from napari_n2n.training import TrainingStep, fit
from napari_n2n.widgets.denoising_job import Canvas, denoised
from napari_n2n.widgets.measuring import Measured
from napari_n2n.widgets.preferences import preferences
from napari_n2n.widgets.result_layer import scratch_folder


@dataclass(frozen=True)
class Words:
    """A line for the person about what goes on."""

    text: str


@dataclass(frozen=True)
class Outcome:
    """What a run brought: the model, and where the result lies; None if that was stopped."""

    denoiser: Denoiser
    result: Path | None


def trained(
    recipe: Recipe,
    known: Measured | None,
    stop: threading.Event,
    stop_denoising: threading.Event,
) -> Generator[Measured | TrainingStep | Canvas | DenoisingStep | Words, None, Outcome]:
    """Train, and denoise what was learned from; the events end the one and the other."""
    use_threads(preferences().threads)
    recordings, settings = recipe.recordings, recipe.settings
    if known is None:
        yield Words("Measuring the noise ...")
        known = Measured.of(recordings.pairs())
        yield known
    yield Words("Starting the training ...")
    denoiser = yield from fit(known.pairs, settings, reports=known.reports, stop=stop)
    yield Words("Denoising ...")
    out = scratch_folder() / "denoised.ome.zarr"
    run = denoised(
        denoiser,
        list(recordings.sources),
        out,
        stop_denoising,
        axes=recordings.axes,
        device=settings.device,
        memory=settings.memory,
    )
    return Outcome(denoiser, (yield from run))
