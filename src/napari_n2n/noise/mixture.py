"""Fit a mixture of noise and outliers to the difference of two acquisitions.

The difference has a narrow peak, from the pixels with no outlier, on a broad base from all others.
If a share ``p`` of the pixels of each acquisition are outliers, the peak contains ``(1 - p)^2`` of
all pixels; ``2 p (1 - p)`` are outliers in one acquisition, and ``p^2`` in both. Outliers may have
any value within the range of the data, so the shape of the base is known. Only p and the width of
the peak (the ordinary noise) are fitted.
"""

from dataclasses import dataclass
from functools import cache, partial
from operator import itemgetter

import numpy as np
from scipy import ndimage, special

from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Bins of the values: the resolution of 8-bit data.
_LEVELS = 256
# Number of distance bins and of tried peak widths, both in a geometric series: each width is 5 to
# 15 % above the last.
_DISTANCES, _WIDTHS = 80, 40
# Number of fits from each first guess of the width (repeated, because the width decides which
# values are ordinary), and number of first guesses.
_ROUNDS, _STARTS = 3, 3
# Steps of the expectation-maximisation: the share then changes by less than its standard error.
_STEPS = 50
# Every n-th share is tried first: the step n.
_APART = 4
# Distance in standard deviations that ordinary noise does not reach.
_FAR = 5.0
# Smallest width of the peak: in steps of the values (rounding alone gives 0.29 sqrt(2) = 0.41
# steps), as a part of the range, and as a quantile of the distances.
_OF_STEP, _OF_RANGE, _OF_DISTANCES = 0.4, 3e-4, 0.002
# Largest width of the peak, as a multiple of the robust width of all distances.
_WIDEST = 1.3
# Widths tried around the best one, as multiples of it.
_FINER = np.geomspace(0.93, 1.07, 29)
# Smallest probability of a bin, so that a single pixel does not decide the fit.
_LEAST = 1e-7
# Added to a probability of a bin that may be 0.
_TINY = 1e-12
# Shares of outliers that are tried: finer near zero, for a similar relative precision.
_SHARES = np.concatenate([[0.0], np.geomspace(2e-4, 0.02, 14), np.linspace(0.03, 0.97, 48)])


@dataclass(frozen=True, slots=True)
class Mixture:
    """Noise and outliers of a pair.

    Attributes
    ----------
    share
        Share of outliers among the pixels of each acquisition, 0 to 1.
    noise
        Standard deviation of the ordinary noise of one acquisition, in the unit of the values.
    far
        Share of the pixels at which the two differ by more than five standard deviations of the
        difference of ordinary noise.
    error
        Standard error of the share, from its scatter over several brightness levels.
    growth
        A level in ADU at which the noise is `noise`, and the growth of its variance per ADU there.
    """

    share: float
    noise: float
    far: float
    error: float = 0.0
    growth: tuple[float, float] = (0.0, 0.0)


