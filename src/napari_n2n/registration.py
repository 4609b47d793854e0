"""How far one acquisition lies displaced against another."""

import math

import numpy as np
from scipy import ndimage
from skimage.registration import phase_cross_correlation

_SMOOTHING = 1.5


def measure_shift(planes_a: list[np.ndarray], planes_b: list[np.ndarray]) -> tuple[float, float]:
    """Displacement (y, x) of B against A in pixels: ``B(r) = A(r - shift)``.

    Median over planes of the sub-pixel cross-correlation peak (Guizar-Sicairos et al. 2008) of the
    lightly smoothed planes. A peak that noise alone could make reads as (0, 0).
    """
    found = []
    for plane_a, plane_b in zip(planes_a, planes_b, strict=True):
        smooth_a, smooth_b = (_detail(plane) for plane in (plane_a, plane_b))
        moved, _, _ = phase_cross_correlation(
            smooth_a, smooth_b, upsample_factor=50, normalization=None
        )
        dy, dx = (-float(step) for step in moved)
        far = abs(dy) > plane_a.shape[0] / 4 or abs(dx) > plane_a.shape[1] / 4
        whole = round(dy), round(dx)
        if far or not _shift_explains(smooth_a, smooth_b, whole):
            continue
        found.append((dy, dx))
    if not found:
        return 0.0, 0.0
    dy, dx = (float(np.median(steps)) for steps in zip(*found, strict=True))
    return dy, dx


def _detail(plane: np.ndarray) -> np.ndarray:
    """Structures of a few pixels: smoothed against noise, without the slow background."""
    smooth = ndimage.gaussian_filter(plane, _SMOOTHING)
    taper = np.outer(*(np.hanning(length + 2)[1:-1] for length in plane.shape))
    return (smooth - ndimage.gaussian_filter(plane, 12)) * taper.astype(np.float32)


def _shift_explains(a: np.ndarray, b: np.ndarray, shift: tuple[int, int]) -> bool:
    """Tell whether two detail images agree, so displaced, by more than smoothed noise would."""
    parts = [common_part(step, side) for step, side in zip(shift, a.shape, strict=True)]
    here, there = (tuple(part[k] for part in parts) for k in range(2))
    independent = a[here].size / (4 * math.pi * _SMOOTHING**2)
    agreement = np.corrcoef(a[here].ravel(), b[there].ravel())[0, 1]
    return bool(agreement > max(0.1, 6 / math.sqrt(independent)))


def common_part(shift: int, length: int) -> tuple[slice, slice]:
    """Return the slices of A and of B, displaced by `shift`, along an axis that show the same."""
    return (
        slice(max(0, -shift), length - max(0, shift)),
        slice(max(0, shift), length - max(0, -shift)),
    )


def whole_pixels(shift: float) -> int:
    """Whole pixels to crop for a measured shift; below 0.75 cropping would gain nothing."""
    return round(shift) if abs(shift) > 0.75 else 0
