"""Detect noise that is cut off at a lower limit, usually zero.

This raises the mean of dark areas and reduces their noise. Few photons leave pixels at zero as
well, but the logarithm of their share is proportional to the mean, and the variance is on a line.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from napari_n2n.noise.sample import Sample

# Share of a bin's pixels at the limit above which its noise is taken as clipped: fewer change no
# figure noticeably.
_TOUCHED = 0.01
# Quantiles of the surroundings between which the bins are: steps of 5 %, finer where few pixels
# cover a large range of brightness.
_BORDERS = (*np.linspace(0.05, 0.9, 18), 0.93, 0.95, 0.97, 0.98, 0.99)
# Number of bins that contain the darkest tenth of the pixels.
_DARKEST = 2
# Decrease of chi-squared, of the variances or of variances and shares at the limit, above which
# noise counts as clipped: three standard deviations, squared. The decrease was 15 to 250 for
# clipped noise in images of 192x192 and 384x384 pixels, and up to 3 for photons, EM gain and pulses
# of light.
_CLEARLY = 9.0
# Standard errors, and part of the mean in the dark, by which the mean without light must differ
# from the limit for other noise than pulses of light to be cut off.
_SURE, _UNLIT = 3.0, 0.1
# Of the pixels above the limit in dark areas, smallest share that are below half of their mean: it
# is 0.3 for clipped noise and photons, and nearly 0 if the pixels at the limit are missing.
_CONTINUOUS = 0.15
# Range of the variance in dark areas, in units of the mean times the step of the values, of counted
# photons: 1, less with a dead time, more if one photon can be counted twice.
_COUNTED = 0.8, 1.3
# Largest error of the predicted shares (root mean square) at which a model fits: the error is up to
# 0.03 for clipped Gaussian noise, and above 0.1 with any model for clipped noise below pulses of
# light.
_FITS = 0.06
# Smallest p (1 - p) in the scatter of a share p, and smallest share whose logarithm is used.
_RARE = 1e-4, 2e-3
# Standard deviation of noise over its mean absolute value above 0: Gaussian noise around the limit.
_HALF = math.sqrt(2 * math.pi)
# Smallest and largest share at the limit from which a signal is computed: 3 standard deviations.
_SHARES = 0.001, 0.999
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
        Excess brightness of the darkest tenth of the pixels, in ADU.
    mean_shift, median_shift
        By how much the means and the medians are too high, averaged over all pixels, in ADU. The
        medians are right as long as the signal itself is above the limit. Both are 0 if they are
        not known, because the noise above the limit is not Gaussian.
    pixels
        True where the surroundings are so dark that clipping changes the noise; all False if
        clipping changes it everywhere; shape (planes, Y, X).
    line
        Photon gain in ADU and variance at the limit in ADU^2 of the noise before it was cut off.
    darkest
        The smallest signal before the noise was cut off, above the limit, in ADU.
    """

    shift: float
    mean_shift: float
    median_shift: float
    pixels: np.ndarray
    line: tuple[float, float] = (0.0, 0.0)
    darkest: float = 0.0

    @property
    def is_known(self) -> bool:
        """Whether noise is cut off, and the noise before clipping is known."""
        return self.mean_shift > 0

    def variance_at(self, signal: np.ndarray) -> np.ndarray:
        """Return the variance before noise was cut off at signals above the limit, in ADU^2."""
        variance = self.line[0] * signal + self.line[1]
        return np.asarray(np.maximum(variance, _FLOOR * np.max(variance)))


