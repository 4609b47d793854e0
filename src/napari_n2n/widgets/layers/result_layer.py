"""Show a computed stack as a layer with all transforms and units of its source."""

import atexit
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from napari.layers import Image
from napari.utils.transforms import Affine

from napari_n2n.io.header import Header

# Percentiles of the pixels that are shown as black and white, so that outliers do not darken the
# image.
_CONTRAST_PERCENTILES = (0.1, 99.9)


LINKED = ("contrast_limits", "gamma", "colormap")
"""Properties that are linked between a recording, its preview and its result."""

_RESULT = "napari-n2n: result"  # metadata key of the layers of results
_ERROR_MAP = "napari-n2n: error map"  # metadata key of the layers of error maps
_CHANNEL = "napari-n2n: channel"  # metadata key of the layers of the channels of a result


def is_result(layer: Any) -> bool:
    """Return whether a layer is the result of a run; docks do not choose results automatically."""
    return bool(layer.metadata.get(_RESULT))


def is_error_map(layer: Any) -> bool:
    """Return whether a layer is an error map."""
    return bool(layer.metadata.get(_ERROR_MAP))


def channel_of(layer: Any) -> int | None:
    """Return which channel of a result a layer shows; None if it shows the whole result."""
    found = layer.metadata.get(_CHANNEL)
    return None if found is None else int(found)


def as_result(
    arguments: dict[str, Any], *, error_map: bool = False, channel: int | None = None
) -> dict[str, Any]:
    """Mark the arguments of ``viewer.add_image`` as those of a result; see `is_result`."""
    marks = {_RESULT: True} | ({_ERROR_MAP: True} if error_map else {})
    return arguments | {"metadata": marks | ({} if channel is None else {_CHANNEL: channel})}


def scratch_folder() -> Path:
    """Make a folder for unsaved results; it is deleted when Python exits."""
    folder = Path(tempfile.mkdtemp(prefix="napari-n2n-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def layer_arguments(
    array: Any,
    header: Header,
    source: Image | None,
    order: Sequence[int],
    limits: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Return the arguments of ``viewer.add_image`` for a result.

    Parameters
    ----------
    array, header
        The result at full resolution as stored on disk, and its header.
    source
        The layer it was made from, whose transforms, units, contrast and colours are copied; None
        for files, whose pixel size is in `header`.
    order
        For each axis of the result, the corresponding dimension of the source.
    limits
        Contrast limits of a result without source; default: from its middle plane.
    """
    arguments = {"data": array, "name": header.name, "cache": False, "rgb": False}
    if source is None:
        return arguments | {
            "scale": header.scale,
            "translate": header.translation or (0.0,) * len(header.shape),
            "units": header.units,
            "axis_labels": tuple(header.axes.lower()),
            "contrast_limits": limits or contrast_limits(middle_plane(array)),
        }
    return arguments | {
        "data": in_source_order(array, order),
        "scale": source.scale,
        "translate": source.translate,
        "rotate": source.rotate,
        "shear": source.shear,
        "affine": source.affine,
        "units": source.units,
        "axis_labels": source.axis_labels,
        "contrast_limits": source.contrast_limits,
        "gamma": source.gamma,
        "colormap": source.colormap,
        "blending": source.blending,
        "projection_mode": source.projection_mode,
    }


def select_pair(viewer: Any, layers: Sequence[Image]) -> None:
    """Select only these layers, so that the Train dock offers them when it opens."""
    viewer.layers.selection.clear()
    viewer.layers.selection.update(layers)


def translation_at(layer: Image, pixel: np.ndarray) -> np.ndarray:
    """Return the translation of a layer whose first pixel is at this pixel of another layer."""
    to_parent = Affine(
        scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear
    )
    return to_parent(pixel)


def in_source_order(array: Any, order: Sequence[int]) -> Any:
    """Return a result with its axes in the order of its source's dimensions, lazily."""
    if list(order) == sorted(order):
        return array
    if not isinstance(array, da.Array):
        # A random name: by default dask reads all pixels to derive a name from them.
        array = da.from_array(array, name=f"n2n-{uuid.uuid4().hex}", inline_array=True)
    return array.transpose([order.index(axis) for axis in sorted(order)])


def middle_plane(array: Any) -> np.ndarray:
    """Read the middle plane of a stack."""
    return np.asarray(array[tuple(length // 2 for length in array.shape[:-2])])


def contrast_limits(plane: np.ndarray) -> tuple[float, float]:
    """Return contrast limits that fit a plane."""
    low, high = (float(value) for value in np.percentile(plane, _CONTRAST_PERCENTILES))
    return low, max(high, low + 1e-6)  # napari refuses equal limits
