"""A computed stack as a layer that lies exactly on its source."""

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from napari_n2n import ngff


def scratch_folder() -> Path:
    """Make a folder for results that nobody saved; it goes when Python ends."""
    folder = Path(tempfile.mkdtemp(prefix="napari-n2n-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def layer_arguments(result: Path, source: Any | None) -> dict[str, Any]:
    """Return the arguments of ``viewer.add_image`` for a result.

    Parameters
    ----------
    result
        The OME-Zarr; napari is given its full resolution as it lies on disk.
    source
        The layer it was made from, whose transforms, units, contrast and colours it takes; None for
        files, whose pixel size comes with the result.
    """
    array, header = ngff.read(result)
    arguments: dict[str, Any] = {"data": array, "name": header.name, "cache": False}
    if source is None:
        middle = np.asarray(array[tuple(length // 2 for length in array.shape[:-2])])
        return arguments | {
            "scale": header.scale,
            "units": header.units,
            "axis_labels": tuple(header.axes.lower()),
            "contrast_limits": _limits(middle),
        }
    return arguments | {
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


def _limits(plane: np.ndarray) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(plane, (0.1, 99.9)))
    return low, max(high, low + 1e-6)
