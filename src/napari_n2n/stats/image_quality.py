"""How good a result is: against the truth, or against the other acquisition where there is none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_BLOCK = 16


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its standard error; None where it cannot be had."""

    value: float | None
    error: float | None


def psnr(truth: np.ndarray, image: np.ndarray, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB: ``10 log10(range^2 / MSE)``; arrays of one shape."""
    error = float(np.mean((truth.astype(np.float64) - image) ** 2))
    return 10 * math.log10(data_range**2 / error) if error > 0 else math.inf


def ssim(truth: np.ndarray, image: np.ndarray, data_range: float) -> float:
    """Mean structural similarity over the planes of two arrays of one shape (Wang et al. 2004)."""
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
    """Range of values that a PSNR refers to: 255 for 8 bit, else robust maximum less minimum."""
    if acquisition.dtype == np.uint8:
        return 255.0
    low, high = np.percentile(
        ndimage.uniform_filter(acquisition.astype(np.float32), 3), (0.1, 99.9)
    )
    return float(high - low) or 1.0


def neighbourhood(planes: np.ndarray, hole: int = 1) -> np.ndarray:
    """Gaussian average (sigma 2.5 pixels) of the surroundings of every pixel, without the centre.

    Parameters
    ----------
    planes
        Shape (..., Y, X).
    hole
        Half the side of the square that is left out: the noise of these pixels has no part in the
        result.
    """
    bell = np.exp(-0.5 * (np.arange(-6, 7) / 2.5) ** 2)
    bell /= bell.sum()
    middle = bell[6 - hole : 7 + hole]
    values = planes.astype(np.float32)
    around = _separable(values, bell) - _separable(values, middle)
    return around / np.float32(1 - middle.sum() ** 2)


def _separable(planes: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    for axis in (-2, -1):
        planes = ndimage.correlate1d(planes, kernel, axis=axis, mode="reflect")
    return planes


def noise_share(
    a: np.ndarray, b: np.ndarray, around_a: np.ndarray, around_b: np.ndarray
) -> tuple[float, np.ndarray]:
    """B's share in the noise variance of two acquisitions, var(B) / (var(A) + var(B)).

    It follows from ``E[(B - mB)(B - A)] = var(B) (1 - r)`` and, with D = B - A, from
    ``E[(D - mD) D] = (var(A) + var(B)) (1 - r)``; m is the surroundings, and r the correlation of a
    pixel's noise with theirs, the same in both.

    Parameters
    ----------
    a, b, around_a, around_b
        Pixels and their `neighbourhood`, of one shape and in one intensity scale.

    Returns
    -------
    share, pulls
        The share, by chance also below 0 or above 1; and by how much each pixel pulls it away
        from that of all others (the linearised ratio of two means). Pulls add up to nothing.
    """
    apart, detail_a, detail_b = b - a, a - around_a, b - around_b
    total = float(np.mean((detail_b - detail_a) * apart, dtype=np.float64))
    if total <= 0:
        return 0.5, np.zeros_like(apart)
    share = float(np.mean(detail_b * apart, dtype=np.float64)) / total
    return share, apart * ((1 - share) * detail_b + share * detail_a) / (total * apart.size)


def balanced(
    a: np.ndarray, b: np.ndarray, around_a: np.ndarray, around_b: np.ndarray
) -> np.ndarray:
    """Combine the surroundings of pixels in two acquisitions so that noise favours neither.

    Where neighbours share noise, the surroundings of a pixel know of its own: binned by a plain
    mean of both, the noisier acquisition would seem to follow the scene more closely than it does.
    Weighed by the inverses of var(A) and var(B), their noise is uncorrelated with that of B - A.
    See `noise_share` for the parameters.
    """
    share = min(max(noise_share(a, b, around_a, around_b)[0], 0.0), 1.0)
    return share * around_a + (1 - share) * around_b


def reference_free_error(
    result: np.ndarray, a: np.ndarray, b: np.ndarray, weight: np.ndarray | None = None
) -> Estimate:
    """Mean squared error of a result against the clean image that nobody has.

    For a result f made from A alone, with zero-mean noise in B that is independent of A's,
    ``E[(f - B)^2] = MSE(f, s) + var(B)``. The variance is estimated on the same pixels as
    ``E[(B - m)(B - A)]``, m being the surroundings of the pixel, so that most of its scatter
    cancels.

    Parameters
    ----------
    result, a, b
        Shape (..., Y, X), in one intensity scale. B must have had no part in the result at the
        pixels that count: held-out blocks, or an acquisition that was not trained on.
    weight
        1 where a pixel counts.

    Returns
    -------
    Estimate
        Squared error, with the standard error of `mean_over_blocks`; leading axes are planes with a
        noise of their own.
    """
    weight = np.ones(np.shape(b)) if weight is None else np.asarray(weight, np.float64)
    errors = squared_errors(result, a, b, weight)
    return mean_over_blocks(list(zip(_planes(errors), _planes(weight), strict=True)))


def squared_errors(
    result: np.ndarray, a: np.ndarray, b: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Weighted terms of `reference_free_error`, pixel by pixel, for the same parameters.

    How far a pixel moves the surroundings of all others is added to its own term: the sum stays,
    and the scatter becomes that of the sum.
    """
    result, a, b = (np.asarray(values, np.float64) for values in (result, a, b))
    around_a, around_b, apart = neighbourhood(a), neighbourhood(b), b - a
    measured, pulls = noise_share(a, b, around_a, around_b)
    share = min(max(measured, 0.0), 1.0)
    surroundings = share * around_a + (1 - share) * around_b
    terms: np.ndarray = weight * ((result - b) ** 2 - (b - surroundings) * apart)
    if share != measured:  # held at its end: no pixel moves it
        return terms
    return terms + pulls * (weight * (around_a - around_b) * apart).sum()


def mean_over_blocks(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Estimate:
    """Weighted mean of pixels, with the standard error that the scatter of blocks gives it.

    Noise that neighbours share does not average out within its reach: blocks of 32x32 pixels, each
    overlapping the next by half, count as one measurement (Bartlett's kernel, as in Newey & West
    1987, in two dimensions). So do all views of one place, as both directions of a pair see the
    same noise.

    Parameters
    ----------
    parts
        For each place that has nothing to do with the others, values times weights, and weights;
        shape (..., Y, X), leading axes being views of it.

    Returns
    -------
    Estimate
        The error is infinite where a single block tells nothing about scatter.
    """
    sums = [(_block_sums(terms), _block_sums(weight)) for terms, weight in parts]
    total = float(sum(counts.sum() for _, counts in sums))
    if total == 0:
        return Estimate(None, None)
    mean = float(sum(terms.sum() for terms, _ in sums)) / total
    scatter = sum((_windows(terms - mean * counts) ** 2).sum() for terms, counts in sums) / 4
    number = 4 * total**2 / sum((_windows(counts) ** 2).sum() for _, counts in sums)
    if number < 1 + 1e-6:
        return Estimate(mean, math.inf)
    return Estimate(mean, math.sqrt(scatter * number / (number - 1)) / total)


def psnr_reference_free(error: Estimate, data_range: float) -> Estimate:
    """PSNR in dB that a squared error stands for; None where it drowns in its own uncertainty."""
    if error.value is None or error.error is None or error.value < 2 * error.error:
        return Estimate(None, None)
    decibel = 10 * math.log10(data_range**2 / error.value)
    return Estimate(decibel, 10 / math.log(10) * error.error / error.value)


def residual_correlation(result: np.ndarray, b: np.ndarray) -> float:
    """Correlation of neighbouring pixels (mean of y and x, lag 1) in B - result.

    Near 0 for white noise; positive where structure was left in the residual.
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
    """Correlation of two acquisitions ring by ring in frequency space (Nieuwenhuizen et al. 2013).

    Parameters
    ----------
    a, b
        Shape (..., Y, X); planes are averaged.

    Returns
    -------
    frequency, correlation
        Ring centres in cycles a pixel (0 to 0.5), and the correlation in each ring.
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


def resolution(a: np.ndarray, b: np.ndarray) -> float | None:
    """Finest resolved period in pixels: where the ring correlation of A and B falls below 1/7.

    None where the correlation never rises above the threshold.
    """
    frequency, correlation = fourier_ring_correlation(a, b)
    # A ring of noise alone scatters by 1 / sqrt(2 n), n being its number of Fourier coefficients.
    coefficients = np.pi * (np.arange(len(correlation)) + 0.5) * len(_planes(a))
    threshold = np.maximum(1 / 7, 3 / np.sqrt(2 * coefficients))
    smooth = ndimage.uniform_filter1d(correlation, 3)
    below = np.flatnonzero(smooth < threshold)
    below = below[below >= 2]  # the innermost rings are the window's, not the scene's
    if len(below) == 0:
        return 2.0
    return float(1 / frequency[below[0]]) if below[0] > 2 else None


def _planes(stack: np.ndarray) -> np.ndarray:
    return np.asarray(stack).reshape(-1, *stack.shape[-2:])


def _block_sums(values: np.ndarray) -> np.ndarray:
    plane = _planes(values).sum(axis=0, dtype=np.float64)
    edges = [np.arange(0, length, _BLOCK) for length in plane.shape]
    return np.add.reduceat(np.add.reduceat(plane, edges[0], axis=0), edges[1], axis=1)


def _windows(blocks: np.ndarray) -> np.ndarray:
    """Sums over all 2x2 neighbours, also those that reach past the edges."""
    padded = np.pad(blocks, 1)
    pairs = padded[1:] + padded[:-1]
    return pairs[:, 1:] + pairs[:, :-1]
