"""The noise of a pair as a probability distribution of a pixel's value around the clean signal.

The value of a pixel is its signal plus noise whose variance depends on the signal. With a small
probability the pixel is an outlier with any value. The detector reports its limits in place of
values beyond them. Everything is in ADU of the first acquisition.
"""

import math
from dataclasses import dataclass

import numpy as np

from napari_n2n.noise.analysis import Analysis
from napari_n2n.noise.correlation import Correlation
from napari_n2n.noise.sample import Sample
from napari_n2n.stats.statistics import variance_at

# Number of levels of the stored curve: a straight line needs two, a bent curve more.
_LEVELS = 16
# Smallest standard deviation, as a part of the range of the values: rounding alone gives 0.3 ADU,
# in 16 bits. With a smaller deviation, weights would differ by more than float32 can represent.
_LEAST = 5e-6
# Ratio of the largest to the smallest variance above which the noise spans a wide range. Real
# scenes of 8 bits reach 560; on a texture with single pixels 4000 times as bright as the dim parts
# (1700), the error of the dim parts was twice as large with L2.
_WIDE = 800.0
# Standard deviations of a difference that ordinary noise, also that of photon pulses, does not
# reach.
_FAR = 8.0
# Share of dead or hot pixels below which they are not mentioned.
_FEWEST_STUCK = 5e-4
# Smallest range of values, in ADU.
_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """The distribution of a pixel's value, given the clean signal; intensities in ADU of A.

    Attributes
    ----------
    levels, variances
        Variance of the ordinary noise of one acquisition at ascending signal levels; linear in
        between, and continued with the slope of the last two levels above and as a constant below.
    outlier_share, outlier_range
        Share of outliers, 0 to 1, and the range of their values, in which all are equally frequent.
    lower_limit
        The detector's lower limit, at which it reports all smaller values; None without a limit.
    stuck
        Shares of the pixels at the lower and at the upper limit although the other acquisition has
        a normal value there: outliers, such as dead and hot pixels.
    correlation
        Correlation of the noise along y and x at lags 0, 1, ... pixels; empty for white noise, and
        if it could not be determined.
    variance_errors
        Standard errors of the variances if they are not on a line but on a monotone curve; else
        empty.
    step
        Step between the values of the pixels; 0 for continuous values.
    """

    levels: tuple[float, ...]
    variances: tuple[float, ...]
    outlier_share: float
    outlier_range: tuple[float, float]
    lower_limit: float | None
    stuck: tuple[float, float] = (0.0, 0.0)
    correlation: tuple[tuple[float, ...], ...] = ()
    variance_errors: tuple[float, ...] = ()
    step: float = 0.0

    @property
    def spans_wide_range(self) -> bool:
        """Whether the noise is so different at different levels that a loss must consider it."""
        return max(self.variances) > _WIDE * min(self.variances)

    def variance_at(self, level: np.ndarray) -> np.ndarray:
        """Return the variance of the ordinary noise at signal levels, in ADU^2."""
        return variance_at(level, self.levels, self.variances)

    def in_words(self) -> str:
        """Return the model in one line."""
        dark, bright = (f"{math.sqrt(self.variances[end]):.3g} ADU" for end in (0, -1))
        levels = f"at {self.levels[0]:.4g} ADU", f"at {self.levels[-1]:.4g} ADU"
        parts = [f"{dark} {levels[0]}" + (f", {bright} {levels[1]}" if dark != bright else "")]
        if self.variance_errors:
            parts.append("not in proportion to the signal: a monotone curve")
        if self.outlier_share > 0:
            low, high = self.outlier_range
            parts.append(f"outliers of {low:.4g} to {high:.4g} ADU on {self.outlier_share:.2%}")
        if self.lower_limit is not None:
            parts.append(f"cut off at {self.lower_limit:.4g} ADU")
        if max(self.stuck) > _FEWEST_STUCK:
            parts.append("dead and hot pixels on {:.2%} and {:.2%}".format(*self.stuck))
        return "; ".join(parts)

    @classmethod
    def of(cls, analysis: Analysis) -> "NoiseModel":
        """Summarise the analyses of a pair."""
        curve, outliers, sample = analysis.curve, analysis.outliers, analysis.sample
        clipping = analysis.clipping
        both = np.stack([sample.a, sample.b])
        ends = float(both.min()), float(both.max())
        least = _LEAST * max(ends[1] - ends[0], _TINY)
        dark, bright = float(curve.mean.min()), float(sample.surroundings[sample.valid].max())
        if clipping.is_known:
            dark = min(dark, sample.lower_limit + clipping.darkest)
        levels = np.linspace(dark, max(bright, dark + least), _LEVELS)
        # Single pixels may be much brighter than their surroundings.
        lower = np.minimum(sample.a, sample.b)[sample.valid & ~outliers.pixels]
        if lower.size and lower.max() > levels[-1]:
            levels = np.append(levels, float(lower.max()))
        variances = curve.variance_at(levels)
        errors: tuple[float, ...] = ()
        if analysis.signal_dependent is None and outliers.noise > 0:  # outliers raise the curve
            variances = np.full_like(levels, outliers.noise**2)
        elif clipping.is_known:
            variances = clipping.variance_at(levels - sample.lower_limit)
        elif (bent := curve.bent) is not None:
            errors = tuple(map(float, np.interp(levels, bent.levels, bent.errors)))
        variances = np.maximum(variances, least**2)
        return cls(
            tuple(map(float, levels)),
            tuple(map(float, variances)),
            outliers.share,
            ends,
            sample.lower_limit if clipping.is_known else None,
            (
                _contradicted(sample, sample.cut, levels, variances),
                _contradicted(sample, sample.saturated, levels, variances),
            ),
            _correlated(analysis.correlation),
            errors,
            sample.quantum,
        )


def _correlated(correlation: Correlation) -> tuple[tuple[float, ...], ...]:
    """Return the correlation along y and x, empty if it is too small; unknown lags count as 0."""
    if not correlation.matters:
        return ()
    known = (np.nan_to_num(along) for along in (correlation.y, correlation.x))
    return tuple(tuple(map(float, along)) for along in known)


def _contradicted(
    sample: Sample, at_limit: np.ndarray, levels: np.ndarray, variances: np.ndarray
) -> float:
    """Return the share of pixels at a limit in one acquisition but far from it in the other."""
    variance = sum(np.interp(one[at_limit], levels, variances) for one in (sample.a, sample.b))
    far = sample.difference[at_limit] ** 2 > _FAR**2 * variance
    return float(far.sum() / (2 * sample.a.size))
