"""Base class and helpers of all docks: scrolling, narrow fields, labels, drops, clean-up."""

import logging
import math
import re
import weakref
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FileEdit
from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
    show_error,
    show_warning,
)
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QDockWidget,
    QFormLayout,
    QFrame,
    QLabel,
    QLayout,
    QMainWindow,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_n2n.errors import BadInput
from napari_n2n.training.settings import TrainingSettings

_PROGRESS_STEPS = 1000  # of a progress bar: more steps than it has pixels
_BREAK = "\u200b"  # zero-width space: a line may end here
# Pixels. Larger: less space for the image; smaller: labels and fields are cut off.
_MIN_WIDTH = 300
# Smallest width of a menu in letters: longer layer names are cut instead of widening the dock.
_MIN_LETTERS = 12


class Dock(QScrollArea):
    """A frameless column of parts that scrolls if the window is too low for it.

    Parameters
    ----------
    viewer
        The napari viewer that the dock belongs to.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        show_logged_warnings()
        self.viewer = viewer
        self._shown = self._placed = False
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(_MIN_WIDTH)

    def stack(self, *parts: QWidget | QLayout, stretched: QWidget | None = None) -> QVBoxLayout:
        """Put parts below each other; the stretched part, or else blank space, fills the height."""
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
        name_controls(self)
        return column

    def showEvent(self, event: Any) -> None:
        """Become a tab of another dock of this plugin, when shown for the first time."""
        super().showEvent(event)
        if not self._shown:
            self._shown = True
            QTimer.singleShot(0, self._join_tabs)  # after napari has added the frame

    def _join_tabs(self) -> None:
        self._placed = True
        frame, window = _parent_of(self, QDockWidget), _parent_of(self, QMainWindow)
        if frame is None or window is None or frame.isFloating():
            return
        for other in window.findChildren(Dock):
            beside = _parent_of(other, QDockWidget)
            if other is not self and other._placed and beside is not None and beside.isVisible():
                window.tabifyDockWidget(beside, frame)
                frame.raise_()
                return

    def accept_drops(self, take: Callable[[list[Path]], Any]) -> None:
        """Accept files and folders dropped on the dock, and pass them to a function."""
        self._take = take
        self.setAcceptDrops(True)

    def event(self, event: Any) -> bool:
        """Delete the dock when napari removes its frame, because it cannot be shown again.

        Its signals are blocked at once, because layers may still change before it is deleted.
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
        """Accept files and folders."""
        self.dragEnterEvent(event)

    def dropEvent(self, event: Any) -> None:
        """Pass the dropped paths to the function given to `accept_drops`."""
        self._take(_dropped(event))
        event.acceptProposedAction()


def _parent_of(part: QWidget, kind: type[QWidget]) -> Any:
    """Return the nearest parent of a kind, or None."""
    parent = part.parentWidget()
    while parent is not None and not isinstance(parent, kind):
        parent = parent.parentWidget()
    return parent


def name_controls(dock: QWidget) -> None:
    """Name the fields of forms after their labels, for screen readers."""
    for rows in dock.findChildren(QFormLayout):
        for row in range(rows.rowCount()):
            label = rows.itemAt(row, QFormLayout.ItemRole.LabelRole)
            field = rows.itemAt(row, QFormLayout.ItemRole.FieldRole)
            if label is None or field is None or not label.widget().text():
                continue
            for part in (field.widget(), *field.widget().findChildren(QWidget)):
                if not part.accessibleName():
                    text = part.text() if isinstance(part, QAbstractButton) else ""
                    name = label.widget().text()
                    part.setAccessibleName(f"{name}: {text}" if text.strip(". ") else name)


def _dropped(event: Any) -> list[Path]:
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]


def open_dock(viewer: Any, name: str) -> Any:
    """Show the dock of this name, opening it if needed, and return its widget."""
    frame, widget = viewer.window.add_plugin_dock_widget("napari-n2n", name)
    frame.show()
    frame.raise_()
    return widget


_while_alive: dict[int, Callable[..., None]] = {}  # functions to call when a widget is destroyed
_numbers = count()


def connect_while_alive(widget: QWidget, slots: list[tuple[Any, Callable[..., Any]]]) -> None:
    """Connect (signal, slot) pairs, and disconnect them when the widget is destroyed.

    A widget may be destroyed by a garbage collection, which first clears the functions that only
    the widget refers to: calling one of these would crash. The function that disconnects is
    therefore kept here, and refers to slots of objects only weakly.
    """
    for signal, slot in slots:
        signal.connect(slot)
    number, known = next(_numbers), [(signal, _weakly(slot)) for signal, slot in slots]

    def disconnect(*_: Any) -> None:
        _while_alive.pop(number, None)
        for signal, find in known:
            if (slot := find()) is not None:
                signal.disconnect(slot)

    _while_alive[number] = disconnect
    widget.destroyed.connect(disconnect)
    weakref.finalize(widget, _while_alive.pop, number, None).atexit = False


