"""Distinguish pulses of light from outliers.

An electron-multiplying camera or a photomultiplier gives a large pulse for a photon and nothing
otherwise. At few photons per pixel such pulses look like sparse bright outliers, but they are the
signal. Pulses occur more often where the image is brighter, and their sum grows with its mean;
outliers occur everywhere alike. The brightness is taken from the other acquisition, in which
neither a pulse nor an outlier of the first is present.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from napari_n2n.noise.sample import Sample
from napari_n2n.stats.statistics import GROUPS, jackknife, neighbourhood

# Quantiles between the levels of brightness: finer at the bright end, where the light is.
_LEVELS = (0.1, 0.25, 0.5, 0.65, 0.8, 0.9, 0.96)
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
        replace the signal.
    are_light
        Whether they grow with the brightness as only light does.
    may_be_light
        Whether the scene has too little contrast to exclude light.
    """

    growth: float
    error: float
    are_light: bool
    may_be_light: bool


def measure_pulses(sample: Sample, far: np.ndarray, centre: np.ndarray) -> Pulses:
    """Measure how the sum of pulses grows with the brightness.

    Parameters
    ----------
    sample
        The pixels.
    far
        True where A and B differ by more than noise; of the sample's shape.
    centre
        Mean of the ordinary pixels around each pixel, in ADU: the acquisition that is farther from
        it has the pulse.
    """
    of_a = np.abs(sample.a - centre) > np.abs(sample.b - centre)
    levels = len(_LEVELS) + 1
    sums = np.zeros((4, GROUPS, levels))
    bright = dark = 0.0
    for own, other, mine in ((sample.a, sample.b, of_a), (sample.b, sample.a, ~of_a)):
        around = neighbourhood(other)[sample.valid]
        pulse = np.where(far & mine, own - other, 0.0)[sample.valid].astype(np.float64)
        cell = sample.group[sample.valid] * levels
        cell += np.digitize(around, np.quantile(around, _LEVELS))
        sums += [
            np.bincount(cell, values, minlength=GROUPS * levels).reshape(GROUPS, levels)
            for values in (None, around, own[sample.valid], pulse)
        ]
        bright += float(pulse[pulse > 0].sum())
        dark -= float(pulse[pulse < 0].sum())
    fit = _fitted(sums.sum(axis=1))
    parts = [_fitted(np.delete(sums, k, axis=1).sum(axis=1)) for k in range(GROUPS)]
    error = jackknife([part.growth for part in parts])
    grows = fit.slope > _SURE * jackknife([part.slope for part in parts])
    possible = dark < _DARK * bright and fit.growth + 3 * error > _POSSIBLE
    return Pulses(fit.growth, error, are_light=grows and fit.growth > _LIGHT, may_be_light=possible)


class _Fit(NamedTuple):
    """Slope of the mean pulse against the brightness around it, and this over that of a pixel."""

    slope: float
    growth: float


def _fitted(sums: np.ndarray) -> _Fit:
    """Fit the slopes; `sums` has pixels, surroundings, values and pulses of each level."""
    count, *rest = sums[:, sums[0] > 0]
    around, value, pulse = np.array(rest) / count
    away = count * (around - np.average(around, weights=count))
    spread = float(np.sum(away * around))
    if not spread > 0:
        return _Fit(0.0, 0.0)
    slope, brightness = (float(np.sum(away * values)) / spread for values in (pulse, value))
    return _Fit(slope, slope / brightness if brightness > 0 else 0.0)
