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

_TIP = "noisy recording of the scene; any of the two may be this one"
_FILES = {
    "files": FileDialogMode.EXISTING_FILE,
    "OME-Zarr folders": FileDialogMode.EXISTING_DIRECTORY,
}


class PairPicker(QWidget):
    """Choose A and B.

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
    tips = (f"One {_TIP}", f"Another {_TIP}")
    second_needed = True

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
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
        kinds = "TIFF, OME-Zarr, npy or PNG"
        self.file_a, self.file_b = (
            FileEdit(label=label, tooltip=f"{tip}: {kinds}")
            for label, tip in zip(self.labels, self.tips, strict=True)
        )
        self.fields = (self.source, self.layer_a, self.layer_b, self.file_a, self.file_b)
        self.rows = form(*self.fields, inside=self)
        self._show_source()
        self.reset_choices()
        self._connect()

    def _connect(self) -> None:
        events = self._viewer.layers.events
        signals = (events.inserted, events.removed, events.reordered)
        connect_while_alive(self, [(signal, self.reset_choices) for signal in signals])
        self.source.changed.connect(self._show_source)
        for field in self.fields:
            field.changed.connect(lambda _value: self.changed.emit())

    def reset_choices(self, _event: Any = None) -> None:
        """Offer the layers that are there now; a second one that is needed starts on the second."""
        untouched = self.layer_a.value is self.layer_b.value
        self.layer_a.reset_choices()
        self.layer_b.reset_choices()
        choices = self.layer_b.choices
        if self.second_needed and untouched and len(choices) > 1:
            self.layer_b.value = choices[1]

    def _show_source(self) -> None:
        mode = _FILES.get(self.source.value)
        for field in self.fields[1:]:
            is_file = isinstance(field, FileEdit)
            self.rows.setRowVisible(field.native, is_file == (mode is not None))
        for edit in (self.file_a, self.file_b):
            edit.mode = mode or edit.mode
        keep_narrow(self.layer_a, self.layer_b, self.file_a, self.file_b)

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
        if given[0] is None or (given[1] is None and self.second_needed):
            raise BadInput(self._missing(from_layers))
        if from_layers and given[0] is given[1]:
            raise BadInput(
                f"{' and '.join(self.labels)} are both '{given[0].name}': "
                "choose two separate recordings of the scene"
            )
        return [one for one in given if one is not None]

    def _missing(self, from_layers: bool) -> str:
        if from_layers:
            return "Open two noisy recordings of the same scene first (or choose files)"
        return "Choose two files: two noisy recordings of the same scene"


class ScenePicker(PairPicker):
    """Choose a recording, and perhaps another one of the same scene."""

    labels = ("Image", "Second")
    tips = (
        "Noisy recording to be cleaned",
        "Another recording of the same scene, if there is one: both are cleaned and averaged",
    )
    second_needed = False

    def _missing(self, from_layers: bool) -> str:
        if from_layers:
            return "Open an image to denoise first (or choose a file)"
        return "Choose the file to denoise"
