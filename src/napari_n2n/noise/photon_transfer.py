"""The photon-transfer curve: the variance of the noise as a function of the signal.

For photons counted by a camera, ``var = gain * (mean - pedestal) + read^2`` (EMVA 1288; Foi et al.
2008). Variance and third cumulant are taken from the difference of two acquisitions, which contains
no scene. Pixels are binned by their smoothed surroundings, so that a pixel's own noise does not
decide its bin. The third cumulant of photon noise is ``gain^2 * (mean - pedestal)``: it separates
read noise from black level, which the line alone cannot.
"""

from dataclasses import dataclass

import numpy as np

from napari_n2n.noise.monotone_curve import MonotoneCurve, monotone_curve
from napari_n2n.noise.sample import Sample
from napari_n2n.stats.statistics import GROUPS, MAD_TO_SIGMA, jackknife, spaced

# Number of signal levels. More: less mixing of levels; fewer: less scatter of each variance.
_BINS = 24
# Quantile of the surroundings at which the bins begin; darker pixels are in the first bin.
_DARK_END = 0.002
# Fewest pixels of a bin: the standard error of its variance is then sqrt(2 / 400) = 7 %.
_LEAST = 400
# Number of rounds of the fit: it is repeated because its weights depend on the line itself.
_ROUNDS = 4
# Smallest variance in the weights, as a part of the mean variance of the pixels: limits the weight
# of dark bins.
_DARKEST = 0.05
# The noise grows with the signal if the gain exceeds this many standard errors, and if the variance
# grows over the signal range by more than this part of the variance in the dark.
_SURE, _GROWTH = 3, 0.1
# Read noise is reported if its square exceeds this many standard errors.
_READ_SURE = 2
# Lower limit of the line, as a part of the smallest variance of a bin: the line may cross zero.
_FLOOR = 0.25
# Largest mean squared misfit, in standard errors, of a parabola through the variances: 1 for
# Gaussian noise, up to 2 for noise with a longer tail, above 3 for variances near saturation.
_PARABOLA = 3.0
# Smallest divisor, in ADU or ADU^2.
_TINY = 1e-12
# Parts of a range at which a probability is evaluated.
_EVENLY = (np.arange(64) + 0.5) / 64


@dataclass(frozen=True, eq=False)
class TransferCurve:
    """Noise variance against signal in ADU; arrays have one entry for each bin.

    Attributes
    ----------
    mean, variance, robust_variance
        Mean and variance of one acquisition; the robust variance is from the median absolute
        difference.
    variance_error
        Standard error of the variance.
    gain, intercept
        The line ``variance = gain * mean + intercept``.
    photon_gain, read_noise, pedestal
        Photon gain (ADU per electron), read noise (ADU) and black level (ADU); None if the noise
        does not grow with the signal. Read noise is None also if its square is below two standard
        errors. If the line does not fit, the photon gain is the slope at black of a parabola; it is
        None if the curve of the variances bends down, or no parabola fits.
    grows
        Whether the noise grows with the signal.
    skewness
        Third cumulant over variance^1.5, averaged over the pixels.
    median_shift
        By how much the median of the noise is below its mean, in ADU.
    errors
        Standard errors of `photon_gain` to `median_shift`, by name.
    bent
        The curve that describes the variance if the line does not fit; else None.
    """

    mean: np.ndarray
    variance: np.ndarray
    robust_variance: np.ndarray
    variance_error: np.ndarray
    gain: float
    intercept: float
    photon_gain: float | None
    read_noise: float | None
    pedestal: float | None
    skewness: float
    median_shift: float
    errors: dict[str, float]
    bent: MonotoneCurve | None = None
    grows: bool = False

    def variance_at(self, level: np.ndarray) -> np.ndarray:
        """Return the noise variance of one acquisition at signal levels, at least a small floor."""
        if self.bent is not None:
            return self.bent.variance_at(level)
        floor = _FLOOR * float(np.min(self.variance))
        return np.maximum(self.gain * level + self.intercept, floor)


@dataclass(frozen=True, eq=False)
class _Fit:
    """Fitted line and cumulants; arrays except `used` have one entry per bin that was used."""

    used: np.ndarray
    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    gain: float
    intercept: float
    read_square: float
    most_read: float
    pedestal: float
    skewness: float
    median_shift: float


