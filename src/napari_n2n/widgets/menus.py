"""The entries of napari's Layers menu: each opens a dock on the layers that are selected."""

from typing import Any

import napari
from napari.layers import Image

from napari_n2n.recipe import Recordings
from napari_n2n.widgets.dock import open_dock
from napari_n2n.widgets.form import image_layers
from napari_n2n.widgets.pick_pair import PairPicker


def denoise_selected(viewer: napari.Viewer) -> None:
    """Open Denoise on the selected layer, or on two of one scene."""
    picker, layers = open_dock(viewer, "Denoise").picker, _selected(viewer)
    if layers and picker.isEnabled():  # a run that is under way keeps its layers
        picker.source.value = "layers"
        picker.layer_a.value = layers[0]
        picker.layer_b.value = layers[1] if len(layers) > 1 else None


def learn_from_selected(viewer: napari.Viewer) -> None:
    """Open Train on the selected layers, two or more of one scene."""
    _show_recordings(open_dock(viewer, "Train").picker, viewer)


def measure_selected(viewer: napari.Viewer) -> None:
    """Open Noise on the selected layers, two or more of one scene."""
    _show_recordings(open_dock(viewer, "Noise").picker, viewer)


def split_selected(viewer: napari.Viewer) -> None:
    """Open Split on the selected layer."""
    _show_one(open_dock(viewer, "Split"), viewer)


def simulate_on_selected(viewer: napari.Viewer) -> None:
    """Open Simulate on the selected layer."""
    _show_one(open_dock(viewer, "Simulate"), viewer)


def _selected(viewer: Any) -> list[Image]:
    """Return the selected images in the order of the list of layers."""
    return [layer for layer in image_layers(viewer) if layer in viewer.layers.selection]


def _show_recordings(picker: PairPicker, viewer: Any) -> None:
    layers = _selected(viewer)
    if len(layers) > 1:
        picker.choose(Recordings(tuple(layers)))
    elif layers and picker.isEnabled():
        picker.source.value = "layers"
        picker.layer_a.value = layers[0]


def _show_one(dock: Any, viewer: Any) -> None:
    if layers := _selected(viewer):
        dock.layer.value = layers[0]
