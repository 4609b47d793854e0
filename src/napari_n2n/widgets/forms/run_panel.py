"""The lower half of the Train dock: how far a run is, how well it does, and how to end it."""

import math
from typing import Any

from napari.utils.theme import get_theme
from qtpy.QtWidgets import (
    QHBoxLayout,
    QMessageBox,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from napari_n2n.model.device import choose_device, device_title, memory_in_use
from napari_n2n.training.fit import TrainingStep
from napari_n2n.widgets.dock import Words, button, connect_while_alive, time_left
from napari_n2n.widgets.forms.comparison_controls import ComparisonControls
from napari_n2n.widgets.plots import TrainingCurve
from napari_n2n.widgets.sessions.training_session import TrainingSession

_WELCOME = (
    "Choose two noisy recordings of the same scene: two exposures, two scans, or two frames. "
    "No clean image is needed."
)
_FINE = 1000
_GB = 10**9


class RunPanel(QWidget):
    """A run to look at.

    Parameters
    ----------
    viewer
        The viewer in which the run is shown.
    session
        The run.

    Attributes
    ----------
    curve
        How well the run does; the dock finds it a place.
    """

    def __init__(self, viewer: Any, session: TrainingSession) -> None:
        super().__init__()
        self._viewer, self.session = viewer, session
        self._inviting = True
        self._build()
        self._connect()
        self._use_theme()
        self._show_state()

    # -- what is on it ------------------------------------------------------------------------

    def _build(self) -> None:
        self.pause_button = button("Pause", "Let the training wait, and go on later")
        self.stop_button = button(
            "Stop",
            "End the training now and denoise with the best model so far; pressed once more, end "
            "that too",
        )
        self.discard_button = button("Discard", "End the run now and keep nothing of it")
        self.comparison = ComparisonControls(
            self.session.comparison,
            "Shows the plane on screen as the network would clean it now, in a layer on top of the "
            "others; follows the sliders, and the part in view of large planes",
        )
        self.preview, self.split = self.comparison.preview, self.comparison.split
        self.divider = self.comparison.divider
        self.progress = QProgressBar()
        self.progress.setRange(0, _FINE)
        self.words, self.resources = Words(), Words()
        self.curve = TrainingCurve()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(_row(self.pause_button, self.stop_button, self.discard_button))
        column.addWidget(self.progress)
        column.addWidget(self.words)
        column.addWidget(self.resources)
        column.addWidget(self.comparison)

    def _connect(self) -> None:
        session = self.session
        slots: list[tuple[Any, Any]] = [
            (self._viewer.events.theme, self._use_theme),
            (session.started, self._show_state),
            (session.stepped, self._show_step),
            (session.message_changed, self.words.setText),
            (session.denoising_progressed, self._show_share),
            (session.paused_changed, self._show_state),
            (session.finished, self._show_state),
            (session.discarded, self._show_state),
            (session.failed, self._show_state),
        ]
        connect_while_alive(self, slots)
        self.pause_button.clicked.connect(lambda: session.pause(not session.paused))
        self.stop_button.clicked.connect(session.stop)
        self.discard_button.clicked.connect(self.discard)

    # -- the run ------------------------------------------------------------------------------

    def discard(self) -> None:
        """End the run and drop it, once the person has said so twice."""
        sure = QMessageBox.question(
            self, "Discard this run?", "The run ends, and its model and its result are lost."
        )
        if sure == QMessageBox.StandardButton.Yes:
            self.session.discard()

    def _show_state(self) -> None:
        session = self.session
        running = session.running
        self.pause_button.setEnabled(session.learning)
        self.pause_button.setText("Resume" if session.paused else "Pause")
        self.stop_button.setEnabled(running)
        for one in (self.pause_button, self.stop_button, self.discard_button, self.progress):
            one.setVisible(running)
        self._say_something()
        self.resources.setText(self._resources() if running else "")
        self.curve.show_steps(session.curve)
        self.curve.setVisible(bool(session.curve) or running)
        if running and session.curve:
            self._show_progress(session.curve[-1])

    def invite(self, wanted: bool) -> None:
        """Ask for recordings while there is no run to speak of, or no longer."""
        self._inviting = wanted
        self._say_something()

    def _say_something(self) -> None:
        self.words.setText(self.session.message or (_WELCOME if self._inviting else ""))

    def _show_step(self, step: TrainingStep) -> None:
        self._show_progress(step)
        self.pause_button.setEnabled(self.session.learning)
        score = "" if step.psnr is None else f", PSNR about {step.psnr:.1f} dB on held-out blocks"
        if not self.session.paused:  # a step may have been on its way
            self.words.setText(f"Step {step.step}{score}")
        self.resources.setText(self._resources())
        self.curve.show_steps(self.session.curve)

    def _show_progress(self, step: TrainingStep) -> None:
        self._show_share(step.progress, step.remaining)

    def _show_share(self, share: float, seconds: float) -> None:
        left = time_left(seconds) if math.isfinite(seconds) else ""
        self.progress.setValue(round(_FINE * share))
        self.progress.setFormat(f"%p%  {left}")

    def _resources(self) -> str:
        if self.session.recipe is None:
            return ""
        device = choose_device(self.session.recipe.settings.device)
        memory, own = memory_in_use(device)
        card = "" if own is None else f"{own / _GB:.1f} GB of its memory and "
        return f"On {device_title(device)}: {card}{memory / _GB:.1f} GB of memory in use"

    def _use_theme(self, _event: Any = None) -> None:
        self.curve.use_theme(get_theme(self._viewer.theme))


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for part in parts:
        row.addWidget(part)
    return row
