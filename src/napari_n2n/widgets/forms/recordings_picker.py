"""The form that asks for recordings to learn from: a pair, or more, or one stack to be split.

Forms that ask for recordings, from layers or from files; docks add rows of their own.
"""

from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import ComboBox, FileEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.pair.recordings import Recordings
from napari_n2n.widgets.dock import connect_while_alive, keep_narrow
from napari_n2n.widgets.forms.fields import (
    axes_field,
    axes_in,
    axis_menu,
    form,
    frame_choices,
    layer_menu,
)
from napari_n2n.widgets.forms.more_recordings import MoreRecordings

_FILES = {
    "files": FileDialogMode.EXISTING_FILE,
    "folders": FileDialogMode.EXISTING_DIRECTORY,
}
_KINDS = "TIFF, OME-Zarr, npy or PNG; may be dropped here"


class RecordingsPicker(QWidget):
    """Choose one recording and another one of the same scene.

    Parameters
    ----------
    viewer
        The viewer whose layers are offered.

    Attributes
    ----------
    rows
        The form, to which more rows may be added.
    changed
        Emitted when another layer or file is chosen.
    """

    changed = Signal()
    labels = ("A", "B")
    tips = ("One recording of the scene", "Another recording of the scene")
    second_needed = True

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.source = ComboBox(
            label="From",
            choices=["layers", *_FILES],
            tooltip="Take the recordings from open layers, or straight from the disk",
        )
        self.layer_a, self.layer_b = (
            layer_menu(viewer, label, tip, optional=not needed)
            for label, tip, needed in zip(
                self.labels, self.tips, (True, self.second_needed), strict=True
            )
        )
        self.file_a, self.file_b = (
            FileEdit(label=label, tooltip=f"{tip}: {_KINDS}")
            for label, tip in zip(self.labels, self.tips, strict=True)
        )
        fields = (self.source, self.layer_a, self.layer_b, self.file_a, self.file_b)
        self.rows = form(*fields, inside=self)
        self._show_source()
        self._offer_second()
        events = viewer.layers.events
        signals = (events.inserted, events.removed, events.reordered)
        connect_while_alive(self, [(signal, self._offer_second) for signal in signals])
        self.source.changed.connect(self._show_source)
        for field in fields:
            field.changed.connect(self._tell)

    def _tell(self, _value: Any = None) -> None:
        self.changed.emit()

    def _offer_second(self, _event: Any = None) -> None:
        """Let a second layer that is needed start on the second there is."""
        choices = self.layer_b.choices
        untouched = self.layer_a.value is self.layer_b.value
        if self.second_needed and untouched and len(choices) > 1:
            self.layer_b.value = choices[1]

    def _show_source(self) -> None:
        mode = _FILES.get(self.source.value)
        for edit in (self.file_a, self.file_b):
            edit.mode = mode or edit.mode
        keep_narrow(self.file_a, self.file_b)
        self.show_rows()

    def show_rows(self) -> None:
        """Show the rows that ask for what is wanted."""
        from_layers = self.source.value == "layers"
        for layer, file, wanted in (
            (self.layer_a, self.file_a, True),
            (self.layer_b, self.file_b, self.takes_second()),
        ):
            self.rows.setRowVisible(layer.native, from_layers and wanted)
            self.rows.setRowVisible(file.native, not from_layers and wanted)

    def takes_second(self) -> bool:
        """Tell whether a second recording has a place."""
        return True

    def take(self, paths: list[Path]) -> list[Path]:
        """Choose files or folders, unless a run is under way; returns those without a place."""
        if not self.isEnabled():
            return []
        if self.source.value == "layers":
            self.source.value = "folders" if paths[0].is_dir() else "files"
        edits = [self.file_a, self.file_b][: 1 + self.takes_second()]
        empty = [edit for edit in edits if edit.value == Path()]
        for edit, path in zip(empty, paths, strict=False):
            edit.value = path
        return paths[len(empty) :]

    def chosen(self) -> list[Any]:
        """Return the recordings that are chosen: layers or paths.

        Raises
        ------
        BadInput
            If one is missing or they are the same.
        """
        from_layers = self.source.value == "layers"
        if from_layers:
            given = [self.layer_a.value, self.layer_b.value]
        else:
            paths = [Path(str(edit.value)) for edit in (self.file_a, self.file_b)]
            given = [None if path == Path() else path for path in paths]
        given = given[: 1 + self.takes_second()]
        if given[0] is None or (given[-1] is None and self.second_needed):
            raise BadInput(self._missing(from_layers), "not_chosen")
        if from_layers and len(given) > 1 and given[0] is given[1]:
            raise BadInput(
                f"{' and '.join(self.labels)} are both '{given[0].name}': "
                "choose two separate recordings of the scene",
                "duplicate",
            )
        return [one for one in given if one is not None]

    def _missing(self, from_layers: bool) -> str:
        raise NotImplementedError


