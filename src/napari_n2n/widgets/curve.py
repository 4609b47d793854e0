"""The live curve: the training loss over the steps, and how well blocks do that are held out."""

import math
from typing import Any

import numpy as np
import pyqtgraph as pg

from napari_n2n.training import TrainingStep
from napari_n2n.widgets.themed_plot import ThemedPlot, ink

_SPAN = 20.0
_FEWEST_MARKS = 4
_EDGE = 0.03


class _ErrorAxis(pg.AxisItem):
    """Marks round numbers on a logarithmic axis, also where it spans less than a power of ten."""

    def tickValues(self, lowest: float, highest: float, size: float) -> list[Any]:
        """Return the logarithms of the numbers to mark, as (distance, values)."""
        low, high = 10**lowest, 10**highest
        if high > _SPAN * low:
            return super().tickValues(lowest, highest, size)
        step = 10 ** math.floor(math.log10(max(high - low, 1e-12)))
        while (high - low) / step < _FEWEST_MARKS:
            step /= 2
        room = _EDGE * (high - low)  # for the words, which reach beyond their marks
        marks = np.arange(math.ceil((low + room) / step), (high - room) / step + 1e-9) * step
        return [(1.0, np.log10(marks[marks > 0]).tolist())]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        """Write the numbers out."""
        return [f"{10**value:.3g}" for value in values]


class TrainingCurve(ThemedPlot):
    """Two lines that grow: what the network is trained on, and what it never saw.

    The second is the PSNR, on an axis of its own at the right; where there can be none, it is the
    held-out error.
    """

    def __init__(self) -> None:
        super().__init__(axisItems={"left": _ErrorAxis("left")})
        self.setLogMode(y=True)
        self.setLabel("bottom", "step")
        self.setLabel("left", "error")
        self.setLabel("right", "PSNR, dB")
        self._training = self.plot()
        self.held_out = self.plot(symbol="o", symbolSize=5)
        self.psnr = pg.PlotDataItem(symbol="o", symbolSize=5)
        self._decibels = pg.ViewBox(enableMenu=False)
        self._decibels.setMouseEnabled(x=False, y=False)
        self._decibels.addItem(self.psnr)
        self.plotItem.scene().addItem(self._decibels)
        self.getAxis("right").linkToView(self._decibels)
        self.getAxis("right").setLogMode(False)
        self.getAxis("right").enableAutoSIPrefix(False)
        self._decibels.setXLink(self.plotItem.vb)
        self.plotItem.vb.sigResized.connect(self._lay_over)
        self.show_steps([])

    def _lay_over(self) -> None:
        self._decibels.setGeometry(self.plotItem.vb.sceneBoundingRect())

    def show_steps(self, steps: list[TrainingStep]) -> None:
        """Draw a run so far."""
        seen = [step for step in steps if math.isfinite(step.loss) and step.loss > 0]
        self._training.setData([step.step for step in seen], [step.loss for step in seen])
        looks = {step.held_out: step for step in reversed(seen) if step.held_out}
        points = sorted(looks.values(), key=lambda step: step.step)
        decibels = [(step.step, step.psnr) for step in points if step.psnr is not None]
        errors = [] if decibels else [(step.step, step.held_out) for step in points]
        for line, values in ((self.psnr, decibels), (self.held_out, errors)):
            line.setData([at for at, _ in values], [value for _, value in values])
        self.showAxis("right", bool(decibels))

    def use_theme(self, theme: Any) -> None:
        """Take the colours of a napari theme."""
        training, held_out = (ink(theme, name) for name in ("secondary", "current"))
        self._training.setPen(pg.mkPen(training, width=1.5))
        for line in (self.held_out, self.psnr):
            line.setPen(pg.mkPen(held_out, width=2))
            line.setSymbolBrush(held_out)
            line.setSymbolPen(held_out)
        super().use_theme(theme)
        self.setTitle(  # a legend inside so narrow a plot would hide the lines
            f"<span style='color: rgb{training}'>—</span> training &nbsp; "
            f"<span style='color: rgb{held_out}'>●</span> held out",
            color=theme.text.as_rgb_tuple()[:3],
            size="9pt",
        )
