"""Bring acquisitions of one scene to the field of view that all of them share."""

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.pair.registration import whole_pixels

# Smallest side of a plane for training, in pixels: one block of the statistics.
SMALLEST_SIDE = 32


def check_same_shape(acquisitions: list[Acquisition]) -> None:
    """Raise `BadInput` unless acquisitions have one shape, large enough for training."""
    first = acquisitions[0]
    for other in acquisitions[1:]:
        if other.shape != first.shape:
            raise BadInput(
                f"{other.name}: shape {other.shape} differs from {first.name}'s {first.shape}: "
                "both acquisitions must show the same field; crop them to one size",
                "shape",
            )
    if min(first.plane_shape) < SMALLEST_SIDE:
        raise BadInput(
            f"{first.name}: planes of {first.plane_shape[0]}x{first.plane_shape[1]} pixels are "
            f"too small for training: at least {SMALLEST_SIDE}x{SMALLEST_SIDE} are needed",
            "size",
        )


def to_common_field(
    acquisitions: list[Acquisition], shifts: list[tuple[float, float]]
) -> tuple[list[Acquisition], tuple[tuple[int, int], ...]]:
    """Crop each acquisition to the field of view that all of them share.

    Parameters
    ----------
    acquisitions
        Acquisitions of one shape.
    shifts
        For each, its displacement (y, x) against the first, in pixels.

    Returns
    -------
    cropped, corners
        The views, and the row and column at which each starts.
    """
    whole = np.array([[whole_pixels(step) for step in shift] for shift in shifts])
    low, high = whole.min(axis=0), whole.max(axis=0)
    shape = np.array(acquisitions[0].plane_shape) - (high - low)
    starts = whole - low
    if not (high - low).any():
        return acquisitions, ((0, 0),) * len(acquisitions)
    if shape.min() < SMALLEST_SIDE:
        raise BadInput(
            f"{acquisitions[0].name}: the acquisitions share only {shape[0]}x{shape[1]} pixels: "
            "choose two recordings of the same field",
            "size",
        )
    cropped = [
        acquisition.cropped(*(slice(int(s), int(s + n)) for s, n in zip(start, shape, strict=True)))
        for acquisition, start in zip(acquisitions, starts, strict=True)
    ]
    return cropped, tuple((int(y), int(x)) for y, x in starts)
