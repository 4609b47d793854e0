"""Measure the correlation of the noise between neighbouring pixels, and between A and B."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, special

from napari_n2n.stats.statistics import over_blocks

# Largest lag in pixels: beyond the reach of camera interpolation and smoothing.
LAGS = 8
# Correlation at lag 1 above which training takes noticeably longer.
CORRELATED = 0.2
# Side in pixels of the moving average that is removed as drift: several times the largest lag.
_DRIFT = 31
# Differences smaller than this, in steps of the pixel values, count as zero.
_STEPS = 1 / 4
# Number of correlations at which the mean product of signs is tabulated: the interpolation error is
# below 1e-6.
_CORRELATIONS = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 2001))[1:-1]
# Number of correlations tried in each round of the search: two rounds cover the table.
_TRIED = 50
# Fewest pairs of pixels for a lag: its standard error is then 1 / sqrt(500) = 4 %.
_FEWEST_PAIRS = 500
# Correlation below which a lag counts as uncorrelated: about the standard error above.
_NOTABLE = 0.05
# Side of a block in Haar coefficients, of 2x2 pixels each. Smaller blocks find smaller smooth
# areas; larger ones measure the ratio better.
_BLOCK = 16
# Quantiles of the ratio over all blocks: the median, and the quantile of the smoothest 2 %.
_QUANTILES = 0.5, 0.98
# Ratio of these two quantiles above which the detail comes from the scene, not from noise.
_UNLIKE = 1.6
# Ratio of these two quantiles by chance, from the scatter of 256 coefficients in equal blocks.
_BY_CHANCE = 1.12
# Draws of all blocks for a standard error: 64 determine it to 9 % (1 / sqrt(2 * 63)).
_BOOTSTRAPS = 64


@dataclass(frozen=True, eq=False)
class Correlation:
    """Autocorrelation of the noise.

    Attributes
    ----------
    y, x
        Correlation along y and x at lags 0 to 8 pixels; NaN if there are too few pixels.
    length
        For y and x, standard deviation in pixels of the Gaussian blur that would correlate white
        noise as much; 0 if neighbours are independent.
    """

    y: np.ndarray
    x: np.ndarray
    length: tuple[float, float]

    @property
    def of_neighbours(self) -> tuple[float, float] | None:
        """Correlation at lag 1 along y and x; None if it could not be determined."""
        y, x = float(self.y[1]), float(self.x[1])
        return (y, x) if math.isfinite(y + x) else None

    @property
    def matters(self) -> bool:
        """Whether training takes noticeably longer because neighbours share noise."""
        return max(self.of_neighbours or (0.0, 0.0)) > CORRELATED

    @property
    def area(self) -> float:
        """Number of pixels per independent value: the correlation summed over both axes."""
        return float(np.prod([1 + 2 * np.fmax(along[1:], 0.0).sum() for along in (self.y, self.x)]))


def autocorrelation(
    difference: np.ndarray, usable: np.ndarray, quantum: float = 0.0
) -> Correlation:
    """Measure the autocorrelation of the difference of two acquisitions along y and x.

    Only signs are used (quadrant correlation): for Gaussian noise of correlation r, the product of
    two signs is ``2 / pi * arcsin(r)`` on average (Sheppard 1899), and even very bright outliers,
    text and moving parts count no more than any other pixel. Slow drifts are removed first.
    Differences that were rounded to zero have no sign: see `_of_signs`.

    Parameters
    ----------
    difference
        Shape (planes, Y, X).
    usable
        Of the same shape, False where something other than noise was found: each lag is measured
        on the pairs of pixels that are both usable.
    quantum
        Step of the pixel values: the sign of differences below a quarter of it is 0.
    """
    around = (0, _DRIFT, _DRIFT)
    drifting = ndimage.uniform_filter(np.where(usable, difference, 0.0), around)
    drifting /= np.maximum(ndimage.uniform_filter(usable.astype(np.float32), around), 1e-6)
    differs = usable & (np.abs(difference) > quantum * _STEPS) & (difference != drifting)
    above = difference > drifting
    along_y, along_x = (
        np.array([1.0, *(_of_lag(above, differs, usable, axis, lag) for lag in range(1, LAGS + 1))])
        for axis in (-2, -1)
    )
    return Correlation(
        y=along_y,
        x=along_x,
        length=(blur_width(along_y), blur_width(along_x)),
    )


def _of_lag(
    above: np.ndarray, differs: np.ndarray, usable: np.ndarray, axis: int, lag: int
) -> float:
    """Return the noise correlation of pixels at distance `lag`; NaN if there are too few.

    Parameters
    ----------
    above
        Where the sign is positive.
    differs
        Where there is a sign; False where `usable` is.
    """
    above, differs, usable = (np.moveaxis(one, axis, 0) for one in (above, differs, usable))
    both = usable[lag:] & usable[:-lag]
    signed = differs[lag:] & differs[:-lag]
    products = np.count_nonzero(signed)
    if products < _FEWEST_PAIRS:
        return math.nan
    alike = np.count_nonzero(signed & (above[lag:] == above[:-lag]))
    pairs = np.count_nonzero(both)
    signs = sum(np.count_nonzero(both & one) for one in (differs[lag:], differs[:-lag]))
    return _of_signs((2 * alike - products) / pairs, signs / (2 * pairs))


def _of_signs(product: float, signed: float) -> float:
    """Return the correlation of Gaussian noise from the mean product of two signs.

    The share `signed` of the values has a sign; the others are between -t and t and count as 0.
    With Owen's function T, ``E[s s'] = 4 (T(t, q) - T(t, 1 / q))``, ``q^2 = (1 + r) / (1 - r)``
    (Owen 1956); for t = 0 this is ``2 / pi * arcsin(r)``.
    """
    threshold = -special.ndtri(signed / 2)
    first, last = 0, len(_CORRELATIONS) - 1
    while True:  # the mean product grows with the correlation: only its surroundings are computed
        step = max(1, (last - first) // _TRIED)
        tried = np.append(np.arange(first, last, step), last)
        ratio = np.sqrt((1 + _CORRELATIONS[tried]) / (1 - _CORRELATIONS[tried]))
        expected = 4 * (special.owens_t(threshold, ratio) - special.owens_t(threshold, 1 / ratio))
        after = int(np.clip(np.searchsorted(expected, product), 1, len(tried) - 1))
        first, last = int(tried[after - 1]), int(tried[after])
        if last - first == 1:
            ends = slice(after - 1, after + 1)
            return float(np.interp(product, expected[ends], _CORRELATIONS[tried[ends]]))


def blur_width(along: np.ndarray) -> float:
    """Return the width of the blur that correlates white noise by ``exp(-lag^2 / (4 w^2))``.

    Parameters
    ----------
    along
        Correlation at lags 0, 1, 2, ... pixels.
    """
    below = np.flatnonzero(~(along >= _NOTABLE))
    last = int(below[0]) if len(below) else len(along)
    if last < 2:
        return 0.0
    lags, logs = np.arange(1, last), -np.log(along[1:last])
    weight = along[1:last] ** 2
    slope = float((weight * lags**2 * logs).sum() / (weight * lags**4).sum())
    return float(1 / np.sqrt(4 * slope)) if slope > 0 else float(last)


def shared_noise(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return the share of the noise that is common to A and B, 0 to 1; None if not determined.

    Where a scene is smooth, the finest detail (diagonal Haar coefficients) of one acquisition is
    noise alone, and half the variance of the same detail of ``A - B`` is its independent part. The
    share is measured on the smoothest 2 % of all 32x32 blocks. Noise gives the same share
    everywhere: if these blocks differ much from the others, the detail comes from the scene, and
    the share cannot be determined.

    Parameters
    ----------
    a, b
        Shape (planes, Y, X), on one intensity scale.
    """
    ratio = _independent_parts(a, b)
    if ratio.size == 0:
        return None
    middle, smoothest = np.quantile(ratio, _QUANTILES)
    if smoothest > _UNLIKE * middle:
        return None
    return float(np.clip(1 - smoothest / _BY_CHANCE, 0.0, 1.0))


def shared_noise_error(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return the standard error of `shared_noise`, by drawing its blocks again (bootstrap)."""
    ratio = _independent_parts(a, b)
    if ratio.size == 0:
        return None
    drawn = np.random.default_rng(0).choice(ratio, (_BOOTSTRAPS, ratio.size))
    return float(np.quantile(drawn, _QUANTILES[1], axis=1).std(ddof=1)) / _BY_CHANCE


def _independent_parts(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the share of the finest detail that is independent in A and B, for each block."""
    own = (_detail_power(a) + _detail_power(b)) / 2
    independent = _detail_power(a - b) / 2
    return np.asarray(independent[own > 0] / own[own > 0])


def _detail_power(stack: np.ndarray) -> np.ndarray:
    """Return the mean square of the diagonal Haar coefficients in each 32x32 pixel block."""
    rows, columns = (length // 2 * 2 for length in stack.shape[1:])
    cut = stack[:, :rows, :columns]
    detail = (cut[:, ::2, ::2] - cut[:, 1::2, ::2] - cut[:, ::2, 1::2] + cut[:, 1::2, 1::2]) / 2
    return over_blocks(detail**2, _BLOCK).ravel()
