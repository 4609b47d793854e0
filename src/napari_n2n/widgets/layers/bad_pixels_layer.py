"""The layer of points that marks the hot and the dead pixels of a detector."""

from typing import Any

import numpy as np
from napari.layers import Image

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.pair.fixed_pattern import FixedPattern

# Size of a mark in pixels: it surrounds one pixel and can be seen when zoomed out.
_SIZE = 5.0
_COLOURS = {"hot": "red", "dead": "deepskyblue"}


def add_bad_pixels(viewer: Any, source: Any, first: Acquisition, pattern: FixedPattern) -> Any:
    """Add a layer of points, in every plane, at the hot and dead pixels; return it.

    Parameters
    ----------
    viewer
        Receives the layer.
    source
        The layer or the path of the recording in which the pixels were found.
    first
        The same recording, opened.
    pattern
        The fixed pattern of the recording.
    """
    places = np.concatenate([pattern.hot, pattern.dead]).astype(float)
    kinds = ["hot"] * len(pattern.hot) + ["dead"] * len(pattern.dead)
    if isinstance(source, Image):
        dimensions = list(first.order[-2:])
        pixels = np.zeros((len(places), source.ndim))
        pixels[:, dimensions] = places
        world = np.array([source.data_to_world(pixel) for pixel in pixels])
        places, scale = world[:, dimensions], np.array(source.scale)[dimensions]
        units = [source.units[k] for k in dimensions]
    else:
        scale, units = np.array(first.scale[-2:]), list(first.units[-2:])
        places = places * scale
    return viewer.add_points(
        places,
        name=f"hot pixels of {first.name}",
        size=_SIZE * float(np.mean(scale)),
        symbol="ring",
        face_color=[_COLOURS[kind] for kind in kinds],
        border_width=0,
        units=units,
        features={"kind": kinds},
    )
