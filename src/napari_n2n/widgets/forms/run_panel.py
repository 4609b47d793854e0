"""The lower half of the Train dock: progress and curve of a run, and buttons that control it."""

from typing import Any

from napari.utils.theme import get_theme
from qtpy.QtWidgets import (
    QHBoxLayout,
    QMessageBox,
    QVBoxLayout,
    QWidget,
)

from napari_n2n.model.device import choose_device, device_title, memory_in_use
from napari_n2n.training.fit import TrainingStep
from napari_n2n.widgets.dock import ProgressBar, TextLabel, button, connect_while_alive
from napari_n2n.widgets.forms.comparison_controls import ComparisonControls
from napari_n2n.widgets.plots import TrainingCurve
from napari_n2n.widgets.sessions.training_session import TrainingSession

_WELCOME = (
    "Choose two noisy recordings of the same scene: two exposures, two scans, or two frames. "
    "No clean image is needed."
)
_GB = 10**9  # bytes


class RunPanel(QWidget):
    """Show a training run and control it.

    Parameters
    ----------
    viewer
        The viewer in which the run is shown.
    session
        Holds the run.

    Attributes
    ----------
    curve
        The curve of the run; the dock puts it into its own layout.
    """

    def __init__(self, viewer: Any, session: TrainingSession) -> None:
        super().__init__()
        self._viewer, self.session = viewer, session
        self._welcoming = True
        self._build()
        self._connect()
        self._use_theme()
        self._show_state()

    # -- parts --------------------------------------------------------------------------------

    def _build(self) -> None:
        self.pause_button = button("Pause", "Pause the training; Resume continues it")
        self.stop_button = button(
            "Stop",
            "Stop training and denoise with the best model; click again to stop denoising",
        )
        self.discard_button = button("Discard", "Stop now and discard the model and the result")
        self.comparison = ComparisonControls(
            self.session.comparison,
            "Show the plane on screen, denoised by the current network",
        )
        self.preview, self.split = self.comparison.preview, self.comparison.split
        self.divider = self.comparison.divider
        self.progress = ProgressBar()
        self.status, self.resources = TextLabel(), TextLabel()
        self.curve = TrainingCurve()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(_row(self.pause_button, self.stop_button, self.discard_button))
        column.addWidget(self.progress)
        column.addWidget(self.status)
        column.addWidget(self.resources)
        column.addWidget(self.comparison)

    def _connect(self) -> None:
        session = self.session
        slots: list[tuple[Any, Any]] = [
            (self._viewer.events.theme, self._use_theme),
            (session.started, self._show_state),
            (session.stepped, self._show_step),
            (session.message_changed, self._show_status),
            (session.denoising_progressed, self.progress.show_share),
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
        """Discard the run after the user has confirmed it."""
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
        self._show_status()
        self.resources.setText(self._resources() if running else "")
        self.curve.show_steps(session.curve)
        self.curve.setVisible(bool(session.curve) or running)
        if running and session.curve:
            step = session.curve[-1]
            self.progress.show_share(step.progress, step.remaining)

    def show_welcome(self, shown: bool) -> None:
        """Show or hide the text that asks for recordings; messages of a run replace it."""
        self._welcoming = shown
        self._show_status()

    def _show_status(self) -> None:
        self.status.setText(self.session.message or (_WELCOME if self._welcoming else ""))

    def _show_step(self, step: TrainingStep) -> None:
        self.progress.show_share(step.progress, step.remaining)
        self.pause_button.setEnabled(self.session.learning)
        score = "" if step.psnr is None else f", PSNR about {step.psnr:.1f} dB on held-out blocks"
        if not self.session.paused:  # a step may arrive after the pause
            self.status.setText(f"Step {step.step}{score}")
        self.resources.setText(self._resources())
        self.curve.show_steps(self.session.curve)

    def _resources(self) -> str:
        if self.session.recipe is None:
            return ""
        device = choose_device(self.session.recipe.settings.device)
        memory, own = memory_in_use(device)
        card = "" if own is None else f"{own / _GB:.1f} GB of graphics memory and "
        return f"On {device_title(device)}: {card}{memory / _GB:.1f} GB of memory in use"

    def _use_theme(self, _event: Any = None) -> None:
        self.curve.use_theme(get_theme(self._viewer.theme))


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for part in parts:
        row.addWidget(part)
    return row
