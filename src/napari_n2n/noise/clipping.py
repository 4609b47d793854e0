"""Detect noise that is cut off at a lower limit, usually zero.

This raises the mean of dark areas and reduces their noise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from napari_n2n.noise.sample import Sample

# Share of pixels at the limit below which clipping changes no figure noticeably.
_FEWEST = 1e-3
# Share of a bin's pixels at the limit above which its noise is taken as clipped.
_TOUCHED = 0.01
# Quantiles of the surroundings between which the bins are: steps of 5 %, finer where few pixels
# cover a large range of brightness.
_BORDERS = (*np.linspace(0.05, 0.9, 18), 0.93, 0.95, 0.97, 0.98, 0.99)
# Number of bins that contain the darkest tenth of the pixels.
_DARKEST = 2
# Ratio of the cost of the clipped fit to that of the straight line below which the noise is taken
# as clipped: the fit is then clearly better, as both have two parameters.
_BETTER = 0.5
# Number of bisections: 2^-40 of five standard deviations is below float32 precision.
_HALVINGS = 40
# Standard deviations below the mean at which the bisection starts.
_DEEPEST = 5
# Smallest variance, as a part of the largest: limits the weight of bins without noise.
_FLOOR = 1e-3
# Smallest divisor, in ADU.
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Clipping:
    """Effects of noise that is cut off at a lower limit.

    Attributes
    ----------
    shift
        By how much the darkest tenth of the pixels is too bright, in ADU.
    mean_shift, median_shift
        By how much the means and the medians are too high, averaged over all pixels, in ADU. The
        medians are right as long as the signal itself is above the limit.
    pixels
        True where the surroundings are so dark that clipping changes the noise; all False if
        clipping changes it everywhere; shape (planes, Y, X).
    """

    shift: float
    mean_shift: float
    median_shift: float
    pixels: np.ndarray


def find_clipping(sample: Sample) -> Clipping:
    """Distinguish noise that is cut off at a lower limit from pixels that received no photon.

    Noise variance grows linearly with brightness. If Gaussian noise is cut off, the
    variance of dark pixels is below this line; that of photon counts is not, in spite of their
    zeros. Both models are fitted. Noise counts as clipped if the clipped model has less than half
    the cost.
    """
    nothing = Clipping(0.0, 0.0, 0.0, np.zeros(sample.a.shape, bool))
    keep = sample.valid
    if sample.black_share < _FEWEST or not keep.any():
        return nothing
    levels = sample.surroundings[keep]
    borders = np.unique(np.quantile(levels, _BORDERS))
    which, bins = np.digitize(levels, borders), len(borders) + 1
    count = np.maximum(np.bincount(which, minlength=bins), 1)
    mean, variance, cut = (
        np.bincount(which, values[keep].astype(np.float64), minlength=bins) / count
        for values in ((sample.a + sample.b) / 2, sample.difference**2 / 2, sample.cut)
    )
    mean -= sample.lower_limit  # all signals here are above the limit
    touched = cut > _TOUCHED
    if not touched.any() or cut[-1] > cut[0] / 2:  # missing pixels occur at any brightness
        return nothing
    floor = _FLOOR * float(variance.max())
    weight, seen = np.sqrt(count / count.sum()), np.log(np.maximum(variance, floor))

    def fitted(expected: Callable[[np.ndarray], np.ndarray]) -> optimize.OptimizeResult:
        gain = float(np.ptp(variance) / max(np.ptp(mean), _TINY))
        return optimize.least_squares(
            lambda line: weight * (np.log(np.maximum(expected(line), floor)) - seen),
            x0=(gain, float(variance.mean())),
            x_scale=(gain or 1.0, float(variance.mean()) or 1.0),
            bounds=((0.0, -np.inf), np.inf),
        )

    def deviation(line: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return lambda signal: np.sqrt(np.maximum(line[0] * signal + line[1], floor))

    def remaining(line: np.ndarray) -> np.ndarray:
        around = deviation(line)
        signal = _before_cutting(mean, around)
        return _cut_moments(signal, around(signal))[1]

    whole, bent = fitted(lambda line: line[0] * mean + line[1]), fitted(remaining)
    if bent.cost > _BETTER * whole.cost:
        return nothing
    signal = _before_cutting(mean, deviation(bent.x))
    raised = mean - signal
    highest = int(np.flatnonzero(touched).max())
    return Clipping(
        shift=float(np.average(raised[:_DARKEST], weights=count[:_DARKEST])),
        mean_shift=float(np.average(raised, weights=count)),
        median_shift=float(np.average(np.maximum(-signal, 0.0), weights=count)),
        pixels=(nothing.pixels if highest == bins - 1 else sample.surroundings < borders[highest]),
    )


def _before_cutting(mean: np.ndarray, deviation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Find by bisection the signals whose Gaussian noise, cut off at the limit, has given means."""
    low, high = mean - _DEEPEST * deviation(mean), mean.copy()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = _cut_moments(middle, deviation(middle))[0] > mean
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def _cut_moments(signal: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of Gaussian noise around a signal, negative values set to 0."""
    ratio = signal / deviation
    above, density = special.ndtr(ratio), np.exp(-0.5 * ratio**2) / np.sqrt(2 * np.pi)
    mean = signal * above + deviation * density
    square = (signal**2 + deviation**2) * above + signal * deviation * density
    return mean, square - mean**2
