"""The training session of a viewer: its run, its training curve, and its model."""

from dataclasses import replace
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_n2n.denoising.denoise import DenoisingStep
from napari_n2n.denoising.preview import PreviewImage
from napari_n2n.model.device import choose_device
from napari_n2n.model.record import ModelRecord
from napari_n2n.recipe import Recipe
from napari_n2n.training.fit import TrainingStep
from napari_n2n.widgets.dock import counted
from napari_n2n.widgets.layers.comparison import Comparison
from napari_n2n.widgets.layers.growing_layer import ResultStarted
from napari_n2n.widgets.layers.plane_on_screen import PreviewSource
from napari_n2n.widgets.sessions.measuring import Measured, Measuring
from napari_n2n.widgets.sessions.result_session import ResultSession
from napari_n2n.widgets.sessions.session import session_of
from napari_n2n.widgets.sessions.training_job import (
    Message,
    ModelTrained,
    Outcome,
    RunControl,
    StatusLine,
    train_and_denoise,
)

if TYPE_CHECKING:
    from napari_n2n.model.denoiser import Denoiser


class TrainingSession(ResultSession):
    """Runs one training job at a time, and keeps its curve, model and results.

    Attributes
    ----------
    curve
        The steps of the run so far; for a long run only every second, fourth, ... step.
    denoiser
        The latest model that was trained and not discarded; None before the first run.
    recipe
        Recordings and settings of the current run, or else of the model.
    comparison
        The preview and the divider.
    """

    stepped = Signal(TrainingStep)
    denoising_progressed = Signal(float, float)
    paused_changed = Signal(bool)
    finished = Signal(Outcome)

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self.curve: list[TrainingStep] = []
        self.denoiser: Denoiser | None = None
        self.recipe: Recipe | None = None
        self._before: tuple[Denoiser | None, Recipe | None] = None, None
        self._trained = False
        self._measuring = session_of(viewer, Measuring)
        self.comparison = Comparison(viewer)
        self._control = RunControl()

    @property
    def inputs(self) -> list[Any]:
        """The recordings of the run."""
        return list(self.recipe.recordings.inputs) if self.recipe else []

    def train(self, recipe: Recipe) -> None:
        """Open the recordings, train and denoise them in the background.

        Raises
        ------
        BadInput
            If another run is in progress in this viewer, or the device is not available.
        """
        self.refuse_a_second()
        choose_device(recipe.settings.device)  # raises before anything changes
        self.curve = []
        self._before, self._trained = (self.denoiser, self.recipe), False
        self.recipe = recipe
        self._growing, self.results = None, []
        self.comparison.close()
        known = self._measuring.known(recipe.recordings)
        self._measuring.hold(True)
        self._control = control = RunControl()
        self._run(
            lambda: train_and_denoise(recipe, known, control),
            "napari-n2n: training",
            control.end,
        )

    @property
    def paused(self) -> bool:
        """Whether the run is paused."""
        return self.running and self._control.paused

    @property
    def learning(self) -> bool:
        """Whether the network is being trained, or paused; False while the result is denoised."""
        return self.running and bool(self.curve) and self._growing is None

    def pause(self, paused: bool) -> None:
        """Pause the training, or resume it."""
        if self.learning:
            self._control.pause(paused)
            self._say(
                "Paused. The preview still follows the sliders." if paused else "Resuming ..."
            )
            self.paused_changed.emit(paused)

    def stop(self) -> None:
        """Stop the training, or the denoising after it; the best model so far is kept."""
        if self._growing is None:
            self._control.stop.set()
            self._control.pause(False)
        else:
            self._control.stop_denoising.set()
        if self.running:
            self._say("Stopping ...")

    def forget_dock(self) -> None:
        """Remove the divider or the error message of a finished run, because its dock is closed."""
        if not self.running:
            self.comparison.end_split()
            if self._failed:  # the slots of the dock are gone: nothing is emitted
                self._failed, self.message = False, ""

    def discard(self) -> None:
        """End the run and remove its model, layers and files."""
        if not self.running:
            return
        self._control.end(discard=True)
        self.comparison.close()
        for result in (*self.results, self._growing):
            if result is not None:
                result.remove()
        self._say("Discarding ...")

    def _receive(self, message: Message) -> None:
        if not self._control.discard.is_set():
            self._handle(message)

    @singledispatchmethod
    def _handle(self, message: Any) -> None:
        raise TypeError(f"unknown message: {message!r}")

    @_handle.register
    def _show_status(self, message: StatusLine) -> None:
        self._say(message.text)

    @_handle.register
    def _share_measurement(self, message: Measured) -> None:
        if self.recipe is not None:
            self._measuring.adopt(self.recipe.recordings, message)

    @_handle.register
    def _open_preview(self, message: PreviewSource) -> None:
        self.comparison.open(message, self._control.look_at)

    @_handle.register
    def _show_preview(self, message: PreviewImage) -> None:
        self.comparison.show(message)

    @_handle.register
    def _show_step(self, message: TrainingStep) -> None:
        self.curve.append(message)
        if len(self.curve) > _MOST_STEPS:
            self.curve[:] = thinned(self.curve)
        self.stepped.emit(message)

    @_handle.register
    def _keep_model(self, message: ModelTrained) -> None:
        self.denoiser, self._trained = message.denoiser, True
        if self._control.stop.is_set() and self.recipe is not None:
            self.recipe = replace(self.recipe, stopped=True)

    @_handle.register
    def _show_result(self, message: ResultStarted) -> None:
        if self._growing is not None:  # the result before this one
            self.results.append(self._growing)
            self._end_result(complete=True)
        self._begin_result(replace(message, under=message.quantity == "error"))
        self.comparison.end_run()

    @_handle.register
    def _show_denoising(self, message: DenoisingStep) -> None:
        self._grow(message)
        self._say(f"Denoising: {message.done} of {message.total} parts are done")
        self.denoising_progressed.emit(message.progress, self.remaining)

    def _finish(self, outcome: Outcome | None) -> None:
        if outcome is None:
            self.curve, self._growing, self.results = [], None, []
            self.denoiser, self.recipe = self._before
            self._end()
            self._say("Discarded.")
            self.discarded.emit()
            self._measuring.hold(False)
            return
        if outcome.complete and self._growing is not None:
            self.results.append(self._growing)
        self._end_result(complete=outcome.complete)
        self.comparison.end_run()
        self._end()
        summary = "" if self.denoiser is None else _summary(self.denoiser.record)
        self._say(f"{summary} {_where(outcome)}")
        self.finished.emit(outcome)
        self._measuring.hold(False)

    def _fail(self, error: str) -> None:
        self.comparison.close()
        if self._trained:
            error += f". {_MODEL_KEPT}"
        else:
            self.denoiser, self.recipe = self._before
        super()._fail(error)
        self._measuring.hold(False)