def fit_mixture(
    a: np.ndarray, b: np.ndarray, limits: tuple[float, float], quantum: float = 0.0
) -> Mixture:
    """Fit the share of outliers and the ordinary noise by maximum likelihood.

    Parameters
    ----------
    a, b
        Pixel values of two acquisitions at the same places, of about the same brightness, on one
        intensity scale; any shape, a few thousand pixels.
    limits
        Range within which outliers may take any value.
    quantum
        Step of the values if they are integers; 0 for floats.
    """
    rng = np.random.default_rng(0)
    low, high = limits
    a, b = (
        values.astype(np.float64).ravel() + quantum * (rng.random(values.size) - 0.5)
        for values in (a, b)
    )
    distance = np.abs(a - b)
    nearest = np.sort(distance)
    if nearest[-1] == 0 or high <= low:
        return Mixture(0.0, 0.0, 0.0)
    smallest = max(
        _OF_STEP * quantum,
        _OF_RANGE * (high - low),
        float(np.quantile(nearest, _OF_DISTANCES)),
    )
    largest = max(_WIDEST * float(np.median(nearest)) * MAD_TO_SIGMA, 2 * smallest)
    edges = np.concatenate([[0.0], np.geomspace(smallest / 2, high - low, _DISTANCES)])
    levels = np.linspace(low, high, _LEVELS + 1)
    struck = np.full(_LEVELS, 1 / _LEVELS)
    both = _apart(struck, struck, levels, edges)
    values = _Values(
        distance,
        np.stack([_bins(a, levels), _bins(b, levels)]),
        np.diff(np.searchsorted(nearest, edges[:-1]), append=len(nearest)),
        edges,
        levels,
    )
    widths = np.geomspace(smallest, largest, _WIDTHS)
    # Most first guesses lead to the same width and share, so each step is computed only once.
    improved = cache(partial(_improved, values, (struck, both), widths))
    fits = []
    for guess in np.geomspace(2 * smallest, largest / _WIDEST, _STARTS):
        found = (-np.inf, float(guess), 0.0, both)
        for _ in range(_ROUNDS):
            found = improved(*found[1:3])
        fits.append(found)
    _, width, share, one = max(fits, key=itemgetter(0))
    return Mixture(
        share=_refined(share, values.counts, width, edges, one, both),
        noise=width / float(np.sqrt(2)),
        far=float(np.mean(distance > _FAR * width)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Values:
    """The pixel values, sorted into the bins of the fit.

    Attributes
    ----------
    distance
        Distance of the two values of each pixel, in ADU.
    bins
        Bin among `levels` of the values of A and of B; shape (2, pixels).
    counts
        Number of pixels in each bin of the distance.
    edges, levels
        Edges of the bins of the distance and of the values, in ADU.
    """

    distance: np.ndarray
    bins: np.ndarray
    counts: np.ndarray
    edges: np.ndarray
    levels: np.ndarray


def _improved(
    values: _Values,
    outliers: tuple[np.ndarray, np.ndarray],
    widths: np.ndarray,
    width: float,
    share: float,
) -> tuple[float, float, float, np.ndarray]:
    """Improve the width of the peak and the share of outliers by one step.

    Returns
    -------
    score, width, share, one
        Log-likelihood and the improved values; and the distribution, in bins `edges`, of the
        distance of two pixels of which one is an outlier.
    """
    struck, both = outliers
    edges = values.edges
    close = values.distance < width
    ordinary = np.bincount(values.bins[:, close].ravel(), minlength=_LEVELS).astype(np.float64)
    ordinary /= max(ordinary.sum(), 1.0)
    # Outliers in both acquisitions may be close by chance; they are not ordinary values.
    chance = share**2 * float(np.interp(width, edges[1:], np.cumsum(both))) / close.mean()
    ordinary = np.maximum(ordinary - chance * struck, 0.0)
    one = _apart(ordinary / (ordinary.sum() or 1.0), struck, values.levels, edges)
    _, row, column = _best(values, widths, one, both)
    finer = widths[row] * _FINER
    score, row, column = _best(values, finer, one, both, np.array([column]))
    return score, float(finer[row]), float(_SHARES[column]), one


def _best(
    values: _Values,
    widths: np.ndarray,
    one: np.ndarray,
    both: np.ndarray,
    maxima: np.ndarray | None = None,
) -> tuple[float, int, int]:
    """Return the largest log-likelihood, and the indices of its width and share.

    All widths are tried with the shares around those with the indices `maxima`; if these are not
    known, they are found by trying every fourth share.
    """
    used = values.counts > 0
    counts, one, both = values.counts[used], one[used], both[used]
    peaks, shares = _peaks(widths, values.edges)[:, used], np.arange(len(_SHARES))
    if maxima is None:
        coarse = shares[::_APART]
        tops = _likelihood(counts, peaks, _SHARES[coarse], one, both).max(axis=0)
        maxima = coarse[tops == ndimage.maximum_filter1d(tops, 3)]
    near = shares[np.abs(shares[:, None] - maxima).min(axis=1) < _APART]
    scores = _likelihood(counts, peaks, _SHARES[near], one, both)
    row, column = np.unravel_index(int(np.argmax(scores)), scores.shape)
    return float(scores.max()), int(row), int(near[column])


def _peaks(widths: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the distribution of the distance of two ordinary values for each width (rows)."""
    return np.diff(special.erf(edges / (widths[:, None] * np.sqrt(2))))


def _likelihood(
    counts: np.ndarray,
    peaks: np.ndarray,
    shares: np.ndarray,
    one: np.ndarray,
    both: np.ndarray,
) -> np.ndarray:
    """Return the log-likelihood for each peak (rows) and each share (columns)."""
    p = shares[:, None]
    base = 2 * p * (1 - p) * one + p**2 * both + _LEAST  # the same for all peaks
    expected = (1 - p) ** 2 * peaks[:, None, :]
    expected += base
    return np.log(expected, out=expected) @ counts


def _refined(
    share: float,
    counts: np.ndarray,
    width: float,
    edges: np.ndarray,
    one: np.ndarray,
    both: np.ndarray,
) -> float:
    """Refine the best share of the grid by expectation-maximisation."""
    peak = _peaks(np.array([width]), edges)[0]
    weights = counts / counts.sum()
    for _ in range(_STEPS):
        if share == 0:
            return 0.0
        in_one, in_both = share * (1 - share) * one, share**2 * both
        of_all = (1 - share) ** 2 * peak + 2 * in_one + in_both + _TINY
        share = float((in_one + in_both) / of_all @ weights)
    return share


def _bins(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the bin of each value among evenly spaced levels; those beyond are in the end bins."""
    clipped = np.clip(values, levels[0], levels[-1])
    found = ((clipped - levels[0]) * (_LEVELS / (levels[-1] - levels[0]))).astype(np.intp)
    found = np.minimum(found, _LEVELS - 1)
    found -= clipped < levels[found]  # by rounding
    return found + ((clipped >= levels[found + 1]) & (found < _LEVELS - 1))


def _apart(x: np.ndarray, y: np.ndarray, levels: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the distribution, in bins `edges`, of the distance of values from two histograms."""
    density = np.correlate(x, y, mode="full")
    steps = np.abs(np.arange(len(density)) - (len(x) - 1))
    folded = np.bincount(steps, density, minlength=len(x))
    # Values of one level differ by up to a step, so each bin is spread evenly over it.
    ends = np.concatenate([[0.0], np.arange(len(folded)) + 0.5]) * (levels[1] - levels[0])
    return np.diff(np.interp(edges, ends, np.concatenate([[0.0], np.cumsum(folded)])))
