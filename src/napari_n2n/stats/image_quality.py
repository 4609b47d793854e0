"""Measure the image quality of a result, against the truth or against another acquisition."""

import math

import numpy as np
from scipy import ndimage

from napari_n2n.stats.statistics import Measurement, mean_over_blocks, neighbourhood, noise_share

# Ring correlation above which detail is resolved: fixed threshold of Nieuwenhuizen et al. (2013).
RESOLVED = 1 / 7
# Rings over which the ring correlation is averaged before it is compared with the threshold.
_RINGS = 3
# Number of Fourier coefficients per independent coefficient: a Hann window correlates neighbours
# (its equivalent noise bandwidth is 1.5 along each axis).
_BANDWIDTH = 1.5**2
# Rings on each side of the crossing that determine the slope, as a part of all rings.
_AROUND = 1 / 4


def psnr(truth: np.ndarray, image: np.ndarray, data_range: float) -> float:
    """Return the PSNR in dB, ``10 log10(range^2 / MSE)``, of two arrays of one shape."""
    error = float(np.mean((truth.astype(np.float64) - image) ** 2))
    return 10 * math.log10(data_range**2 / error) if error > 0 else math.inf


def ssim(truth: np.ndarray, image: np.ndarray, data_range: float) -> float:
    """Return the mean SSIM (Wang et al. 2004) over the planes of two arrays of one shape."""
    from skimage.metrics import structural_similarity

    planes = zip(_planes(truth), _planes(image), strict=True)
    return float(
        np.mean(
            [
                structural_similarity(
                    t.astype(np.float64), i.astype(np.float64), data_range=data_range
                )
                for t, i in planes
            ]
        )
    )


def data_range(acquisition: np.ndarray) -> float:
    """Return the range for a PSNR: 255 for 8 bit, else the robust maximum minus minimum."""
    if acquisition.dtype == np.uint8:
        return 255.0
    low, high = np.percentile(
        ndimage.uniform_filter(acquisition.astype(np.float32), 3), (0.1, 99.9)
    )
    return float(high - low) or 1.0


def reference_free_error(
    result: np.ndarray, a: np.ndarray, b: np.ndarray, weight: np.ndarray | None = None
) -> Measurement:
    """Estimate the mean squared error of a result against the unknown clean image s.

    For a result f computed from A alone, with zero-mean noise in B that is independent of A's,
    ``E[(f - B)^2] = MSE(f, s) + var(B)``. var(B) is estimated on the same pixels as
    ``E[(B - m)(B - A)]``, m being the average of the pixel's surroundings, so that most of the
    scatter cancels.

    Parameters
    ----------
    result, a, b
        Shape (..., Y, X), on one intensity scale. At the pixels that count, the result must not
        depend on B: they are held-out blocks, or B was not trained on.
    weight
        1 for pixels that count, 0 for others; default 1 everywhere.

    Returns
    -------
    Measurement
        Squared error with its standard error from `mean_over_blocks`; the noise of different
        planes is taken as independent.
    """
    weight = np.ones(np.shape(b)) if weight is None else np.asarray(weight, np.float64)
    errors = squared_errors(result, a, b, weight)
    return mean_over_blocks(list(zip(_planes(errors), _planes(weight), strict=True)))


