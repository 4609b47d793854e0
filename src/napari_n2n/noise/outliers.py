"""Measure outliers: pixels with errors other than noise, such as hot pixels, dust and text.

The results are their share, the share of pixels without a value, their effect on the mean, and
whether they form patches. Pulses of single photons look like outliers, but are light.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import ndimage

from napari_n2n.noise.mixture import Mixture, fit_mixture
from napari_n2n.noise.pulses import measure_pulses
from napari_n2n.noise.sample import Sample, step_of
from napari_n2n.stats.statistics import GROUPS, jackknife, neighbourhood

# Quantiles of the brightness between which mixtures are fitted: finer at the bright end, where few
# pixels cover a large range.
_BRIGHTNESSES = (0, 0.25, 0.5, 0.65, 0.8, 0.9, 0.96, 1)
# Fewest pixels for a fit at one brightness, for a histogram of 80 bins.
_FEWEST = 500
# Share of outliers above which one fit to all pixels replaces the mean of the fits at each
# brightness, because too few ordinary pixels remain for these.
_MOSTLY_HIT = 0.6
# Share of pixels that differ much between the acquisitions, or are zero, below which there are no
# outliers: Gaussian noise gives hardly any, the tail of photon noise some.
_FAR_SHARE = 5e-4
# Difference of A and B, in standard deviations, beyond which a pixel counts as an outlier.
_OUTLYING = 4.0
# Missing pixels leave a gap above zero: largest number of pixels in the gap per missing pixel.
_BETWEEN = 0.1
# Steps of the pixel values that a difference must exceed, so that photon counts are not outliers.
_FEWEST_STEPS = 6
# Number of pixels below which a share of them is not determined.
_FEWEST_SIDED = 20
# Quantiles of the values used as their range, so that a few extreme pixels do not count.
_ENDS = (1e-4, 1 - 1e-4)
# Correlation of neighbouring outliers above which they form patches, and number of standard errors
# by which outliers with outliers as neighbours must exceed chance.
_CLUSTERED, _BY_CHANCE = 0.1, 4
# Side in pixels of the square around an outlier whose pixels may belong to the same patch.
_RIM = 5
# Smallest divisor, in ADU.
_TINY = 1e-12
# Weight of the ordinary pixels around a pixel below which their mean is not used.
_LEAST_WEIGHT = 0.02
# Corrections of a mean for outliers near it; the last changes it by less than 1 %.
_CORRECTIONS = 8
# Number of signal levels over which the shift of the mean is averaged.
_LEVELS = 8


@dataclass(frozen=True, eq=False)
class Outliers:
    """Outliers of a sample.

    Attributes
    ----------
    share, error
        Share of outliers among the pixels of each acquisition, 0 to 1; and its standard error.
    missing
        Share of the pixels without a value: they have the smallest value of all and lie between
        much brighter ones.
    brighter
        Share of the outliers that are too bright, corrected for the range of values above and
        below: 0.5 for impulses of any value, near 1 for hot pixels.
    shift, shift_error
        By how much the outliers shift the mean (root mean square over eight signal levels), in ADU;
        and its standard error.
    clustered
        True if the outliers form patches (text, dust) rather than single pixels.
    limit
        Difference in ADU above which a pixel of usual brightness is an outlier.
    pixels
        True where A and B differ by more than `limit` (for brighter pixels times their relative
        noise), or where a pixel is missing; shape (planes, Y, X).
    noise
        Standard deviation of the ordinary noise between the outliers, in ADU; 0 without outliers.
    pulse_share, pulses_certain
        Share of the pixels with a pulse of light, which are no outliers; and whether it is certain
        that they are light.
    """

    share: float
    error: float
    missing: float
    brighter: float
    shift: float
    shift_error: float
    clustered: bool
    limit: float
    pixels: np.ndarray
    noise: float = 0.0
    pulse_share: float = 0.0
    pulses_certain: bool = True

    @property
    def around(self) -> np.ndarray:
        """The mask `pixels`; if clustered, extended to nearby pixels that may be outliers too."""
        return (
            ndimage.maximum_filter(self.pixels, (1, _RIM, _RIM)) if self.clustered else self.pixels
        )


def find_outliers(sample: Sample) -> Outliers:
    """Distinguish outliers from noise and pulses of light, and measure their effect on the mean."""
    missing, absent = _missing(sample)
    mixture = _mixture(sample.without(absent))
    limit = _OUTLYING * math.sqrt(2) * mixture.noise if mixture.share else math.inf
    beyond = np.abs(sample.difference) > limit * _relative_noise(sample, mixture)
    far = sample.valid & (absent | beyond)
    if mixture.share:
        pulses = measure_pulses(sample, sample.valid & ~absent, limit, _level(sample, far))
        if pulses.are_light or (pulses.may_be_light and not _clustered(far, sample)):
            found = _with_outliers(sample, replace(mixture, share=0.0), missing, absent)
            return replace(found, pulse_share=mixture.share, pulses_certain=pulses.are_light)
    return _with_outliers(sample, mixture, missing, far, limit)


def _relative_noise(sample: Sample, mixture: Mixture) -> np.ndarray:
    """Return the noise expected at each pixel over that of usual ones, at least 1.

    A few pixels may be much brighter than their surroundings and have more photon noise. An outlier
    is bright in one acquisition only, so the darker value is used.
    """
    level = np.maximum(sample.surroundings, np.minimum(sample.a, sample.b))
    at, slope = mixture.growth
    variance = mixture.noise**2 + slope * (level - at)
    return np.sqrt(np.maximum(1.0, variance / max(mixture.noise, _TINY) ** 2))


def _with_outliers(
    sample: Sample, mixture: Mixture, missing: float, far: np.ndarray, limit: float = math.inf
) -> Outliers:
    if mixture.share == 0 and missing == 0:
        return Outliers(0.0, mixture.error, 0.0, 0.5, 0.0, 0.0, False, math.inf, far)
    centre = _level(sample, far)
    reach = limit if mixture.share else 0.0
    ends = _range(sample)
    brighter = _brighter(sample, far, centre, reach, ends)
    of_any_value = mixture.share * (1 - abs(2 * brighter - 1))
    return Outliers(
        missing + (1 - missing) * mixture.share,
        mixture.error,
        missing,
        brighter,
        *_shift(sample, far, centre, reach, ends, of_any_value),
        _clustered(far, sample),
        limit,
        far,
        mixture.noise,
    )


def _missing(sample: Sample) -> tuple[float, np.ndarray]:
    """Return the share of missing pixels in each acquisition, and where one is missing in either.

    Missing pixels have the smallest value, their neighbours are much brighter, and almost no pixel
    has a value in between: this gap does not occur with few photons or clipped noise. If pixels
    have this value in both acquisitions far more often than by chance (borders, masks), they do not
    count as missing.
    """
    nothing = np.zeros(sample.a.shape, bool)
    cut = sample.cut & sample.valid
    if cut.mean() < _FAR_SHARE:
        return 0.0, nothing
    level = _level(sample, cut) - sample.lower_limit
    step = step_of(sample.a[~sample.cut]) or sample.quantum
    above = sample.valid & (level > _FEWEST_STEPS * step)
    lower = np.minimum(sample.a, sample.b) - sample.lower_limit
    absent = above & cut
    between = above & ~cut & (lower < level / 2)
    if absent.sum() < _FEWEST_SIDED or between.sum() > _BETWEEN * absent.sum():
        return 0.0, nothing
    share = 1 - math.sqrt(1 - float(absent.sum() / above.sum()))
    in_both = float((absent & sample.cut_twice).sum() / above.sum())
    return (share, absent) if in_both < 2 * share**2 + _FAR_SHARE else (0.0, nothing)


def _mixture(sample: Sample) -> Mixture:
    """Fit the mixture at several brightness levels and combine the fits.

    Photon noise in the dark has a heavy tail that looks like sparse outliers; real outliers occur
    at most levels. Patches of outliers change the brightness around them, in the darker or in the
    brighter acquisition, so the levels are taken from the darker and from the brighter one, and the
    fit with more outliers is used.
    """
    found = [
        _mixture_by(sample, neighbourhood(end(sample.a, sample.b)))
        for end in (np.minimum, np.maximum)
    ]
    return max(found, key=lambda mixture: mixture.share)


def _mixture_by(sample: Sample, brightness: np.ndarray) -> Mixture:
    a, b, m = (values[sample.valid] for values in (sample.a, sample.b, brightness))
    low, high = (float(end) for end in _range(sample))
    # With few photons there are few steps, too few for a difference to be an outlier.
    if high - low < _FEWEST_STEPS * sample.quantum:
        return Mixture(0.0, 0.0, 0.0)
    fits, weights, levels = [], [], []
    for first, last in pairwise(np.quantile(m, _BRIGHTNESSES)):
        here = (m >= first) & (m <= last)
        if here.sum() >= _FEWEST:
            fits.append(fit_mixture(a[here], b[here], (low, high), sample.quantum))
            weights.append(float(here.mean()))
            levels.append(float(m[here].mean()))
    if not fits:
        return Mixture(0.0, 0.0, 0.0)
    share = float(np.average([fit.share for fit in fits], weights=weights))
    noise = float(np.median([fit.noise for fit in fits]))
    growth = _growth(np.array(levels), np.array([fit.noise**2 for fit in fits]))
    far = float(np.median([fit.far for fit in fits[len(fits) // 2 :]]))
    error = float(np.std([fit.share for fit in fits])) / float(np.sqrt(len(fits)))
    if far < _FAR_SHARE:
        return Mixture(0.0, noise, far)
    if share > _MOSTLY_HIT:
        return replace(fit_mixture(a, b, (low, high), sample.quantum), error=error)
    return Mixture(share, noise, far, error, growth)


def _growth(levels: np.ndarray, variances: np.ndarray) -> tuple[float, float]:
    """Return the level with the median variance, and the growth of the variance per ADU there."""
    slope = 0.0
    if len(levels) > 1 and np.ptp(levels) > 0:
        slope = max(0.0, float(np.polyfit(levels, variances, 1)[0]))
    return float(np.median(levels)), slope


def _range(sample: Sample) -> np.ndarray:
    """Return the smallest and the largest value, without a few extreme pixels."""
    return np.quantile(np.concatenate([sample.a[sample.valid], sample.b[sample.valid]]), _ENDS)


def _brighter(
    sample: Sample, far: np.ndarray, level: np.ndarray, limit: float, ends: np.ndarray
) -> float:
    """Return the share of bright outliers, corrected for the range of values above and below.

    The acquisition farther from the level decides the side. Each outlier is weighted by the inverse
    of the range on its side, from the edge of the noise to the last of all values. Only pixels with
    a range on both sides count; 0.5 is returned if there are too few.
    """
    low, high = ends
    far = far & (level - low > 2 * limit) & (high - level > 2 * limit)
    if far.sum() < _FEWEST_SIDED:
        return 0.5
    here, top, bottom = (
        values[far].astype(np.float64)
        for values in (level, np.maximum(sample.a, sample.b), np.minimum(sample.a, sample.b))
    )
    bright = top - here > here - bottom
    above = np.sum(bright / (high - here - limit))
    below = np.sum(~bright / (here - low - limit))
    return float(above / (above + below))


def _shift(
    sample: Sample,
    far: np.ndarray,
    centre: np.ndarray,
    reach: float,
    ends: np.ndarray,
    share: float,
) -> tuple[float, float]:
    """Return the shift of the mean by the outliers, and its standard error, in ADU.

    It is the root mean square over eight signal levels.

    Parameters
    ----------
    sample, far, centre
        The pixels, those that differ much between the acquisitions, and the level around each.
    reach
        Deviation in ADU up to which outliers are not among the `far` pixels.
    ends
        Values between which outliers may lie, in ADU.
    share
        Share of outliers of any value, of which a known part is within the reach.
    """
    edges = np.quantile(centre, np.linspace(0, 1, _LEVELS + 1))
    levels = [(centre >= low) & (centre <= high) for low, high in pairwise(edges)]

    def pull(counts: np.ndarray) -> float:
        shifts = []
        for level in levels:
            here = counts & level
            clean = here & ~far
            if clean.any():
                ordinary = _without_near(float(sample.a[clean].mean()), ends, reach, share)
                shifts.append(float(sample.a[here].mean()) - ordinary)
        return float(np.sqrt(np.mean(np.square(shifts)))) if shifts else 0.0

    parts = [pull(sample.valid & (sample.group != group)) for group in range(GROUPS)]
    return pull(sample.valid), jackknife(parts)


def _without_near(mean: float, ends: np.ndarray, reach: float, share: float) -> float:
    """Return the mean of ordinary pixels, from a mean that includes outliers near it.

    Outliers may have any value between the ends; those within the reach are in the given mean.
    """
    found = mean
    for _ in range(_CORRECTIONS):
        low, high = np.clip((found - reach, found + reach), *ends)
        near = share * (high - low) / max(ends[1] - ends[0], _TINY)
        found = mean - near / (1 - share) * ((low + high) / 2 - found)
    return float(found)


def _level(sample: Sample, far: np.ndarray) -> np.ndarray:
    """Return the mean of the ordinary pixels around each pixel."""
    mean = (sample.a + sample.b) / 2
    level = neighbourhood(np.where(far, 0.0, mean).astype(np.float32))
    weight = neighbourhood((~far).astype(np.float32))
    return np.where(
        weight > _LEAST_WEIGHT, level / np.maximum(weight, _LEAST_WEIGHT), sample.surroundings
    )


def _clustered(far: np.ndarray, sample: Sample) -> bool:
    """Return whether outliers have outliers as neighbours more often than by chance.

    Neighbouring outliers of one patch are in the same acquisition. Outliers that are merely more
    frequent in some places are in A as often as in B.
    """
    share, of_a = float(far.mean()), sample.difference > 0
    beside = far[..., 1:] & far[..., :-1]
    alike = of_a[..., 1:] == of_a[..., :-1]
    excess = float((beside & alike).mean()) - float((beside & ~alike).mean())
    by_chance = _BY_CHANCE * math.sqrt(beside.mean() / beside.size)
    return excess > max(_CLUSTERED * (share - share**2), by_chance)
