"""Check that pixel values can be used in float32, the type of all computations; convert them."""

import math

import numpy as np

from napari_n2n.errors import BadInput

# Largest absolute value, in ADU: the sum of the squares of 1e8 such pixels is below the largest
# float32, 3.4e38.
LARGEST_VALUE = 1e15
# Largest error by rounding to float32, as a fraction of the differences between neighbouring
# pixels (both as standard deviations): it then adds at most 1 % to the variance of the noise.
_MOST_ROUNDING = 0.1


def usable(values: np.ndarray) -> bool:
    """Return whether all values are finite and not larger than `LARGEST_VALUE`."""
    if values.dtype.kind != "f" and values.dtype.itemsize < 8:
        return True
    # If any value is NaN, so are minimum and maximum, and each comparison is False.
    return -LARGEST_VALUE <= float(values.min()) and float(values.max()) <= LARGEST_VALUE


def check_values(plane: np.ndarray, name: str, index: int) -> None:
    """Raise if a plane, or a part of one, has values that cannot be used.

    Parameters
    ----------
    plane
        Shape (Y, X).
    name, index
        Name of the source and index of the plane in the message.

    Raises
    ------
    BadInput
        If a pixel is NaN, infinite or larger than `LARGEST_VALUE`.
    """
    if usable(plane):
        return
    good = np.isfinite(plane)
    if not good.all():
        raise BadInput(
            f"{name}: {1 - good.mean():.2%} of plane {index} is NaN or infinite: "
            "crop these pixels or fill them with the background level",
            "not_finite",
        )
    largest = max(plane.max(), plane.min(), key=lambda value: abs(float(value)))
    raise BadInput(
        f"{name}: plane {index} has values of {largest:.3g}, only those up to {LARGEST_VALUE:.0e} "
        "can be used: divide the image by a constant, or crop these pixels",
        "not_finite",
    )


def as_float32(plane: np.ndarray, name: str, index: int) -> np.ndarray:
    """Return a plane in float32, if that keeps its structure; see `check_values`.

    Raises
    ------
    BadInput
        If its values cannot be used, or a large offset leaves too few digits for the structure.
    """
    check_values(plane, name, index)
    if min(plane.shape) > 1 and plane.dtype.itemsize >= 4:
        _check_precision(plane.astype(np.float64), name, index)
    return plane.astype(np.float32)


def _check_precision(plane: np.ndarray, name: str, index: int) -> None:
    """Raise if float32 is too coarse for the differences of neighbouring pixels."""
    middle = float(np.median(np.abs(plane)))
    step = float(np.spacing(np.float32(middle)))
    differences = float(np.std(np.diff(plane))) / math.sqrt(2)
    if differences and step / math.sqrt(12) > _MOST_ROUNDING * differences:  # uniform rounding
        raise BadInput(
            f"{name}: neighbouring pixels of plane {index} differ by {differences:.2g} at values "
            f"around {middle:.3g}, where float32 has steps of {step:.2g}: "
            "subtract a constant from the image",
            "precision",
        )


def as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return values in another pixel type: rounded and clipped to its range if it is an integer."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.rint(values).clip(limits.min, limits.max)
    return values.astype(dtype, copy=False)