def transfer_curve(sample: Sample, usable: np.ndarray) -> TransferCurve:
    """Measure the photon-transfer curve.

    Parameters
    ----------
    sample
        The pixels of A and B.
    usable
        True for pixels that are not outliers; of the sample's shape.
    """
    pixels = sample.valid & usable
    a, b, m = (
        values[pixels].astype(np.float64) for values in (sample.a, sample.b, sample.surroundings)
    )
    bins = _bins_of(m)
    sums = _sums(a, b, m, sample.group[pixels] * _BINS + bins)
    fit = _fit({name: grid.sum(axis=0) for name, grid in sums.items()})
    parts = [
        _fit({name: np.delete(grid, left_out, axis=0).sum(axis=0) for name, grid in sums.items()})
        for left_out in range(GROUPS)
    ]
    errors = {
        name: jackknife([getattr(part, name) for part in parts])
        for name in ("gain", "read_square", "skewness", "median_shift")
    }
    errors["photon_gain"], read_error = errors.pop("gain"), errors.pop("read_square")
    errors["pedestal"] = _pedestal_error(fit, parts, read_error)
    dark = fit.gain * fit.mean.min() + fit.intercept
    photons = (
        fit.gain > _SURE * errors["photon_gain"] and fit.gain * np.ptp(fit.mean) > _GROWTH * dark
    )
    read_noise = None
    if photons and fit.read_square > _READ_SURE * read_error:
        read_noise = float(np.sqrt(fit.read_square))
        errors["read_noise"] = read_error / (2 * read_noise)
    bent, gain = _bent(fit, sums), fit.gain if photons else None
    if photons and bent is not None:
        gain, errors["photon_gain"] = _gain_of_parabola(fit, parts)
    return TransferCurve(
        mean=fit.mean,
        variance=fit.variance,
        robust_variance=_robust_variance(a - b, bins, np.flatnonzero(fit.used), sample.quantum),
        variance_error=fit.variance * np.sqrt(2 / fit.count),
        gain=fit.gain,
        intercept=fit.intercept,
        photon_gain=gain,
        read_noise=read_noise,
        pedestal=fit.pedestal if photons else None,
        skewness=fit.skewness,
        median_shift=fit.median_shift,
        errors=errors,
        bent=bent,
        grows=bool(photons),
    )


def _bent(fit: _Fit, sums: dict[str, np.ndarray]) -> MonotoneCurve | None:
    """Return the monotone curve through the bins; None if the line fits."""
    without = _variance({name: total.sum(axis=0) - total for name, total in sums.items()})
    line = fit.gain * fit.mean + fit.intercept
    return monotone_curve(fit.mean, fit.variance, without[:, fit.used], line, fit.count)


def _gain_of_parabola(fit: _Fit, parts: list[_Fit]) -> tuple[float | None, float]:
    """Return the slope at black of a curve that bends upwards, and its standard error.

    A lamp that flickers adds noise in proportion to the signal: ``gain s + (p s)^2``. The darkest
    level is above black by up to its variance over the gain, if it has no read noise.
    """
    (bend, slope, dark), misfit = _parabola(fit)
    if bend <= 0 or slope <= 0 or misfit > _PARABOLA:
        return None, 0.0
    to_black = bend * dark / slope
    scatter = jackknife([float(_parabola(part)[0][1]) for part in parts])
    return float(slope - to_black), float(np.hypot(scatter, to_black))


def _parabola(fit: _Fit) -> tuple[np.ndarray, float]:
    """Fit a parabola from the darkest bin; return its coefficients and mean squared misfit."""
    level, weight = fit.mean - fit.mean[0], np.sqrt(fit.count / 2) / fit.variance
    found = np.polyfit(level, fit.variance, 2, w=weight)
    away = (np.polyval(found, level) - fit.variance) * weight
    return found, float(np.mean(away**2))


def _bins_of(levels: np.ndarray) -> np.ndarray:
    """Number the bins of signal levels from dark to bright; shape (pixels,).

    A bin with few pixels is merged with the next darker one: on a line, the mean variance of
    several levels belongs to their mean level.
    """
    position = spaced(levels)
    low, high = np.quantile(position, _DARK_END), position.max()
    bins = ((position - low) * (_BINS / max(high - low, _TINY))).astype(int).clip(0, _BINS - 1)
    count = np.bincount(bins, minlength=_BINS)
    merged = np.arange(_BINS)
    for number in range(_BINS - 1, 0, -1):
        if count[number] < _LEAST:
            merged[merged == number] = number - 1
            count[number - 1] += count[number]
    return np.asarray(merged[bins])


