"""File > Open Sample: scenes that open as ready pairs, and what goes with them."""

from typing import Any

from napari_n2n.scenes import recordings
from napari_n2n.widgets.result_layer import contrast_limits, middle_plane

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
