"""Find hits: a handful of sharp, very bright pixels in one acquisition, such as cosmic rays.

A few hits of thousands of ADU dominate every mean and variance of an image. They are recognised by
their size against the noise at the brightness of the other acquisition, and left out of measuring
and of the training targets. If there are many, they are outliers, which decide the loss instead.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from napari_n2n.stats.affine import Affine
from napari_n2n.stats.statistics import MAD_TO_SIGMA, neighbourhood

# Smallest size of a hit in standard deviations: Gaussian noise reaches it once in 10^15 pixels.
_SMALLEST = 8.0
# Quantiles of the sizes from which the tail of the noise is extrapolated: the tail is assumed to be
# exponential, like that of photon pulses; the tail of Gaussian noise ends earlier.
_TAIL = 0.9, 0.99
# Natural logarithm of the number of samples (1100) in which the tail itself gives one hit.
_BY_CHANCE = 7.0
# Factor by which a hit exceeds this end of the tail: the telegraph noise of cameras has a longer
# tail.
_MARGIN = 1.5
# Largest share of pixels that are hit; if there are more, the loss has to ignore them.
_MOST = 4e-3
# If more than this share of the pixels is hit, this part of the hits must be brighter than anything
# in the scene: outliers with values within the range of the scene are not hits.
_FEW, _BEYOND = 5e-4, 0.1
# Largest share of dark pixels among the hits: hits only add light, other outliers take any value.
_DARK = 0.1
# Largest mean of the eight neighbours of a hit, as a part of its own height: an optical system
# spreads a point to at least 0.37 for two pixels per resolution element.
_SHARP = 1 / 3
# Number of brightness levels at which the noise is measured, and quantiles that they cover.
_LEVELS, _ENDS = 16, (0.002, 0.998)
# Share of hits in the brighter half of the image, in standard deviations above one half, beyond
# which they are photon pulses.
_WITH_LIGHT = 3.0
# Size of a neighbour of a hit that belongs to it, in standard deviations.
_BESIDE = 4.0
# Pixels that touch, also diagonally, belong to one hit.
_IN_PLANE = np.zeros((3, 3, 3), bool)
_IN_PLANE[1] = True
# Limits are first measured on every n-th pixel: the step n, the fewest pixels that must remain, and
# the part of these rough limits below which no pixel is hit. Rough and exact limits differ by about
# 10 %.
_STEP, _ENOUGH, _SAFE = 3, 4096, 1 / 2
# Smallest variance, as a part of the squared range of the values.
_TINY = 1e-14


@dataclass(frozen=True, slots=True)
class Hits:
    """Hits of a pair.

    A pixel is hit if it exceeds the same pixel of another acquisition by more than the root of
    ``max(gain * level + offset, smallest)``, where ``level`` is the value in that other
    acquisition.

    Attributes
    ----------
    count
        Number of hits in the sampled planes of all acquisitions.
    largest
        Height of the largest one, in ADU of the first acquisition.
    gain, offset, smallest
        Squared limit as a function of the brightness, in ADU of the first acquisition.
    """

    count: int
    largest: float
    gain: float
    offset: float
    smallest: float

    def on(self, scale: Affine) -> "Hits":
        """Return the limits for values on another intensity scale."""
        return Hits(
            self.count,
            self.largest * scale.gain,
            self.gain * scale.gain,
            (self.offset * scale.gain - self.gain * scale.offset) * scale.gain,
            self.smallest * scale.gain**2,
        )

    def where(self, values: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return where `values` are hit and `others` are not; both on one intensity scale."""
        limit = np.maximum(self.gain * others + self.offset, self.smallest)
        return (values > others) & ((values - others) ** 2 > limit)

    def in_either(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return where one of two views on one scale is hit."""
        limit = np.maximum(self.gain * np.minimum(a, b) + self.offset, self.smallest)
        return np.asarray((a - b) ** 2 > limit)


def find_hits(views: Sequence[np.ndarray], level: np.ndarray) -> Hits | None:
    """Find the hits in acquisitions of one scene; None if there are none or too many.

    Parameters
    ----------
    views
        For each acquisition, sampled planes on the intensity scale of the first; (planes, Y, X).
    level
        The `neighbourhood` of the mean of the first two.
    """
    a, b = (np.asarray(view, np.float64) for view in views[:2])
    part = ..., slice(None, None, _STEP), slice(None, None, _STEP)
    if level[part].size >= _ENOUGH:
        if not _limits(a[part], b[part], level[part], _SAFE).in_either(a, b).any():
            return None
    limits = _limits(a, b, level)
    sharp = [_sharp(one, other, limits) for one, other in ((a, b), (b, a))]
    count, dark = (sum(len(part[k]) for part in sharp) for k in (0, 2))
    pixels = int(limits.in_either(a, b).sum())
    if count == 0 or pixels > _MOST * a.size or dark > _DARK * count:
        return None
    scene = float(np.minimum(a, b).max())
    beyond = sum(int((heights + levels > scene).sum()) for heights, levels, _ in sharp)
    if pixels > _FEW * a.size and beyond < _BEYOND * count:
        return None
    bright = np.concatenate([levels for _, levels, _ in sharp]) > np.median(b)
    if bright.sum() - count / 2 > _WITH_LIGHT * math.sqrt(count) / 2:
        return None
    largest = max(float(heights.max()) for heights, *_ in sharp if len(heights))
    return replace(limits, count=count, largest=largest)


def without_hits(views: Sequence[np.ndarray], hits: Hits) -> list[np.ndarray]:
    """Return views on one scale in which hits have the value of another acquisition."""
    cleaned = []
    for number, view in enumerate(views):
        other = views[(number + 1) % len(views)]
        hit = hits.where(view, other)
        near = ndimage.maximum_filter(hit, (1, 3, 3)) & (view > other)
        tails = near & ((view - other) ** 2 > hits.smallest * (_BESIDE / _SMALLEST) ** 2)
        cleaned.append(np.where(hit | tails, other, view).astype(np.float32))
    return cleaned


def _limits(a: np.ndarray, b: np.ndarray, level: np.ndarray, part: float = 1.0) -> Hits:
    """Return limits that the noise does not exceed, as a line over the brightness.

    The variance at each brightness level follows from the median absolute difference. The factor
    follows from the tail of all differences, each divided by its standard deviation.

    Parameters
    ----------
    a, b, level
        Pixels of two acquisitions and the brightness around them, of one shape.
    part
        Factor by which the limits are smaller.
    """
    order = np.argsort(level, axis=None)
    ascending, difference = level.flat[order], np.abs(a - b).flat[order]
    low = float(ascending[round(_ENDS[0] * (ascending.size - 1))])
    floor = _TINY * float(np.ptp(np.quantile(a, _ENDS))) ** 2 or 1.0
    edges = ascending[ascending.size * np.arange(1, _LEVELS) // _LEVELS]
    starts = np.unique([0, *np.searchsorted(ascending, edges)])
    middle = np.array([np.median(values) for values in np.split(difference, starts[1:])])
    variance = (middle * MAD_TO_SIGMA) ** 2
    mean = np.add.reduceat(ascending, starts, dtype=np.float64)
    mean /= np.diff(starts, append=ascending.size)
    gain, offset = 0.0, float(np.median(variance))
    if np.ptp(mean) > 0:
        weight = 1 / (variance + variance.mean() / _LEVELS + floor)
        slope, start = np.polyfit(mean, variance, 1, w=weight)
        if slope > 0:
            gain, offset = float(slope), float(start)
    smallest = max(float(variance.min()), gain * low + offset, floor)
    darker = np.minimum(a, b).flat[order]
    size = difference / np.sqrt(np.maximum(gain * darker + offset, smallest))
    start, end = np.quantile(size, _TAIL)
    step = (end - start) / math.log((1 - _TAIL[0]) / (1 - _TAIL[1]))
    tail = end + step * (math.log((1 - _TAIL[1]) * size.size) + _BY_CHANCE)
    square = (part * max(_SMALLEST, _MARGIN * float(tail))) ** 2
    return Hits(0, 0.0, gain * square, offset * square, smallest * square)


def _sharp(
    values: np.ndarray, others: np.ndarray, limits: Hits
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the hits that are too sharp to come from the optics.

    Returns
    -------
    heights, levels, dark
        Height of each hit and brightness around it; and brightness around places that are too dark
        instead.
    """
    hit = limits.where(values, others)
    nothing = np.zeros(0)
    if not hit.any() or hit.sum() > _MOST * hit.size:
        return nothing, nothing, nothing
    difference = np.where(values > others, values - others, 0.0)
    labels, number = ndimage.label(hit, _IN_PLANE)
    peaks = tuple(np.transpose(ndimage.maximum_position(difference, labels, range(1, number + 1))))
    heights, levels = difference[peaks], neighbourhood(others)[peaks]
    around = (9 * ndimage.uniform_filter(difference, (1, 3, 3))[peaks] - heights) / 8
    sharp = around < _SHARP * heights
    bright = values[peaks] - levels > levels - others[peaks]
    return heights[sharp & bright], levels[sharp & bright], levels[sharp & ~bright]
