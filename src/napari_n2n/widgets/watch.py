"""The lower half of the Train dock: how far a run is, how well it does, and how to end it."""

from typing import Any

from napari.utils.theme import get_theme
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from napari_n2n.training import TrainingStep
from napari_n2n.widgets.curve import TrainingCurve
from napari_n2n.widgets.dock import Words, button, connect_while_alive, time_left
from napari_n2n.widgets.training_session import TrainingSession

_WELCOME = (
    "Choose two noisy recordings of the same scene: two exposures, two scans, or two frames. "
    "No clean image is needed."
)


class Watch(QWidget):
    """A run to look at.

    Parameters
    ----------
    viewer
        The viewer in which the run is shown.
    session
        The run.
    """

    def __init__(self, viewer: Any, session: TrainingSession) -> None:
        super().__init__()
        self._viewer, self.session = viewer, session
        self._build()
        self._connect()
        self._use_theme()
        self._show_state()

    def _build(self) -> None:
        self.stop_button = button("Stop", "End the training now; the model so far is kept")
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.words = Words()
        self.curve = TrainingCurve()
        self.buttons = QHBoxLayout()
        self.buttons.addWidget(self.stop_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self.buttons)
        column.addWidget(self.progress)
        column.addWidget(self.words)
        column.addWidget(self.curve, 1)

    def _connect(self) -> None:
        slots: list[tuple[Any, Any]] = [
            (self._viewer.events.theme, self._use_theme),
            (self.session.started, self._show_state),
            (self.session.stepped, self._show_step),
            (self.session.said, self.words.setText),
            (self.session.finished, self._show_state),
            (self.session.failed, self._show_state),
        ]
        connect_while_alive(self, slots)
        self.stop_button.clicked.connect(self.session.stop)

    def _show_state(self) -> None:
        running = self.session.running
        self.stop_button.setEnabled(running)
        self.progress.setVisible(running)
        self.words.setText(self.session.words or _WELCOME)
        self.curve.show_steps(self.session.curve)
        self.curve.setVisible(bool(self.session.curve) or running)

    def _show_step(self, step: TrainingStep) -> None:
        self.progress.setValue(round(1000 * step.progress))
        self.progress.setFormat(f"%p%  {time_left(step.remaining)}")
        score = "" if step.psnr is None else f", PSNR about {step.psnr:.1f} dB on held-out blocks"
        self.words.setText(f"Step {step.step}{score}")
        self.curve.show_steps(self.session.curve)

    def _use_theme(self, _event: Any = None) -> None:
        self.curve.use_theme(get_theme(self._viewer.theme))
