"""The Train dock: pick two acquisitions, train, get the clean layer, keep the model."""

from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FloatSpinBox
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QLabel

from napari_n2n.errors import BadInput
from napari_n2n.losses import LOSSES
from napari_n2n.settings import TrainingSettings
from napari_n2n.widgets.dock import Dock, button, connect_while_alive
from napari_n2n.widgets.form import device_menu
from napari_n2n.widgets.pick import PairPicker
from napari_n2n.widgets.session import session_of
from napari_n2n.widgets.training_session import TrainingSession
from napari_n2n.widgets.watch import Watch

_AUTO = "auto - by the noise"


class TrainWidget(Dock):
    """The whole path on one dock.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered and which receives the result.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.session = session_of(napari_viewer, TrainingSession)
        self._build()
        self._connect()
        self._show_state()

    # -- what is on it ------------------------------------------------------------------------

    def _build(self) -> None:
        self.picker = PairPicker(self.viewer)
        self.source = self.picker.source
        self.layer_a, self.layer_b = self.picker.layer_a, self.picker.layer_b
        self.file_a, self.file_b = self.picker.file_a, self.picker.file_b
        self.loss = ComboBox(
            label="Loss",
            choices=[(_AUTO, "auto"), *((loss.title, loss.name) for loss in LOSSES.values())],
            tooltip="Which value the network looks for among the noisy ones",
        )
        self.loss_words = QLabel()
        self.loss_words.setWordWrap(True)
        self.loss_words.setTextFormat(Qt.TextFormat.PlainText)
        self.device = device_menu()
        self.minutes = FloatSpinBox(
            label="Minutes",
            value=2.0,
            min=0.0,
            max=24 * 60,
            step=0.5,
            tooltip="How long to train; at 0 it ends by itself when nothing improves any more",
        )
        self.minutes.native.setSpecialValueText("until nothing improves")
        for field in (self.loss, self.device, self.minutes):
            self.picker.rows.addRow(field.label, field.native)
        self.train_button = button("Train", "Learn from the two acquisitions, in the background")
        self.save_button = button("Save model ...", "Keep the model for other recordings like it")
        self.watch = Watch(self.viewer, self.session)
        self.stop_button, self.words = self.watch.stop_button, self.watch.words

        self.stack(
            self.picker,
            self.loss_words,
            self.train_button,
            self.watch,
            self.save_button,
            stretched=self.watch,
        )

    def _connect(self) -> None:
        slots: list[tuple[Any, Any]] = [
            (self.session.started, self._show_state),
            (self.session.measured, self._show_loss),
            (self.session.finished, self._show_state),
            (self.session.failed, self._show_state),
        ]
        connect_while_alive(self, slots)
        self.picker.changed.connect(self._forget_noise)
        self.loss.changed.connect(self._show_loss)
        self.train_button.clicked.connect(self.train)
        self.save_button.clicked.connect(self._ask_where_to_save)

    # -- the loss -----------------------------------------------------------------------------

    def _forget_noise(self) -> None:
        if not self.session.running:
            self.session.report = None
            self._show_loss()

    def _show_loss(self) -> None:
        """Say what the loss is for, what the noise calls for, and what the noise warns of."""
        loss, report = LOSSES.get(self.loss.value), self.session.report
        words = [loss.right_when] if loss else []
        if report is None:
            words = words or ["The measured noise decides."]
        elif loss is None:
            words = [report.reason]
        elif loss.name != report.loss:
            words.append(f"But the measured noise calls for {report.loss.upper()}. {report.reason}")
        if report is not None:
            words += [f"⚠ {warning.message}" for warning in report.warnings]
        self.loss_words.setText("\n".join(words))

    # -- running ------------------------------------------------------------------------------

    def train(self) -> None:
        """Start the run that the form describes."""
        try:
            sources = self.picker.chosen()
            settings = TrainingSettings(
                loss=self.loss.value,
                minutes=self.minutes.value or None,
                device=self.device.value,
            )
        except BadInput as error:
            self.words.setText(str(error))
            show_error(str(error))
            return
        self.session.train(sources, settings)

    def _show_state(self) -> None:
        running = self.session.running
        self.picker.setEnabled(not running)
        self.train_button.setEnabled(not running)
        self.save_button.setEnabled(not running and self.session.denoiser is not None)
        self._show_loss()

    # -- keeping ------------------------------------------------------------------------------

    def _ask_where_to_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save model", "model.n2n", "napari-n2n model (*.n2n)"
        )
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Write the model of the last run."""
        if self.session.denoiser is None:
            return
        try:
            saved = self.session.denoiser.save(path)
        except OSError as error:
            show_error(f"{path}: cannot be written ({error.strerror}): choose another folder")
            return
        show_info(f"Saved {saved}")
