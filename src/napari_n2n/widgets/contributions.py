"""The entries of napari's Layers menu: each opens a dock on the layers that are selected.

A model file that is dropped onto napari, or opened, opens the Denoise dock with it.

File > Open Sample: scenes that open as ready pairs, and what goes with them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from napari.layers import Image

from napari_n2n.errors import BadInput
from napari_n2n.model.denoiser import load
from napari_n2n.pair.recordings import Recordings
from napari_n2n.simulate.samples import recordings
from napari_n2n.widgets.dock import notify, open_dock
from napari_n2n.widgets.forms.fields import image_layers
from napari_n2n.widgets.forms.recordings_picker import PairPicker
from napari_n2n.widgets.layers.result_layer import contrast_limits, middle_plane


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


NO_LAYER: list[tuple[None]] = [(None,)]
"""What a reader returns that has done its work without a layer."""


def reader(path: str | list[str]) -> Callable[[Any], list[tuple[None]]]:
    """Return the function that takes a model file, or of several the first."""
    return _read


def _read(path: str | list[str]) -> list[tuple[None]]:
    first = Path(path if isinstance(path, str) else path[0])
    viewer = napari.current_viewer()
    try:
        if viewer is None:
            raise BadInput(
                f"{first}: a model opens in a napari window; in a script, use napari_n2n.load",
                "model",
            )
        load(first)  # a file that cannot be read opens nothing
    except BadInput as error:
        notify(error)
        return NO_LAYER
    open_dock(viewer, "Denoise").model.choose(first)
    return NO_LAYER


LayerData = tuple[Any, dict[str, Any], str]


def cells() -> list[LayerData]:
    """Open two noisy acquisitions of cells, 512x512."""
    return _layers("cells")


def timelapse() -> list[LayerData]:
    """Open two noisy acquisitions of a time-lapse, 12x160x160."""
    return _layers("timelapse")


def volume() -> list[LayerData]:
    """Open two noisy acquisitions of a cell in slices, 20x112x112."""
    return _layers("volume")


def lettering() -> list[LayerData]:
    """Open the cells under two different writings."""
    return _layers("lettering")


def impulses() -> list[LayerData]:
    """Open the cells with half of their pixels gone, twice."""
    return _layers("impulses")


def clean_cells() -> list[LayerData]:
    """Open the cells without noise, to simulate on."""
    return _layers("clean_cells")


def long_timelapse() -> list[LayerData]:
    """Open one long recording, to which a model of the time-lapse can be applied."""
    return _layers("long_timelapse")


def _layers(scene: str) -> list[LayerData]:
    """Return the recordings of a scene as layers that look alike."""
    views = recordings(scene)
    limits = contrast_limits(middle_plane(views[0].source))
    return [
        (
            one.source,
            {
                "name": one.name,
                "scale": one.scale,
                "units": one.units,
                "axis_labels": tuple(one.axes.lower()),
                "contrast_limits": limits,
            },
            "image",
        )
        for one in views
    ]
