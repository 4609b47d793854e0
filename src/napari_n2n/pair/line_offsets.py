"""Measure the offsets of whole columns, or rows, that two acquisitions have in common.

Every column of a camera may have its own amplifier. Its offset is the same in both acquisitions, so
the difference of the two does not show it. It changes abruptly from column to column, which an
optical system does not allow for light. And it is constant along the column, whereas a scene
changes.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Fourth difference along a row, scaled to leave the variance of white noise unchanged. It keeps
# only 0.3 % of the power of a point of light with a standard deviation of one pixel.
_FINEST = np.array([1, -4, 6, -4, 1]) / math.sqrt(70)
# Second difference, scaled in the same way; and smallest ratio of the mean squares of both. The
# ratio is 1 for offsets, which differ from column to column, and a few percent for lines that an
# optical system shows.
_FINE, _WHITE = np.array([-1, 2, -1]) / math.sqrt(6), 0.4
# Number of parts of a column that are compared, and of groups of columns over which the median is
# taken, so that a few straight lines of the scene do not count.
_PARTS, _GROUPS = 8, 16
# Ratio of the standard error of a median to that of a mean, for Gaussian values.
_OF_MEDIAN = 1.25
# Largest deviation from the median of a part, in standard deviations; values beyond are clipped.
_CLIP = 2.5
# Fewest rows and columns.
_FEWEST = 64
# Number of standard errors by which the mean square must exceed zero.
_SURE = 4.0
# Standard deviation in pixels of the Gaussian that averages the variance around a pixel.
_AROUND = 2.0
# Width of the average over the power of a profile, as a part of all frequencies.
_SMOOTHED = 1 / 16
# Rounds of the filter.
_ROUNDS = 3
# Smallest variance and power, as a part of their mean.
_TINY = 1e-9
# Largest offset, as a multiple of the root mean square.
_LARGEST = 5.0


@dataclass(frozen=True, eq=False)
class LineOffsets:
    """Offsets of the columns of a plane.

    Attributes
    ----------
    rms, error
        Root mean square of the offsets and its standard error, in ADU; 0 if noise and scene explain
        the offsets.
    values
        Offset of each column in ADU, zero on average; only the part that can be distinguished from
        the scene.
    """

    rms: float
    error: float
    values: np.ndarray


def column_offsets(a: np.ndarray, b: np.ndarray) -> LineOffsets | None:
    """Measure the offsets of the columns; of the transposed planes, those of the rows.

    The finest detail of a column is averaged over each of its parts. The product of a part of A and
    another part of B contains neither noise nor, on average, the scene, but the offset twice.

    Parameters
    ----------
    a, b
        One plane of each, or the means of the same planes, without hot pixels; on one intensity
        scale; shape (Y, X).

    Returns
    -------
    LineOffsets or None
        None if the planes are too small, or if lines of the scene hide the offsets.
    """
    rows, columns = a.shape
    if min(rows, columns) < _FEWEST:
        return None
    square, error = _mean_square(a, b, _FINEST)
    if square <= _SURE * error:
        return LineOffsets(0.0, math.sqrt(max(error, 0.0)), np.zeros(columns, np.float32))
    if square < _WHITE * _mean_square(a, b, _FINE)[0]:
        return None
    rms = math.sqrt(square)
    return LineOffsets(rms, error / (2 * rms), _values((a + b) / 2.0, square))


def _mean_square(a: np.ndarray, b: np.ndarray, difference: np.ndarray) -> tuple[float, float]:
    """Return the mean square of the detail that columns of A and B share, and its error."""
    fine = [ndimage.correlate1d(one.astype(np.float64), difference, axis=1) for one in (a, b)]
    weight = _weight((fine[0] + fine[1]) / 2)
    fine_a, fine_b = (_profiles(one, weight) for one in fine)
    together = fine_a.sum(axis=0) * fine_b.sum(axis=0) - (fine_a * fine_b).sum(axis=0)
    products = together / (_PARTS * (_PARTS - 1))
    groups = np.array([part.mean() for part in np.array_split(products, _GROUPS)])
    square = float(np.median(groups))
    scatter = float(np.median(np.abs(groups - square))) * MAD_TO_SIGMA
    # The median of a mean of squares is below its expectation (Wilson & Hilferty 1931).
    freedom = a.shape[1] / _GROUPS / _alike(difference)
    bias = (1 - 2 / (9 * freedom)) ** 3
    return square / bias, _OF_MEDIAN * scatter / bias / math.sqrt(_GROUPS)


def _alike(difference: np.ndarray) -> float:
    """Return the number of neighbouring squared differences per independent value."""
    correlation = np.correlate(difference, difference, "full") / np.sum(difference**2)
    return float(np.sum(correlation**2))


def _profiles(detail: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weighted mean of each part of every column, with a few large values clipped."""
    means = []
    for part, own in zip(
        np.array_split(detail, _PARTS), np.array_split(weight, _PARTS), strict=True
    ):
        middle = np.median(part, axis=0)
        reach = _CLIP * MAD_TO_SIGMA * np.median(np.abs(part - middle), axis=0)
        clipped = np.clip(part, middle - reach, middle + reach)
        means.append((own * clipped).sum(axis=0) / own.sum(axis=0))
    # Outliers on one side shift all clipped means alike.
    return np.array(means) - np.median(means, axis=1, keepdims=True)


def _weight(detail: np.ndarray) -> np.ndarray:
    """Return the inverse variance around each pixel as its weight: dark pixels have less noise."""
    variance = ndimage.gaussian_filter(detail**2, _AROUND)
    return np.asarray(1 / (variance + _TINY * variance.mean() + np.finfo(np.float32).tiny))


def _values(mean: np.ndarray, square: float) -> np.ndarray:
    """Return the offset of each column, from its differences to the next, by a Wiener filter.

    The offsets have the same power at every frequency, which gives the power of their differences.
    Any further power is scene or noise.
    """
    values = np.zeros(mean.shape[1])
    steps = np.diff(mean, axis=1)
    for _ in range(_ROUNDS):  # the weights depend on the offsets themselves
        weight = _weight(steps - np.diff(values))
        values = _filtered((weight * steps).sum(axis=0) / weight.sum(axis=0), square)
    return np.asarray(values - values.mean(), np.float32)


def _filtered(profile: np.ndarray, square: float) -> np.ndarray:
    """Return the sum of the steps of a profile after a Wiener filter."""
    limit = _LARGEST * math.sqrt(2 * square)
    # Continued by its mirror image, whose steps are opposite, so that both ends fit together.
    whole = np.concatenate([[0.0], profile, [0.0], -profile[::-1]]).clip(-limit, limit)
    spectrum, count = np.fft.rfft(whole), len(whole)
    transfer = 1 - np.exp(-2j * np.pi * np.fft.rfftfreq(count))
    power = np.abs(spectrum) ** 2 / count
    width = max(3, round(_SMOOTHED * len(power)))
    power = ndimage.uniform_filter1d(power, width, mode="nearest")
    expected = np.maximum(np.abs(transfer) ** 2, _TINY) * square
    # The scene has less power at higher frequencies.
    excess = np.maximum(np.minimum.accumulate(power / expected), 1.0)
    filtered = np.conj(transfer) * square / (expected * excess)
    return np.fft.irfft(spectrum * filtered, count)[: len(profile) + 1]
