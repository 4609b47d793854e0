"""Form fields that several docks share, so that they have the same labels everywhere."""

from pathlib import Path
from types import UnionType
from typing import Any, Literal, Protocol, get_args, get_origin

from magicgui.widgets import ComboBox, Container, FileEdit, FloatSpinBox, LineEdit, SpinBox
from magicgui.widgets.bases import ValueWidget
from pydantic import ByteSize
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QWidget,
)
from superqt import QCollapsible

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.model.device import device_names
from napari_n2n.simulate.corruption import Level, Parameter
from napari_n2n.training.settings import STARTS, TrainingSettings
from napari_n2n.widgets.dock import keep_narrow
from napari_n2n.widgets.preferences import preferences

# Pixels: as wide as most labels, so that the fields of forms below each other are aligned.
_LABEL_WIDTH = 52
_GB = 10**9  # bytes


class Field(Protocol):
    """A row of a form: a label and a Qt widget."""

    @property
    def label(self) -> str:
        """Text in front of the widget."""

    @property
    def native(self) -> QWidget:
        """The Qt widget."""


def form_layout(*fields: Field, inside: QWidget | None = None) -> QFormLayout:
    """Return rows of labelled fields as wide as the dock; `inside` becomes their parent."""
    rows = QFormLayout(inside) if inside is not None else QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for field in fields:
        rows.addRow(field.label, field.native)
        rows.labelForField(field.native).setMinimumWidth(_LABEL_WIDTH)
    return rows


class _Section(QCollapsible):
    """A part of a form with an arrow that has the colour of the text, in every theme."""

    def changeEvent(self, event: Any) -> None:
        """Draw the arrow again when the theme changes."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self.setCollapsedIcon("▸")
            self.setExpandedIcon("▾")


def collapsible(title: str, rows: QFormLayout) -> QCollapsible:
    """Return a part of a form that is hidden until its title is clicked."""
    section = _Section(title, expandedIcon="▾", collapsedIcon="▸")
    section.layout().setContentsMargins(0, 0, 0, 0)
    section.toggleButton().setToolTip("Show or hide these fields")
    inside = QWidget()
    inside.setLayout(rows)
    section.addWidget(inside)
    section.collapse(animate=False)
    # Collapsing only sets the height to zero: the Tab key would still reach the fields.
    section.toggled.connect(section.content().setVisible)
    section.content().hide()
    return section


class AxesField(LineEdit):
    """Ask for the axes of an image, one letter each.

    Parameters
    ----------
    kind
        Word for the image in the placeholder text: "layer", "recording" ...
    """

    def __init__(self, kind: str) -> None:
        super().__init__(
            label="Axes",
            tooltip="One letter per axis, e.g. TZYX: T time, C channel, Z depth, R repeat",
        )
        self._unknown = f"as labelled in the {kind}"
        self.native.setPlaceholderText(self._unknown)
        self._rows: QFormLayout | None = None
        self._needed = False

    @property
    def letters(self) -> str | None:
        """The letters in upper case; None if the field is empty."""
        return self.value.strip().upper() or None

    def hide_unless_needed(self, rows: QFormLayout) -> None:
        """Show the row only while it has letters or the axes may be wrong (`show_for`)."""
        self._rows = rows
        self.changed.connect(self._show)
        self._show()

    def show_for(self, opened: Any) -> None:
        """Show the row if the axes of an image are not labelled, or are those of its file.

        Parameters
        ----------
        opened
            The opened `Acquisition`, or the error or finding that prevented it; None if nothing is
            chosen.
        """
        image = opened if isinstance(opened, Acquisition) else None
        from_file = image is not None and image.axes_from_file and image.plane_count > 1
        in_doubt = image is not None and image.axes_in_doubt
        self._needed = from_file or in_doubt or getattr(opened, "code", None) == "axes"
        words = self._unknown
        if image is not None and from_file:
            letters = dict(zip(image.order, image.axes, strict=True))
            words = f"{''.join(letters[axis] for axis in sorted(letters))} (from the file)"
        self.native.setPlaceholderText(words)
        self._show()

    def _show(self) -> None:
        if self._rows is not None:
            self._rows.setRowVisible(self.native, self._needed or self.letters is not None)


def axis_menu() -> ComboBox:
    """Return a menu of the axes along which a stack can be split; `frame_choices` fills it."""
    menu = ComboBox(
        label="Split along",
        choices=[],
        tooltip="Axis along which neighbouring frames show the same scene, usually time",
    )
    keep_narrow(menu)
    return menu


def frame_choices(stack: Acquisition) -> list[tuple[str, str]]:
    """Return the axes along which a stack can be split, as (text, letter)."""
    return [
        (
            f"{'first axis' if stack.axes_assumed else letter} "
            f"({count} {'channels' if letter == 'C' else 'frames'})",
            letter,
        )
        for letter, count in stack.frames.items()
    ]


class MemoryField(FloatSpinBox):
    """Ask for a memory limit in GB (10^9 bytes), at least 0.1, in steps of half a GB."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min=0.1, max=1000, step=0.5, **options)
        self.native.setSuffix(" GB")

    @property
    def bytes(self) -> int:
        """The limit in bytes."""
        return round(self.value * _GB)

    @bytes.setter
    def bytes(self, count: int) -> None:
        self.value = count / _GB


