"""What docks have in common: they scroll, stay narrow, and let go of the viewer at their end."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FileEdit
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFrame,
    QLabel,
    QLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_n2n.errors import BadInput

_BREAK = "\u200b"
_OF_A_LAYER = ("data", "axis_labels")


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

    def stack(self, *parts: QWidget | QLayout, stretched: QWidget | None = None) -> QVBoxLayout:
        """Put parts below each other; one of them, or the void at the end, takes what is left.

        Where the one that is stretched is hidden, it is the void as well.
        """
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 6, 6, 6)
        for part in parts:
            if isinstance(part, QLayout):
                column.addLayout(part)
            else:
                column.addWidget(part, int(part is stretched))
        column.addStretch(int(stretched is None))
        self.setWidget(inside)
        return column

    def take_drops(self, take: Callable[[list[Path]], Any]) -> None:
        """Hand over the files and folders that are dropped on the dock."""
        self._take = take
        self.setAcceptDrops(True)

    def event(self, event: Any) -> bool:
        """End with the frame that napari takes away; without it nobody can see the dock again.

        Until then its fields follow the layers in silence: napari may let it end amid an answer.
        """
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            for part in self.findChildren(QObject):
                part.blockSignals(True)
            self.deleteLater()
        return super().event(event)

    def dragEnterEvent(self, event: Any) -> None:
        """Accept files and folders."""
        if _dropped(event):
            event.acceptProposedAction()

    def dragMoveEvent(self, event: Any) -> None:
        """Go on taking them."""
        self.dragEnterEvent(event)

    def dropEvent(self, event: Any) -> None:
        """Hand over what is dropped."""
        self._take(_dropped(event))
        event.acceptProposedAction()


def _dropped(event: Any) -> list[Path]:
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]


def open_dock(viewer: Any, name: str) -> Any:
    """Bring up the dock of a name, the one that is there or a new one, and return its widget."""
    frame, widget = viewer.window.add_plugin_dock_widget("napari-n2n", name)
    frame.show()
    frame.raise_()
    return widget


def connect_while_alive(widget: QWidget, slots: list[tuple[Any, Callable[..., Any]]]) -> None:
    """Connect (signal, slot) pairs of things that outlive a widget, until the widget ends."""
    for signal, slot in slots:
        signal.connect(slot)
    widget.destroyed.connect(lambda: [signal.disconnect(slot) for signal, slot in slots])


def on_other_pixels(source: Any, verb: str, slot: Callable[..., Any]) -> None:
    """Call a slot when a source, if it is a layer, gets other pixels or names for its axes.

    Parameters
    ----------
    source
        A layer, or anything else.
    verb
        "connect" or "disconnect".
    slot
        What is called.
    """
    for name in _OF_A_LAYER:
        event = getattr(getattr(source, "events", None), name, None)
        if event is not None:
            getattr(event, verb)(slot)


def keep_narrow(*fields: ComboBox | FileEdit) -> None:
    """Let long names of layers not widen a dock, and leave room for those of files."""
    policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    for field in fields:
        if isinstance(field, FileEdit):
            field.choose_btn.text = "..."
        else:
            field.native.setMinimumContentsLength(12)
            field.native.setSizeAdjustPolicy(policy)


def plainly(error: BadInput | str) -> str:
    """Say what is wrong in the words of a window: its fields are called like the options."""
    return re.sub(r"--(\w)", lambda option: option[1].upper(), str(error))


def notify(error: BadInput | str) -> str:
    """Show an error as a notification of napari; return its text, for the dock to show as well."""
    message = plainly(error)
    show_error(message)
    return message


class Words(QLabel):
    """Lines for the person; long names and paths break rather than widen the dock."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setText(text)

    def setText(self, text: str) -> None:
        """Show a text, or nothing at all."""
        super().setText(breakable(text))
        if self.parent() is not None or not text:  # without a parent it would be a window
            self.setVisible(bool(text))

    def text(self) -> str:
        """Return what is shown."""
        return super().text().replace(_BREAK, "")


def breakable(text: str) -> str:
    """Let a line end after the marks that join the parts of names and paths."""
    return re.sub(r"(?<=[/\\_])(?=\w)", _BREAK, text)


def button(text: str, tooltip: str) -> QPushButton:
    """Return a button that says what it does."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    return made


def time_of(seconds: float) -> str:
    """Say how long something takes."""
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def time_left(seconds: float) -> str:
    """Say how long something still takes."""
    return f"{time_of(seconds)} left"
