"""The form that asks for a pair to train on or measure, from open layers or from files."""

from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import ComboBox, FileEdit
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget
from superqt.utils import signals_blocked

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.pair.recordings import Recordings
from napari_n2n.widgets.dock import TextLabel, connect_while_alive, keep_narrow
from napari_n2n.widgets.forms.dark_files import DarkFrames
from napari_n2n.widgets.forms.fields import (
    AxesField,
    axis_menu,
    form_layout,
    frame_choices,
)
from napari_n2n.widgets.forms.layer_menu import (
    LayerMenu,
    image_layers,
    layer_pairs,
    of_one_file,
    suggested_layers,
)
from napari_n2n.widgets.forms.mask_menu import MaskMenu, mask_layers
from napari_n2n.widgets.forms.more_recordings import MoreRecordings

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
        fields = (self.source, self.layer_a, self.layer_b, self.file_a, self.file_b)
        self.rows = form_layout(*fields, inside=self)
        self._show_source()
        self.offer_layers()
        connect_while_alive(self, [(viewer.layers.events.inserted, self.offer_layers)])
        self.source.changed.connect(self._show_source)
        for field in fields:
            field.changed.connect(self._announce)

    def _announce(self, _value: Any = None) -> None:
        self.changed.emit()

    def offer_layers(self, _event: Any = None) -> None:
        """Choose layers for A and B where none is chosen yet; none replaces a deleted layer.

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
            alone = len(image_layers(self._viewer)) == 1  # offers to split it
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

    def takes_second(self) -> bool:
        """Return whether the form asks for a second recording."""
        return True

    def choose_paths(self, paths: list[Path]) -> list[Path]:
        """Choose files or folders, except during a run; return those that are left over."""
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
                "choose two separate recordings of the scene",
                "duplicate",
            )
        return [one for one in given if one is not None]

    def _missing(self, from_layers: bool) -> str:
        raise NotImplementedError


def _belong_together(one: Image, other: Image | None) -> bool:
    """Return whether two layers are probably not two recordings of one scene."""
    return other is not None and (one == other or of_one_file(one, other))


# Choices in the menu; the last if the names of layers make several pairs.
_PAIR, _SPLIT, _SINGLE = "two recordings", "frames of one stack", "one recording only"
_NAMED = "all layers, paired by name"


class PairPicker(RecordingsPicker):
    """Ask for A, B and further recordings, or for a stack to split into even and odd frames."""

    labels = ("A", "B")
    tips = (
        "Noisy recording of the scene, or a folder of such recordings",
        "Second recording of the scene, or folder with equal file names",
    )
    second_required = True

    def __init__(self, viewer: Any) -> None:
        self.kind = ComboBox(
            label="Pair",
            choices=[_PAIR, _SPLIT, _SINGLE],
            tooltip="Two recordings of a scene, even and odd frames of a stack, or one recording",
        )
        keep_narrow(self.kind)
        self.axes = AxesField("recording")
        self.axis = axis_menu()
        self.more_recordings, self.inside = MoreRecordings(viewer), MaskMenu(viewer)
        self.pairs_words = TextLabel()
        self.dark = DarkFrames()
        super().__init__(viewer)
        self.rows.insertRow(1, self.kind.label, self.kind.native)
        self.rows.insertRow(2, "", self.pairs_words)
        self.rows.addRow("", self.more_recordings)
        for field in (self.axes, self.axis, self.inside):
            self.rows.addRow(field.label, field.native)
        self.rows.addRow(self.dark)
        self.axes.hide_unless_needed(self.rows)
        self.kind.changed.connect(self._announce)
        self.axes.changed.connect(self._announce)
        self.axis.changed.connect(lambda _axis: self.changed.emit())
        self.more_recordings.changed.connect(self.changed)
        self.inside.changed.connect(self._announce)
        events = viewer.layers.events
        followed = (events.inserted, events.removed, events.renamed)
        slots = (self._show_mask, self._offer_pairs)
        connect_while_alive(self, [(one, slot) for one in followed for slot in slots])
        self.dark.changed.connect(self.changed)
        self.show_rows()
        self._show_mask()
        self._offer_pairs()

    def _offer_pairs(self, _event: Any = None) -> None:
        """Offer to train on all pairs that the names of layers make, if there are several."""
        pairs = layer_pairs(self._viewer)
        choices = (_PAIR, _SPLIT, _SINGLE, *([_NAMED] if len(pairs) > 1 else []))
        if self.kind.choices != choices:
            self.kind.choices = choices
        if self.kind.value == _NAMED:
            self._announce()

    def takes_second(self) -> bool:
        """Return whether the form asks for a second recording."""
        return self.kind.value == _PAIR

    def show_rows(self) -> None:
        """Show the rows for the chosen kind of source and pair."""
        super().show_rows()
        if self.rows.indexOf(self.more_recordings) < 0:  # called while the base class is built
            return
        named = self.kind.value == _NAMED
        for row in (self.source, self.layer_a, self.file_a) if named else (self.source,):
            self.rows.setRowVisible(row.native, not named)
        pairs = layer_pairs(self._viewer) if named else []
        self.pairs_words.setText("\n".join(f"{a.name} + {b.name}" for a, b in pairs))
        self.rows.setRowVisible(self.pairs_words, named)
        self.rows.setRowVisible(self.more_recordings, self.takes_second())
        self.rows.setRowVisible(self.axis.native, self.kind.value == _SPLIT)

    def _show_mask(self, _event: Any = None) -> None:
        self.rows.setRowVisible(self.inside.native, bool(mask_layers(self._viewer)))

    def _announce(self, _value: Any = None) -> None:
        self.show_rows()
        with self.axis.changed.blocked():
            self._fill_axis_menu()
        self.changed.emit()

    def _fill_axis_menu(self) -> None:
        if self.kind.value != _SPLIT:
            return
        try:
            recordings = Recordings((self.chosen()[0],), self.axes.letters)
            first = Acquisition.open(recordings.fields[0][0], axes=recordings.axes)
            self.axis.choices = frame_choices(first)
        except BadInput as error:
            self.axis.choices = []
            self.axes.show_for(error)

    def chosen(self) -> list[Any]:
        """Return all chosen recordings, further ones too; see the base class."""
        if self.kind.value == _NAMED:
            return list(next(iter(layer_pairs(self._viewer))))
        return super().chosen() + (self.more_recordings.sources() if self.takes_second() else [])

    def recordings(self) -> Recordings:
        """Return the chosen recordings and how to read them; raises `BadInput` as `chosen` does."""
        split = self.axis.value if self.kind.value == _SPLIT else None
        listed = tuple(layer_pairs(self._viewer)) if self.kind.value == _NAMED else ()
        sources, axes = self.chosen(), self.axes.letters
        first = Recordings((sources[0],), axes).fields[0][0]
        mask = self.inside.image(first, axes)
        single = self.kind.value == _SINGLE
        return Recordings(tuple(sources), axes, split, mask, self.dark.paths, listed, single)

    def choose_paths(self, paths: list[Path]) -> list[Path]:
        """Choose files or folders; if A and B are chosen, one is added, several replace all."""
        if len(paths) > 1 and self.isEnabled() and self._full():
            self.more_recordings.clear()
            for edit in (self.file_a, self.file_b):
                edit.line_edit.value = ""
        left_over = super().choose_paths(paths)
        if not self.takes_second() and self.isEnabled():
            self.file_a.value = paths[0]
        elif left_over:
            self.more_recordings.add(*left_over)
        return []

    def _full(self) -> bool:
        """Return whether files are chosen for both A and B."""
        return Path() not in (self.file_a.value, self.file_b.value)

    def choose_first(self, layer: Image) -> None:
        """Choose a layer as A, except during a run; B stays if it is another recording."""
        if not self.isEnabled():
            return
        with signals_blocked(self):
            self.source.value = "layers"
            self.layer_a.value = layer
            self.offer_layers()
        self.changed.emit()

    def swap(self) -> None:
        """Swap A and B; results have the intensity scale of A."""
        layers, files = (self.layer_a, self.layer_b), (self.file_a, self.file_b)
        a, b = layers if self.source.value == "layers" else files
        with a.changed.blocked(), b.changed.blocked():
            a.value, b.value = b.value, a.value
        self.changed.emit()

    def split_instead(self) -> None:
        """Make a pair of the even and odd frames of A."""
        self.kind.value = _SPLIT

    def choose_other(self) -> None:
        """Open the menu of B, or put the cursor into its file name."""
        if self.source.value == "layers":
            self.layer_b.native.setFocus()
            self.layer_b.native.showPopup()
        else:
            self.file_b.line_edit.native.setFocus()

    def choose(self, recordings: Recordings) -> None:
        """Show recordings that were chosen elsewhere, except during a run."""
        if not self.isEnabled():
            return
        with signals_blocked(self):
            self._fill(recordings)
        self.changed.emit()

    def _fill(self, recordings: Recordings) -> None:
        first, *others = recordings.sources
        self.kind.value = _PAIR if others else _SINGLE if recordings.single else _SPLIT
        if len(recordings.listed) > 1 and _NAMED in self.kind.choices:
            self.kind.value = _NAMED
        self.axes.value = recordings.axes or ""
        self.inside.choose_named(recordings.mask and recordings.mask.name)
        self.dark.paths = recordings.dark
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
        if recordings.split in self.axis.choices:  # the axes of the stack may have changed
            self.axis.value = recordings.split

    def _missing(self, from_layers: bool) -> str:
        if self.kind.value == _SINGLE:
            return "Open a recording first" if from_layers else "Choose the file of a recording"
        if not self.takes_second():
            return "Open a stack first" if from_layers else "Choose the file of a stack"
        if from_layers and self.layer_a.value is not None:
            return "Choose a second recording of the same scene as B"
        if from_layers:
            return "Open two noisy recordings of the same scene first (or choose files)"
        return "Choose two files: two noisy recordings of the same scene"
