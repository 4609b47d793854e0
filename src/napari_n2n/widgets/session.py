"""The sessions of one viewer: what runs, where it stands, what came out. No Qt here.

Docks come and go; a session stays with the viewer, so that a dock that is closed and opened again
finds its run.
"""

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

from napari.utils.notifications import show_error
from psygnal import Signal

from napari_n2n.denoising import DenoisingStep
from napari_n2n.model import Denoiser
from napari_n2n.noise import NoiseReport
from napari_n2n.pair import open_pairs
from napari_n2n.settings import TrainingSettings
from napari_n2n.training import TrainingStep, fit, measure_channels
from napari_n2n.widgets import worker
from napari_n2n.widgets.denoising_job import Canvas, denoised
from napari_n2n.widgets.growing_layer import GrowingLayer
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


class Session:
    """One job at a time in the background of a viewer, and the layer in which its result grows.

    Parameters
    ----------
    viewer
        Receives the result as a new layer.

    Attributes
    ----------
    running
        True from start to the end of the background work.
    words
        The latest line for the person.
    """

    started = Signal()
    said = Signal(str)
    failed = Signal(str)

    def __init__(self, viewer: Any) -> None:
        self._viewer = ref(viewer)
        self._sources: list[Any] = []
        self._growing: GrowingLayer | None = None
        self.running = False
        self.words = ""

    def _run(
        self,
        job: Callable[[], Generator[Any, None, Any]],
        title: str,
        sources: list[Any],
        *stops: threading.Event,
    ) -> None:
        """Start a job; it looks at the events, which are set when the window closes."""

        def stop_all() -> None:
            for stop in stops:
                stop.set()

        self.running = True
        self._sources = sources
        self._say("Looking at the acquisitions ...")
        self.started.emit()
        worker.start(
            job,
            title,
            on_yield=self._receive,
            on_return=self._finish,
            on_failure=self._fail,
            on_abort=self._end,
            on_quit=stop_all,
        )

    def _receive(self, message: Any) -> None:
        raise NotImplementedError

    def _finish(self, result: Any) -> None:
        raise NotImplementedError

    def _grow(self, message: Canvas | DenoisingStep) -> None:
        """Show the result as far as it is."""
        viewer, growing = self._viewer(), self._growing
        if isinstance(message, DenoisingStep):
            if growing is not None:
                growing.follow(message)
        elif viewer is not None and not (growing and growing.goes_on_with(message)):
            self._growing = GrowingLayer(viewer, message, self._sources[0])

    def _settle(self, *, whole: bool) -> None:
        """Show the whole result, or keep of a stopped one what may be gone on with."""
        if self._growing is None:
            return
        if whole:
            self._growing.finish()
            self._growing = None
        else:
            self._growing.stop()

    def _fail(self, message: str) -> None:
        self._settle(whole=False)
        self._end()
        self._say(message)
        show_error(message)
        self.failed.emit(message)

    def _end(self) -> None:
        self.running = False
        self._sources = []

    def _say(self, text: str) -> None:
        self.words = text
        self.said.emit(text)


class TrainingSession(Session):
    """One training run at a time, its curve, its model, and the layer that it brings.

    Attributes
    ----------
    curve
        Every `TrainingStep` so far.
    denoiser
        The model of the last run; None before the first.
    report
        What the noise of the chosen pair is; None until a run has measured it.
    """

    measured = Signal(NoiseReport)
    stepped = Signal(TrainingStep)
    finished = Signal(Outcome)

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self.curve: list[TrainingStep] = []
        self.denoiser: Denoiser | None = None
        self.report: NoiseReport | None = None
        self._stop, self._stop_denoising = threading.Event(), threading.Event()

    def train(self, sources: list[Any], settings: TrainingSettings) -> None:
        """Open the sources, train, and denoise them, in the background."""
        if self.running:
            raise RuntimeError("a run is under way in this viewer")
        self.curve = []
        self.report = None
        self._growing = None
        stops = self._stop, self._stop_denoising = threading.Event(), threading.Event()
        self._run(
            lambda: _job(sources, settings, *stops),
            "napari-n2n: training",
            sources,
            *stops,
        )

    def stop(self) -> None:
        """End the training, or the denoising after it; the best model so far is kept."""
        (self._stop if self._growing is None else self._stop_denoising).set()
        if self.running:
            self._say("Stopping ...")

    def _receive(
        self, message: NoiseReport | TrainingStep | Canvas | DenoisingStep | Words
    ) -> None:
        if isinstance(message, Words):
            self._say(message.text)
        elif isinstance(message, NoiseReport):
            self.report = message
            self.measured.emit(message)
        elif isinstance(message, TrainingStep):
            self.curve.append(message)
            self.stepped.emit(message)
        else:
            self._grow(message)
            if isinstance(message, DenoisingStep):
                self._say(f"Denoising: {message.done} of {message.total} parts are done")

    def _finish(self, outcome: Outcome) -> None:
        self.denoiser = outcome.denoiser
        self._settle(whole=outcome.result is not None)
        self._end()
        rest = "" if outcome.result else " Not all is denoised: the Denoise dock applies the model."
        self._say(_summary(outcome.denoiser.record) + rest)
        self.finished.emit(outcome)


def _job(
    sources: list[Any],
    settings: TrainingSettings,
    stop: threading.Event,
    stop_denoising: threading.Event,
) -> Generator[NoiseReport | TrainingStep | Canvas | DenoisingStep | Words, None, Outcome]:
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


def _summary(record: dict[str, Any]) -> str:
    score = record["score"]
    words = f"{record['steps']} steps in {record['seconds']:.0f} s, {record['loss'].upper()}."
    if score["psnr"] is not None:
        words += (
            " PSNR of one acquisition denoised, on held-out blocks: "
            f"{score['psnr']:.1f} ± {score['psnr_se']:.1f} dB."
        )
    return words


Kind = TypeVar("Kind", bound=Session)

_sessions: WeakKeyDictionary[Any, dict[type[Session], Session]] = WeakKeyDictionary()


def session_of(viewer: Any, kind: type[Kind]) -> Kind:
    """Return a viewer's session of a kind, made on first use."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    sessions = _sessions.setdefault(viewer, {})
    if kind not in sessions:
        sessions[kind] = kind(viewer)
    return sessions[kind]  # type: ignore[return-value]
