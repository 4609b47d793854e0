"""The training session of one viewer: its run, its curve, and the model that came out."""

import threading
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_n2n.denoising import DenoisingStep
from napari_n2n.recipe import Recipe
from napari_n2n.training import TrainingStep
from napari_n2n.widgets.denoising_job import Canvas
from napari_n2n.widgets.measuring import Measured, Measuring
from napari_n2n.widgets.session import Session, session_of
from napari_n2n.widgets.training_job import Outcome, Words, trained

if TYPE_CHECKING:
    from napari_n2n.model import Denoiser


class TrainingSession(Session):
    """One training run at a time, its curve, its model, and the layer that it brings.

    Attributes
    ----------
    curve
        Every `TrainingStep` so far.
    denoiser
        The model of the last run; None before the first.
    recipe
        What the last run is made from; None before the first.
    """

    stepped = Signal(TrainingStep)
    finished = Signal(Outcome)

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self.curve: list[TrainingStep] = []
        self.denoiser: Denoiser | None = None
        self.recipe: Recipe | None = None
        self._measuring = session_of(viewer, Measuring)
        self._stop, self._stop_denoising = threading.Event(), threading.Event()

    def train(self, recipe: Recipe) -> None:
        """Open the recordings, train, and denoise them, in the background."""
        if self.running:
            raise RuntimeError("a run is under way in this viewer")
        self.curve = []
        self.recipe = recipe
        self._growing = None
        known = self._measuring.known(recipe.recordings)
        self._measuring.hold(True)
        stops = self._stop, self._stop_denoising = threading.Event(), threading.Event()
        self._run(
            lambda: trained(recipe, known, *stops),
            "napari-n2n: training",
            list(recipe.recordings.sources),
            *stops,
        )

    def stop(self) -> None:
        """End the training, or the denoising after it; the best model so far is kept."""
        (self._stop if self._growing is None else self._stop_denoising).set()
        if self.running:
            self._say("Stopping ...")

    def _receive(self, message: Measured | TrainingStep | Canvas | DenoisingStep | Words) -> None:
        if isinstance(message, Words):
            self._say(message.text)
        elif isinstance(message, Measured):
            if self.recipe is not None:
                self._measuring.learn(self.recipe.recordings, message)
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
        self._measuring.hold(False)

    def _fail(self, message: str) -> None:
        super()._fail(message)
        self._measuring.hold(False)


def _summary(record: dict[str, Any]) -> str:
    score = record["score"]
    words = f"{record['steps']} steps in {record['seconds']:.0f} s, {record['loss'].upper()}."
    if score["psnr"] is not None:
        words += (
            " PSNR of one acquisition denoised, on held-out blocks: "
            f"{score['psnr']:.1f} ± {score['psnr_se']:.1f} dB."
        )
    return words
