"""The live curve: the training loss over the steps, and how well blocks do that are held out.

A small plot that looks like a part of napari.

One panel of the noise measurement, as it looks in a dock.
"""

import math
from html import escape
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_n2n.noise.panels import Panel, Series
from napari_n2n.training.fit import TrainingStep

Colour = tuple[int, int, int]


class ThemedPlot(pg.PlotWidget):
    """A plot to look at: no menus, no dragging, and the wheel scrolls the dock that it is in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.setMinimumHeight(150)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        self.setMenuEnabled(False)
        for side in ("left", "bottom"):
            self.getAxis(side).enableAutoSIPrefix(False)
        # pyqtgraph lets the label of the lower axis hang out by five pixels.
        self.plotItem.layout.setContentsMargins(1, 1, 1, 6)

    def sizeHint(self) -> QSize:
        """Return a height that leaves room for other things in the dock."""
        return QSize(280, 180)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to the dock."""
        event.ignore()

    def use_theme(self, theme: Any) -> None:
        """Take background and axes from a napari theme."""
        text = theme.text.as_rgb_tuple()[:3]
        self.setBackground(theme.background.as_rgb_tuple()[:3])
        for side in ("left", "bottom", "right"):
            self.getAxis(side).setPen(text)
            self.getAxis(side).setTextPen(text)


def ink(theme: Any, name: str) -> Colour:
    """Return a colour of a theme, drawn towards its text colour so that thin lines stand out."""
    colour, text = (getattr(theme, one).as_rgb_tuple()[:3] for one in (name, "text"))
    red, green, blue = (round(0.6 * c + 0.4 * t) for c, t in zip(colour, text, strict=True))
    return red, green, blue


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


_COLOURS = {"measured": "current", "second": "warning", "model": "text", "guide": "secondary"}
_SYMBOLS = {"measured": "o", "second": "d"}
_HEIGHTS = {"guide": 0, "second": 1, "measured": 2, "model": 3}
_MARKS = {"measured": "●", "second": "◇", "model": "—", "guide": "┄"}


class PanelPlot(QWidget):
    """Draws what `napari_n2n.noise.panels.panels` describes, under its title and legend.

    A dock is too narrow for a legend inside the plot: it would hide the data.

    Parameters
    ----------
    panel
        What to draw.
    """

    def __init__(self, panel: Panel) -> None:
        super().__init__()
        self.panel = panel
        self.caption, self.plot = QLabel(), ThemedPlot()
        self.caption.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 6, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.caption)
        column.addWidget(self.plot)
        self.plot.setLabel("bottom", panel.x_label)
        self.plot.setLabel("left", panel.y_label)
        self.plot.setLogMode(y=panel.log_y)
        low, high = np.log10(panel.y_range) if panel.log_y else panel.y_range
        self.plot.setYRange(low, high, padding=0)
        self._bars = [self._add_bars(one) for one in panel.series]
        self._items = [
            self.plot.plot(one.x, one.y, symbol=_SYMBOLS.get(one.look)) for one in panel.series
        ]

    def _add_bars(self, series: Series) -> pg.ErrorBarItem | None:
        if series.error is None:
            return None
        bars = pg.ErrorBarItem(x=series.x, y=series.y, height=2 * series.error)
        self.plot.addItem(bars)
        return bars

    def use_theme(self, theme: Any) -> None:
        """Take the colours of a napari theme."""
        self.plot.use_theme(theme)
        legend = []
        for series, item, bars in zip(self.panel.series, self._items, self._bars, strict=True):
            colour = ink(theme, _COLOURS[series.look])
            dash = Qt.PenStyle.DashLine if series.look == "guide" else Qt.PenStyle.SolidLine
            line = not series.is_points or series.joined
            item.setPen(pg.mkPen(colour, width=1.5, style=dash) if line else None)
            item.setZValue(_HEIGHTS[series.look])
            item.setSymbolPen(colour)
            item.setSymbolBrush(colour if series.look == "measured" else None)
            item.setSymbolSize(4 if series.look == "measured" else 8)
            if bars is not None:
                bars.setData(pen=colour)
            mark = f"<span style='color: rgb{colour}'>{_MARKS[series.look]}</span>"
            legend.append(f"{mark}&nbsp;{_unbroken(series.name)}")
        self.caption.setText(f"<b>{self.panel.title}</b><br>{' &nbsp; '.join(legend)}")


def _unbroken(words: str) -> str:
    """Keep a mark and its words on one line: no-break spaces, and word joiners after slashes."""
    return escape(words).replace(" ", "&nbsp;").replace("/", "/&#8288;")
