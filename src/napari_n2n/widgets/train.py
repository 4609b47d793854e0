"""The Train dock: pick two acquisitions, train, get the clean layer, keep the model."""

from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FileEdit, FloatSpinBox, Widget
from napari.layers import Image
from napari.utils.notifications import show_error, show_info
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_n2n.errors import BadInput
from napari_n2n.losses import LOSSES
from napari_n2n.settings import TrainingSettings
from napari_n2n.training import TrainingStep
from napari_n2n.widgets.curve import TrainingCurve
from napari_n2n.widgets.session import session_of

_AUTO = "auto - by the noise"


class TrainWidget(QScrollArea):
    """The whole path on one dock.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered and which receives the result.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.session = session_of(napari_viewer)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(300)
        self._build()
        self._connect()
        self.reset_choices()
        self._show_source()
        self._show_state()

    # -- what is on it ------------------------------------------------------------------------

    def _build(self) -> None:
        self.source = ComboBox(
            label="From",
            choices=["layers", "files"],
            tooltip="Take the two acquisitions from open layers, or straight from files",
        )
        tip = "noisy recording of the scene; any of the two may be this one"
        self.layer_a = ComboBox(label="A", choices=self._image_layers, tooltip=f"One {tip}")
        self.layer_b = ComboBox(label="B", choices=self._image_layers, tooltip=f"Another {tip}")
        self.file_a = FileEdit(label="A", tooltip=f"One {tip}: TIFF, OME-Zarr, npy or PNG")
        self.file_b = FileEdit(label="B", tooltip=f"Another {tip}: TIFF, OME-Zarr, npy or PNG")
        self.loss = ComboBox(
            label="Loss",
            choices=[(_AUTO, "auto"), *((loss.title, loss.name) for loss in LOSSES.values())],
            tooltip="Which value the network looks for among the noisy ones",
        )
        self.loss_words = QLabel()
        self.loss_words.setWordWrap(True)
        self.device = ComboBox(
            label="Device",
            choices=["auto", "cpu", "cuda", "mps"],
            tooltip="Where to compute; auto takes the graphics card if there is one",
        )
        self.minutes = FloatSpinBox(
            label="Minutes",
            value=2.0,
            min=0.0,
            max=24 * 60,
            step=0.5,
            tooltip="How long to train; at 0 it ends by itself when nothing improves any more",
        )
        self.minutes.native.setSpecialValueText("until nothing improves")
        self.form = QWidget()
        self._rows = QFormLayout(self.form)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        field: Widget
        for field in (self.source, self.layer_a, self.layer_b, self.file_a, self.file_b, self.loss):
            self._rows.addRow(field.label, field.native)
        self._rows.addRow("", self.loss_words)
        for field in (self.device, self.minutes):
            self._rows.addRow(field.label, field.native)
        self.train_button = _button("Train", "Learn from the two acquisitions, in the background")
        self.stop_button = _button("Stop", "End the training now; the model so far is kept")
        self.save_button = _button("Save model ...", "Keep the model for other recordings like it")
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.curve = TrainingCurve()

        buttons = QHBoxLayout()
        buttons.addWidget(self.train_button, 2)
        buttons.addWidget(self.stop_button, 1)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 6, 6, 6)
        column.addWidget(self.form)
        column.addLayout(buttons)
        column.addWidget(self.progress)
        column.addWidget(self.words)
        column.addWidget(self.curve, 1)
        column.addWidget(self.save_button)
        self.setWidget(inside)

    def _connect(self) -> None:
        slots = [
            (self.viewer.layers.events.inserted, self.reset_choices),
            (self.viewer.layers.events.removed, self.reset_choices),
            (self.viewer.layers.events.reordered, self.reset_choices),
            (self.viewer.events.theme, self._use_theme),
            (self.session.started, self._show_state),
            (self.session.stepped, self._show_step),
            (self.session.said, self._show_words),
            (self.session.finished, self._show_state),
            (self.session.failed, self._show_state),
        ]
        for signal, slot in slots:
            signal.connect(slot)
        # Viewer and session outlive the dock.
        self.destroyed.connect(lambda: [signal.disconnect(slot) for signal, slot in slots])
        self._use_theme()
        self.source.changed.connect(self._show_source)
        self.loss.changed.connect(self._show_loss)
        self._show_loss()
        self.train_button.clicked.connect(self.train)
        self.stop_button.clicked.connect(self.session.stop)
        self.save_button.clicked.connect(self._ask_where_to_save)

    # -- choosing -----------------------------------------------------------------------------

    def _image_layers(self, _menu: Any = None) -> list[tuple[str, Image]]:
        return [(layer.name, layer) for layer in self.viewer.layers if isinstance(layer, Image)]

    def reset_choices(self, _event: Any = None) -> None:
        """Offer the layers that are there now; the second menu starts on the second one."""
        untouched = self.layer_a.value is self.layer_b.value
        self.layer_a.reset_choices()
        self.layer_b.reset_choices()
        choices = self.layer_b.choices
        if untouched and len(choices) > 1:
            self.layer_b.value = choices[1]

    def _show_source(self) -> None:
        files = self.source.value == "files"
        for menu in (self.layer_a, self.layer_b):
            self._show_row(menu, not files)
        for edit in (self.file_a, self.file_b):
            self._show_row(edit, files)

    def _show_row(self, field: Widget, visible: bool) -> None:
        self._rows.setRowVisible(field.native, visible)

    def _show_loss(self) -> None:
        loss = LOSSES.get(self.loss.value)
        self.loss_words.setText(loss.right_when if loss else "The measured noise decides.")

    def chosen(self) -> list[Any]:
        """Return the two acquisitions that are chosen: layers or paths.

        Raises
        ------
        BadInput
            If one is missing or they are the same.
        """
        if self.source.value == "files":
            paths = [Path(str(edit.value)) for edit in (self.file_a, self.file_b)]
            if any(path == Path() for path in paths):
                raise BadInput("Choose two files: two noisy recordings of the same scene")
            return paths
        layers = [self.layer_a.value, self.layer_b.value]
        if None in layers:
            raise BadInput("Open two noisy recordings of the same scene first (or choose files)")
        if layers[0] is layers[1]:
            raise BadInput(
                f"A and B are both '{layers[0].name}': choose two separate recordings of the scene"
            )
        return layers

    # -- running ------------------------------------------------------------------------------

    def train(self) -> None:
        """Start the run that the form describes."""
        try:
            sources = self.chosen()
            settings = TrainingSettings(
                loss=self.loss.value,
                minutes=self.minutes.value or None,
                device=self.device.value,
            )
        except BadInput as error:
            self.words.setText(str(error))
            show_error(str(error))
            return
        self.window().installEventFilter(self)
        self.session.train(sources, settings)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """End the run when the window closes."""
        if event.type() == QEvent.Type.Close:
            self.session.stop()
        return super().eventFilter(watched, event)

    def _show_state(self) -> None:
        running = self.session.running
        self.form.setEnabled(not running)
        self.train_button.setEnabled(not running)
        self.stop_button.setEnabled(running)
        self.save_button.setEnabled(not running and self.session.denoiser is not None)
        self.progress.setVisible(running)
        self.words.setText(self.session.words or _WELCOME)
        self.curve.show_steps(self.session.curve)
        self.curve.setVisible(bool(self.session.curve) or running)

    def _show_words(self, words: str) -> None:
        self.words.setText(words)

    def _show_step(self, step: TrainingStep) -> None:
        self.progress.setValue(round(1000 * step.progress))
        self.progress.setFormat(f"%p%  {time_left(step.remaining)}")
        score = "" if step.psnr is None else f", PSNR about {step.psnr:.1f} dB on held-out blocks"
        self.words.setText(f"Step {step.step}{score}")
        self.curve.show_steps(self.session.curve)

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

    def _use_theme(self, _event: Any = None) -> None:
        self.curve.use_theme(get_theme(self.viewer.theme))


_WELCOME = (
    "Choose two noisy recordings of the same scene: two exposures, two scans, or two frames. "
    "No clean image is needed."
)


def time_left(seconds: float) -> str:
    """Say how long something still takes."""
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h left"
    return f"{seconds / 60:.0f} min left" if seconds > 90 else f"{seconds:.0f} s left"


def _button(text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    return button
