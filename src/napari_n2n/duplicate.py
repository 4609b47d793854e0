"""The same image under two names: no two exposures differ by less than their noise."""

import math

import numpy as np

from napari_n2n.acquisition import Acquisition
from napari_n2n.errors import BadInput


def refuse_duplicate(
    a: Acquisition, b: Acquisition, planes_a: list[np.ndarray], planes_b: list[np.ndarray]
) -> None:
    """Refuse the same image twice, also if it was rescaled, recompressed or rounded.

    Parameters
    ----------
    a, b
        What to name.
    planes_a, planes_b
        A sample of each, plane by plane of the same place; each of shape (Y, X).

    Raises
    ------
    BadInput
        If their difference is much smaller than the noise of one.
    """
    differing = grain = 0.0
    for plane_a, plane_b in zip(planes_a, planes_b, strict=True):
        gain, offset = _regression(plane_a.ravel(), plane_b.ravel())
        differing += float(np.mean((plane_b - gain * plane_a - offset) ** 2)) / 2
        grain += _pixel_noise(plane_b) ** 2
    if differing == 0 or differing < 0.05 * grain:
        raise BadInput(
            f"{b.name}: is the same image as {a.name} (their difference has "
            f"{math.sqrt(differing):.3g} ADU where the noise of one has {math.sqrt(grain):.3g}): "
            "two separate exposures are needed; split a stack into even and odd frames instead",
            "duplicate",
        )


def _pixel_noise(plane: np.ndarray) -> float:
    """Robust standard deviation of a plane's finest detail, an upper bound of its white noise.

    The median absolute diagonal Haar coefficient over 0.6745 (Donoho & Johnstone 1994).
    """
    even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2].astype(np.float64)
    detail = (even[::2, ::2] - even[1::2, ::2] - even[::2, 1::2] + even[1::2, 1::2]) / 2
    return float(np.median(np.abs(detail)) / 0.6745)


def _regression(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    deviation = x - x.mean(dtype=np.float64)
    spread = float(np.mean(deviation**2))
    gain = float(np.mean(deviation * y)) / spread if spread else 1.0
    return gain, float(y.mean(dtype=np.float64) - gain * x.mean(dtype=np.float64))
