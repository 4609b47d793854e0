"""Measure the noise of one recording, if no second recording of the scene exists.

Noise is measured where the scene is smooth: in the blocks of pixels with the smallest ratio of slow
changes to the finest detail. The noise is the variance of fourth differences, which are nearly free
of structure. Structure that fills the whole field, or that looks like correlated noise, cannot be
distinguished from noise: a figure that is not certain is None, with a warning. (Smooth areas: Foi
et al. 2008, IEEE Trans. Image Process.)
"""

import math

import numpy as np
from scipy import ndimage

from napari_n2n.noise.correlation import CORRELATED, blur_width
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.noise.single_report import SingleFigures, SingleReport, advise_single
from napari_n2n.noise.smooth_blocks import LEAST, SmoothBlocks, fit_line
from napari_n2n.pair.pair import Pair
from napari_n2n.stats.statistics import GROUPS, MAD_TO_SIGMA, jackknife, noise_excess

# Side in pixels of the blocks, and degree of the polynomial that is removed from each. Correlation
# is measured in larger blocks: the polynomial removes slow noise too, in small blocks too much.
_SMALL, _LARGE = (16, 2), (32, 1)
# Smallest number of smooth blocks of 256 pixels: the correlation is then known to 0.03. Half as
# many are enough for the larger blocks, and for a line.
_FEWEST_BLOCKS = 8
# Planes of a stack, and largest side in pixels of the middle of each.
_PLANES, _SIDE = 6, 512
# Levels of the noise model; and smallest variance as a part of that of the darkest blocks, a share
# of all: the line may reach 0 above the darkest level.
_LEVELS, _OF_DARKEST, _DARKEST = 16, 0.5, 0.05
# Correlation of second and of fourth differences of noise that a Gaussian blur correlates by
# `CORRELATED`, -2/3 and -4/5 for white noise; and lags at which lines' offsets still correlate.
_BLURRED, _BLURRED_FINEST, _LINE_LAGS = -0.58, -0.74, slice(4, 7)
# Correlation of neighbours that structure in smooth blocks adds: up to 0.08 in real scenes.
_STRUCTURE = 0.05
# Largest standard error of the noise, as a part of it: beyond, structure was measured, not noise.
_MOST_ERROR = 0.3
# Share of correlated noise that is too slow to be seen in a block: in a real scene 12 %.
_SLOW = 0.15
# Slow changes of the smoothest blocks, as a multiple of those of white noise, beyond which
# structure fills the field or slow noise is added to white noise: noise blurred by 0.7 pixels has
# 36, white noise with as much noise that is blurred by 3 pixels 7.
_SLOWEST = 4.0
# Correlation of second differences of white noise in blocks of 16 pixels, how it grows with the
# correlation of neighbours, and the part of the variance of second and of fourth differences that
# is lost per correlation.
_WHITE_NEXT, _PER_SHARED, _LOSS = -0.66, 0.43, (4 / 3, 1.6)
# Relative difference of the two variances up to which they contain no visible structure.
_AGREE = 0.04
# Error of the noise due to the error of that correlation, in simulated noise, for one pixel.
_PASSED_ERROR = 1.8
# Smallest relative error of the noise: a line does not describe all noise.
_LEAST_ERROR = 0.015
# Number of standard errors by which the photon gain must exceed 0.
_CERTAIN = 3.0
# Deviation of an outlier from its neighbours in standard deviations of the noise, and largest
# deviation of their mean as a part of its own: optics spread a point to 0.37 and more.
_FAR, _SHARP = 8.0, 1 / 3


