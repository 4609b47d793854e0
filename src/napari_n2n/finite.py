"""Pixels that are numbers: NaN and infinity are refused where they are read, with their plane."""

import numpy as np

from napari_n2n.acquisition import Acquisition
from napari_n2n.errors import BadInput
from napari_n2n.regions import Region


def finite(plane: np.ndarray, acquisition: Acquisition, index: int) -> np.ndarray:
    """Return a plane of an acquisition, or a part of one, whose pixels are all finite.

    Parameters
    ----------
    plane
        Shape (Y, X).
    acquisition, index
        What it was read from, and its number there.

    Raises
    ------
    BadInput
        If a pixel is NaN or infinite.
    """
    good = np.isfinite(plane)
    if not good.all():
        raise BadInput(
            f"{acquisition.name}: {1 - good.mean():.2%} of plane {index} is NaN or infinite: "
            "crop it off or fill it with the background level"
        )
    return plane


def read_finite(acquisition: Acquisition, region: Region) -> np.ndarray:
    """Read a part of a stack, a slice for each axis, whose pixels are all finite.

    Raises
    ------
    BadInput
        If a pixel is NaN or infinite.
    """
    values = acquisition.read(region)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        for place in np.ndindex(*values.shape[:-2]):
            where = [part.start + i for part, i in zip(region[:-2], place, strict=True)]
            index = np.ravel_multi_index(where, acquisition.shape[:-2]) if where else 0
            finite(values[place], acquisition, int(index))
    return values
