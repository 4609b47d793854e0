"""Functions named in napari.yaml: menu commands, the reader of model files, and sample data.

A menu command opens a dock for the selected layers. A model file that is dropped or opened opens
the Denoise dock. A sample opens as one layer, or as a pair of layers to train on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari

from napari_n2n.errors import BadInput
from napari_n2n.model.denoiser import load
from napari_n2n.pair.recordings import Recordings
from napari_n2n.simulate.samples import recordings
from napari_n2n.widgets.dock import notify, open_dock
from napari_n2n.widgets.forms.layer_menu import selected_layers
from napari_n2n.widgets.forms.pair_picker import PairPicker
from napari_n2n.widgets.layers.result_layer import contrast_limits, middle_plane


def denoise_selected(viewer: napari.Viewer) -> None:
    """Open the Denoise dock for one selected layer, or for two of one scene."""
    picker, layers = open_dock(viewer, "Denoise").picker, selected_layers(viewer)
    if layers and picker.isEnabled():  # not during a run: it uses the layers chosen before
        picker.source.value = "layers"
        picker.layer_a.value = layers[0]
        picker.layer_b.value = layers[1] if len(layers) > 1 else None


def learn_from_selected(viewer: napari.Viewer) -> None:
    """Open the Train dock for the selected layers, two or more of one scene."""
    _show_recordings(open_dock(viewer, "Train").picker, viewer)


def measure_selected(viewer: napari.Viewer) -> None:
    """Open the Noise dock for the selected layers, two or more of one scene."""
    _show_recordings(open_dock(viewer, "Noise").picker, viewer)


def split_selected(viewer: napari.Viewer) -> None:
    """Open the Split dock for the selected layer."""
    _show_one(open_dock(viewer, "Split"), viewer)


def simulate_on_selected(viewer: napari.Viewer) -> None:
    """Open the Simulate dock for the selected layer."""
    _show_one(open_dock(viewer, "Simulate"), viewer)


def _show_recordings(picker: PairPicker, viewer: Any) -> None:
    layers = selected_layers(viewer)
    if len(layers) > 1:
        picker.choose(Recordings(tuple(layers)))
    elif layers:
        picker.choose_first(layers[0])


def _show_one(dock: Any, viewer: Any) -> None:
    if layers := selected_layers(viewer):
        dock.layer.value = layers[0]


NO_LAYER: list[tuple[None]] = [(None,)]
"""Return value of a reader that adds no layer."""


def reader(path: str | list[str]) -> Callable[[Any], list[tuple[None]]]:
    """Return the function that opens a model file; of several files it opens the first."""
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
        load(first)  # raises before a dock opens, if the file is not a model
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
    """Open two noisy acquisitions of a cell volume, 20x112x112."""
    return _layers("volume")


def lettering() -> list[LayerData]:
    """Open two acquisitions of the cells, covered by different text."""
    return _layers("lettering")


def impulses() -> list[LayerData]:
    """Open two acquisitions of the cells, with random values at half of the pixels."""
    return _layers("impulses")


def clean_cells() -> list[LayerData]:
    """Open the cells without noise, as an input for the Simulate dock."""
    return _layers("clean_cells")


def long_timelapse() -> list[LayerData]:
    """Open one long recording, to be denoised with a model trained on the time-lapse."""
    return _layers("long_timelapse")


def _layers(scene: str) -> list[LayerData]:
    """Return the acquisitions of a scene as layers with the same contrast."""
    acquisitions = recordings(scene)
    limits = contrast_limits(middle_plane(acquisitions[0].source))
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
        for one in acquisitions
    ]