def measure_single(recording: Pair) -> SingleReport:
    """Measure the noise of a recording, made by `Pair.single`, on up to six planes."""
    planes = recording.planes(_PLANES, _SIDE)
    values = planes.views[0].astype(np.float64)
    saturated = values >= recording.first.saturation
    valid = ~(saturated | planes.empty | planes.bad)
    outliers, values = _outliers(values, valid)
    blocks = SmoothBlocks.of(values, valid, *_SMALL)
    if blocks.smooth.sum() == 0:  # a small or saturated image
        blocks = SmoothBlocks.of(values, np.ones_like(valid), *_SMALL)
    along, certain = _correlation(blocks)
    white = bool(np.max(np.abs(along[:, 1])) <= CORRELATED)
    if not white:
        blocks = _larger(blocks, values, valid)
        along = blocks.correlation(blocks.smooth)
    gain, offset, gain_error, noise_error = _line(
        blocks, white, float(values[valid].mean() if valid.any() else values.mean())
    )
    certain &= noise_error < _MOST_ERROR
    smallest = float(values.min())
    black = float(np.mean(values == smallest)) if smallest == 0 else 0.0
    model = _model(blocks, gain, offset, values, () if white else along)
    predicted = model.variance_at(ndimage.uniform_filter(values, (0, 5, 5)))
    noise = float(np.sqrt(predicted.mean()))
    near = tuple(float(one) for one in along[:, 1])
    lengths = blur_width(along[0]), blur_width(along[1])
    pixels = max(int(blocks.smooth.sum()), 1) * _SMALL[0] ** 2
    figures = SingleFigures(
        noise_a=noise if certain else None,
        photon_gain=gain if gain > _CERTAIN * gain_error > 0 else None,
        read_noise=None,
        pedestal=None,
        noise_correlation=(near[0], near[1]) if certain else None,
        correlation_length=lengths if certain else None,
        outlier_share=outliers,
        saturated_share=float(saturated.mean()),
        black_share=black,
        noise_excess=(noise_excess(values, model.variance_at), None),
        noise_model=model,
        errors={
            "photon_gain": gain_error,
            "noise_correlation": math.hypot(1 / math.sqrt(pixels), _STRUCTURE),
        }
        | ({"noise_a": noise * noise_error} if certain else {}),
    )
    return advise_single(figures, recording.findings)


