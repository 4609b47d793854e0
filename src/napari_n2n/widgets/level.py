"""A number, or a range of numbers, in one row of a form."""

from magicgui.widgets import FloatSpinBox
from qtpy.QtWidgets import QAbstractSpinBox, QHBoxLayout, QLabel, QSizePolicy, QWidget

from napari_n2n.simulate import Level, Parameter


class LevelField:
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
