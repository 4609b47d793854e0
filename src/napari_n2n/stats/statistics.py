"""Statistics of noisy planes: surroundings, noise levels, block means and standard errors.

Pixels that are close to each other may share noise. Standard errors are therefore taken from the
scatter of whole blocks, never from the number of pixels.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.measure import block_reduce

# Standard deviation over median absolute deviation of a normal distribution.
MAD_TO_SIGMA = 1 / 0.6745

# Number of groups of a jackknife: 16 groups determine a standard error to 18 % (1 / sqrt(2 * 15))
# and need 16 more evaluations.
GROUPS = 16
# Side in pixels of the blocks of a group, and of the blocks in which the noise level is taken as
# constant: several times the reach of correlated noise (2 to 3 pixels), a small part of a plane.
_BLOCK = 32
# Side in pixels of the blocks whose 2x2 windows count as one measurement each: half a `_BLOCK`.
_HALF_BLOCK = _BLOCK // 2
# Standard deviation and reach, in pixels, of the Gaussian that averages the surroundings: it
# reduces noise like a mean of 80 pixels. Wider: less noise; narrower: less blur of the scene.
_SIGMA, _REACH = 2.5, 6
# Distance from the median, in interquartile ranges, up to which levels of brightness are evenly
# spaced. Beyond it, their spacing grows in proportion to the distance, so that a few bright
# structures do not fill all levels.
_EVEN = 2
# Smallest interquartile range, in ADU, so that the spacing is not zero.
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Measurement:
    """A value with its standard error; None if it could not be determined."""

    value: float | None
    error: float | None


def neighbourhood(planes: np.ndarray) -> np.ndarray:
    """Return the Gaussian average (sigma 2.5 pixels) of the surroundings of every pixel.

    The 3x3 pixels in the middle are left out, so that a pixel's own noise does not contribute.

    Parameters
    ----------
    planes
        Shape (..., Y, X).
    """
    bell = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / _SIGMA) ** 2)
    bell /= bell.sum()
    middle = bell[_REACH - 1 : _REACH + 2]
    values = planes.astype(np.float32)
    around = _separable(values, bell) - _separable(values, middle)
    return around / np.float32(1 - middle.sum() ** 2)


def _separable(planes: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    for axis in (-2, -1):
        planes = ndimage.correlate1d(planes, kernel, axis=axis, mode="reflect")
    return planes


def over_blocks(planes: np.ndarray, side: int, reduce: Callable[..., Any] = np.mean) -> np.ndarray:
    """Reduce each block of `side` x `side` pixels to a number; incomplete blocks are left out.

    Parameters
    ----------
    planes
        Shape (planes, Y, X).
    side
        Side of a block in pixels.
    reduce
        NumPy function with an `axis` argument.
    """
    rows, columns = (length // side * side for length in planes.shape[1:])
    return np.asarray(block_reduce(planes[:, :rows, :columns], (1, side, side), reduce))


def noise_level(planes: np.ndarray) -> float:
    """Measure the standard deviation of the noise of one acquisition from its roughness.

    The second difference along both axes contains little of the scene and six times the noise
    (Immerkaer 1996). Its median absolute value in each block of 32x32 pixels ignores edges and
    outliers; the mean over the blocks follows noise that varies over the plane. For correlated
    noise the result is too low.

    Parameters
    ----------
    planes
        Shape (planes, Y, X), planes of at least 3x3 pixels.
    """
    rough = _roughness(planes)
    side = min(_BLOCK, *rough.shape[1:])
    return float(over_blocks(rough, side, np.median).mean()) * MAD_TO_SIGMA / 6


def most_noise(plane: np.ndarray) -> float:
    """Return a bound that the `noise_level` of a plane does not exceed; ten times as fast.

    No median of non-negative values exceeds twice their mean.
    """
    rough = _roughness(plane)
    side = min(_BLOCK, *rough.shape)
    rows, columns = (length // side * side for length in rough.shape)
    return 2 * float(rough[:rows, :columns].mean()) * MAD_TO_SIGMA / 6


def _roughness(planes: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(np.diff(planes.astype(np.float64), 2, axis=-2), 2, axis=-1))


def variance_at(
    level: np.ndarray, levels: Sequence[float], variances: Sequence[float]
) -> np.ndarray:
    """Interpolate the variance of noise at signal levels.

    It continues with the slopes at the darkest and at the brightest known level, but does not fall
    below a quarter of the variance at the darkest one.

    Parameters
    ----------
    level
        Signal levels at which to interpolate the variance, in ADU; any shape.
    levels, variances
        At least two ascending levels in ADU, and the variances there.
    """
    x, y = np.array(levels), np.array(variances)
    below, above = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    beyond = np.minimum(level - x[0], 0) * below + np.maximum(level - x[-1], 0) * above
    return np.asarray(np.maximum(np.interp(level, x, y) + beyond, y[0] / 4))


def spaced(levels: np.ndarray, step: int = 1) -> np.ndarray:
    """Map levels of brightness to a scale on which equally wide bins suit a few bright structures.

    It is linear around the median and logarithmic far away from it.

    Parameters
    ----------
    levels
        In ADU; shape (pixels,).
    step
        The quartiles are computed from every n-th level: the step n.
    """
    quarter, middle, three_quarters = np.quantile(levels[::step], (0.25, 0.5, 0.75))
    unit = _EVEN * max(float(three_quarters - quarter), _TINY)
    return np.asarray(np.arcsinh((levels - middle) / unit))


def noise_excess(planes: np.ndarray, expected: Callable[[np.ndarray], np.ndarray]) -> float | None:
    """Return the ratio of the `noise_level` of an acquisition to its predicted noise.

    The prediction is taken at the brightness around each pixel, and averaged like the noise level
    itself. The ratio is near 1 for white noise on a smooth scene; fine detail raises it, correlated
    noise lowers it. None if the predicted noise is 0.

    Parameters
    ----------
    planes
        Shape (planes, Y, X), planes of at least 3x3 pixels.
    expected
        Predicted variance of the noise at signal levels, in ADU^2.
    """
    variance = expected(neighbourhood(planes))
    predicted = float(np.mean(np.sqrt(variance), dtype=np.float64))
    return noise_level(planes) / predicted if predicted > 0 else None


def noise_share(
    a: np.ndarray, b: np.ndarray, around_a: np.ndarray, around_b: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return B's share of the noise variance, var(B) / (var(A) + var(B)), and pixel influences.

    The share follows from ``E[(B - mB)(B - A)] = var(B) (1 - r)`` and, with D = B - A, from
    ``E[(D - mD) D] = (var(A) + var(B)) (1 - r)``; mB and mD are averages of the surroundings, and r
    is the correlation of a pixel's noise with that of its surroundings, equal in A and B.

    Parameters
    ----------
    a, b, around_a, around_b
        Pixels and their `neighbourhood`, of one shape and on one intensity scale.

    Returns
    -------
    share, pulls
        The share, by chance also below 0 or above 1; and how much each pixel changes it (the
        linearised ratio of two means). The pulls sum to zero.
    """
    apart, detail_a, detail_b = b - a, a - around_a, b - around_b
    total = float(np.mean((detail_b - detail_a) * apart, dtype=np.float64))
    if total <= 0:
        return 0.5, np.zeros_like(apart)
    share = float(np.mean(detail_b * apart, dtype=np.float64)) / total
    return share, apart * ((1 - share) * detail_b + share * detail_a) / (total * apart.size)