def _pedestal_error(fit: _Fit, parts: list[_Fit], read_error: float) -> float:
    """Return the standard error of the black level, from the errors of the line and the read noise.

    The square of the read noise has a normal distribution, limited to the possible values.
    """
    if not all(one.gain > 0 for one in (fit, *parts)):
        return np.nan
    read_square = fit.pedestal * fit.gain + fit.intercept
    of_line = jackknife([(read_square - part.intercept) / part.gain for part in parts])
    possible = fit.most_read * _EVENLY
    distance = (possible - fit.read_square) ** 2 / (2 * read_error**2 + _TINY)
    weight = np.exp(distance.min() - distance)
    of_read = np.sqrt(np.average((possible - read_square) ** 2, weights=weight))
    return float(np.hypot(of_line, of_read / fit.gain))


def _sums(a: np.ndarray, b: np.ndarray, m: np.ndarray, cell: np.ndarray) -> dict[str, np.ndarray]:
    """Return the sums for the fit over the pixels of each group and bin; shape (groups, bins)."""
    d = a - b
    terms = {
        "count": np.ones_like(d),
        "mean": (a + b) / 2,
        "difference": d,
        "square": d**2,
        "cube": d**2 * (a + b - 2 * m),
        "product": (a * (b - m) + b * (a - m)) / 2,
        "departure": (a + b) / 2 - m,
    }
    return {
        name: np.bincount(cell, values, minlength=GROUPS * _BINS).reshape(GROUPS, _BINS)
        for name, values in terms.items()
    }


def _robust_variance(
    difference: np.ndarray, bins: np.ndarray, used: np.ndarray, quantum: float
) -> np.ndarray:
    """Return the variance of one acquisition in each bin, from the median absolute difference."""
    # Integers have few different values: each is spread over its step, so that the median can be
    # in between.
    spread = difference + quantum * (np.random.default_rng(0).random(difference.size) - 0.5)
    deviations = np.array([np.median(np.abs(spread[bins == number])) for number in used])
    return np.asarray((deviations * MAD_TO_SIGMA) ** 2 / 2)


def _variance(sums: dict[str, np.ndarray]) -> np.ndarray:
    """Return the variance of one acquisition; the mean difference of a bin is not noise."""
    count = np.maximum(sums["count"], 1)
    return np.asarray((sums["square"] / count - (sums["difference"] / count) ** 2) / 2)


def _line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept of the line with the smallest weighted squares."""
    weight = weight / weight.sum()
    x_mean, y_mean = float(weight @ x), float(weight @ y)
    apart = x - x_mean
    slope = float((weight * apart) @ y) / float(weight @ apart**2)
    return slope, y_mean - slope * x_mean


def _fit(sums: dict[str, np.ndarray]) -> _Fit:
    """Fit line and cumulants to the sums over each bin."""
    used = sums["count"] >= min(_LEAST, sums["count"].max())
    count = sums["count"][used]
    per = {name: values[used] / count for name, values in sums.items()}
    mean, variance = per["mean"], np.maximum(_variance(sums)[used], _TINY)
    least = _DARKEST * float(np.average(variance, weights=count))
    gain, intercept, expected = 0.0, float(np.average(variance, weights=count)), variance
    for _ in range(_ROUNDS):  # the scatter of a variance is proportional to the variance itself
        weight = np.sqrt(count) / np.maximum(expected, least)
        if len(mean) > 1 and np.ptp(mean) > 0:
            gain, intercept = _line(mean, variance, weight**2)
        expected = np.maximum(gain * mean + intercept, _TINY)
    # With D = A - B, the scene s and the surroundings m:
    # E[D^2 (A + B - 2m)] = 2 kappa3 + 4 E[var(s) (s - m)], and E[s (s - m)] = E[A (B - m)].
    scene = gain * per["product"] + intercept * per["departure"]
    third = (per["cube"] - 4 * scene) / 2
    read = variance - third / gain if gain > 0 else np.full_like(variance, np.nan)
    read_square = float(np.average(read, weights=count / np.maximum(expected, least) ** 3))
    # The square of the read noise is not negative, and at most the variance in the dark.
    most_read = float(max(gain * mean.min() + intercept, 0.0))
    possible = np.clip(read_square, 0.0, most_read)
    # The median of a distribution is at most one standard deviation from its mean.
    shift = np.clip(third / (6 * expected), -np.sqrt(expected), np.sqrt(expected))
    return _Fit(
        used=used,
        count=count,
        mean=mean,
        variance=variance,
        gain=gain,
        intercept=intercept,
        read_square=read_square,
        most_read=most_read,
        pedestal=float((possible - intercept) / gain) if gain > 0 else np.nan,
        skewness=float(
            np.average(third, weights=count) / np.average(variance, weights=count) ** 1.5
        ),
        median_shift=float(np.average(shift, weights=count)),
    )
