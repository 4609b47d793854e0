"""Find the smooth blocks of one recording: their variation is noise."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_n2n.noise.correlation import LAGS
from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Second and fourth differences along both axes: 0 for slopes and bends, of unit gain for white
# noise. Optics leave several times less structure in the fourth ones than in the second ones.
_SECOND = np.outer((1, -2, 1), (1, -2, 1)) / 6
_FOURTH = np.outer((1, -4, 6, -4, 1), (1, -4, 6, -4, 1)) / 70
# Ratio of slow changes to the finest detail of white noise in the smoothest 5 % of the blocks.
_WHITE = 0.075
# Blocks overlap by half in images with fewer than these.
_FEW = 64
# Quantile of the ratios of slow to fast changes that smooth areas have, and largest multiple of it
# in a smooth block: smooth blocks have ratios of 1 ± 0.26; these limits are their lowest and
# highest 5 %.
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
    level, variance, detail, finest
        Mean, variance without slow changes, and variance of second and of fourth differences of
        each block.
    smooth
        Which blocks are smooth.
    structured
        Whether the smooth ones may show structure nevertheless.
    slowness
        Slow changes of the smoothest blocks as a multiple of those of white noise as strong as the
        finest detail: about 1 for white noise in smooth areas.
    next_detail, next_finest
        Correlation of second and of fourth differences at lag 1 along y and x, in the smooth
        blocks: -2/3 and -4/5 for white noise.
    rest
        Pixels without slow changes, shape (blocks, side, side).
    """

    level: np.ndarray
    variance: np.ndarray
    detail: np.ndarray
    finest: np.ndarray
    smooth: np.ndarray
    structured: bool
    slowness: float
    next_detail: tuple[float, float]
    next_finest: tuple[float, float]
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
        known = _cut(valid, side).all((1, 2))
        sources = (planes, *(_differences(planes, kernel) for kernel in (_SECOND, _FOURTH)))
        pixels, fine, finest = (_cut(values, side)[known] for values in sources)
        rest, removed = _without_slow(pixels, degree)
        variance = (rest**2).sum((1, 2)) / (side**2 - removed)
        power, finest_power = (np.nanmean(one**2, (1, 2)) for one in (fine, finest))
        level, noisy = pixels.mean((1, 2)), power > 0
        # Slow changes and the finest detail of white noise are independent, so that this choice of
        # blocks does not bias the detail.
        slow = (ndimage.uniform_filter(rest, (0, 3, 3))[:, 1:-1, 1:-1] ** 2).mean((1, 2))
        gain, offset = fit_line(level[noisy], power[noisy])
        usual = float(np.median(power[noisy])) if noisy.any() else 1.0
        expected = np.maximum(gain * level + offset, LEAST * usual)
        ratio = np.where(noisy, slow / expected, np.inf)
        smooth, structured, lowest = np.zeros(len(ratio), bool), True, np.inf
        if noisy.any():
            lowest, quarter = np.quantile(ratio[noisy], (_SMOOTHEST, 0.25))
            smooth, structured = ratio < lowest * _SMOOTH, bool(quarter > lowest * _STRUCTURED)
        next_ones = _next(fine[smooth]), _next(finest[smooth])
        about = (smooth, structured, float(lowest) / _WHITE)
        return cls(level, variance, power, finest_power, *about, *next_ones, rest)

    def correlation(self, chosen: np.ndarray) -> np.ndarray:
        """Return the autocorrelation of smooth blocks at lags 0 to 8; shape (2, lags): y, x."""
        side = self.rest.shape[1]
        rest = self.rest[chosen] / np.sqrt(self.variance[chosen])[:, None, None]
        lags = range(min(LAGS, side - 1) + 1)
        along_y = [np.mean(rest[:, lag:] * rest[:, : side - lag]) for lag in lags]
        along_x = [np.mean(rest[:, :, lag:] * rest[:, :, : side - lag]) for lag in lags]
        both = np.array([along_y, along_x])
        return np.asarray(both / both[:, :1])


def _differences(planes: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Filter each plane; pixels without all their neighbours become NaN."""
    margin = kernel.shape[0] // 2
    inside = (slice(None), *(slice(margin, -margin),) * 2)
    filtered = np.full(planes.shape, np.nan)
    filtered[inside] = ndimage.convolve(planes, kernel[None])[inside]
    return filtered


def _cut(planes: np.ndarray, side: int) -> np.ndarray:
    """Cut planes into blocks, which overlap by half if there are few; (blocks, side, side)."""
    cut = np.lib.stride_tricks.sliding_window_view(planes, (side, side), (1, 2))
    few = planes.size < _FEW * side**2
    step = side // 2 if few else side
    return cut[:, ::step, ::step].reshape(-1, side, side)


def _next(detail: np.ndarray) -> tuple[float, float]:
    """Return the correlation of blocks of detail at lag 1 along y and x; 0 without blocks."""
    power = np.nanmean(detail**2, axis=(1, 2))
    if not power.any():
        return 0.0, 0.0
    scaled = detail[power > 0] / np.sqrt(power[power > 0])[:, None, None]
    along_y = float(np.nanmean(scaled[:, 1:] * scaled[:, :-1]))
    along_x = float(np.nanmean(scaled[:, :, 1:] * scaled[:, :, :-1]))
    return along_y, along_x


def _without_slow(blocks: np.ndarray, degree: int) -> tuple[np.ndarray, int]:
    """Subtract a polynomial from each block; return the rest, and the number of its terms."""
    side = blocks.shape[1]
    y, x = np.mgrid[:side, :side] / (side - 1) - 0.5
    terms = [y**i * x**j for i in range(degree + 1) for j in range(degree + 1 - i)]
    basis, _ = np.linalg.qr(np.stack(terms).reshape(len(terms), -1).T)
    flat = blocks.reshape(len(blocks), side**2)
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