def find_clipping(sample: Sample) -> Clipping:
    """Distinguish noise that is cut off at a lower limit from pixels that received no photon.

    Gaussian noise, of a variance that grows linearly with brightness, is cut off at the limit: two
    parameters are fitted to the variances, and then predict the shares of pixels at the limit.
    Without clipping, these are pixels without a photon. Noise counts as clipped if this predicts
    the variances, or variances and shares, much better. If neither model fits, as for pulses of
    light, the variances give the mean without light: if that is not the limit, there is other noise
    than pulses, and only the shift of dark areas is returned.
    """
    nothing = Clipping(0.0, 0.0, 0.0, np.zeros(sample.a.shape, bool))
    if not (sample.cut & sample.valid).any():
        return nothing
    borders = np.unique(np.quantile(sample.surroundings[sample.valid], _BORDERS))
    bins = _Bins.of(sample, borders)
    touched = bins.cut > _TOUCHED
    at_any_brightness = bins.cut[-1] > bins.cut[0] / 2
    if not touched.any() or (at_any_brightness and _has_gap(sample, borders[:_DARKEST].max())):
        return nothing  # missing pixels
    if _COUNTED[0] < bins.counts_per_step(sample.quantum) < _COUNTED[1]:
        return nothing
    gain, offset = _fitted(bins, clipped=True)
    signal, deviation = bins.before_cutting(gain, offset)
    clipped = bins.misfit(
        _cut_moments(signal, deviation)[1], special.ndtr((sample.quantum / 2 - signal) / deviation)
    )
    line = _fitted(bins, clipped=False)
    photons = bins.misfit(line[0] * bins.mean + line[1], bins.without_photon())
    unlit, error = bins.without_light()
    only_pulses = abs(unlit) <= max(_SURE * error, _UNLIT * bins.mean[0])
    of_variances = bins.decrease(photons.of_variances, clipped.of_variances)
    better = of_variances > _CLEARLY or (
        bins.decrease(photons.both, clipped.both) > _CLEARLY
        and (of_variances > -_CLEARLY or not only_pulses)
    )
    if not better or clipped.of_shares > _FITS:
        if only_pulses:
            return nothing
        share = float(bins.cut[:_DARKEST].max())
        if unlit > 0:
            return replace(nothing, shift=_shift_without_light(unlit, share))
        dark = share * math.sqrt(bins.variance[:_DARKEST].min()) / _HALF
        return replace(nothing, shift=float(dark))
    raised = bins.mean - signal
    highest = bins.number[np.flatnonzero(touched).max()]
    return Clipping(
        shift=float(np.average(raised[:_DARKEST], weights=bins.count[:_DARKEST])),
        mean_shift=float(np.average(raised, weights=bins.count)),
        median_shift=float(np.average(np.maximum(-signal, 0.0), weights=bins.count)),
        pixels=(
            nothing.pixels if highest == len(borders) else sample.surroundings < borders[highest]
        ),
        line=(gain, offset),
        darkest=float(signal.min()),
    )


class _Misfit(NamedTuple):
    """Mean squared misfits in standard errors, and root mean square error of the shares."""

    of_variances: float
    both: float
    of_shares: float


