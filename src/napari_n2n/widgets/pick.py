"""Forms that ask for recordings, from layers or from files; docks add rows of their own."""

from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import ComboBox, FileEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_n2n.errors import BadInput
from napari_n2n.widgets.dock import connect_while_alive, keep_narrow
from napari_n2n.widgets.form import form, layer_menu

_FILES = {
    "files": FileDialogMode.EXISTING_FILE,
    "folders": FileDialogMode.EXISTING_DIRECTORY,
}
_KINDS = "TIFF, OME-Zarr, npy or PNG; may be dropped here"


class Picker(QWidget):
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
            raise BadInput(self._missing(from_layers))
        if from_layers and len(given) > 1 and given[0] is given[1]:
            raise BadInput(
                f"{' and '.join(self.labels)} are both '{given[0].name}': "
                "choose two separate recordings of the scene",
                "duplicate",
            )
        return [one for one in given if one is not None]

    def _missing(self, from_layers: bool) -> str:
        raise NotImplementedError


class ScenePicker(Picker):
    """Choose a recording, and perhaps another one of the same scene."""

    labels = ("Image", "Second")
    tips = (
        "Noisy recording to be cleaned",
        "Another recording of the same scene, if there is one: both are cleaned and averaged",
    )
    second_needed = False

    def take(self, paths: list[Path]) -> list[Path]:
        """Choose files or folders in place of those that are chosen; see `Picker.take`."""
        if self.isEnabled():
            for edit in (self.file_a, self.file_b):
                edit.line_edit.value = ""
        return super().take(paths)

    def _missing(self, from_layers: bool) -> str:
        if from_layers:
            return "Open an image to denoise first (or choose a file)"
        return "Choose the file to denoise"
