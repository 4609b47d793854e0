"""A form that asks for two acquisitions, from layers or from files; docks add rows of their own."""

from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FileEdit
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QWidget

from napari_n2n.errors import BadInput
from napari_n2n.widgets.dock import connect_while_alive, keep_narrow

_TIP = "noisy recording of the scene; any of the two may be this one"


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

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.source = ComboBox(
            label="From",
            choices=["layers", "files"],
            tooltip="Take the two acquisitions from open layers, or straight from files",
        )
        self.layer_a = ComboBox(label="A", choices=self._image_layers, tooltip=f"One {_TIP}")
        self.layer_b = ComboBox(label="B", choices=self._image_layers, tooltip=f"Another {_TIP}")
        kinds = "TIFF, OME-Zarr, npy or PNG"
        self.file_a = FileEdit(label="A", tooltip=f"One {_TIP}: {kinds}")
        self.file_b = FileEdit(label="B", tooltip=f"Another {_TIP}: {kinds}")
        self.fields = (self.source, self.layer_a, self.layer_b, self.file_a, self.file_b)
        self.rows = QFormLayout(self)
        self.rows.setContentsMargins(0, 0, 0, 0)
        self.rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        keep_narrow(self.layer_a, self.layer_b)
        for field in self.fields:
            self.rows.addRow(field.label, field.native)
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

    def _image_layers(self, _menu: Any = None) -> list[tuple[str, Image]]:
        return [(layer.name, layer) for layer in self._viewer.layers if isinstance(layer, Image)]

    def reset_choices(self, _event: Any = None) -> None:
        """Offer the layers that are there now; the second menu starts on the second one."""
        untouched = self.layer_a.value is self.layer_b.value
        self.layer_a.reset_choices()
        self.layer_b.reset_choices()
        choices = self.layer_b.choices
        if untouched and len(choices) > 1:
            self.layer_b.value = choices[1]

    def _show_source(self) -> None:
        files = self.source.value == "files"
        for field in self.fields[1:]:
            self.rows.setRowVisible(field.native, isinstance(field, FileEdit) == files)

    def chosen(self) -> list[Any]:
        """Return the two acquisitions that are chosen: layers or paths.

        Raises
        ------
        BadInput
            If one is missing or they are the same.
        """
        if self.source.value == "files":
            paths = [Path(str(edit.value)) for edit in (self.file_a, self.file_b)]
            if any(path == Path() for path in paths):
                raise BadInput("Choose two files: two noisy recordings of the same scene")
            return paths
        layers = [self.layer_a.value, self.layer_b.value]
        if None in layers:
            raise BadInput("Open two noisy recordings of the same scene first (or choose files)")
        if layers[0] is layers[1]:
            raise BadInput(
                f"A and B are both '{layers[0].name}': choose two separate recordings of the scene"
            )
        return layers
