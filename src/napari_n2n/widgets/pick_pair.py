"""The form that asks for recordings to learn from: a pair, or more, or one stack to be split."""

from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox

from napari_n2n.acquisition import Acquisition
from napari_n2n.errors import BadInput
from napari_n2n.recipe import Recordings
from napari_n2n.widgets.form import axes_field, axes_in, axis_menu, frame_choices
from napari_n2n.widgets.more import MoreRecordings
from napari_n2n.widgets.pick import Picker

_TIP = (
    "noisy recording of the scene, any of the two may be this one; or a folder of files, of which "
    "each shows another field of view and has a counterpart of the same name in the other folder"
)
_PAIR, _SPLIT = "two recordings", "frames of one stack"


class PairPicker(Picker):
    """Choose A and B, and more if there are, or the stack whose even and odd frames they are."""

    tips = (f"One {_TIP}", f"Another {_TIP}")

    def __init__(self, viewer: Any) -> None:
        self.kind = ComboBox(
            label="Take",
            choices=[_PAIR, _SPLIT],
            tooltip="Two or more recordings of one scene; or the even and the odd frames of one "
            "stack of which neighbouring frames show the same",
        )
        self.axes = axes_field("recording")
        self.axis = axis_menu()
        self.more = MoreRecordings(viewer)
        super().__init__(viewer)
        self.rows.insertRow(1, self.kind.label, self.kind.native)
        self.rows.addRow("", self.more)
        for field in (self.axes, self.axis):
            self.rows.addRow(field.label, field.native)
        self.kind.changed.connect(self._tell)
        self.axes.changed.connect(self._tell)
        self.axis.changed.connect(lambda _axis: self.changed.emit())
        self.more.changed.connect(self.changed)
        self._unnamed = False
        self.show_rows()

    def takes_second(self) -> bool:
        """Tell whether a second recording has a place."""
        return self.kind.value == _PAIR

    def show_rows(self) -> None:
        """Show the rows that ask for what is wanted."""
        super().show_rows()
        if self.rows.indexOf(self.more) < 0:  # not built yet
            return
        self.rows.setRowVisible(self.more, self.takes_second())
        self.rows.setRowVisible(self.axis.native, not self.takes_second())
        self.rows.setRowVisible(self.axes.native, self._unnamed or bool(axes_in(self.axes)))

    def ask_for_axes(self, unnamed: bool) -> None:
        """Show the field for the axes where nobody names them."""
        self._unnamed = unnamed
        self.show_rows()

    def _tell(self, _value: Any = None) -> None:
        self.show_rows()
        with self.axis.changed.blocked():
            self._offer_axes()
        self.changed.emit()

    def _offer_axes(self) -> None:
        if self.takes_second():
            return
        try:
            recordings = Recordings((self.chosen()[0],), axes_in(self.axes))
            first = Acquisition.open(recordings.fields[0][0], axes=recordings.axes)
            self.axis.choices = frame_choices(first)
        except BadInput as error:
            self.axis.choices = []
            self.ask_for_axes(error.code == "axes")

    def chosen(self) -> list[Any]:
        """Return all recordings that are chosen; see `Picker.chosen`."""
        return super().chosen() + (self.more.sources() if self.takes_second() else [])

    def recordings(self) -> Recordings:
        """Return what is chosen, and how it is to be read; raises `BadInput` as `chosen` does."""
        split = None if self.takes_second() else self.axis.value
        return Recordings(tuple(self.chosen()), axes_in(self.axes), split)

    def take(self, paths: list[Path]) -> list[Path]:
        """Choose files or folders: several in place of A and B, one more to come after them."""
        if len(paths) > 1 and self.isEnabled() and self._full():
            self.more.clear()
            for edit in (self.file_a, self.file_b):
                edit.line_edit.value = ""
        rest = super().take(paths)
        if not self.takes_second() and self.isEnabled():
            self.file_a.value = paths[0]
        elif rest:
            self.more.add(*rest)
        return []

    def _full(self) -> bool:
        """Tell whether files are chosen for both A and B."""
        return Path() not in (self.file_a.value, self.file_b.value)

    def swap(self) -> None:
        """Let A and B change places: results are on the intensity scale of A."""
        layers, files = (self.layer_a, self.layer_b), (self.file_a, self.file_b)
        a, b = layers if self.source.value == "layers" else files
        with a.changed.blocked(), b.changed.blocked():
            a.value, b.value = b.value, a.value
        self.changed.emit()

    def split_instead(self) -> None:
        """Take even and odd frames of A."""
        self.kind.value = _SPLIT

    def choose_other(self) -> None:
        """Let the person choose another B."""
        if self.source.value == "layers":
            self.layer_b.native.setFocus()
            self.layer_b.native.showPopup()
        else:
            self.file_b.line_edit.native.setFocus()

    def choose(self, recordings: Recordings) -> None:
        """Choose what another form says, unless a run keeps what is chosen."""
        if not self.isEnabled():
            return
        self.blockSignals(True)
        first, *others = recordings.sources
        self.kind.value = _PAIR if others else _SPLIT
        self.axes.value = recordings.axes or ""
        self.more.clear()
        if isinstance(first, Path):
            self.source.value = "folders" if first.is_dir() else "files"
        else:
            self.source.value = "layers"
        second = others[:1] if others and isinstance(others[0], type(first)) else []
        from_layers = self.source.value == "layers"
        for layer, file, source in zip(
            (self.layer_a, self.layer_b),
            (self.file_a, self.file_b),
            (first, *second),
            strict=False,
        ):
            (layer if from_layers else file).value = source
        if others[len(second) :]:
            self.more.add(*others[len(second) :])
        if recordings.split in self.axis.choices:  # what was split may have changed since
            self.axis.value = recordings.split
        self.blockSignals(False)
        self.changed.emit()

    def _missing(self, from_layers: bool) -> str:
        if not self.takes_second():
            return "Open a stack first" if from_layers else "Choose the file of a stack"
        if from_layers:
            return "Open two noisy recordings of the same scene first (or choose files)"
        return "Choose two files: two noisy recordings of the same scene"
