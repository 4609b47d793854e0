"""The live curve: training loss and held-out error over the steps."""

import math
from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QSize

from napari_n2n.training import TrainingStep


class TrainingCurve(pg.PlotWidget):
    """Two lines that grow: what the network is trained on, and what it never saw."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(150)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        self.setMenuEnabled(False)
        self.setLogMode(y=True)
        self.setLabel("bottom", "step")
        self.setLabel("left", "error")
        self.getAxis("left").enableAutoSIPrefix(False)
        self.getAxis("bottom").enableAutoSIPrefix(False)
        self._legend = self.addLegend(offset=(-8, 8))
        self._training = self.plot(name="training")
        self._held_out = self.plot(name="held-out", symbol="o", symbolSize=5)

    def sizeHint(self) -> QSize:
        """Return a height that leaves room for the form above it."""
        return QSize(280, 180)

    def show_steps(self, steps: list[TrainingStep]) -> None:
        """Draw a run so far."""
        seen = [step for step in steps if math.isfinite(step.loss) and step.loss > 0]
        self._training.setData([step.step for step in seen], [step.loss for step in seen])
        looks = {step.held_out: step.step for step in reversed(seen) if step.held_out}
        points = sorted((at, error) for error, at in looks.items())
        self._held_out.setData([at for at, _ in points], [error for _, error in points])

    def use_theme(self, theme: Any) -> None:
        """Take the colours of a napari theme."""
        background, text, training, held_out = (
            colour.as_rgb_tuple()[:3]
            for colour in (theme.background, theme.text, theme.secondary, theme.current)
        )
        self.setBackground(background)
        for side in ("left", "bottom"):
            self.getAxis(side).setPen(text)
            self.getAxis(side).setTextPen(text)
        self._legend.setLabelTextColor(text)
        for sample, label in self._legend.items:
            label.setText(label.text, color=text)
            sample.update()
        self._training.setPen(pg.mkPen(training, width=1.5))
        self._held_out.setPen(pg.mkPen(held_out, width=2))
        self._held_out.setSymbolBrush(held_out)
        self._held_out.setSymbolPen(held_out)