def _outliers(values: np.ndarray, valid: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the share of outliers, and the pixels with outliers replaced by their neighbours."""
    around = np.ones((1, 3, 3))
    around[0, 1, 1] = 0
    middle = ndimage.median_filter(values, footprint=around)
    mean = ndimage.convolve(values, around / 8, mode="mirror")
    away = values - middle
    spread = ndimage.median_filter(np.abs(away), (1, 15, 15)) * MAD_TO_SIGMA
    far = np.abs(away) > _FAR * np.maximum(spread, np.median(spread))
    found = far & (np.abs(mean - middle) < _SHARP * np.abs(away)) & valid
    return float(found.mean()), np.where(found, middle, values)


def _correlation(blocks: SmoothBlocks) -> tuple[np.ndarray, bool]:
    """Return the noise correlation along y and x, white if unknown, and whether it is certain.

    Structure looks correlated in the blocks unless they are smooth, and in the finest detail unless
    it is blurred by the optics: only correlation that both show is that of noise. Offsets of rows
    and columns, which are nearly the same in all pixels of a line, are not in the detail.
    """
    along = blocks.correlation(blocks.smooth)
    enough = bool(blocks.smooth.sum() >= _FEWEST_BLOCKS)
    smooth = blocks.slowness < _SLOWEST
    if np.max(np.abs(along[:, 1])) <= CORRELATED:
        return along, enough and smooth
    ends = sorted(float(one[_LINE_LAGS].mean()) for one in along)
    of_lines = ends[1] > CORRELATED and ends[0] < CORRELATED / 2
    if max(blocks.next_detail) < _BLURRED and not of_lines:
        return _white(along), enough and smooth
    hidden = blocks.structured or max(blocks.next_finest) < _BLURRED_FINEST
    return (along, True) if enough and not hidden else (_white(along), False)


def _white(along: np.ndarray) -> np.ndarray:
    """Return the correlation of white noise at the same lags."""
    return np.eye(1, along.shape[1]).repeat(2, axis=0)


def _larger(blocks: SmoothBlocks, values: np.ndarray, valid: np.ndarray) -> SmoothBlocks:
    """Return larger blocks, which contain more slow noise, if enough of them are smooth."""
    larger = SmoothBlocks.of(values, valid, *_LARGE)
    return larger if larger.smooth.sum() >= _FEWEST_BLOCKS // 2 else blocks


def _line(blocks: SmoothBlocks, white: bool, at: float) -> tuple[float, float, float, float]:
    """Fit the variance of smooth blocks by ``gain level + offset``.

    Parameters
    ----------
    blocks, white
        The blocks, and whether their noise is white.
    at
        Mean level of the recording in ADU, at which the error of the noise is wanted.

    Returns
    -------
    gain, offset, gain_error, relative_error
        The line, the standard error of its slope, and that of the noise relative to the noise.
    """
    level = blocks.level[blocks.smooth]
    variance, structure, passed = _variance(blocks, white)
    gain, offset = fit_line(level, variance)
    if len(level) < _FEWEST_BLOCKS // 2:
        return gain, offset, math.inf, math.inf
    groups = np.array_split(np.arange(len(level)), GROUPS)
    parts = [fit_line(np.delete(level, group), np.delete(variance, group)) for group in groups]
    levels = [slope * at + base for slope, base in parts]
    errors = [
        jackknife(levels) / max(gain * at + offset, 1e-30) / 2,  # of the standard deviation
        structure,
        (1 - math.sqrt(passed)) / 2,
        _PASSED_ERROR / math.sqrt(blocks.rest[0].size * len(level)),
        _LEAST_ERROR,
    ]
    gain_error = math.hypot(jackknife([slope for slope, _ in parts]), structure * gain)
    return gain, offset, gain_error, math.hypot(*errors)


def _variance(blocks: SmoothBlocks, white: bool) -> tuple[np.ndarray, float, float]:
    """Return the noise variance in smooth blocks, its relative error, and the measured part.

    Structure raises second differences more than fourth ones, which vary more by chance: they are
    needed only where the two differ.
    """
    if not white:
        return blocks.variance[blocks.smooth], _SLOW, 1.0
    second, fourth = blocks.detail[blocks.smooth], blocks.finest[blocks.smooth]
    gain, offset = fit_line(blocks.level[blocks.smooth], second)
    line = np.maximum(gain * blocks.level[blocks.smooth] + offset, 1e-30)
    ratio = float(np.median(second / line) / max(np.median(fourth / line), 1e-30))
    # The correlation of second differences contains less of the structure than that of the pixels.
    along = [(one - _WHITE_NEXT) / _PER_SHARED for one in blocks.next_detail]
    shared = np.clip(along, -CORRELATED / 2, CORRELATED)
    seen, loss = (second, _LOSS[0]) if abs(ratio - 1) < _AGREE else (fourth, _LOSS[1])
    passed = float(np.prod(1 - loss * shared))
    return seen / passed, abs(ratio - 1), passed


def _model(
    blocks: SmoothBlocks,
    gain: float,
    offset: float,
    values: np.ndarray,
    along: np.ndarray | tuple[()],
) -> NoiseModel:
    dark, bright = (float(np.quantile(blocks.level, share)) for share in (_DARKEST, 1.0))
    bright = max(bright, dark + 1e-6 * max(abs(dark), 1.0))
    levels = np.linspace(dark, bright, _LEVELS)
    usual = max(gain * float(blocks.level.mean()) + offset, 1e-30)
    darkest = blocks.level <= np.quantile(blocks.level, _DARKEST)
    floor = max(LEAST * usual, _OF_DARKEST * float(np.median(blocks.finest[darkest])))
    return NoiseModel(
        levels=tuple(map(float, levels)),
        variances=tuple(float(one) for one in np.maximum(gain * levels + offset, floor)),
        outlier_share=0.0,
        outlier_range=(float(values.min()), float(values.max())),
        lower_limit=None,
        correlation=tuple(tuple(map(float, one)) for one in along),
    )
