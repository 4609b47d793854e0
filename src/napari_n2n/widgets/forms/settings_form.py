"""The form that is one `TrainingSettings`: loss and preset in sight, the rest folded away."""

from typing import Any

from magicgui.widgets import ComboBox, FloatSpinBox, SpinBox
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_n2n.model.device import unused_card
from napari_n2n.recipe import Results
from napari_n2n.training.estimate import Estimate
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.settings import PRESETS, TrainingSettings
from napari_n2n.widgets.dock import Words, time_of
from napari_n2n.widgets.forms.fields import (
    Folded,
    bytes_in,
    device_menu,
    form,
    gigabytes,
    memory_field,
)
from napari_n2n.widgets.preferences import preferences

_AUTO = "auto - by the noise"
_DEFAULT = TrainingSettings()


class SettingsForm(QWidget):
    """Decide how to train.

    Parameters
    ----------
    advice
        Stands below the menu of losses.

    Attributes
    ----------
    changed
        Emitted when something is decided otherwise.
    """

    changed = Signal()

    def __init__(self, advice: QWidget) -> None:
        super().__init__()
        self._estimate: Estimate | str | None = None
        self.loss = ComboBox(
            label="Loss",
            choices=[(_AUTO, "auto"), *((loss.title, loss.name) for loss in LOSSES.values())],
            tooltip="Which value the network looks for among the noisy ones",
        )
        for row, loss in enumerate(LOSSES.values(), start=1):
            words = f"{loss.right_when} {loss.wrong_when}"
            self.loss.native.setItemData(row, words, Qt.ItemDataRole.ToolTipRole)
        self.preset = ComboBox(
            label="Train",
            choices=list(PRESETS),
            value=preferences().preset,
            tooltip="How long to go on: "
            + "; ".join(f"{one.name}: {one.description}" for one in PRESETS.values()),
        )
        self.time_words = Words()
        self.advanced = Folded("Advanced", form(*self._advanced()))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form(self.loss))
        column.addWidget(advice)
        column.addLayout(form(self.preset))
        column.addWidget(self.time_words)
        column.addWidget(self.advanced)
        for field in (self.loss, self.preset, *self._fields.values()):
            field.changed.connect(self._tell)
        self._show_time()

    def _advanced(self) -> list[Any]:
        self.minutes = FloatSpinBox(
            label="Minutes",
            value=0.0,
            min=0.0,
            max=24 * 60,
            step=0.5,
            tooltip="Most time for the training; at 0 only the number of steps limits it",
        )
        self.minutes.native.setSpecialValueText("no limit")
        self.steps = FloatSpinBox(
            label="Steps",
            value=0.0,
            min=0.0,
            max=10**7,
            step=100,
            tooltip="A fixed number of steps, so that a run can be repeated exactly; "
            "at 0 it ends by itself when nothing improves any more",
        )
        self.steps.native.setDecimals(0)
        self.steps.native.setSpecialValueText("as the data need")
        self.dims = ComboBox(
            label="Dims",
            choices=[("2 - planes", 2), ("3 - volumes", 3)],
            tooltip="Learn plane by plane; or volumes, which sees neighbouring planes as well, "
            "takes longer and needs a depth axis Z",
        )
        self.channels = ComboBox(
            label="Channels",
            choices=["together", "separate"],
            tooltip="One network for all channels; or one for each, which takes longer and suits "
            "channels that look nothing like each other",
        )
        self.device, self.memory = device_menu(), memory_field()
        self.seed = SpinBox(
            label="Seed",
            value=_DEFAULT.seed,
            max=2**31 - 1,
            tooltip="Another number starts from other random weights: how much do results differ?",
        )
        self.patch = SpinBox(
            label="Patch",
            value=_DEFAULT.patch,
            min=32,
            max=1024,
            step=16,
            tooltip="Side, in pixels, of the pieces that the network learns from: larger ones help "
            "only with structures as large as they are",
        )
        self.batch = SpinBox(
            label="Batch",
            value=_DEFAULT.batch,
            min=1,
            max=1024,
            tooltip="How many pieces a step looks at: fewer need less memory",
        )
        self.wanted = ComboBox(
            label="Results",
            choices=[
                ("average of all", "average"),
                ("average, and each alone", "each"),
                ("none - only the model", "none"),
            ],
            tooltip="What is cleaned at the end: the average of all recordings, which has the "
            "least noise; each one by itself as well, to see what changed from one to the other; "
            "or nothing yet, where the recordings are so large that you want to try the model on "
            "a part first",
        )
        self._fields: dict[str, Any] = {
            "minutes": self.minutes,
            "steps": self.steps,
            "dims": self.dims,
            "channels": self.channels,
            "device": self.device,
            "memory": self.memory,
            "seed": self.seed,
            "patch": self.patch,
            "batch": self.batch,
        }
        return [*self._fields.values(), self.wanted]

    def settings(self) -> TrainingSettings:
        """Return what the form says."""
        chosen = {name: field.value for name, field in self._fields.items()}
        chosen |= {"loss": self.loss.value, "preset": self.preset.value}
        chosen |= {"memory": bytes_in(self.memory)}
        chosen |= {"minutes": self.minutes.value or None, "steps": int(self.steps.value) or None}
        return TrainingSettings(**chosen)

    def choose(self, settings: TrainingSettings, wanted: Results) -> None:
        """Say what a run was made with."""
        chosen = settings.model_dump(include={"loss", "preset", *self._fields})
        chosen |= {"memory": gigabytes(settings.memory)}
        chosen |= {"minutes": settings.minutes or 0.0, "steps": settings.steps or 0.0}
        self.blockSignals(True)
        for name, field in {"loss": self.loss, "preset": self.preset, **self._fields}.items():
            field.value = chosen[name]
        self.wanted.value = wanted
        self.blockSignals(False)
        self.changed.emit()

    def show_estimate(self, told: Estimate | str | None) -> None:
        """Say how long it will take."""
        self._estimate = told
        self._show_time()

    def _tell(self, _value: Any = None) -> None:
        self._show_time()
        self.changed.emit()

    def _show_time(self) -> None:
        told, settings = self._estimate, self.settings()
        words = PRESETS[settings.preset].description
        if settings.steps is not None:
            words = f"{settings.steps} steps."
        elif settings.minutes is not None:
            words = f"For {settings.minutes:g} min at most."
        if isinstance(told, Estimate):
            if settings.minutes is None:
                words += f" At most {time_of(told.seconds(settings))} here:"
            words += (
                f" {told.timed} steps on your data took {1000 * told.step_seconds:.0f} ms each "
                f"({told.device.upper()})."
            )
            if told.device == "cpu" and (advice := unused_card()) is not None:
                words += f"\n⚠ To be many times faster, {advice}"
        elif told is not None:
            words += f"\n⚠ {told}"
        self.time_words.setText(words)
