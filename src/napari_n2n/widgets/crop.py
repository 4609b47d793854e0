"""Layers with the part of a scene that all recordings of it show, which lie on each other."""

from pathlib import Path
from typing import Any

import numpy as np

from napari_n2n.acquisition import Acquisition
from napari_n2n.pair import Pair
from napari_n2n.recipe import Recordings
from napari_n2n.widgets.result_layer import layer_arguments, place_of


def can_crop(recordings: Recordings, pair: Pair) -> bool:
    """Tell whether recordings, a layer or a file each, do not all show the same part."""
    files = sum(isinstance(source, str | Path) for source in recordings.sources)
    alike = files in (0, len(recordings.sources)) and not recordings.in_folders
    alone = len(recordings.sources) == len(pair.offsets)
    return alike and alone and len(set(pair.offsets)) > 1


def add_cropped(viewer: Any, recordings: Recordings, pair: Pair) -> Recordings:
    """Add, without copying, a layer for each recording, cropped to what all of them show.

    Parameters
    ----------
    viewer
        Receives the layers.
    recordings, pair
        For which `can_crop` holds; of several channels, the pair of the first.

    Returns
    -------
    Recordings
        The new layers.
    """
    rows, columns = pair.first.plane_shape
    added, place = [], None
    for source, (top, left) in zip(recordings.sources, pair.offsets, strict=True):
        whole = Acquisition.open(source, axes=recordings.axes)
        part = whole.cropped(slice(top, top + rows), slice(left, left + columns))
        looks: dict[str, Any] = {"name": f"{whole.name} cropped"}
        layer = None if isinstance(source, str | Path) else source
        if layer is not None:
            if place is None:
                start = np.zeros(layer.ndim)
                start[list(whole.order[-2:])] = top, left
                place = place_of(layer, start)
            looks["translate"] = place
        arguments = layer_arguments(part.data, part.header, layer, part.order)
        added.append(viewer.add_image(**(arguments | looks)))
    return Recordings(tuple(added), None if layer is None else recordings.axes)
