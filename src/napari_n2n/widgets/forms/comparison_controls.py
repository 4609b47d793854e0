"""Two boxes and a slider: preview, split view, and where its divider stands."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QSlider, QVBoxLayout, QWidget

from napari_n2n.widgets.dock import connect_while_alive
from napari_n2n.widgets.layers.comparison import Comparison

_FINE = 1000


class ComparisonControls(QWidget):
    """What a person may want to see on a stage.

    Parameters
    ----------
    stage
        What the viewer shows.
    preview_tip
        Says what the preview is of.
    """

    def __init__(self, stage: Comparison, preview_tip: str) -> None:
        super().__init__()
        self._stage = stage
        self.preview = _checkbox("Preview", preview_tip)
        self.split = _checkbox(
            "Split view",
            "Left of the divider the raw recording, right of it the cleaned one; drag the divider "
            "with the mouse, or move it with the slider and the arrow keys",
        )
        self.divider = QSlider(Qt.Orientation.Horizontal)
        self.divider.setRange(0, _FINE)
        self.divider.setSingleStep(_FINE // 100)
        self.divider.setToolTip("Where the divider stands: raw on its left, cleaned on its right")
        self.divider.setAccessibleName("Divider")
        boxes, column = QHBoxLayout(), QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        boxes.addWidget(self.preview)
        boxes.addWidget(self.split)
        column.addLayout(boxes)
        column.addWidget(self.divider)
        connect_while_alive(
            self, [(stage.changed, self._show), (stage.divider_moved, self._show_divider)]
        )
        self.preview.toggled.connect(self._ask_for_preview)
        self.split.toggled.connect(self._ask_for_split)
        self.divider.valueChanged.connect(self._move_divider)
        self._show()

    def _ask_for_preview(self, wanted: bool) -> None:
        self._stage.preview = wanted

    def _ask_for_split(self, wanted: bool) -> None:
        self._stage.split = wanted

    def _move_divider(self, value: int) -> None:
        if (divider := self._stage.divider) is not None:
            divider.share = value / _FINE

    def _show(self) -> None:
        stage = self._stage
        for box, on in ((self.preview, stage.preview), (self.split, stage.split)):
            box.blockSignals(True)
            box.setChecked(on)
            box.blockSignals(False)
        self.split.setEnabled(stage.is_open)
        self.divider.setVisible(stage.split)
        if stage.divider is not None:
            self._show_divider(stage.divider.share)

    def _show_divider(self, share: float) -> None:
        self.divider.blockSignals(True)
        self.divider.setValue(round(_FINE * share))
        self.divider.blockSignals(False)


def _checkbox(text: str, tooltip: str) -> QCheckBox:
    made = QCheckBox(text)
    made.setToolTip(tooltip)
    return made
