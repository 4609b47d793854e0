"""Fields that several docks ask for, and the form they stand in: the same words everywhere.

A number, or a range of numbers, in one row of a form.
"""

from typing import Any, Protocol

from magicgui.widgets import ComboBox, FloatSpinBox, LineEdit
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.simulate.corruption import Level, Parameter
from napari_n2n.widgets.dock import connect_while_alive, keep_narrow
from napari_n2n.widgets.layers.plane_on_screen import is_temporary
from napari_n2n.widgets.preferences import preferences


class ParameterField:
    """Ask for a parameter of a noise; where it may be a range, also for the range's other end.

    Parameters
    ----------
    parameter
        What is asked for.
    value
        What it begins with.

    Attributes
    ----------
    label, native
        What stands in the form.
    lowest, highest
        The ends of the range; `highest` is None where the parameter takes one number only, and at
        its smallest value where there is no range.
    """

    def __init__(self, parameter: Parameter, value: float) -> None:
        self.label = parameter.label
        self.native = QWidget()
        self.lowest = _spin_box(parameter, parameter.tip)
        self.highest = None
        row = QHBoxLayout(self.native)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.lowest.native, 1)
        if parameter.ranged:
            tip = "For a level of its own in every plane, drawn between the two: the highest"
            self.highest = _spin_box(parameter, tip)
            self.highest.native.setSpecialValueText("same")
            for box in (self.lowest, self.highest):  # two in a row have no room for arrows
                box.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
            row.addWidget(QLabel("to"))
            row.addWidget(self.highest.native, 1)
        self.value = value

    @property
    def value(self) -> Level:
        """The number, or the (lowest, highest) one."""
        low, high = self.lowest.value, self.highest.value if self.highest is not None else 0.0
        return low if self.highest is None or high == self.highest.min else (low, high)

    @value.setter
    def value(self, level: Level) -> None:
        low, high = level if isinstance(level, tuple) else (level, None)
        self.lowest.value = low
        if self.highest is not None:
            self.highest.value = self.highest.min if high is None else high


def _spin_box(parameter: Parameter, tooltip: str) -> FloatSpinBox:
    box = FloatSpinBox(
        tooltip=tooltip,
        value=parameter.low,
        min=parameter.low,
        max=parameter.high,
        step=parameter.step,
    )
    box.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return box


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
    return [one for one in viewer.layers if isinstance(one, Image) and not is_temporary(one)]


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
