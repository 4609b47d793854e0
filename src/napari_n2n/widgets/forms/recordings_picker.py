"""The form that asks for recordings, from open layers or from files."""

from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import ComboBox, FileEdit
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_n2n.errors import BadInput
from napari_n2n.widgets.dock import connect_while_alive, keep_narrow
from napari_n2n.widgets.forms.fields import form_layout
from napari_n2n.widgets.forms.images_menu import ImagesMenu
from napari_n2n.widgets.forms.layer_menu import (
    LayerMenu,
    image_layers,
    layer_pairs,
    of_one_file,
    suggested_layers,
)

_FILES = {
    "files": FileDialogMode.EXISTING_FILE,
    "folders": FileDialogMode.EXISTING_DIRECTORY,
}
_FORMATS = "TIFF, OME-Zarr, npy, PNG"


class RecordingsPicker(QWidget):
    """Ask for one recording and a second one of the same scene.

    Parameters
    ----------
    viewer
        The viewer whose layers are offered.

    Attributes
    ----------
    rows
        The form; docks add rows of their own.
    changed
        Emitted when another layer or file is chosen.
    """

    changed = Signal()
    labels: tuple[str, str]
    tips: tuple[str, str]
    second_required: bool
    way_out = ""  # end of a message: the fix if there is no second recording

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.source = ComboBox(
            label="From",
            choices=["layers", *_FILES],
            tooltip="Use open layers, or read files or folders without opening them as layers",
        )
        self.layer_a, self.layer_b = (
            LayerMenu(viewer, label, tip, optional="" if needed else "none")
            for label, tip, needed in zip(
                self.labels, self.tips, (True, self.second_required), strict=True
            )
        )
        self.file_a, self.file_b = (
            FileEdit(label=label, tooltip=f"{tip} ({_FORMATS})")
            for label, tip in zip(self.labels, self.tips, strict=True)
        )
        self.images = ImagesMenu(all_used=self.second_required)
        files = (self.file_a, self.file_b, self.images)
        fields = (self.source, self.layer_a, self.layer_b, *files)
        self.rows = form_layout(*fields, inside=self)
        self._show_source()
        self.offer_layers()
        connect_while_alive(self, [(viewer.layers.events.inserted, self.offer_layers)])
        self.source.changed.connect(self._show_source)
        for field in fields:
            field.changed.connect(self._announce)

    def _announce(self, _value: Any = None) -> None:
        self._show_images()
        self.changed.emit()

    def _show_images(self) -> None:
        """Offer the images of the chosen files, if they have several."""
        self.rows.setRowVisible(self.images.native, self.images.show_for(self._files()))

    def _files(self) -> list[Any]:
        """Return the chosen files; empty if layers are used."""
        if self.source.value == "layers":
            return []
        paths = [Path(str(edit.value)) for edit in (self.file_a, self.file_b)]
        return [path for path in paths[: 1 + self.takes_second()] if path != Path()]

    def offer_layers(self, _event: Any = None) -> None:
        """Choose layers for A and B if the user has not chosen any; never replace a deleted layer.

        Two channels of one file are not chosen together.
        """
        first, second = self.layer_a, self.layer_b
        layers = suggested_layers(self._viewer, 1 + self.second_required)
        if first.is_free:
            first.offer(next(iter(layers), None))
        if not self.second_required:
            return
        if second.is_free or (second.value == first.value and second.value is not None):
            partner = dict(layer_pairs(self._viewer)).get(first.value)
            others = [one for one in layers if not _belong_together(one, first.value)]
            others = [partner, *others] if partner is not None else others
            alone = len(image_layers(self._viewer)) == 1  # the message names the ways out
            second.offer(next(iter(others), first.value if alone else None))

    def _show_source(self) -> None:
        mode = _FILES.get(self.source.value)
        for edit in (self.file_a, self.file_b):
            edit.mode = mode or edit.mode
        keep_narrow(self.file_a, self.file_b)
        self.show_rows()

    def show_rows(self) -> None:
        """Show the rows for the chosen kind of source."""
        from_layers = self.source.value == "layers"
        for layer, file, shown in (
            (self.layer_a, self.file_a, True),
            (self.layer_b, self.file_b, self.takes_second()),
        ):
            self.rows.setRowVisible(layer.native, from_layers and shown)
            self.rows.setRowVisible(file.native, not from_layers and shown)
        self._show_images()

    def takes_second(self) -> bool:
        """Return whether the form asks for a second recording."""
        return True

    def choose_paths(self, paths: list[Path]) -> list[Path]:
        """Choose files or folders, except during a run; return those that have no field."""
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
        """Return the chosen recordings, layers or paths.

        Raises
        ------
        BadInput
            If one is missing, or both are the same layer.
        """
        from_layers = self.source.value == "layers"
        if from_layers:
            for menu in (self.layer_a, self.layer_b)[: 1 + self.takes_second()]:
                menu.check()
            given = [self.layer_a.value, self.layer_b.value]
        else:
            paths = [Path(str(edit.value)) for edit in (self.file_a, self.file_b)]
            given = [None if path == Path() else path for path in paths]
        given = given[: 1 + self.takes_second()]
        if given[0] is None or (given[-1] is None and self.second_required):
            raise BadInput(self._missing(from_layers), "not_chosen")
        if from_layers and len(given) > 1 and given[0] is given[1]:
            raise BadInput(
                f"{' and '.join(self.labels)} are both '{given[0].name}': "
                f"choose two separate recordings of the scene{self.way_out}",
                "duplicate",
            )
        return self.images.named([one for one in given if one is not None])

    def _missing(self, from_layers: bool) -> str:
        raise NotImplementedError


def _belong_together(one: Image, other: Image | None) -> bool:
    """Return whether two layers are probably not two recordings of one scene."""
    return other is not None and (one == other or of_one_file(one, other))
