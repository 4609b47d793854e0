"""A computed stack as a layer that lies exactly on its source."""

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


def scratch_folder() -> Path:
    """Make a folder for results that nobody saved; it goes when Python ends."""
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
        The result at its full resolution as it lies on disk, and its description.
    source
        The layer it was made from, whose transforms, units, contrast and colours it takes; None for
        files, whose pixel size comes with the result.
    order
        For each axis of the result, the dimension of the source that it is.
    limits
        Contrast limits of a result that has no source; taken from its middle plane if not given.
    """
    arguments = {"data": array, "name": header.name, "cache": False, "rgb": False}
    if source is None:
        return arguments | {
            "scale": header.scale,
            "units": header.units,
            "axis_labels": tuple(header.axes.lower()),
            "contrast_limits": limits or contrast_limits(middle_plane(array)),
        }
    return arguments | {
        "data": turned_back(array, order),
        "scale": source.scale,
        "translate": source.translate,
        "rotate": source.rotate,
        "shear": source.shear,
        "affine": source.affine,
        "units": source.units,
        "axis_labels": source.axis_labels,
        "contrast_limits": source.contrast_limits,
        "colormap": source.colormap,
        "blending": source.blending,
        "projection_mode": source.projection_mode,
    }


def place_of(layer: Image, pixel: np.ndarray) -> np.ndarray:
    """Return the translation of a layer that begins at a pixel of another one, and lies alike."""
    turned = Affine(
        scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear
    )
    return turned(pixel)


def turned_back(array: Any, order: Sequence[int]) -> Any:
    """Bring the axes of a result into the order of its source's dimensions, lazily."""
    if list(order) == sorted(order):
        return array
    if not isinstance(array, da.Array):
        # A random name: dask would otherwise read everything to make one of its content.
        array = da.from_array(array, name=f"n2n-{uuid.uuid4().hex}", inline_array=True)
    return array.transpose([order.index(axis) for axis in sorted(order)])


def middle_plane(array: Any) -> np.ndarray:
    """Read the plane in the middle of a stack."""
    return np.asarray(array[tuple(length // 2 for length in array.shape[:-2])])


def contrast_limits(plane: np.ndarray) -> tuple[float, float]:
    """Return the intensities between which a plane is well seen."""
    low, high = (float(value) for value in np.percentile(plane, (0.1, 99.9)))
    return low, max(high, low + 1e-6)