class ImagePicker(RecordingsPicker):
    """Choose a recording, and perhaps another one of the same scene."""

    labels = ("Image", "Second")
    tips = (
        "Noisy recording to be cleaned",
        "Another recording of the same scene, if there is one: both are cleaned and averaged",
    )
    second_needed = False

    def take(self, paths: list[Path]) -> list[Path]:
        """Choose files or folders in place of those that are chosen; see the base class."""
        if self.isEnabled():
            for edit in (self.file_a, self.file_b):
                edit.line_edit.value = ""
        return super().take(paths)

    def _missing(self, from_layers: bool) -> str:
        if from_layers:
            return "Open an image to denoise first (or choose a file)"
        return "Choose the file to denoise"


_TIP = (
    "noisy recording of the scene, any of the two may be this one; or a folder of files, of which "
    "each shows another field of view and has a counterpart of the same name in the other folder"
)
_PAIR, _SPLIT = "two recordings", "frames of one stack"


class PairPicker(RecordingsPicker):
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
        self.more_recordings = MoreRecordings(viewer)
        super().__init__(viewer)
        self.rows.insertRow(1, self.kind.label, self.kind.native)
        self.rows.addRow("", self.more_recordings)
        for field in (self.axes, self.axis):
            self.rows.addRow(field.label, field.native)
        self.kind.changed.connect(self._tell)
        self.axes.changed.connect(self._tell)
        self.axis.changed.connect(lambda _axis: self.changed.emit())
        self.more_recordings.changed.connect(self.changed)
        self._unnamed = False
        self.show_rows()

    def takes_second(self) -> bool:
        """Tell whether a second recording has a place."""
        return self.kind.value == _PAIR

    def show_rows(self) -> None:
        """Show the rows that ask for what is wanted."""
        super().show_rows()
        if self.rows.indexOf(self.more_recordings) < 0:  # not built yet
            return
        self.rows.setRowVisible(self.more_recordings, self.takes_second())
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
        """Return all recordings that are chosen; see `RecordingsPicker.chosen`."""
        return super().chosen() + (self.more_recordings.sources() if self.takes_second() else [])

    def recordings(self) -> Recordings:
        """Return what is chosen, and how it is to be read; raises `BadInput` as `chosen` does."""
        split = None if self.takes_second() else self.axis.value
        return Recordings(tuple(self.chosen()), axes_in(self.axes), split)

    def take(self, paths: list[Path]) -> list[Path]:
        """Choose files or folders: several in place of A and B, one more to come after them."""
        if len(paths) > 1 and self.isEnabled() and self._full():
            self.more_recordings.clear()
            for edit in (self.file_a, self.file_b):
                edit.line_edit.value = ""
        rest = super().take(paths)
        if not self.takes_second() and self.isEnabled():
            self.file_a.value = paths[0]
        elif rest:
            self.more_recordings.add(*rest)
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
        self.more_recordings.clear()
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
            self.more_recordings.add(*others[len(second) :])
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
