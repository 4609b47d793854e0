"""Whether the noise of neighbouring pixels is the same noise, and how far that reaches."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_n2n.stats.statistics import over_blocks

LAGS = 8
_CORRELATED = 0.2  # from here on it matters to what is made of the noise
_DRIFT = 31
_FEWEST_PAIRS = 500
_NOTABLE = 0.05
_UNLIKE = 1.6
# By so much is the best 2 % of blocks above the mean where all have the same ratio.
_BY_CHANCE = 1.12


@dataclass(frozen=True, eq=False)
class Correlation:
    """Autocorrelation of the noise.

    Attributes
    ----------
    y, x
        At lags 0 to 8 pixels; NaN where too few pixels tell.
    length
        (y, x): width (standard deviation, pixels) of the Gaussian blur that would correlate white
        noise as much; 0 where neighbours are independent.
    """

    y: np.ndarray
    x: np.ndarray
    length: tuple[float, float]

    @property
    def of_neighbours(self) -> tuple[float, float] | None:
        """At lag 1, (y, x); None where that cannot be told."""
        y, x = float(self.y[1]), float(self.x[1])
        return (y, x) if math.isfinite(y + x) else None

    @property
    def matters(self) -> bool:
        """Whether neighbours are known to share noise enough to mind."""
        return max(self.of_neighbours or (0.0, 0.0)) > _CORRELATED

    @property
    def area(self) -> float:
        """Pixels that share one independent value: the sum of the correlation over both axes."""
        return float(np.prod([1 + 2 * np.fmax(along[1:], 0.0).sum() for along in (self.y, self.x)]))


def autocorrelation(
    difference: np.ndarray, usable: np.ndarray, quantum: float = 0.0
) -> Correlation:
    """Correlate the difference of two acquisitions with itself, displaced.

    By signs alone (quadrant correlation): for Gaussian noise of correlation r, the product of two
    signs is ``2 / pi * arcsin(r)`` on average (Sheppard 1899), while outliers, letters and moving
    parts, however far off, count as much as any other pixel. Slow drifts are removed first.

    Parameters
    ----------
    difference
        Shape (planes, Y, X).
    usable
        Of the same shape, False where something other than noise is: each lag is taken from the
        pairs of pixels that both are usable.
    quantum
        Step of the pixel values: what is equal but for the gain has no sign.
    """
    around = (0, _DRIFT, _DRIFT)
    drifting = ndimage.uniform_filter(np.where(usable, difference, 0.0), around)
    drifting /= np.maximum(ndimage.uniform_filter(usable.astype(np.float32), around), 1e-6)
    differs = usable & (np.abs(difference) > quantum / 4)
    signs = np.where(differs, np.sign(difference - drifting), 0.0).astype(np.float32)
    along_y, along_x = (
        np.array([1.0, *(_of_lag(signs, usable, axis, lag) for lag in range(1, LAGS + 1))])
        for axis in (-2, -1)
    )
    return Correlation(
        y=along_y,
        x=along_x,
        length=(_blur_width(along_y), _blur_width(along_x)),
    )


def _of_lag(signs: np.ndarray, usable: np.ndarray, axis: int, lag: int) -> float:
    """Correlation of the noise of pixels that lie so far apart; NaN where there are too few."""
    end = signs.shape[axis]
    ahead, behind = (
        (signs.take(pixels, axis), usable.take(pixels, axis))
        for pixels in (range(lag, end), range(end - lag))
    )
    both = ahead[1] & behind[1]
    products = (ahead[0] * behind[0])[both]
    if np.count_nonzero(products) < _FEWEST_PAIRS:
        return math.nan
    signed = float(np.mean((np.abs(ahead[0][both]) + np.abs(behind[0][both])) / 2))
    return math.sin(math.pi / 2 * float(np.mean(products, dtype=np.float64)) / signed)


def _blur_width(along: np.ndarray) -> float:
    """Blurring white noise by a Gaussian of width w correlates it by ``exp(-lag^2 / (4 w^2))``."""
    below = np.flatnonzero(~(along >= _NOTABLE))
    last = int(below[0]) if len(below) else len(along)
    if last < 2:
        return 0.0
    lags, logs = np.arange(1, last), -np.log(along[1:last])
    weight = along[1:last] ** 2
    slope = float((weight * lags**2 * logs).sum() / (weight * lags**4).sum())
    return float(1 / np.sqrt(4 * slope)) if slope > 0 else float(last)


def shared_noise(a: np.ndarray, b: np.ndarray) -> float | None:
    """How much of the noise the two acquisitions have in common, 0 to 1; None if it cannot be told.

    Where a scene is smooth, the finest detail (diagonal Haar coefficients) of one acquisition is
    noise alone, and half the variance of the same detail of ``A - B`` is what of it is independent.
    The smoothest of all 32x32 blocks, the best 2 %, decide. Noise is shared everywhere to the same
    degree: where even these differ much from the others, it is the scene that has such detail, and
    nothing can be told.

    Parameters
    ----------
    a, b
        Shape (planes, Y, X), in one intensity scale.
    """
    own = (_detail_power(a) + _detail_power(b)) / 2
    independent = _detail_power(a - b) / 2
    ratio = independent[own > 0] / own[own > 0]
    if ratio.size == 0:
        return None
    middle, smoothest = np.quantile(ratio, (0.5, 0.98))
    if smoothest > _UNLIKE * middle:
        return None
    return float(np.clip(1 - smoothest / _BY_CHANCE, 0.0, 1.0))


def _detail_power(stack: np.ndarray) -> np.ndarray:
    """Mean square of the diagonal Haar coefficients in each block of 32x32 pixels."""
    rows, columns = (length // 2 * 2 for length in stack.shape[1:])
    cut = stack[:, :rows, :columns]
    detail = (cut[:, ::2, ::2] - cut[:, 1::2, ::2] - cut[:, ::2, 1::2] + cut[:, 1::2, 1::2]) / 2
    return over_blocks(detail**2, 16).ravel()
