"""A monotone curve of the variance against the signal, where the photon-transfer line does not fit.

Noise that grows in proportion to the signal, such as a flickering lamp, bends the curve upwards:
``var = gain s + (p s)^2``; an amplifier near its limit bends it downwards.
"""

from dataclasses import dataclass

import numpy as np
from scipy import interpolate, optimize

from napari_n2n.stats.statistics import jackknife, variance_at

# Pieces of the spline, and its degree. More pieces follow the noise of the bins; a parabola has two
# continuous derivatives fewer than a cubic spline, and needs fewer bins.
_PIECES, _DEGREE = 4, 2
# Smallest number of bins: a line needs two, and a bend is seen only with several more.
_FEWEST = 8
# The line is rejected if the mean squared residual, in standard errors, exceeds its expectation by
# this many of its standard deviations; and if the residuals are this part of the variance (root
# mean square): smaller ones change no weight of a loss noticeably.
_SURE, _NOTABLE = 5.0, 0.05
# Expectation of a squared residual in standard errors that come from 16 groups: 15 / (15 - 2).
_EXPECTED = 15 / 13
# Levels at which the curve is given.
_LEVELS = 33


@dataclass(frozen=True, eq=False)
class MonotoneCurve:
    """The variance of the noise of one acquisition at ascending signal levels.

    Attributes
    ----------
    levels, variances
        In ADU and ADU^2.
    errors
        Standard errors of the variances.
    """

    levels: np.ndarray
    variances: np.ndarray
    errors: np.ndarray

    def variance_at(self, level: np.ndarray) -> np.ndarray:
        """Return the variance at signal levels; it continues with the slopes at both ends."""
        return variance_at(level, list(self.levels), list(self.variances))


def monotone_curve(
    mean: np.ndarray, variance: np.ndarray, without: np.ndarray, line: np.ndarray, count: np.ndarray
) -> MonotoneCurve | None:
    """Fit a monotone spline, unless a line fits.

    Parameters
    ----------
    mean, variance
        Signal level and variance of the noise of each bin, in ascending order.
    without
        The variances without each of the groups of pixels; shape (groups, bins).
    line
        The fitted line at the levels.
    count
        Number of pixels of each bin.

    Returns
    -------
    MonotoneCurve or None
        None if a line fits, or there are too few bins.
    """
    if len(mean) < _FEWEST or not (np.diff(mean) > 0).all():
        return None
    scatter = [jackknife(list(one)) for one in without.T]
    errors = np.maximum(scatter, variance * np.sqrt(2 / count))
    residual, freedom = variance - line, len(mean) - 2
    misfit = float(np.sum((residual / errors) ** 2)) / freedom / _EXPECTED
    part = float(np.sqrt(np.average((residual / variance) ** 2, weights=count)))
    if misfit < 1 + _SURE * np.sqrt(2 / freedom) or part < _NOTABLE:
        return None
    levels = np.linspace(mean[0], mean[-1], _LEVELS)
    values = _spline(mean, variance, errors, levels)
    parts = [_spline(mean, one, errors, levels) for one in without]
    return MonotoneCurve(
        levels, values, np.array([jackknife([part[k] for part in parts]) for k in range(_LEVELS)])
    )


def _spline(
    mean: np.ndarray, variance: np.ndarray, errors: np.ndarray, levels: np.ndarray
) -> np.ndarray:
    """Fit a non-decreasing spline by weighted least squares; return its values at levels.

    A spline does not decrease if the coefficients of its B-splines do not.
    """
    inner = mean[np.linspace(0, len(mean) - 1, _PIECES + 1).round().astype(int)]
    knots = np.concatenate([[mean[0]] * _DEGREE, inner, [mean[-1]] * _DEGREE])

    def rising(x: np.ndarray) -> np.ndarray:
        basis = interpolate.BSpline.design_matrix(x, knots, _DEGREE).toarray()
        return np.asarray(np.cumsum(basis[:, ::-1], axis=1)[:, ::-1])

    steps = optimize.nnls(rising(mean) / errors[:, None], variance / errors)[0]
    return np.asarray(rising(levels) @ steps)
