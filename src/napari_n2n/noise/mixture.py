"""Fit a mixture of noise and outliers to the difference of two acquisitions.

The difference has a narrow peak, from the pixels with no outlier, on a broad base from all others.
If a share ``p`` of the pixels of each acquisition are outliers, the peak contains ``(1 - p)^2`` of
all pixels; ``2 p (1 - p)`` are outliers in one acquisition, and ``p^2`` in both. As outliers may
have any value within the range of the data, the shape of the base is known, and only p and the
width of the peak, the ordinary noise, are fitted.
"""

from dataclasses import dataclass
from functools import cache, partial
from operator import itemgetter

import numpy as np
from scipy import special

from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Bins of the values: the resolution of 8-bit data.
_LEVELS = 256
# Number of distance bins and of tried peak widths, both in a geometric series: each width is 5 to
# 15 % above the last.
_DISTANCES, _WIDTHS = 80, 40
# Number of fits from each first guess of the width, because the ordinary values depend on the width
# themselves; and number of first guesses.
_ROUNDS, _STARTS = 3, 3
# Steps of the expectation-maximisation: the share then changes by less than its standard error.
_STEPS = 50
# Distance in standard deviations that ordinary noise does not reach.
_FAR = 5.0
# Smallest width of the peak: in steps of the values (rounding alone gives 0.29 sqrt(2) = 0.41
# steps), in parts of the range, and as a quantile of the distances.
_OF_STEP, _OF_RANGE, _OF_DISTANCES = 0.4, 3e-4, 0.002
# Largest width of the peak, as a multiple of the robust width of all distances.
_WIDEST = 1.3
# Widths tried around the best one, as multiples of it.
_FINER = np.geomspace(0.93, 1.07, 29)
# Smallest probability of a bin, so that a single pixel does not decide the fit.
_LEAST = 1e-7
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
    if distance.max() == 0 or high <= low:
        return Mixture(0.0, 0.0, 0.0)
    smallest = max(
        _OF_STEP * quantum,
        _OF_RANGE * (high - low),
        float(np.quantile(distance, _OF_DISTANCES)),
    )
    largest = max(_WIDEST * float(np.median(distance)) * MAD_TO_SIGMA, 2 * smallest)
    edges = np.concatenate([[0.0], np.geomspace(smallest / 2, high - low, _DISTANCES)])
    counts = np.histogram(np.minimum(distance, high - low), edges)[0]
    levels = np.linspace(low, high, _LEVELS + 1)
    struck = np.full(_LEVELS, 1 / _LEVELS)
    both = _apart(struck, struck, levels, edges)
    widths = np.geomspace(smallest, largest, _WIDTHS)
    # Most first guesses lead to the same width and share, whose next step is then known.
    improved = cache(partial(_improved, a, b, counts, edges, levels, (struck, both), widths))
    fits = []
    for guess in np.geomspace(2 * smallest, largest / _WIDEST, _STARTS):
        found = (-np.inf, float(guess), 0.0, both)
        for _ in range(_ROUNDS):
            found = improved(*found[1:3])
        fits.append(found)
    _, width, share, one = max(fits, key=itemgetter(0))
    return Mixture(
        share=_refined(share, counts, width, edges, one, both),
        noise=width / float(np.sqrt(2)),
        far=float(np.mean(distance > _FAR * width)),
    )


def _improved(
    a: np.ndarray,
    b: np.ndarray,
    counts: np.ndarray,
    edges: np.ndarray,
    levels: np.ndarray,
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
    close = np.abs(a - b) < width
    ordinary = _histogram(np.concatenate([a[close], b[close]]), levels)
    # Outliers in both acquisitions may be close by chance; they are not ordinary values.
    chance = share**2 * float(np.interp(width, edges[1:], np.cumsum(both))) / close.mean()
    ordinary = np.maximum(ordinary - chance * struck, 0.0)
    one = _apart(ordinary / (ordinary.sum() or 1.0), struck, levels, edges)
    score = 0.0
    for tried in (widths, None):  # the grid, and a finer one around its best
        tried = width * _FINER if tried is None else tried
        peaks = np.diff(special.erf(edges / (tried[:, None] * np.sqrt(2))))
        scores = _likelihood(counts, peaks, one, both)
        best = np.unravel_index(int(np.argmax(scores)), scores.shape)
        score, width = float(scores.max()), float(tried[best[0]])
        share = float(_SHARES[best[1]])
    return score, width, share, one


def _likelihood(
    counts: np.ndarray, peaks: np.ndarray, one: np.ndarray, both: np.ndarray
) -> np.ndarray:
    """Return the log-likelihood for each peak (rows) and each of `_SHARES` (columns)."""
    p = _SHARES[:, None]
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
    peak = np.diff(special.erf(edges / (width * np.sqrt(2))))
    for _ in range(_STEPS):
        if share == 0:
            return 0.0
        parts = np.stack([(1 - share) ** 2 * peak, 2 * share * (1 - share) * one, share**2 * both])
        belongs = parts / (parts.sum(axis=0) + 1e-12) @ counts / counts.sum()
        share = float(belongs[1] / 2 + belongs[2])
    return share


def _histogram(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    counts = np.histogram(np.clip(values, levels[0], levels[-1]), levels)[0].astype(np.float64)
    return counts / max(counts.sum(), 1.0)


def _apart(x: np.ndarray, y: np.ndarray, levels: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the distribution, in bins `edges`, of the distance of values from two histograms."""
    density = np.correlate(x, y, mode="full")
    steps = np.abs(np.arange(len(density)) - (len(x) - 1))
    folded = np.bincount(steps, density, minlength=len(x))
    # Values of one level differ by up to a step, so each bin is spread evenly over it.
    ends = np.concatenate([[0.0], np.arange(len(folded)) + 0.5]) * (levels[1] - levels[0])
    return np.diff(np.interp(edges, ends, np.concatenate([[0.0], np.cumsum(folded)])))
