"""Plots in the style of napari: the training curve, and the panels of the noise measurement."""

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

# Share of the theme's colour in a line; the rest is the text colour. Larger: closer to the theme;
# smaller: more contrast with the background.
_OWN_SHARE = 0.6


class ThemedPlot(pg.PlotWidget):
    """A plot without menus or dragging; the mouse wheel scrolls the dock instead."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.setMinimumHeight(150)  # pixels: lower plots have no space between axis labels
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        self.setMenuEnabled(False)
        for side in ("left", "bottom"):
            self.getAxis(side).enableAutoSIPrefix(False)
        # pyqtgraph draws the label of the lower axis five pixels too low.
        self.plotItem.layout.setContentsMargins(1, 1, 1, 6)

    def sizeHint(self) -> QSize:
        """Return the preferred size, low enough to leave space for the rest of the dock."""
        return QSize(280, 180)  # pixels; a dock is 300 wide

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the event to the dock, which scrolls."""
        event.ignore()

    def use_theme(self, theme: Any) -> None:
        """Use the background and text colours of a napari theme."""
        text = theme.text.as_rgb_tuple()[:3]
        self.setBackground(theme.background.as_rgb_tuple()[:3])
        for side in ("left", "bottom", "right"):
            self.getAxis(side).setPen(text)
            self.getAxis(side).setTextPen(text)


def line_colour(theme: Any, name: str) -> Colour:
    """Return a colour of a theme, mixed with its text colour so that thin lines stand out."""
    colour, text = (getattr(theme, one).as_rgb_tuple()[:3] for one in (name, "text"))
    red, green, blue = (
        round(_OWN_SHARE * c + (1 - _OWN_SHARE) * t) for c, t in zip(colour, text, strict=True)
    )
    return red, green, blue


_MAX_LINEAR_SPAN = 20.0  # ratio of the limits; pyqtgraph's powers of ten suffice above it
_MIN_MARKS = 4  # with fewer, users do not see that the axis is logarithmic
_EDGE = 0.03  # share of the axis at each end without marks, whose numbers would be cut off


class _LogAxis(pg.AxisItem):
    """A logarithmic axis with round numbers, also if it spans less than a power of ten."""

    def tickValues(self, lowest: float, highest: float, size: float) -> list[Any]:
        """Return the logarithms of the numbers to mark, as (distance, values)."""
        low, high = 10**lowest, 10**highest
        if high > _MAX_LINEAR_SPAN * low:
            return super().tickValues(lowest, highest, size)
        step = 10 ** math.floor(math.log10(max(high - low, 1e-12)))
        while (high - low) / step < _MIN_MARKS:
            step /= 2
        edge = _EDGE * (high - low)
        marks = np.arange(math.ceil((low + edge) / step), (high - edge) / step + 1e-9) * step
        return [(1.0, np.log10(marks[marks > 0]).tolist())]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        """Return the numbers as text, with enough digits to distinguish them."""
        numbers = [10**value for value in values]
        for digits in range(3, 9):
            words = [f"{number:.{digits}g}" for number in numbers]
            if len(set(words)) == len(words):
                break
        return words


class TrainingCurve(ThemedPlot):
    """The live curve of a run: the training loss, and the score on held-out blocks.

    The score is the PSNR, on the right axis; if it could not be determined, it is the held-out
    error, on the left axis.
    """

    def __init__(self) -> None:
        super().__init__(axisItems={"left": _LogAxis("left")})
        self.setLogMode(y=True)
        self.setLabel("bottom", "step")
        self.setLabel("left", "error")
        self.setLabel("right", "PSNR (dB)")
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
        self.plotItem.vb.sigResized.connect(self._align_psnr)
        self.show_steps([])

    def _align_psnr(self) -> None:
        self._decibels.setGeometry(self.plotItem.vb.sceneBoundingRect())

    def show_steps(self, steps: list[TrainingStep]) -> None:
        """Draw the steps of a run."""
        valid = [step for step in steps if math.isfinite(step.loss) and step.loss > 0]
        self._training.setData([step.step for step in valid], [step.loss for step in valid])
        # Each step repeats the last held-out error, so the first step with a value is a validation.
        validations = {step.held_out: step for step in reversed(valid) if step.held_out}
        points = sorted(validations.values(), key=lambda step: step.step)
        decibels = [(step.step, step.psnr) for step in points if step.psnr is not None]
        errors = [] if decibels else [(step.step, step.held_out) for step in points]
        for line, values in ((self.psnr, decibels), (self.held_out, errors)):
            line.setData([at for at, _ in values], [value for _, value in values])
        self.showAxis("right", bool(decibels))

    def use_theme(self, theme: Any) -> None:
        """Use the colours of a napari theme."""
        training, held_out = (line_colour(theme, name) for name in ("secondary", "current"))
        self._training.setPen(pg.mkPen(training, width=1.5))
        for line in (self.held_out, self.psnr):
            line.setPen(pg.mkPen(held_out, width=2))
            line.setSymbolBrush(held_out)
            line.setSymbolPen(held_out)
        super().use_theme(theme)
        self.setTitle(  # a legend inside the narrow plot would hide lines
            f"<span style='color: rgb{training}'>—</span> training &nbsp; "
            f"<span style='color: rgb{held_out}'>●</span> held out",
            color=theme.text.as_rgb_tuple()[:3],
            size="9pt",
        )


_COLOURS = {"measured": "current", "second": "warning", "model": "text", "guide": "secondary"}
_SYMBOLS = {"measured": "o", "second": "d"}
_Z_ORDER = {"guide": 0, "second": 1, "measured": 2, "model": 3}
_MARKS = {"measured": "●", "second": "◇", "model": "—", "guide": "┄"}


class PanelPlot(QWidget):
    """Draw one of `napari_n2n.noise.panels.panels`, below its title and legend.

    A legend inside the narrow plot would hide data.

    Parameters
    ----------
    panel
        The panel to draw.
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
        """Use the colours of a napari theme."""
        self.plot.use_theme(theme)
        legend = []
        for series, item, bars in zip(self.panel.series, self._items, self._bars, strict=True):
            colour = line_colour(theme, _COLOURS[series.look])
            dash = Qt.PenStyle.DashLine if series.look == "guide" else Qt.PenStyle.SolidLine
            line = not series.is_points or series.joined
            item.setPen(pg.mkPen(colour, width=1.5, style=dash) if line else None)
            item.setZValue(_Z_ORDER[series.look])
            item.setSymbolPen(colour)
            item.setSymbolBrush(colour if series.look == "measured" else None)
            item.setSymbolSize(4 if series.look == "measured" else 8)
            if bars is not None:
                bars.setData(pen=colour)
            mark = f"<span style='color: rgb{colour}'>{_MARKS[series.look]}</span>"
            legend.append(f"{mark}&nbsp;{_unbroken(series.name)}")
        self.caption.setText(f"<b>{self.panel.title}</b><br>{' &nbsp; '.join(legend)}")


def _unbroken(words: str) -> str:
    """Return HTML without line breaks: no-break spaces, and word joiners after slashes."""
    return escape(words).replace(" ", "&nbsp;").replace("/", "/&#8288;")
