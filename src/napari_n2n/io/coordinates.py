"""Read pixel sizes, positions and channel names from the coordinates along axes, as xarray has."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_n2n.io.header import Channel, Header
from napari_n2n.io.units import unit_name

Coordinates = Mapping[str, tuple[np.ndarray, Any]]
"""Coordinates of the pixels along a named dimension, and their unit."""
# Largest relative deviation of a step from the mean step at which steps count as equal: coordinates
# are often stored in single precision.
_EQUAL = 1e-3


def header_of(
    shape: tuple[int, ...], dtype: np.dtype, dims: Sequence[str], coordinates: Coordinates
) -> Header:
    """Return the header of an array whose dimensions have names and, some of them, coordinates.

    Parameters
    ----------
    shape, dtype, dims
        Shape, pixel type and names of the dimensions.
    coordinates
        By dimension. Coordinates that are not evenly spaced give no pixel size.
    """
    axes = "".join(dims).upper()
    if len(axes) != len(shape):
        return Header(shape, dtype, "", (), ())
    sizes, starts, names = {}, [], []
    for axis, dim in zip(axes, dims, strict=True):
        values, unit = coordinates.get(dim, (np.empty(0), ""))
        line = np.asarray(values)
        first, step, name = _even(line, unit) if axis in "TZYX" else (0.0, 0.0, "pixel")
        starts.append(first)
        if step:
            sizes[axis] = (step, name)
        if axis == "C" and line.dtype.kind in "OTU":  # kinds of text
            names = [str(value) for value in line]
    return Header.of_sizes(
        *(shape, dtype, axes, sizes),
        channels=tuple(map(Channel, names)),
        translation=tuple(starts),
    )


def _even(values: np.ndarray, unit: Any) -> tuple[float, float, str]:
    """Return the first of evenly spaced coordinates, their step and its unit; 0 if they are not."""
    if values.dtype.kind in "mM":
        values, unit = (values - values[:1]) / np.timedelta64(1, "s"), "second"
    if values.ndim != 1 or len(values) < 2 or values.dtype.kind not in "iuf":
        return 0.0, 0.0, "pixel"
    steps = np.diff(values.astype(np.float64))
    step = float(steps.mean())
    if not (math.isfinite(step) and np.all(np.abs(steps - step) <= _EQUAL * abs(step))):
        return 0.0, 0.0, "pixel"
    name = unit_name(str(unit).partition(" since ")[0])  # as in "minutes since 2024-01-01"
    # Falling coordinates cannot be a translation of pixels with a positive size.
    return float(values[0]) if step > 0 else 0.0, float(f"{abs(step):.7g}"), name
