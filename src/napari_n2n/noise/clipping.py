"""What cutting off at zero does to dark areas: it lifts their mean and takes from their noise."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from napari_n2n.noise.sample import Sample

_FEWEST = 1e-3
_TOUCHED = 0.01
_BORDERS = (*np.linspace(0.05, 0.9, 18), 0.93, 0.95, 0.97, 0.98, 0.99)
_DARKEST = 2
_BETTER = 0.5
_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class Clipping:
    """Noise cut off at zero.

    Attributes
    ----------
    shift
        How far the darkest tenth of the pixels reads too bright, in ADU.
    mean_shift, median_shift
        How far all pixels read too bright on average, in ADU: their means, and their medians, which
        are right as long as the signal itself is above zero.
    pixels
        True in surroundings so dark that it changes the noise, none if that is so everywhere;
        shape (planes, Y, X).
    """

    shift: float
    mean_shift: float
    median_shift: float
    pixels: np.ndarray


def find_clipping(sample: Sample) -> Clipping:
    """Tell noise that was cut off at zero from photons of which there were none.

    Binned by brightness, the variance of Gaussian noise that grows with the signal, cut off at
    zero, bends down from its line in the dark. Counts of photons stay on the line, zeros and all.
    Both are fitted; the first has to fit better by half.
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
    touched = cut > _TOUCHED
    if not touched.any() or cut[-1] > cut[0] / 2:  # what is missing is missing everywhere
        return nothing
    floor = 1e-3 * float(variance.max())
    weight, seen = np.sqrt(count / count.sum()), np.log(np.maximum(variance, floor))

    def fitted(expected: Callable[[np.ndarray], np.ndarray]) -> optimize.OptimizeResult:
        gain = float(np.ptp(variance) / max(np.ptp(mean), 1e-12))
        return optimize.least_squares(
            lambda line: weight * (np.log(np.maximum(expected(line), floor)) - seen),
            x0=(gain, float(variance.mean())),
            x_scale=(gain or 1.0, float(variance.mean()) or 1.0),
            bounds=((0.0, -np.inf), np.inf),
        )

    def deviation(line: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return lambda signal: np.sqrt(np.maximum(line[0] * signal + line[1], floor))

    def left(line: np.ndarray) -> np.ndarray:
        around = deviation(line)
        signal = _before_cutting(mean, around)
        return _cut_moments(signal, around(signal))[1]

    whole, bent = fitted(lambda line: line[0] * mean + line[1]), fitted(left)
    if bent.cost > _BETTER * whole.cost:
        return nothing
    signal = _before_cutting(mean, deviation(bent.x))
    lifted = mean - signal
    highest = int(np.flatnonzero(touched).max())
    return Clipping(
        shift=float(np.average(lifted[:_DARKEST], weights=count[:_DARKEST])),
        mean_shift=float(np.average(lifted, weights=count)),
        median_shift=float(np.average(np.maximum(-signal, 0.0), weights=count)),
        pixels=(nothing.pixels if highest == bins - 1 else sample.surroundings < borders[highest]),
    )


def _before_cutting(mean: np.ndarray, deviation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return signals whose Gaussian noise, cut off at zero, has given means, by halving."""
    low, high = mean - 5 * deviation(mean), mean.copy()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = _cut_moments(middle, deviation(middle))[0] > mean
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def _cut_moments(signal: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of Gaussian noise around a signal, negative values being zero."""
    ratio = signal / deviation
    above, density = special.ndtr(ratio), np.exp(-0.5 * ratio**2) / np.sqrt(2 * np.pi)
    mean = signal * above + deviation * density
    square = (signal**2 + deviation**2) * above + signal * deviation * density
    return mean, square - mean**2
