"""Distinguish pulses of light from outliers.

An electron-multiplying camera or a photomultiplier gives a large pulse for a photon and nothing
otherwise. At few photons per pixel such pulses look like sparse bright outliers, but they are the
signal. Pulses occur more often where the image is brighter, and their sum grows with its mean;
outliers are equally frequent everywhere. The brightness is taken from the other acquisition, in
which neither a pulse nor an outlier of the first is present.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from napari_n2n.noise.sample import Sample
from napari_n2n.stats.statistics import GROUPS, jackknife, neighbourhood

# Quantiles between the levels of brightness: finer at the bright end, where the light is. Single
# pulses may occur in dim areas only, so the darker levels are also tried alone.
_LEVELS = (0.1, 0.25, 0.5, 0.65, 0.8, 0.9, 0.96)
_DARKER = 5
# Limit for a pulse, as a part of that for an outlier: 2.4 standard deviations. It is lower, because
# ordinary noise in both directions cancels. And largest height that counts, as a multiple of the
# limit: outliers 100 times as bright as the scene would hide whether pulses grow with the scene.
_LOW, _HIGHEST = 0.6, 3.0
# Quantiles of the brightness beyond which, by that height, surroundings are clipped for the same
# reason. The limit is one value everywhere: a local limit would grow with the outliers around.
_ENDS = 0.01, 0.99
# Standard errors by which the growth of pulses with the brightness must exceed zero.
_SURE = 4.0
# Part of the growing brightness that is in the pulses above which they are light. It is below 0.02
# for simulated outliers and real hot pixels, and above 0.09 for simulated pulses of up to 1.5
# photons per pixel (detectors of benchmarks/noise.py).
_LIGHT = 0.05
# Part of the growing brightness below which pulses are not light if three standard errors exclude
# more: the scene then has enough contrast to tell.
_POSSIBLE = 0.5
# Share of the sum of pulses that may be dark: light is never darker than no light.
_DARK = 0.15


@dataclass(frozen=True, slots=True)
class Pulses:
    """Whether pixels that differ much between the acquisitions are light.

    Attributes
    ----------
    growth, error
        Part of the brightness that the pulses contribute where the image gets brighter, and its
        standard error: up to 1 for light, 0 for outliers that are added, less for outliers that
        replace the signal. The error is infinite if the image nowhere gets brighter.
    are_light
        Whether the pulses grow with the brightness as only light does.
    may_be_light
        Whether the scene has too little contrast to exclude light.
    """

    growth: float
    error: float
    are_light: bool
    may_be_light: bool


def measure_pulses(sample: Sample, usable: np.ndarray, limit: float, centre: np.ndarray) -> Pulses:
    """Measure how the sum of pulses grows with the brightness.

    Parameters
    ----------
    sample
        The pixels.
    usable
        False for pixels that cannot have a pulse; of the sample's shape.
    limit
        Difference of A and B in ADU beyond which a pixel may be an outlier.
    centre
        Mean of the ordinary pixels around each pixel, in ADU: the acquisition that is farther from
        it has the pulse.
    """
    of_a = np.abs(sample.a - centre) > np.abs(sample.b - centre)
    large = usable & (np.abs(sample.difference) > _LOW * limit)
    levels, highest = len(_LEVELS) + 1, _HIGHEST * limit
    sums = np.zeros((4, GROUPS, levels))
    bright = dark = 0.0
    low, high = np.quantile(centre[sample.valid], _ENDS) + np.array((-highest, highest))
    for own, other, mine in ((sample.a, sample.b, of_a), (sample.b, sample.a, ~of_a)):
        around = neighbourhood(np.clip(other, low, high))[sample.valid]
        whole = np.where(large & mine, own - other, 0.0)[sample.valid].astype(np.float64)
        pulse = np.clip(whole, -highest, highest)
        value = own[sample.valid] - whole + pulse
        cell = sample.group[sample.valid] * levels
        cell += np.digitize(around, np.quantile(around, _LEVELS))
        sums += [
            np.bincount(cell, values, minlength=GROUPS * levels).reshape(GROUPS, levels)
            for values in (None, around, value, pulse)
        ]
        bright += float(pulse[pulse > limit].sum())
        dark -= float(pulse[pulse < -limit].sum())
    fits = [_of_levels(sums[..., :last]) for last in (levels, _DARKER)]
    growth, error, _ = fits[0]
    possible = dark < _DARK * bright and growth + 3 * error > _POSSIBLE
    return Pulses(
        growth, error, any(sure and part > _LIGHT for part, _, sure in fits), may_be_light=possible
    )


def _of_levels(sums: np.ndarray) -> tuple[float, float, bool]:
    """Return the growth, its standard error, and whether pulses certainly grow with brightness.

    Parameters
    ----------
    sums
        Number of pixels, and sums of surroundings, values and pulses; shape (4, groups, levels).
    """
    fit = _fitted(sums.sum(axis=1))
    parts = [_fitted(np.delete(sums, k, axis=1).sum(axis=1)) for k in range(GROUPS)]
    grows = fit.slope > _SURE * jackknife([part.slope for part in parts])
    if not all(math.isfinite(one.growth) for one in (fit, *parts)):
        return 0.0, math.inf, False
    return fit.growth, jackknife([part.growth for part in parts]), grows


class _Fit(NamedTuple):
    """Slope of the mean pulse against the brightness around it, and its ratio to that of a pixel.

    The ratio is NaN if pixels are not brighter where their surroundings are.
    """

    slope: float
    growth: float


def _fitted(sums: np.ndarray) -> _Fit:
    """Fit the slopes; `sums` has pixels, surroundings, values and pulses of each level."""
    count, *rest = sums[:, sums[0] > 0]
    around, value, pulse = np.array(rest) / count
    away = count * (around - np.average(around, weights=count))
    spread = float(np.sum(away * around))
    if not spread > 0:
        return _Fit(0.0, math.nan)
    slope, brightness = (float(np.sum(away * values)) / spread for values in (pulse, value))
    return _Fit(slope, slope / brightness if brightness > 0 else math.nan)
