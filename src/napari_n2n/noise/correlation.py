"""Whether the noise of neighbouring pixels is the same noise, and how far that reaches."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

LAGS = 8
CORRELATED = 0.2
"""From here on neighbours share so much noise that it matters to what is made of it."""
_DRIFT = 31
_TAIL = 4.0
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
        At lags 0 to 8 pixels.
    error
        Standard error of any of them for white noise.
    length
        (y, x): width (standard deviation, pixels) of the Gaussian blur that would correlate white
        noise as much; 0 where neighbours are independent.
    """

    y: np.ndarray
    x: np.ndarray
    error: float
    length: tuple[float, float]

    @property
    def of_neighbours(self) -> float:
        """The larger one of both at lag 1."""
        return float(max(self.y[1], self.x[1]))

    @property
    def area(self) -> float:
        """Pixels that share one independent value: the sum of the correlation over both axes."""
        return float(
            np.prod([1 + 2 * np.maximum(along[1:], 0.0).sum() for along in (self.y, self.x)])
        )


def autocorrelation(difference: np.ndarray, quantum: float = 0.0) -> Correlation:
    """Correlate the difference of two acquisitions with itself, displaced.

    Slow drifts are removed first, and values beyond four robust standard deviations are clipped, so
    that neither bleaching nor outliers pass for correlation.

    Parameters
    ----------
    difference
        Shape (planes, Y, X).
    quantum
        Step of the pixel values: where few photons leave most pixels equal, it is what deviates.
    """
    noise = difference - ndimage.uniform_filter(difference, (0, _DRIFT, _DRIFT))
    limit = _TAIL * max(float(np.median(np.abs(noise))) / 0.6745, quantum / 2)
    if limit > 0:
        noise = noise.clip(-limit, limit)
    power = float(np.mean(noise**2, dtype=np.float64)) or 1.0
    along_y, along_x = (
        np.array(
            [1.0]
            + [
                float(np.mean(_ahead(noise, axis, lag) * _behind(noise, axis, lag))) / power
                for lag in range(1, LAGS + 1)
            ]
        )
        for axis in (-2, -1)
    )
    return Correlation(
        y=along_y,
        x=along_x,
        error=1 / float(np.sqrt(difference.size)),
        length=(_blur_width(along_y), _blur_width(along_x)),
    )


def _ahead(noise: np.ndarray, axis: int, lag: int) -> np.ndarray:
    return noise.take(range(lag, noise.shape[axis]), axis=axis)


def _behind(noise: np.ndarray, axis: int, lag: int) -> np.ndarray:
    return noise.take(range(noise.shape[axis] - lag), axis=axis)


def _blur_width(along: np.ndarray) -> float:
    """Blurring white noise by a Gaussian of width w correlates it by ``exp(-lag^2 / (4 w^2))``."""
    below = np.flatnonzero(along < _NOTABLE)
    last = int(below[0]) if len(below) else len(along)
    if last < 2:
        return 0.0
    lags, logs = np.arange(1, last), -np.log(along[1:last])
    weight = along[1:last] ** 2
    slope = float((weight * lags**2 * logs).sum() / (weight * lags**4).sum())
    return float(1 / np.sqrt(4 * slope)) if slope > 0 else float(last)


def shared_noise(a: np.ndarray, b: np.ndarray) -> float:
    """How much of the noise the two acquisitions have in common, 0 to 1.

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
        return 0.0
    middle, smoothest = np.quantile(ratio, (0.5, 0.98))
    if smoothest > _UNLIKE * middle:
        return 0.0
    return float(np.clip(1 - smoothest / _BY_CHANCE, 0.0, 1.0))


def _detail_power(stack: np.ndarray) -> np.ndarray:
    rows, columns = (length // 32 * 32 for length in stack.shape[1:])
    cut = stack[:, :rows, :columns]
    detail = (cut[:, ::2, ::2] - cut[:, 1::2, ::2] - cut[:, ::2, 1::2] + cut[:, 1::2, 1::2]) / 2
    blocks = (detail**2).reshape(len(stack), rows // 32, 16, columns // 32, 16)
    return blocks.mean(axis=(2, 4)).ravel()
