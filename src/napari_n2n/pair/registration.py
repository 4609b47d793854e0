"""Measure the shift of one acquisition against another."""

import math

import numpy as np
from scipy import fft, ndimage

from napari_n2n.stats.statistics import over_blocks

# Standard deviations in pixels of the Gaussians that remove noise and slow background: structures
# of a few pixels remain.
_SMOOTHING, _BACKGROUND = 1.5, 12
# Number of tiles along each side of a plane; a shift must improve the agreement of the tiles.
_TILES = 4
# Side in pixels of the blocks whose residuals are independent: several times `_SMOOTHING`.
_ERROR_BLOCK = 16
# Standard errors by which a shift must improve the agreement of the tiles.
_SURE = 4.0
# Shift in pixels below which it is not tested, because it hardly matters.
_UNIMPORTANT = 0.25
# The peak is located to 1/50 pixel: within this distance (pixels) of the highest whole pixel, first
# in steps of 1/10. The peak is several pixels wide, so the steps do not miss it.
_UPSAMPLING, _COARSE = 50, 10
_WITHIN = 0.74
# Largest shift, as a part of the plane's side.
_FARTHEST = 1 / 4
# Smallest correlation of shifted planes: absolute, and in standard errors of smoothed noise.
_AGREEMENT, _BEYOND_NOISE = 0.1, 6
# Shift in pixels above which whole pixels are cropped: at most a third of the shift then remains.
_WORTH_CROPPING = 0.75


def measure_shift(planes_a: np.ndarray, planes_b: np.ndarray) -> tuple[float, float]:
    """Return the displacement (y, x) of B against A in pixels: ``B(r) = A(r - shift)``.

    It is the median over planes of the sub-pixel cross-correlation peak (Guizar-Sicairos et al.
    2008) of the lightly smoothed planes. Peaks that could come from noise alone are ignored. A
    displacement of more than a quarter of a pixel must also improve the agreement of tiles all over
    the plane, not only of a moving part; otherwise (0, 0) is returned.
    """
    details = [
        (_detail(plane_a), _detail(plane_b))
        for plane_a, plane_b in zip(planes_a, planes_b, strict=True)
        if np.ptp(plane_a) > 0 and np.ptp(plane_b) > 0
    ]
    found = []
    for smooth_a, smooth_b in details:
        dy, dx = _peak(smooth_a, smooth_b)
        far = abs(dy) > smooth_a.shape[0] * _FARTHEST or abs(dx) > smooth_a.shape[1] * _FARTHEST
        whole = round(dy), round(dx)
        if far or not _shift_explains(smooth_a, smooth_b, whole):
            continue
        found.append((dy, dx))
    if not found:
        return 0.0, 0.0
    dy, dx = (float(np.median(steps)) for steps in zip(*found, strict=True))
    if math.hypot(dy, dx) < _UNIMPORTANT:
        return dy, dx
    gains = np.concatenate([_gains(*detail, (dy, dx)) for detail in details])
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return (dy, dx) if gains.mean() > _SURE * error else (0.0, 0.0)


def shift_error(plane_a: np.ndarray, plane_b: np.ndarray) -> float:
    """Return the standard error of a displacement along one axis, in pixels.

    A small displacement changes B by the product with its gradient, so it is the slope of a
    regression of B - A on the gradient, and its error follows from the residuals summed over
    blocks (a sandwich estimator: neighbouring pixels share noise). The mean of both axes is
    returned.

    Parameters
    ----------
    plane_a, plane_b
        Shape (Y, X), displaced against each other by a few pixels at most.
    """
    a, b = _detail(plane_a), _detail(plane_b)
    gradients = np.stack(np.gradient((a + b) / 2)).astype(np.float64)
    normal = np.einsum("iyx,jyx->ij", gradients, gradients)
    if not np.linalg.det(normal) > 0:
        return math.inf
    slopes = np.linalg.solve(normal, (gradients * (b - a)).sum(axis=(1, 2)))
    residual = b - a - np.einsum("i,iyx->yx", slopes, gradients)
    sums = over_blocks(gradients * residual, _ERROR_BLOCK, np.sum).reshape(2, -1)
    inverse = np.linalg.inv(normal)
    covariance = inverse @ (sums @ sums.T) @ inverse
    # The peak is located on a grid, whose steps have a standard deviation of 1 / sqrt(12).
    return math.sqrt(float(np.trace(covariance)) / 2 + 1 / (12 * _UPSAMPLING**2))


