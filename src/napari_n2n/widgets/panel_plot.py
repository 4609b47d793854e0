"""One panel of the noise measurement, as it looks in a dock."""

from html import escape
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_n2n.plot import Panel, Series
from napari_n2n.widgets.themed_plot import ThemedPlot, ink

_COLOURS = {"measured": "current", "second": "warning", "model": "text", "guide": "secondary"}
_SYMBOLS = {"measured": "o", "second": "d"}
_HEIGHTS = {"guide": 0, "second": 1, "measured": 2, "model": 3}
_MARKS = {"measured": "●", "second": "◇", "model": "—", "guide": "┄"}


class PanelPlot(QWidget):
    """Draws what `napari_n2n.plot.panels` describes, under its title and legend.

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
