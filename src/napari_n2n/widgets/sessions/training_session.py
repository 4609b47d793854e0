"""The training session of one viewer: its run, its curve, and the model that came out."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_n2n.denoising.preview import Look
from napari_n2n.model.device import choose_device
from napari_n2n.model.record import ModelRecord
from napari_n2n.recipe import Recipe
from napari_n2n.training.fit import TrainingStep
from napari_n2n.widgets.layers.comparison import Stage
from napari_n2n.widgets.layers.growing_layer import Canvas
from napari_n2n.widgets.sessions.measuring import Measured, Measuring
from napari_n2n.widgets.sessions.session import Session, session_of
from napari_n2n.widgets.sessions.training_job import (
    Learned,
    Message,
    Opened,
    Orders,
    Outcome,
    Words,
    trained,
)

if TYPE_CHECKING:
    from napari_n2n.model.denoiser import Denoiser
    from napari_n2n.widgets.layers.growing_layer import GrowingLayer


class TrainingSession(Session):
    """One training run at a time, its curve, its model, and the layer that it brings.

    Attributes
    ----------
    curve
        The run so far; of a long one every other `TrainingStep`, or fewer.
    denoiser
        The model of the last run that learned one and was not discarded; None before the first.
    recipe
        What the run under way is made from; else what the model is.
    stage
        What the viewer shows of the run: the preview, and the divider.
    """

    stepped = Signal(TrainingStep)
    made = Signal(float, float)
    paused_changed = Signal(bool)
    finished = Signal(Outcome)
    discarded = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self.curve: list[TrainingStep] = []
        self.denoiser: Denoiser | None = None
        self.recipe: Recipe | None = None
        self._before: tuple[Denoiser | None, Recipe | None] = None, None
        self._learned = False
        self._measuring = session_of(viewer, Measuring)
        self.stage = Stage(viewer)
        self._orders = Orders()
        self._whole: list[GrowingLayer] = []

    def train(self, recipe: Recipe) -> None:
        """Open the recordings, train, and denoise them, in the background.

        Raises
        ------
        BadInput
            If a run is under way in this viewer, or the device cannot be had.
        """
        self.refuse_a_second()
        choose_device(recipe.settings.device)  # one that is not there is refused before anything
        self.curve = []
        self._before, self._learned = (self.denoiser, self.recipe), False
        self.recipe = recipe
        self._growing, self._whole = None, []
        self.stage.close()
        known = self._measuring.known(recipe.recordings)
        self._measuring.hold(True)
        self._orders = orders = Orders()
        self._run(
            lambda: trained(recipe, known, orders),
            "napari-n2n: training",
            orders.end,
        )

    @property
    def paused(self) -> bool:
        """Whether the run waits."""
        return self.running and self._orders.paused

    @property
    def learning(self) -> bool:
        """Whether the network learns, or waits to go on; not while the result is made."""
        return self.running and bool(self.curve) and self._growing is None

    def pause(self, paused: bool) -> None:
        """Let the training wait, or go on."""
        if self.learning:
            self._orders.pause(paused)
            self._say("Paused. The plane on screen is still shown." if paused else "Going on ...")
            self.paused_changed.emit(paused)

    def stop(self) -> None:
        """End the training, or the denoising after it; the best model so far is kept."""
        if self._growing is None:
            self._orders.stop.set()
            self._orders.pause(False)
        else:
            self._orders.stop_denoising.set()
        if self.running:
            self._say("Stopping ...")

    def discard(self) -> None:
        """End the run and forget it, with all that it has brought."""
        if not self.running:
            return
        self._orders.end(discard=True)
        self.stage.close()
        for result in (*self._whole, self._growing):
            if result is not None:
                result.remove()
        self._say("Discarding ...")

    def _receive(self, message: Message) -> None:
        if self._orders.discard.is_set():
            return
        if isinstance(message, Words):
            self._say(message.text)
        elif isinstance(message, Measured):
            if self.recipe is not None:
                self._measuring.learn(self.recipe.recordings, message)
        elif isinstance(message, Opened):
            self.stage.open(message, self._orders.look_at)
        elif isinstance(message, Look):
            self.stage.show(message)
        elif isinstance(message, TrainingStep):
            self.curve.append(message)
            if len(self.curve) > _MOST_STEPS:
                self.curve[:] = thinned(self.curve)
            self.stepped.emit(message)
        elif isinstance(message, Learned):
            self.denoiser, self._learned = message.denoiser, True
            if self._orders.stop.is_set() and self.recipe is not None:
                self.recipe = replace(self.recipe, stopped=True)
        elif isinstance(message, Canvas):
            if self._growing is not None:  # the result before this one
                self._whole.append(self._growing)
                self._settle(whole=True)
            self._grow(message)
            self.stage.end_run()
        else:
            self._grow(message)
            self._say(f"Denoising: {message.done} of {message.total} parts are done")
            self.made.emit(message.progress, self.remaining)

    def _finish(self, outcome: Outcome | None) -> None:
        if outcome is None:
            self.curve, self._growing = [], None
            self.denoiser, self.recipe = self._before
            self._end()
            self._say("Discarded.")
            self.discarded.emit()
            self._measuring.hold(False)
            return
        self._settle(whole=outcome.whole)
        self.stage.end_run()
        self._end()
        learned = "" if self.denoiser is None else _summary(self.denoiser.record)
        self._say(f"{learned} {_where(outcome)}")
        self.finished.emit(outcome)
        self._measuring.hold(False)

    def _fail(self, message: str) -> None:
        self.stage.close()
        if self._learned:
            message += f". {_MODEL_KEPT}"
        else:
            self.denoiser, self.recipe = self._before
        super()._fail(message)
        self._measuring.hold(False)


_MOST_STEPS = 2000


def thinned(curve: list[TrainingStep]) -> list[TrainingStep]:
    """Return every other step, and all at which held-out blocks were looked at."""
    looks = {step.held_out: step.step for step in reversed(curve)}
    return [
        step
        for number, step in enumerate(curve)
        if number % 2 == 0 or looks[step.held_out] == step.step
    ]


_MODEL_KEPT = "The trained model is kept: save it, or apply it in the Denoise dock"


def _where(outcome: Outcome) -> str:
    if not outcome.made:
        return "Save the model, or apply it to a recording."
    if not outcome.whole:
        return "Not all is denoised: the Denoise dock applies the model."
    if outcome.kept is None:
        return "The result is gone when napari closes: save the layer to keep it."
    return f"The result is kept in {outcome.kept}."


def _summary(record: ModelRecord) -> str:
    score = record.score
    words = f"{record.steps} steps in {record.seconds:.0f} s, {record.loss.upper()}."
    if score is not None and score.psnr is not None:
        words += (
            " PSNR of one acquisition denoised, on held-out blocks: "
            f"{score.psnr:.1f} ± {score.psnr_se:.1f} dB."
        )
    return words