# Largest number of points of the training curve: more than the width of a dock in pixels, so that
# dropping every second point is not visible; few enough to draw at every step.
_MOST_STEPS = 2000


def thinned(curve: list[TrainingStep]) -> list[TrainingStep]:
    """Return every second step, and all with a new validation score."""
    scored = {step.held_out: step.step for step in reversed(curve)}
    return [
        step
        for number, step in enumerate(curve)
        if number % 2 == 0 or scored[step.held_out] == step.step
    ]


_MODEL_KEPT = "The trained model is kept: save it, or apply it in the Denoise dock"


def _where(outcome: Outcome) -> str:
    if not outcome.count:
        return "Save the model, or apply it to a recording."
    if not outcome.complete:
        return "Denoising was stopped: apply the model in the Denoise dock."
    if outcome.folder is None:
        return "The result is deleted when napari closes: save the image to keep it."
    return f"The result is kept in {outcome.folder}."


def _summary(record: ModelRecord) -> str:
    score = record.score
    words = f"{counted(record.steps, 'step')} in {record.seconds:.0f} s, {record.loss.upper()}."
    if score is not None and score.psnr is not None:
        words += (
            " PSNR of one acquisition denoised, on held-out blocks: "
            f"{score.psnr:.1f} ± {score.psnr_se:.1f} dB."
        )
    elif record.score_reason is not None:
        words += f" No PSNR: {record.score_reason}."
    if record.error_reason is not None:
        words += f" No error map: {record.error_reason}."
    return words