def _peak(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return the displacement at which two detail images correlate most; it may be due to chance.

    The cross-correlation is the inverse Fourier transform of the product of the spectra. Between
    whole pixels it is evaluated near its peak only (Guizar-Sicairos et al. 2008).
    """
    product = fft.rfft2(b) * np.conj(fft.rfft2(a))
    correlation = fft.irfft2(product, s=a.shape)
    highest = np.unravel_index(int(np.argmax(np.abs(correlation))), a.shape)
    y, x = (
        float(place if place <= length // 2 else place - length)
        for place, length in zip(highest, a.shape, strict=True)
    )
    within = np.round(np.arange(-_WITHIN, _WITHIN, 1 / _COARSE) * _UPSAMPLING) / _UPSAMPLING
    y, x = _highest(product, a.shape, y + within, x + within)
    within = np.arange(-_UPSAMPLING // _COARSE, _UPSAMPLING // _COARSE + 1) / _UPSAMPLING
    y, x = _highest(product, a.shape, y + within, x + within)
    return round(y * _UPSAMPLING) / _UPSAMPLING, round(x * _UPSAMPLING) / _UPSAMPLING


def _highest(
    product: np.ndarray, shape: tuple[int, ...], rows: np.ndarray, columns: np.ndarray
) -> tuple[float, float]:
    """Return the displacement, among those given, with the highest cross-correlation."""
    down = np.exp(2j * np.pi * np.outer(rows, fft.fftfreq(shape[0])))
    across = np.exp(2j * np.pi * np.outer(fft.rfftfreq(shape[1]), columns))
    across[1:] *= 2  # half of the spectrum is the mirror image of the other
    values = np.abs((down @ (product @ across)).real)
    row, column = np.unravel_index(int(np.argmax(values)), values.shape)
    return float(rows[row]), float(columns[column])


def _tiles(image: np.ndarray) -> list[np.ndarray]:
    rows = np.array_split(image, _TILES)
    return [tile for part in rows for tile in np.array_split(part, _TILES, axis=1)]


def _gains(a: np.ndarray, b: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """Return how much shifting B back improves its correlation with A, for each of 4x4 tiles."""
    back = ndimage.shift(b, [-step for step in shift], order=3, mode="nearest")
    return np.array(
        [
            _correlation(here, returned) - _correlation(here, there)
            for here, there, returned in zip(_tiles(a), _tiles(b), _tiles(back), strict=True)
        ]
    )


def _detail(plane: np.ndarray) -> np.ndarray:
    """Return the structures of a few pixels, with noise and slow background filtered out."""
    # Products of Fourier coefficients of values above 1e8 exceed float32. A power of 2 is exact.
    plane = plane * np.float32(2.0 ** -math.frexp(float(np.ptp(plane)))[1])
    fine, slow = (
        [_transfer(sigma, length) for length in plane.shape] for sigma in (_SMOOTHING, _BACKGROUND)
    )
    # The cosine transform continues the plane by its mirror image.
    waves = fft.dctn(plane - plane.mean())
    detail = fft.idctn(waves * (np.outer(*fine) - np.outer(*slow)))
    rows, columns = (np.hanning(length + 2)[1:-1].astype(np.float32) for length in plane.shape)
    return np.asarray(detail * rows[:, None] * columns)


def _transfer(sigma: float, length: int) -> np.ndarray:
    """Return the factor by which a Gaussian reduces each coefficient of a cosine transform."""
    waves = np.pi / length * np.arange(length)
    return np.exp(-0.5 * (sigma * waves) ** 2).astype(np.float32)


def _shift_explains(a: np.ndarray, b: np.ndarray, shift: tuple[int, int]) -> bool:
    """Return whether two shifted detail images agree more than smoothed noise would."""
    parts = [common_part(step, side) for step, side in zip(shift, a.shape, strict=True)]
    here, there = (tuple(part[k] for part in parts) for k in range(2))
    independent = a[here].size / (4 * math.pi * _SMOOTHING**2)
    needed = max(_AGREEMENT, _BEYOND_NOISE / math.sqrt(independent))
    return _correlation(a[here], b[there]) > needed


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation coefficient of two planes, NaN if one is constant."""
    a, b = (one - one.mean(dtype=np.float64) for one in (a, b))
    squares = float(np.vdot(a, a) * np.vdot(b, b))
    return float(np.vdot(a, b)) / math.sqrt(squares) if squares > 0 else math.nan


def common_part(shift: int, length: int) -> tuple[slice, slice]:
    """Return the slices of A and of the shifted B that show the same part of an axis."""
    return (
        slice(max(0, -shift), length - max(0, shift)),
        slice(max(0, shift), length - max(0, -shift)),
    )


def whole_pixels(shift: float) -> int:
    """Return the number of whole pixels to crop for a measured shift."""
    return round(shift) if abs(shift) > _WORTH_CROPPING else 0