_MODEL = "a model file"  # choice in the menu of a `StartField`


class StartField(Container[Any]):
    """Ask for the initial weights: a choice, or a model file, for which a field then appears.

    Parameters
    ----------
    label, tooltip
        Texts of the field.
    """

    def __init__(self, label: str, tooltip: str) -> None:
        choices = [*((words, name) for name, words in STARTS.items()), (_MODEL, _MODEL)]
        self.menu = ComboBox(choices=choices, tooltip=tooltip)
        self.file = FileEdit(filter="napari-n2n model (*.n2n)", tooltip="The model to continue")
        keep_narrow(self.menu, self.file)
        super().__init__(widgets=[self.menu, self.file], label=label, labels=False)
        self.margins = (0, 0, 0, 0)
        self._show()
        self.menu.changed.connect(self._show)

    def _show(self, _choice: Any = None) -> None:
        self.file.visible = self.menu.value == _MODEL

    @property
    def value(self) -> str:
        """The setting; "auto" until a file is chosen."""
        if self.menu.value != _MODEL:
            return str(self.menu.value)
        path = str(self.file.value)
        return path if path.endswith(".n2n") else "auto"

    @value.setter
    def value(self, start: str) -> None:
        self.menu.value = start if start in STARTS else _MODEL
        if start not in STARTS:
            self.file.value = Path(start)


def setting_field(name: str, value: Any = None, labels: dict[Any, str] | None = None) -> Any:
    """Return a form field for one of the `TrainingSettings`, made from its metadata.

    Parameters
    ----------
    name
        Name of the setting.
    value
        Initial value; default: that of the setting.
    labels
        Texts of the choices in a menu; default: those in the metadata, or else the values.
    """
    info = TrainingSettings.model_fields[name]
    extra: Any = info.json_schema_extra or {}
    labels = labels or extra.get("labels", {})
    kind, default = info.annotation, info.default
    options: dict[str, Any] = {"label": info.title, "tooltip": info.description}
    if kind is ByteSize:
        return MemoryField(value=(default / _GB if value is None else value), **options)
    if name == "start":
        return StartField(**options)
    if get_origin(kind) is Literal or name == "device":
        chosen = default if value is None else value
        # The preferences may name a device that this computer lacks: a run then says what to do.
        names = dict.fromkeys((*device_names(), chosen)) if name == "device" else get_args(kind)
        choices = [(labels.get(str(one), str(one)), one) for one in names]
        menu = ComboBox(choices=choices, value=chosen, **options)
        keep_narrow(menu)
        return menu
    if isinstance(kind, UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    # A setting that may be None shows the text for None at 0, below the smallest valid value.
    limits = {type(one).__name__: one for one in info.metadata}
    lowest = 0 if default is None or "Ge" not in limits else limits["Ge"].ge
    options |= {"min": lowest, "max": extra["maximum"], "step": extra.get("step")}
    if default is not None and kind is int:
        return SpinBox(value=default, **options)
    box = FloatSpinBox(value=default or lowest, **options)
    if kind is int:  # a SpinBox does not show the text for None
        box.native.setDecimals(0)
    if default is None:
        box.native.setSpecialValueText(extra["unset"])
    return box


def device_menu() -> ValueWidget[Any]:
    """Return a menu of compute devices; its initial value is that of napari's preferences."""
    return setting_field("device", preferences().device)


def memory_field() -> MemoryField:
    """Return a field for the memory limit; its initial value is that of napari's preferences."""
    field = setting_field("memory", preferences().memory)
    assert isinstance(field, MemoryField)
    return field


class ParameterField:
    """Ask for a parameter of a noise; if it may be a range, also for the upper end of the range.

    Parameters
    ----------
    parameter
        The parameter.
    value
        Initial value.

    Attributes
    ----------
    label, native
        See `Field`.
    lowest, highest
        The ends of the range. `highest` is None if the parameter takes only one number, and shows
        "same" at its minimum if there is no range.
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
            tip = "Upper end of a range; each plane gets a random level within it"
            self.highest = _spin_box(parameter, tip)
            self.highest.native.setSpecialValueText("same")
            for box in (self.lowest, self.highest):  # side by side they are too narrow for arrows
                box.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
                box.native.setStyleSheet("min-width: 0; padding: 0 4px")  # no space for arrows
            row.addWidget(QLabel("to"))
            row.addWidget(self.highest.native, 1)
        self.value = value

    @property
    def value(self) -> Level:
        """The number, or the range as (lowest, highest)."""
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