def _weakly(slot: Callable[..., Any]) -> Callable[[], Callable[..., Any] | None]:
    """Return a function that returns a slot; None if the object of the method no longer exists."""
    owner, name = getattr(slot, "__self__", None), slot.__name__
    if owner is None:
        return lambda: slot
    known = weakref.ref(owner)
    return lambda: getattr(known(), name, None)


def on_pixels_changed(source: Any, verb: str, slot: Callable[..., Any]) -> None:
    """Call a slot when the pixels or the axis labels of a layer change.

    Parameters
    ----------
    source
        A layer; anything else is ignored.
    verb
        "connect" or "disconnect".
    slot
        The function to call.
    """
    for name in ("data", "axis_labels"):
        event = getattr(getattr(source, "events", None), name, None)
        if event is not None:
            getattr(event, verb)(slot)


def keep_narrow(*fields: ComboBox | FileEdit) -> None:
    """Keep long names of layers and files from widening a dock."""
    policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    for field in fields:
        if isinstance(field, FileEdit):
            field.choose_btn.text = "..."
        else:
            field.native.setMinimumContentsLength(_MIN_LETTERS)
            field.native.setSizeAdjustPolicy(policy)


def in_field_names(error: BadInput | str) -> str:
    """Return a message with options replaced by names of fields, e.g. --dims by Dimensions."""

    def label(option: re.Match[str]) -> str:
        setting = TrainingSettings.model_fields.get(option[1].replace("-", "_"))
        return (setting and setting.title) or option[1].replace("-", " ").capitalize()

    return re.sub(r"--([a-z-]*[a-z])", label, str(error))


class UnexpectedError(str):
    """One line about an error that is probably a bug, and the details for a report."""

    details: str

    def __new__(cls, line: str, details: str) -> "UnexpectedError":
        """Return the line with the details attached."""
        made = super().__new__(cls, line)
        made.details = details
        return made


def notify(error: BadInput | str) -> str:
    """Show an error as a notification of napari; return its text, for the dock to show as well."""
    message = in_field_names(error)
    if isinstance(error, UnexpectedError):
        show_with_details(message, error.details)
    else:
        show_error(message)
    return message


def show_with_details(message: str, details: str) -> None:
    """Show a notification with a button that copies the details to the clipboard."""

    def copy(_notification: Any = None) -> None:
        QGuiApplication.clipboard().setText(f"{message}\n\n{details}")

    actions = [("Copy details", copy)]
    notification_manager.dispatch(Notification(message, NotificationSeverity.ERROR, actions))


class _Notifications(logging.Handler):
    """Shows warnings as notifications of napari, from any thread.

    A file is opened again for every preview, so a warning that repeats is shown once.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = in_field_names(record.getMessage())
        if message not in self._shown:
            self._shown.add(message)
            show_warning(message)


@cache
def show_logged_warnings() -> None:
    """Show the warnings that the package logs, such as about a file that is read only in part."""
    logging.getLogger("napari_n2n").addHandler(_Notifications())


class TextLabel(QLabel):
    """A text label; long names and paths wrap instead of widening the dock."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setText(text)

    def setText(self, text: str) -> None:
        """Show a text; the label is hidden if it is empty."""
        super().setText(with_line_breaks(text))
        if self.parent() is not None or not text:  # without a parent it would open as a window
            self.setVisible(bool(text))

    def text(self) -> str:
        """Return the text as it was set."""
        return super().text().replace(_BREAK, "")


def with_line_breaks(text: str) -> str:
    """Allow line breaks after slashes and underscores."""
    return re.sub(r"(?<=[/\\_])(?=\w)", _BREAK, text)


def button(text: str, tooltip: str) -> QPushButton:
    """Return a button with a tooltip."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    return made


def counted(count: int, noun: str) -> str:
    """Return a number with its noun in the singular or the plural: "1 step", "2 steps"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def time_of(seconds: float) -> str:
    """Return a duration in words, such as "12 min"."""
    # Each unit is used up to 1.5 of the next larger one: 80 s, 2 min, 80 min, 1.6 h.
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def time_range(low: float, high: float) -> str:
    """Return a range of durations in words, such as "3 to 5 min"."""
    words, longest = time_of(low), time_of(high)
    if words == longest:
        return words
    if words.split()[1] == longest.split()[1]:
        words = words.split()[0]
    return f"{words} to {longest}"


def time_left(seconds: float) -> str:
    """Return a remaining time in words."""
    return f"{time_of(seconds)} left"


class ProgressBar(QProgressBar):
    """A progress bar that also shows the time left."""

    def __init__(self) -> None:
        super().__init__()
        self.setRange(0, _PROGRESS_STEPS)
        self.setAccessibleName("Progress")

    def show_share(self, share: float, seconds: float = math.inf) -> None:
        """Show the share of a run that is done, 0 to 1, and the seconds left if they are finite."""
        self.setValue(round(_PROGRESS_STEPS * share))
        self.setFormat("%p%  " + (time_left(seconds) if math.isfinite(seconds) else ""))