def balanced(
    a: np.ndarray, b: np.ndarray, around_a: np.ndarray, around_b: np.ndarray
) -> tuple[np.ndarray, float]:
    """Combine the surroundings of pixels in two acquisitions so that noise favours neither.

    If neighbours share noise, the surroundings of a pixel depend on its own noise: binned by the
    plain mean of both surroundings, the noisier acquisition would seem to follow the scene more
    closely than it does. With the weights 1 / var(A) and 1 / var(B), the noise of the combination
    is uncorrelated with that of B - A. See `noise_share` for the parameters.

    Returns
    -------
    surroundings, share
        The combination, of the shape of the pixels; and B's share of the noise variance, 0 to 1.
    """
    share = min(max(noise_share(a, b, around_a, around_b)[0], 0.0), 1.0)
    return balance(share, around_a, around_b), share


def balance(share: float, around_a: np.ndarray, around_b: np.ndarray) -> np.ndarray:
    """Combine surroundings for a known share of B in the noise variance, see `balanced`."""
    return share * around_a + (1 - share) * around_b


def groups_of_blocks(shape: tuple[int, ...]) -> np.ndarray:
    """Number blocks of 32x32 pixels from 0 to 15, each number spread over the plane.

    The blocks of a small plane are smaller, so that every number occurs. The result has the given
    shape (..., Y, X); all its planes are equal.
    """
    block = max(1, min(_BLOCK, min(shape[-2:]) // GROUPS))
    y, x = (np.arange(length) // block for length in shape[-2:])
    return np.broadcast_to((y[:, None] + 3 * x[None, :]) % GROUPS, shape)


def groups_of_tiles(shape: tuple[int, ...]) -> np.ndarray:
    """Number 4x4 equal tiles of the plane from 0 to 15, for structures as large as a text.

    The result has the given shape (..., Y, X); all its planes are equal.
    """
    side = math.isqrt(GROUPS)
    y, x = (np.arange(length) * side // length for length in shape[-2:])
    return np.broadcast_to(side * y[:, None] + x[None, :], shape)


def jackknife(leaving_out: Sequence[float]) -> float:
    """Return the standard error from estimates that each leave out one group (Efron 1982)."""
    values = np.array(leaving_out)
    return float(np.sqrt((len(values) - 1) * np.mean((values - values.mean()) ** 2)))


def mean_over_blocks(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> Measurement:
    """Return the weighted mean of pixels, with a standard error from the scatter of blocks.

    Noise that neighbours share does not average out within its reach: each block of 32x32 pixels,
    overlapping the next by half, counts as one measurement (Bartlett's kernel, as in Newey & West
    1987, in two dimensions). All views of one place count as one, because both directions of a pair
    contain the same noise.

    Parameters
    ----------
    parts
        For each independent place, values times weights, and weights; shape (..., Y, X), the
        leading axes being views of the place. Taken one after another.

    Returns
    -------
    Measurement
        Its error is infinite if there is a single block, which has no scatter; value and error are
        None if all weights are 0.
    """
    return mean_of_blocks([block_sums(terms, weight) for terms, weight in parts])


def block_sums(terms: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums over the blocks of one place, for `mean_of_blocks`."""
    return _block_sums(terms), _block_sums(weight)


def mean_of_blocks(sums: Sequence[tuple[np.ndarray, np.ndarray]]) -> Measurement:
    """Return the mean and standard error of `mean_over_blocks` from the sums of its places."""
    total = float(sum(counts.sum() for _, counts in sums))
    if total == 0:
        return Measurement(None, None)
    mean = float(sum(terms.sum() for terms, _ in sums)) / total
    scatter = sum((_windows(terms - mean * counts) ** 2).sum() for terms, counts in sums) / 4
    number = 4 * total**2 / sum((_windows(counts) ** 2).sum() for _, counts in sums)
    if number < 1 + 1e-6:
        return Measurement(mean, math.inf)
    return Measurement(mean, math.sqrt(scatter * number / (number - 1)) / total)


def _block_sums(values: np.ndarray) -> np.ndarray:
    """Sum over all views and each block of 16x16 pixels, also incomplete ones at the edges."""
    plane = values.reshape(-1, *values.shape[-2:]).sum(axis=0, dtype=np.float64)
    edges = [np.arange(0, length, _HALF_BLOCK) for length in plane.shape]
    return np.add.reduceat(np.add.reduceat(plane, edges[0], axis=0), edges[1], axis=1)


def _windows(blocks: np.ndarray) -> np.ndarray:
    """Sum every window of 2x2 blocks, also those that extend beyond the edges."""
    padded = np.pad(blocks, 1)
    pairs = padded[1:] + padded[:-1]
    return pairs[:, 1:] + pairs[:, :-1]
