"""Fields that several docks ask for, and the form they stand in: the same words everywhere."""

from typing import Any, Protocol

from magicgui.widgets import ComboBox, FloatSpinBox, LineEdit
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QToolButton, QVBoxLayout, QWidget

from napari_n2n.acquisition import Acquisition
from napari_n2n.widgets.dock import connect_while_alive, keep_narrow
from napari_n2n.widgets.plane_on_screen import is_passing
from napari_n2n.widgets.preferences import preferences

_GB = 10**9
_LABEL = 42  # so that forms below each other are one to the eye


class Field(Protocol):
    """What can stand in a form."""

    @property
    def label(self) -> str:
        """What it is called."""

    @property
    def native(self) -> QWidget:
        """What stands beside its name."""


def form(*fields: Field, inside: QWidget | None = None) -> QFormLayout:
    """Return rows of labelled fields that take the width there is, for a widget if one is given."""
    rows = QFormLayout(inside) if inside is not None else QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for field in fields:
        rows.addRow(field.label, field.native)
        rows.labelForField(field.native).setMinimumWidth(_LABEL)
    return rows


class Folded(QWidget):
    """A part of a form that is out of sight until its title is pressed.

    Parameters
    ----------
    title
        What is under it.
    rows
        The part.
    """

    def __init__(self, title: str, rows: QFormLayout) -> None:
        super().__init__()
        self.title = QToolButton()
        self.title.setText(title)
        self.title.setCheckable(True)
        self.title.setAutoRaise(True)
        self.title.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.title.setToolTip("Show or hide what most people never need")
        self.inside = QWidget()
        self.inside.setLayout(rows)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.title)
        column.addWidget(self.inside)
        self.title.toggled.connect(self.show_inside)
        self.show_inside(False)

    def show_inside(self, shown: bool) -> None:
        """Unfold it, or fold it away."""
        self.inside.setVisible(shown)
        self.title.setArrowType(Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow)


def image_layers(viewer: Any) -> list[Image]:
    """Return the layers that one may compute with, in the order of the list of layers."""
    return [one for one in viewer.layers if isinstance(one, Image) and not is_passing(one)]


def layer_menu(viewer: Any, label: str, tooltip: str, *, optional: bool = False) -> ComboBox:
    """Return a menu of a viewer's image layers that follows what is opened and closed."""

    def choices(_menu: Any = None) -> list[tuple[str, Image]]:
        return [(layer.name, layer) for layer in image_layers(viewer)]

    menu = ComboBox(label=label, choices=choices, tooltip=tooltip, nullable=optional)
    menu.null_string = "none"
    keep_narrow(menu)
    events = viewer.layers.events

    def take_names(_event: Any = None) -> None:
        with menu.changed.blocked():  # a menu lets go of what has another name
            chosen = menu.value
            menu.reset_choices()
            menu.value = chosen

    signals = (events.inserted, events.removed, events.reordered)
    slots = [(signal, menu.reset_choices) for signal in signals]
    connect_while_alive(menu.native, [*slots, (events.renamed, take_names)])
    menu.reset_choices()
    return menu


def axes_field(whose: str) -> LineEdit:
    """Ask for the letters of the dimensions of a layer, a recording, a stack ..."""
    field = LineEdit(
        label="Axes",
        tooltip="Letters of the dimensions as they lie: T time, C channels, Z depth, Y rows, "
        f"X columns, R repeats, e.g. TZYX; needed only where the {whose} does not name them",
    )
    field.native.setPlaceholderText(f"as the {whose} says")
    return field


def axes_in(field: LineEdit) -> str | None:
    """Return the letters that an axes field holds; None if it is empty."""
    return field.value.strip().upper() or None


def axis_menu() -> ComboBox:
    """Ask along which axis a stack is split; `frame_choices` fills it."""
    menu = ComboBox(
        label="Along",
        choices=[],
        tooltip="Along which axis neighbours show the same: usually time",
    )
    keep_narrow(menu)
    return menu


def frame_choices(stack: Acquisition) -> list[tuple[str, str]]:
    """List the axes along which a stack can be split, as a menu's (words, letter)."""
    return [
        (f"{'first axis' if stack.axes_assumed else letter} ({count} frames)", letter)
        for letter, count in stack.frames.items()
    ]


def device_menu() -> ComboBox:
    """Ask where to compute."""
    return ComboBox(
        label="Device",
        value=preferences().device,
        choices=["auto", "cpu", "cuda", "mps"],
        tooltip="Where to compute; auto takes the graphics card if there is one",
    )


def memory_field() -> FloatSpinBox:
    """Ask for the limit of memory."""
    field = FloatSpinBox(
        label="Memory",
        value=preferences().memory,
        min=0.1,
        max=1000,
        step=0.5,
        tooltip="How much of the computer's memory may be used; less is slower, not worse",
    )
    field.native.setSuffix(" GB")
    return field


def gigabytes(count: int) -> float:
    """Return what a memory field shows for a number of bytes."""
    return count / _GB


def bytes_in(field: FloatSpinBox) -> int:
    """Return the bytes that a memory field stands for."""
    return round(field.value * _GB)
