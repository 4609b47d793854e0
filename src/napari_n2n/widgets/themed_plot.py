"""A small plot that looks like a part of napari."""

from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QSize
from qtpy.QtGui import QWheelEvent

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
