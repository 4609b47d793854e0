"""What docks have in common: they scroll, stay narrow, and let go of the viewer at their end."""

from collections.abc import Callable
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFrame, QScrollArea, QWidget


class Dock(QScrollArea):
    """A frameless column that scrolls when the window is low.

    Parameters
    ----------
    viewer
        The napari viewer that the dock belongs to.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(300)


def connect_while_alive(widget: QWidget, slots: list[tuple[Any, Callable[..., Any]]]) -> None:
    """Connect (signal, slot) pairs of things that outlive a widget, until the widget ends."""
    for signal, slot in slots:
        signal.connect(slot)
    widget.destroyed.connect(lambda: [signal.disconnect(slot) for signal, slot in slots])


def keep_narrow(*menus: ComboBox) -> None:
    """Let long names of layers not widen a dock."""
    for menu in menus:
        menu.native.setMinimumContentsLength(12)
        menu.native.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
