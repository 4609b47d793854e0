"""Training behind a window: open, measure, train, denoise, and say at each turn what is done."""

import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_n2n.denoising import DenoisingStep
from napari_n2n.device import use_threads
from napari_n2n.model import Denoiser
from napari_n2n.noise import NoiseReport
from napari_n2n.pair import open_pairs
from napari_n2n.settings import TrainingSettings
from napari_n2n.training import TrainingStep, fit, measure_channels
from napari_n2n.widgets.denoising_job import Canvas, denoised
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
    sources: list[Any],
    settings: TrainingSettings,
    stop: threading.Event,
    stop_denoising: threading.Event,
) -> Generator[NoiseReport | TrainingStep | Canvas | DenoisingStep | Words, None, Outcome]:
    """Train, and denoise what was learned from; the events end the one and the other."""
    use_threads(preferences().threads)
    pairs = open_pairs(sources)
    yield Words("Measuring the noise ...")
    reports = measure_channels(pairs)
    yield reports[0]
    yield Words("Starting the training ...")
    denoiser = yield from fit(pairs, settings, reports=reports, stop=stop)
    yield Words("Denoising ...")
    out = scratch_folder() / "denoised.ome.zarr"
    run = denoised(denoiser, sources, out, stop_denoising, device=settings.device)
    return Outcome(denoiser, (yield from run))
