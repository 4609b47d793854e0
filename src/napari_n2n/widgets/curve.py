"""The live curve: training loss and held-out error over the steps."""

import math
from typing import Any

import pyqtgraph as pg

from napari_n2n.training import TrainingStep
from napari_n2n.widgets.themed_plot import ThemedPlot, ink


class TrainingCurve(ThemedPlot):
    """Two lines that grow: what the network is trained on, and what it never saw."""

    def __init__(self) -> None:
        super().__init__()
        self.setLogMode(y=True)
        self.setLabel("bottom", "step")
        self.setLabel("left", "error")
        self.addLegend(offset=(-8, 8))
        self._training = self.plot(name="training")
        self._held_out = self.plot(name="held-out", symbol="o", symbolSize=5)

    def show_steps(self, steps: list[TrainingStep]) -> None:
        """Draw a run so far."""
        seen = [step for step in steps if math.isfinite(step.loss) and step.loss > 0]
        self._training.setData([step.step for step in seen], [step.loss for step in seen])
        looks = {step.held_out: step.step for step in reversed(seen) if step.held_out}
        points = sorted((at, error) for error, at in looks.items())
        self._held_out.setData([at for at, _ in points], [error for _, error in points])

    def use_theme(self, theme: Any) -> None:
        """Take the colours of a napari theme."""
        training, held_out = ink(theme, "secondary"), ink(theme, "current")
        self._training.setPen(pg.mkPen(training, width=1.5))
        self._held_out.setPen(pg.mkPen(held_out, width=2))
        self._held_out.setSymbolBrush(held_out)
        self._held_out.setSymbolPen(held_out)
        super().use_theme(theme)
