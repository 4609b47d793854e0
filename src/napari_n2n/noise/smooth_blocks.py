"""Blocks of pixels of one recording: which are smooth, and what varies in them is noise."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_n2n.noise.correlation import LAGS
from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Second difference along both axes: 0 for every slope and bend, and of unit gain for white noise.
_DETAIL = np.outer((1, -2, 1), (1, -2, 1)) / 6
# Quantile of the ratios of slow to fast changes that smooth areas have, and largest multiple of it
# in a smooth block: of smooth blocks, with ratios of 1 ± 0.26, the lowest and the highest 5 %.
_SMOOTHEST, _SMOOTH = 0.05, 2.5
# Ratio of the lower quartile to the smoothest blocks above which there are too few smooth blocks to
# distinguish structure from correlated noise: noise alone has 1.4 to 1.7.
_STRUCTURED = 2.0
# Rounds of the robust fit of variance against level, and residual in robust deviations from which
# a block counts less.
_ROUNDS, _OUTLYING = 20, 2.0
# Smallest variance on the line that is fitted, as a part of the median.
LEAST = 1e-3


@dataclass(frozen=True, eq=False)
class SmoothBlocks:
    """Square blocks of pixels.

    Attributes
    ----------
    level, variance, detail
        Mean, variance without slow changes, and variance of the finest detail of each block.
    smooth
        Which blocks are smooth.
    structured
        Whether the smooth ones may show structure nevertheless.
    next_detail
        Correlation of the finest detail at lag 1 along y and x, in the smooth blocks: -2/3 for
        white noise.
    rest
        Pixels without slow changes, shape (blocks, side, side).
    """

    level: np.ndarray
    variance: np.ndarray
    detail: np.ndarray
    smooth: np.ndarray
    structured: bool
    next_detail: tuple[float, float]
    rest: np.ndarray

    @classmethod
    def of(cls, planes: np.ndarray, valid: np.ndarray, side: int, degree: int) -> "SmoothBlocks":
        """Cut planes into blocks; those with pixels that are not valid are left out.

        Parameters
        ----------
        planes, valid
            Shape (planes, Y, X).
        side
            Side of a block in pixels.
        degree
            Degree of the polynomial that is removed from each block.
        """
        detail = np.stack([ndimage.convolve(plane, _DETAIL, mode="mirror") for plane in planes])
        known = _cut(valid, side).all((1, 2))
        pixels, fine = (_cut(values, side)[known] for values in (planes, detail))
        rest, removed = _without_slow(pixels, degree)
        variance = (rest**2).sum((1, 2)) / (side**2 - removed)
        power = (fine**2).mean((1, 2))
        level, noisy = pixels.mean((1, 2)), power > 0
        # Slow changes and the finest detail of white noise are independent, so that this choice of
        # blocks does not bias the detail.
        slow = (ndimage.uniform_filter(rest, (0, 3, 3))[:, 1:-1, 1:-1] ** 2).mean((1, 2))
        gain, offset = fit_line(level[noisy], power[noisy])
        usual = float(np.median(power[noisy])) if noisy.any() else 1.0
        expected = np.maximum(gain * level + offset, LEAST * usual)
        ratio = np.where(noisy, slow / expected, np.inf)
        smooth, structured = np.zeros(len(ratio), bool), True
        if noisy.any():
            lowest, quarter = np.quantile(ratio[noisy], (_SMOOTHEST, 0.25))
            smooth, structured = ratio < lowest * _SMOOTH, bool(quarter > lowest * _STRUCTURED)
        return cls(level, variance, power, smooth, structured, _next(fine[smooth]), rest)

    def correlation(self, chosen: np.ndarray) -> np.ndarray:
        """Return the autocorrelation of smooth blocks at lags 0 to 8; shape (2, lags): y, x."""
        side = self.rest.shape[1]
        rest = self.rest[chosen] / np.sqrt(self.variance[chosen])[:, None, None]
        lags = range(min(LAGS, side - 1) + 1)
        along_y = [np.mean(rest[:, lag:] * rest[:, : side - lag]) for lag in lags]
        along_x = [np.mean(rest[:, :, lag:] * rest[:, :, : side - lag]) for lag in lags]
        both = np.array([along_y, along_x])
        return np.asarray(both / both[:, :1])


def _cut(planes: np.ndarray, side: int) -> np.ndarray:
    """Cut planes into blocks; shape (blocks, side, side)."""
    count, rows, columns = planes.shape
    rows, columns = rows // side, columns // side
    cut = planes[:, : rows * side, : columns * side].reshape(count, rows, side, columns, side)
    return cut.swapaxes(2, 3).reshape(-1, side, side)


def _next(detail: np.ndarray) -> tuple[float, float]:
    """Return the correlation of blocks of detail at lag 1 along y and x; 0 without blocks."""
    power = np.mean(detail**2, axis=(1, 2))
    if not power.any():
        return 0.0, 0.0
    scaled = detail[power > 0] / np.sqrt(power[power > 0])[:, None, None]
    along_y = float(np.mean(scaled[:, 1:] * scaled[:, :-1]))
    along_x = float(np.mean(scaled[:, :, 1:] * scaled[:, :, :-1]))
    return along_y, along_x


def _without_slow(blocks: np.ndarray, degree: int) -> tuple[np.ndarray, int]:
    """Subtract a polynomial from each block; return the rest, and the number of its terms."""
    side = blocks.shape[1]
    y, x = np.mgrid[:side, :side] / (side - 1) - 0.5
    terms = [y**i * x**j for i in range(degree + 1) for j in range(degree + 1 - i)]
    basis, _ = np.linalg.qr(np.stack(terms).reshape(len(terms), -1).T)
    flat = blocks.reshape(len(blocks), -1)
    return (flat - (flat @ basis) @ basis.T).reshape(blocks.shape), len(terms)


def fit_line(level: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    """Fit a line with relative errors robustly; its slope is not negative."""
    gain, offset = 0.0, float(np.median(variance)) if len(variance) else 0.0
    floor = LEAST * max(offset, 1e-30)
    for _ in range(_ROUNDS):
        line = np.maximum(gain * level + offset, floor)
        away = variance / line - 1
        usual = max(float(np.median(np.abs(away))) * MAD_TO_SIGMA, 1e-6) if len(away) else 1.0
        weight = np.minimum(1, _OUTLYING * usual / np.maximum(np.abs(away), 1e-9)) / line**2
        weight = np.where(away > 0, weight**2 * line**2, weight)  # structure only adds
        if len(level) < 2 or np.ptp(level) == 0:
            return 0.0, float(np.average(variance, weights=weight)) if len(level) else 0.0
        at = np.average(level, weights=weight)
        base = np.average(variance, weights=weight)
        spread = np.average((level - at) ** 2, weights=weight)
        gain = float(np.average((level - at) * (variance - base), weights=weight) / spread)
        gain = max(gain, 0.0)
        offset = float(base - gain * at)
        if gain == 0.0:
            offset = float(np.average(variance, weights=weight))
    return gain, offset
