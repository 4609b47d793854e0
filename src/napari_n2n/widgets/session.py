"""The training session of one viewer: what runs, where it stands, what came out. No Qt here.

Docks come and go; the session stays with the viewer, so that a dock that is closed and opened again
finds its run.
"""

import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, ref

from napari.utils.notifications import show_error
from psygnal import Signal

from napari_n2n.denoising import DenoisingStep, denoise_by_shards
from napari_n2n.model import Denoiser
from napari_n2n.noise import NoiseReport, measure_noise
from napari_n2n.pair import Pair
from napari_n2n.plan import plan
from napari_n2n.settings import TrainingSettings
from napari_n2n.training import TrainingStep, fit
from napari_n2n.widgets import worker
from napari_n2n.widgets.result_layer import layer_arguments, scratch_folder


@dataclass(frozen=True)
class Words:
    """A line for the person about what goes on."""

    text: str


@dataclass(frozen=True)
class Outcome:
    """What a run brought: the model, and where the denoised stack lies."""

    denoiser: Denoiser
    result: Path


class TrainingSession:
    """One training run at a time, its curve, its model, and the layer that it brings.

    Parameters
    ----------
    viewer
        Receives the result as a new layer.

    Attributes
    ----------
    curve
        Every `TrainingStep` so far.
    denoiser
        The model of the last run; None before the first.
    report
        What the noise of the chosen pair is; None until a run has measured it.
    running
        True from start to the end of the background work.
    words
        The latest line for the person.
    """

    started = Signal()
    measured = Signal(NoiseReport)
    stepped = Signal(TrainingStep)
    said = Signal(str)
    finished = Signal(Outcome)
    failed = Signal(str)

    def __init__(self, viewer: Any) -> None:
        self._viewer = ref(viewer)
        self._sources: list[Any] = []
        self.curve: list[TrainingStep] = []
        self.denoiser: Denoiser | None = None
        self.report: NoiseReport | None = None
        self.running = False
        self.words = ""
        self._stop = threading.Event()

    def train(self, sources: list[Any], settings: TrainingSettings) -> None:
        """Open the sources, train, and denoise them, in the background."""
        if self.running:
            raise RuntimeError("a run is under way in this viewer")
        self.running = True
        self._sources = sources
        self.curve = []
        self.report = None
        self._stop = threading.Event()
        self._say("Looking at the acquisitions ...")
        self.started.emit()
        stop = self._stop
        worker.start(
            lambda: _job(sources, settings, stop),
            "napari-n2n: training",
            on_yield=self._receive,
            on_return=self._finish,
            on_failure=self._fail,
            on_abort=self._abandon,
        )

    def stop(self) -> None:
        """End the training after the step under way; the best model so far is kept."""
        self._stop.set()
        if self.running:
            self._say("Stopping ...")

    def _receive(self, message: NoiseReport | TrainingStep | DenoisingStep | Words) -> None:
        if isinstance(message, Words):
            self._say(message.text)
        elif isinstance(message, NoiseReport):
            self.report = message
            self.measured.emit(message)
        elif isinstance(message, DenoisingStep):
            self._say(f"Denoising part {message.done} of {message.total} ...")
        else:
            self.curve.append(message)
            self.stepped.emit(message)

    def _finish(self, outcome: Outcome) -> None:
        self.running = False
        self.denoiser = outcome.denoiser
        self._say(_summary(outcome.denoiser.record))
        viewer = self._viewer()
        if viewer is not None:
            layers = [source for source in self._sources if hasattr(source, "contrast_limits")]
            viewer.add_image(**layer_arguments(outcome.result, layers[0] if layers else None))
        self._sources = []
        self.finished.emit(outcome)

    def _fail(self, message: str) -> None:
        self.running = False
        self._sources = []
        self._say(message)
        show_error(message)
        self.failed.emit(message)

    def _abandon(self) -> None:
        self.running = False
        self._sources = []

    def _say(self, text: str) -> None:
        self.words = text
        self.said.emit(text)


def _job(
    sources: list[Any], settings: TrainingSettings, stop: threading.Event
) -> Generator[NoiseReport | TrainingStep | DenoisingStep | Words, None, Outcome]:
    pair = Pair.open(*sources)
    yield Words("Measuring the noise ...")
    report = measure_noise(pair)
    yield report
    yield Words("Starting the training ...")
    denoiser = yield from fit(pair, settings, reports=[report], stop=stop)
    yield Words("Denoising ...")
    result = scratch_folder() / "denoised.ome.zarr"
    yield from denoise_by_shards(denoiser, plan(denoiser, *sources), result, device=settings.device)
    return Outcome(denoiser, result)


def _summary(record: dict[str, Any]) -> str:
    score = record["score"]
    words = f"{record['steps']} steps in {record['seconds']:.0f} s, {record['loss'].upper()}."
    if score["psnr"] is not None:
        words += (
            " PSNR of one acquisition denoised, on held-out blocks: "
            f"{score['psnr']:.1f} ± {score['psnr_se']:.1f} dB."
        )
    return words


_sessions: WeakKeyDictionary[Any, TrainingSession] = WeakKeyDictionary()


def session_of(viewer: Any) -> TrainingSession:
    """Return the session of a viewer, made on first use."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _sessions:
        _sessions[viewer] = TrainingSession(viewer)
    return _sessions[viewer]
