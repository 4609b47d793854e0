"""The form of a training run, generated from the fields of `TrainingSettings`."""

from collections.abc import Mapping
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_n2n.model.device import unused_card
from napari_n2n.recipe import Results
from napari_n2n.training.estimate import TimeEstimate
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.settings import PRESETS, TrainingSettings
from napari_n2n.widgets.dock import TextLabel, counted, in_field_names, keep_narrow, time_range
from napari_n2n.widgets.forms.fields import MemoryField, collapsible, form_layout, setting_field
from napari_n2n.widgets.preferences import preferences

_LOSS_LABELS = {"auto": "auto (by the noise)"} | {one.name: one.title for one in LOSSES.values()}


class SettingsForm(QWidget):
    """Ask for the settings, in a section that is closed at first; its title names loss and preset.

    Attributes
    ----------
    changed
        Emitted when a setting is changed.
    fields
        The form field of each setting by name; each is also an attribute of that name.
    wanted
        The menu of results to compute after training.
    time_words
        Text about the time of a run; the dock puts it into its own layout.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._estimate: TimeEstimate | str | None = None
        kept = preferences()
        starts = {"device": kept.device, "memory": kept.memory, "preset": kept.preset}
        labels = {"loss": _LOSS_LABELS}
        parts: dict[str, list[Any]] = {"main": [], "advanced": []}
        self.fields: dict[str, Any] = {}
        for name, info in TrainingSettings.model_fields.items():
            extra: Any = info.json_schema_extra or {}
            if "form" in extra:
                field = setting_field(name, starts.get(name), labels.get(name))
                self.fields[name] = field
                parts[extra["form"]].append(field)
                setattr(self, name, field)
                field.changed.connect(self._announce)
        self.wanted = _wanted_menu()
        _explain_choices(self.fields["loss"], {one.name: one.right_when for one in LOSSES.values()})
        presets = {one.name: one.description for one in PRESETS.values()}
        _explain_choices(self.fields["preset"], presets)
        self.time_words = TextLabel()
        rows = form_layout(*parts["main"], *parts["advanced"], self.wanted)
        self.section = collapsible("Settings", rows)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.section)
        self._show_time()

    def settings(self) -> TrainingSettings:
        """Return the settings in the form."""
        chosen: dict[str, Any] = {}
        for name, field in self.fields.items():
            value = field.bytes if isinstance(field, MemoryField) else field.value
            if value or TrainingSettings.model_fields[name].default is not None:  # 0: unset
                chosen[name] = value
        return TrainingSettings(**chosen)

    def choose(self, settings: TrainingSettings, wanted: Results) -> None:
        """Show the settings of a run, and the results that were wanted."""
        with signals_blocked(self):
            for name, field in self.fields.items():
                value = getattr(settings, name)
                if isinstance(field, MemoryField):
                    field.bytes = value
                else:
                    field.value = 0 if value is None else value
            self.wanted.value = wanted
        self._announce()

    def show_estimate(self, estimate: TimeEstimate | str | None) -> None:
        """Show the estimated time of a run, or why it could not be determined."""
        self._estimate = estimate
        self._show_time()

    def _announce(self, _value: Any = None) -> None:
        self._show_time()
        self.changed.emit()

    def _show_time(self) -> None:
        estimate, settings = self._estimate, self.settings()
        start = settings.start_model
        begun = f", from {start.name}" if start is not None else ""
        self.section.setText(f"Settings (loss {settings.loss}, {settings.preset}{begun})")
        words = f"Preset {settings.preset}. {PRESETS[settings.preset].description}"
        if settings.steps is not None:
            words = f"{counted(settings.steps, 'step')}."
        if settings.minutes is not None:
            words = f"Stops after {settings.minutes:g} min."
        if isinstance(estimate, TimeEstimate):
            speed = f"{estimate.device.upper()}, {1000 * estimate.step_seconds:.0f} ms per step"
            longest = time_range(*estimate.range(settings))
            words += f" At most {longest} on this computer ({speed})."
            if estimate.planes:
                words += f"\n{in_field_names(estimate.planes)}"
            if estimate.device == "cpu" and (advice := unused_card()) is not None:
                words += f"\n⚠ To train much faster, {advice}"
        elif estimate is not None:
            words += f"\n⚠ {estimate}"
        self.time_words.setText(words)


def _wanted_menu() -> ComboBox:
    menu = ComboBox(
        label="Results",
        choices=[
            ("average of all", "average"),
            ("average and each alone", "each"),
            ("none, only the model", "none"),
        ],
        tooltip="What to denoise after training; the average of all has the least noise",
    )
    keep_narrow(menu)
    return menu


def _explain_choices(menu: ComboBox, tips: Mapping[Any, str]) -> None:
    """Give each choice of a menu its own tooltip."""
    for row, value in enumerate(menu.choices):
        menu.native.setItemData(row, tips.get(value), Qt.ItemDataRole.ToolTipRole)
