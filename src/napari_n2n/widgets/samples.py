"""File > Open Sample: each scene opens as a ready pair."""

from typing import Any

import numpy as np

from napari_n2n.acquisition import Acquisition
from napari_n2n.samples import sample


def nuclei_pair() -> list[tuple[Any, dict[str, Any], str]]:
    """Open two noisy acquisitions of cells, 512x512."""
    return _pair("cells")


def timelapse_pair() -> list[tuple[Any, dict[str, Any], str]]:
    """Open two noisy acquisitions of a time-lapse, 12x160x160."""
    return _pair("timelapse")


def _pair(scene: str) -> list[tuple[Any, dict[str, Any], str]]:
    layers = []
    for view in ("a", "b"):
        acquisition = Acquisition.open(sample(scene, view))
        pixels = acquisition.read((slice(None),) * len(acquisition.shape))
        appearance = {
            "name": acquisition.name,
            "scale": acquisition.scale,
            "units": acquisition.units,
            "axis_labels": tuple(acquisition.axes.lower()),
            "contrast_limits": tuple(float(end) for end in np.percentile(pixels, (0.1, 99.95))),
        }
        layers.append((pixels, appearance, "image"))
    return layers