def squared_errors(
    result: np.ndarray, a: np.ndarray, b: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return the weighted terms of `reference_free_error` pixel by pixel; same parameters.

    Each pixel changes the estimated noise share, and with it the terms of all other pixels. This
    influence is added to the pixel's own term: the sum is unchanged, and the scatter of the terms
    gives the correct standard error.
    """
    result, a, b = (np.asarray(values, np.float64) for values in (result, a, b))
    around_a, around_b, apart = neighbourhood(a), neighbourhood(b), b - a
    measured, pulls = noise_share(a, b, around_a, around_b)
    share = min(max(measured, 0.0), 1.0)
    surroundings = share * around_a + (1 - share) * around_b
    terms: np.ndarray = weight * ((result - b) ** 2 - (b - surroundings) * apart)
    if share != measured:  # the share is limited to 0 or 1: single pixels do not change it
        return terms
    return terms + pulls * (weight * (around_a - around_b) * apart).sum()


def psnr_reference_free(error: Measurement, data_range: float) -> Measurement:
    """Convert a squared error to a PSNR in dB; None if it is below two standard errors."""
    if error.value is None or error.error is None or error.value < 2 * error.error:
        return Measurement(None, None)
    decibel = 10 * math.log10(data_range**2 / error.value)
    return Measurement(decibel, 10 / math.log(10) * error.error / error.value)


def residual_correlation(result: np.ndarray, b: np.ndarray) -> float:
    """Return the lag-1 correlation of the residual B - result, averaged over y and x.

    It is near 0 for white noise, and positive if structure is left in the residual.
    """
    residual = np.asarray(b, np.float64) - result
    residual -= residual.mean(axis=(-2, -1), keepdims=True)
    power = float(np.mean(residual**2))
    if power == 0:
        return 0.0
    along_y = np.mean(residual[..., 1:, :] * residual[..., :-1, :])
    along_x = np.mean(residual[..., :, 1:] * residual[..., :, :-1])
    return float((along_y + along_x) / 2 / power)


def fourier_ring_correlation(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Fourier ring correlation of two acquisitions (Nieuwenhuizen et al. 2013).

    Parameters
    ----------
    a, b
        Shape (..., Y, X); planes are averaged.

    Returns
    -------
    frequency, correlation
        Ring centres in cycles per pixel (0 to 0.5), and the correlation in each ring.
    """
    side = min(a.shape[-2:])
    window = np.outer(*(2 * (np.hanning(side + 2)[1:-1],)))
    rings = side // 2
    fy, fx = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    ring = (np.hypot(fy, fx) * 2 * rings).astype(int)
    inside = ring < rings
    sums = np.zeros((3, rings))
    for plane_a, plane_b in zip(_planes(a), _planes(b), strict=True):
        fa, fb = (
            np.fft.rfft2((plane[:side, :side] - plane.mean()) * window)
            for plane in (plane_a, plane_b)
        )
        for row, values in enumerate(((fa * fb.conj()).real, abs(fa) ** 2, abs(fb) ** 2)):
            sums[row] += np.bincount(ring[inside], values[inside], minlength=rings)
    correlation = sums[0] / np.sqrt(np.maximum(sums[1] * sums[2], 1e-30))
    return (np.arange(rings) + 0.5) / (2 * rings), correlation


def resolution(a: np.ndarray, b: np.ndarray) -> Measurement:
    """Return the finest resolved period in pixels, None if no ring is above the threshold.

    The threshold of the ring correlation is 1/7, or three standard deviations of pure noise if that
    is higher. A ring correlation r from n independent Fourier coefficients scatters by ``(1 - r^2)
    / sqrt(n)`` (Saxton & Baumeister 1982). The standard error of the frequency is this scatter
    divided by the slope at which r crosses the threshold.
    """
    frequency, correlation = fourier_ring_correlation(a, b)
    planes = len(_planes(a))
    # In a ring of n Fourier coefficients, the correlation of pure noise scatters by 1 / sqrt(2 n).
    coefficients = np.pi * (np.arange(len(correlation)) + 0.5) * planes
    threshold = np.maximum(RESOLVED, 3 / np.sqrt(2 * coefficients))
    smooth = ndimage.uniform_filter1d(correlation, _RINGS)
    below = np.flatnonzero(smooth < threshold)
    below = below[below >= 2]  # the window dominates the innermost rings
    if len(below) == 0:
        return Measurement(2.0, None)
    ring = int(below[0])
    if ring == 2:
        return Measurement(None, None)
    period = float(1 / frequency[ring])
    count = 2 * np.pi * (ring + 0.5) * _RINGS * planes / _BANDWIDTH
    reach = max(_RINGS, round(ring * _AROUND))
    near = slice(max(ring - reach, 2), ring + reach + 1)
    slope = -float(np.polyfit(frequency[near], correlation[near], 1)[0])
    if not slope > 0:
        return Measurement(period, None)
    return Measurement(period, float(period**2 * (1 - RESOLVED**2) / math.sqrt(count) / slope))


def _planes(stack: np.ndarray) -> np.ndarray:
    return np.asarray(stack).reshape(-1, *stack.shape[-2:])