@dataclass(frozen=True, eq=False)
class _Bins:
    """Pixels by the brightness around them, from dark to bright; one entry for each bin.

    Attributes
    ----------
    number, count
        Number of the bin, and of its pixels.
    mean, variance
        Of one acquisition; the mean above the limit, in ADU.
    cut
        Share of the pixels at the limit.
    """

    number: np.ndarray
    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    cut: np.ndarray

    @classmethod
    def of(cls, sample: Sample, borders: np.ndarray) -> "_Bins":
        """Sort the valid pixels into bins between borders of brightness."""
        keep = sample.valid
        which = np.digitize(sample.surroundings[keep], borders)
        count = np.bincount(which)
        number = np.flatnonzero(count)
        sources = (
            (sample.a + sample.b) / 2 - sample.lower_limit,
            sample.difference**2 / 2,
            (sample.cut.astype(np.float64) + sample.cut_twice) / 2,
        )
        sums = (np.bincount(which, values[keep].astype(np.float64)) for values in sources)
        return cls(number, count[number], *(total[number] / count[number] for total in sums))

    @property
    def floor(self) -> float:
        """Smallest variance in a comparison, in ADU^2."""
        return _FLOOR * float(self.variance.max())

    def counts_per_step(self, step: float) -> float:
        """Return the variance in dark areas in units of the mean times the step of the values."""
        mean, variance = (one[:_DARKEST].sum() for one in (self.mean, self.variance))
        return float(variance / max(mean * step, _TINY))

    def without_photon(self) -> np.ndarray:
        """Return the shares of pixels without a photon, `exp(-mean / H)`; H is fitted."""
        known = np.maximum(self.cut, _RARE[1])
        weight = self.count * self.cut * (self.cut > _RARE[1]) * self.mean
        height = np.sum(weight * self.mean) / max(np.sum(weight * -np.log(known)), _TINY)
        return np.asarray(np.exp(-self.mean / max(height, _TINY)))

    def without_light(self) -> tuple[float, float]:
        """Return the mean without light, in ADU above the limit, and its standard error.

        Pulses of light have a variance in proportion to their mean. The mean at which the line of
        the variances crosses zero is therefore that of the noise below the pulses: 0 if there is
        none, and positive if it is cut off. As pulses are rare in dark areas, the squared scatter
        of a variance is taken as proportional to the variance itself.
        """
        weight = self.count / np.maximum(
            self.variance.mean() * self.mean / self.mean.mean(), self.floor
        )
        middle = np.average(self.mean, weights=weight)
        apart = self.mean - middle
        spread = np.sum(weight * apart**2)
        gain = np.sum(weight * apart * self.variance) / max(spread, _TINY)
        if not gain > 0:
            return 0.0, math.inf
        unlit = middle - np.average(self.variance, weights=weight) / gain
        away = self.variance - gain * (self.mean - unlit)
        misfit = np.sum(weight * away**2) / max(len(away) - 2, 1)
        return float(unlit), math.sqrt(
            misfit * (1 / weight.sum() + (unlit - middle) ** 2 / spread)
        ) / gain

    def before_cutting(self, gain: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
        """Return signal and standard deviation before the noise was cut off, above the limit."""

        def deviation(signal: np.ndarray) -> np.ndarray:
            return np.sqrt(np.maximum(gain * signal + offset, self.floor))

        signal = _before_cutting(self.mean, deviation)
        return signal, deviation(signal)

    def apart(self, variance: np.ndarray) -> np.ndarray:
        """Return the logarithm of a predicted over the measured variance."""
        both = (np.maximum(values, self.floor) for values in (variance, self.variance))
        return np.asarray(np.subtract(*map(np.log, both)))

    def decrease(self, before: float, after: float) -> float:
        """Return the decrease of chi-squared, from mean squared misfits in standard errors.

        It is relative to the smaller misfit if no model fits within the standard errors.
        """
        return len(self.count) * (before - after) / max(1.0, after)

    def misfit(self, variance: np.ndarray, share: np.ndarray) -> _Misfit:
        """Compare predicted variances and shares at the limit with those that were measured."""
        square = (self.cut - share) ** 2
        scatter = np.maximum(share * (1 - share), _RARE[0]) / self.count
        of_variances = float(np.mean(self.apart(variance) ** 2 * self.count / 2))
        return _Misfit(
            of_variances,
            of_variances + float(np.mean(square / scatter)),
            math.sqrt(float(np.average(square, weights=self.count))),
        )


def _has_gap(sample: Sample, dark: float) -> bool:
    """Return whether dark areas have a gap between the pixels at the limit and the other pixels."""
    inside = sample.valid & (sample.surroundings < dark) & ~sample.cut
    above = (np.minimum(sample.a, sample.b) - sample.lower_limit)[inside]
    near = max(above.mean() / 2, sample.quantum) if above.size else 0.0
    return bool(above.size and np.mean(above <= near) < _CONTINUOUS)


def _fitted(bins: _Bins, clipped: bool) -> tuple[float, float]:
    """Fit the line of the variances, before noise was cut off: gain, and variance at the limit."""
    weight = np.sqrt(bins.count / bins.count.sum())

    def misfit(line: np.ndarray) -> np.ndarray:
        if not clipped:
            return weight * bins.apart(line[0] * bins.mean + line[1])
        return weight * bins.apart(_cut_moments(*bins.before_cutting(*line))[1])

    gain = float(np.ptp(bins.variance) / max(np.ptp(bins.mean), _TINY))
    usual = float(bins.variance.mean())
    found = optimize.least_squares(
        misfit,
        x0=(gain, usual),
        x_scale=(gain or 1.0, usual or 1.0),
        bounds=((0.0, -np.inf), np.inf),
    )
    return float(found.x[0]), float(found.x[1])


def _shift_without_light(mean: float, share: float) -> float:
    """Return by how much Gaussian noise that is cut off is too bright on average.

    Its deviation and its signal follow from its mean above the limit, in ADU, and from the share of
    pixels at the limit, as in `_cut_moments`.
    """
    below = float(special.ndtri(np.clip(share, *_SHARES)))
    density = math.exp(-0.5 * below**2) / math.sqrt(2 * math.pi)
    deviation = mean / (density - below * float(special.ndtr(-below)))
    return mean + below * deviation


def _before_cutting(mean: np.ndarray, deviation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Find by bisection the signals whose noise, cut off at the limit, has the given means."""
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
