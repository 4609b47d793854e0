"""Controls of the comparison: preview, split view, and the position of its divider."""

from pathlib import Path

from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QSlider, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_n2n.errors import BadInput, explain
from napari_n2n.widgets.dock import button, connect_while_alive, notify
from napari_n2n.widgets.layers.comparison import Comparison

_SLIDER_STEPS = 1000  # of the slider: more than a dock has pixels across


class ComparisonControls(QWidget):
    """Two checkboxes, a slider and a button for a comparison.

    Parameters
    ----------
    stage
        The preview and the divider in the viewer.
    preview_tip
        Tooltip of the checkbox "Preview".
    """

    def __init__(self, stage: Comparison, preview_tip: str) -> None:
        super().__init__()
        self._stage = stage
        self.preview = _checkbox("Preview", preview_tip)
        self.split = _checkbox(
            "Split view",
            "Show the raw image left of a divider and the denoised image right of it",
        )
        self.divider = QSlider(Qt.Orientation.Horizontal)
        self.divider.setRange(0, _SLIDER_STEPS)
        self.divider.setSingleStep(_SLIDER_STEPS // 100)  # an arrow key moves it by 1 %
        self.divider.setToolTip("Position of the divider: raw on its left, denoised on its right")
        self.divider.setAccessibleName("Divider")
        boxes, column = QHBoxLayout(), QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        boxes.addWidget(self.preview)
        boxes.addWidget(self.split)
        self.picture_button = button("Picture ...", "Save a PNG: raw beside denoised, as on screen")
        boxes.addWidget(self.picture_button)
        column.addLayout(boxes)
        column.addWidget(self.divider)
        connect_while_alive(
            self, [(stage.changed, self._show), (stage.divider_moved, self._show_divider)]
        )
        self.preview.toggled.connect(self._set_preview)
        self.split.toggled.connect(self._set_split)
        self.divider.valueChanged.connect(self._move_divider)
        self.picture_button.clicked.connect(self._ask_for_picture)
        self._show()

    def _ask_for_picture(self) -> None:
        try:
            self._stage.check_picture()
        except BadInput as error:
            notify(error)
            return
        path, _ = QFileDialog.getSaveFileName(
            self, "Save picture", "before_after.png", "PNG (*.png)"
        )
        if path:
            self.save_picture(Path(path))

    def save_picture(self, path: Path) -> None:
        """Save what is on screen, raw beside denoised."""
        try:
            saved = self._stage.save_picture(path)
        except (BadInput, OSError) as error:
            notify(explain(error) or str(error))
            return
        show_info(f"Saved {saved}")

    def _set_preview(self, on: bool) -> None:
        self._stage.preview = on

    def _set_split(self, on: bool) -> None:
        self._stage.split = on

    def _move_divider(self, value: int) -> None:
        if (divider := self._stage.divider) is not None:
            divider.share = value / _SLIDER_STEPS

    def _show(self) -> None:
        stage = self._stage
        for box, on in ((self.preview, stage.preview), (self.split, stage.split)):
            with signals_blocked(box):
                box.setChecked(on)
        self.split.setEnabled(stage.is_open)
        self.divider.setVisible(stage.split)
        if stage.divider is not None:
            self._show_divider(stage.divider.share)

    def _show_divider(self, share: float) -> None:
        with signals_blocked(self.divider):
            self.divider.setValue(round(_SLIDER_STEPS * share))


def _checkbox(text: str, tooltip: str) -> QCheckBox:
    made = QCheckBox(text)
    made.setToolTip(tooltip)
    return made
