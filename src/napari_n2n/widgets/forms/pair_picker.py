"""The form that asks for a pair to train on or measure, from open layers or from files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox
from napari.layers import Image
from superqt.utils import signals_blocked

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.image_name import split_image_name
from napari_n2n.pair.recordings import Recordings
from napari_n2n.widgets.dock import TextLabel, connect_while_alive, keep_narrow
from napari_n2n.widgets.forms.dark_files import DarkFrames
from napari_n2n.widgets.forms.fields import AxesField, axis_menu, frame_choices
from napari_n2n.widgets.forms.layer_menu import image_layers, layer_pairs
from napari_n2n.widgets.forms.mask_menu import MaskMenu, mask_layers
from napari_n2n.widgets.forms.more_recordings import MoreRecordings
from napari_n2n.widgets.forms.noise_file import NoiseFile
from napari_n2n.widgets.forms.recordings_picker import RecordingsPicker

# Choices in the menu; the last one is offered if the names of layers form several pairs.
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
    way_out = f", or '{_SPLIT}' or '{_SINGLE}' under Pair"

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
        self.dark, self.noise = DarkFrames(), NoiseFile()
        super().__init__(viewer)
        self.rows.insertRow(1, self.kind.label, self.kind.native)
        self.rows.insertRow(2, "", self.pairs_words)
        self.rows.addRow("", self.more_recordings)
        for field in (self.axes, self.axis, self.noise, self.inside):
            self.rows.addRow(field.label, field.native)
        self.rows.addRow(self.dark)
        self.axes.hide_unless_needed(self.rows)
        self.kind.changed.connect(self._announce)
        self.axes.changed.connect(self._announce)
        self.axis.changed.connect(lambda _axis: self.changed.emit())
        self.more_recordings.changed.connect(self._announce)
        self.inside.changed.connect(self._announce)
        events = viewer.layers.events
        followed = (events.inserted, events.removed, events.renamed)
        slots = (self._show_mask, self._offer_pairs)
        connect_while_alive(self, [(one, slot) for one in followed for slot in slots])
        for files in (self.dark, self.noise):
            files.changed.connect(lambda *_: self.changed.emit())
        self.show_rows()
        self._show_mask()
        self._offer_pairs()

    def _offer_pairs(self, _event: Any = None) -> None:
        """Offer to train on all pairs of layers, if their names form several pairs."""
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
        self.rows.setRowVisible(self.noise.native, self.kind.value == _SINGLE)

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
        """Return all chosen recordings, including further ones; see the base class."""
        if self.kind.value == _NAMED:
            return list(next(iter(layer_pairs(self._viewer))))
        more = self.more_recordings.sources() if self.takes_second() else []
        return super().chosen() + self.images.named(more)

    def _files(self) -> list[Any]:
        """Return the files that are chosen, and further recordings; none if layers are used."""
        files = super()._files()
        return files + self.more_recordings.sources() if files and self.takes_second() else files

    def recordings(self) -> Recordings:
        """Return the chosen recordings and how to read them; raises `BadInput` as `chosen` does."""
        split = self.axis.value if self.kind.value == _SPLIT else None
        listed = tuple(layer_pairs(self._viewer)) if self.kind.value == _NAMED else ()
        sources, axes = self.chosen(), self.axes.letters
        first = Recordings((sources[0],), axes).fields[0][0]
        mask = self.inside.image(first, axes)
        single = self.kind.value == _SINGLE
        noise = self.noise.path if single else None
        dark = self.dark.paths
        return Recordings(tuple(sources), axes, split, mask, dark, listed, single, noise)

    def choose_paths(self, paths: list[Path]) -> list[Path]:
        """Choose files or folders; after A and B, a single file is added, several replace all."""
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

    def has_other(self) -> bool:
        """Return whether there may be another B: files, or more than one layer."""
        return self.source.value != "layers" or len(image_layers(self._viewer)) > 1

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
        sources, image = _without_image(recordings.sources)
        first, *others = sources
        self.kind.value = _PAIR if others else _SINGLE if recordings.single else _SPLIT
        if len(recordings.listed) > 1 and _NAMED in self.kind.choices:
            self.kind.value = _NAMED
        self.axes.value = recordings.axes or ""
        self.inside.choose_named(recordings.mask and recordings.mask.name)
        self.dark.paths, self.noise.value = recordings.dark, recordings.noise
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
        if image:
            self.images.choose(sources, image)
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


def _without_image(sources: Sequence[Any]) -> tuple[Sequence[Any], str]:
    """Return files without the name of an image in them, and this name if all files share it."""
    named = [split_image_name(one) for one in sources if isinstance(one, Path)]
    images = {image for _, image in named}
    if len(named) != len(sources) or len(images) != 1:
        return sources, ""
    return [file for file, _ in named], images.pop()
