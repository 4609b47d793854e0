"""Standard errors of the figures of a report.

A standard error is the scatter of a figure when the same scene is recorded many times. Figures of
single pixels are measured several times, each time without one group of blocks spread over the
plane (jackknife). If the noise of the groups differs because their scene differs, the noise that
the photon-transfer curve predicts is subtracted first. Figures of neighbouring pixels are measured
on each of eight tiles.
"""

import math

import numpy as np

from napari_n2n.noise.analysis import Analysis
from napari_n2n.noise.change import moved_share
from napari_n2n.noise.clipping import find_clipping
from napari_n2n.noise.correlation import autocorrelation, shared_noise_error
from napari_n2n.noise.photon_transfer import TransferCurve
from napari_n2n.noise.sample import Sample
from napari_n2n.pair.matching import line_errors
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.registration import shift_error
from napari_n2n.stats.statistics import GROUPS, groups_of_tiles, jackknife, neighbourhood

# Side in pixels of a plane below which its 4x4 tiles are too small to measure a shift.
_SMALLEST = 128
# Fewest tiles with a value for a standard deviation: its own standard error is then 40 %.
_FEWEST_TILES = 4


def standard_errors(pair: Pair, analysis: Analysis) -> dict[str, float]:
    """Return the standard errors by figure name."""
    sample, curve = analysis.sample, analysis.curve
    errors = {name: e for name, e in curve.errors.items() if getattr(curve, name) is not None} | {
        "outlier_share": math.hypot(analysis.outliers.error, _of_missing(analysis)),
        "outlier_shift": analysis.outliers.shift_error,
    }
    if analysis.clipping.shift:
        errors["clipping_shift"] = jackknife(
            [find_clipping(sample.without(sample.group == k)).shift for k in range(GROUPS)]
        )
    keep, gain = sample.valid, pair.matches[1].gain
    of_a, of_b = pair.noise[0] ** 2, (pair.noise[1] / gain) ** 2  # B is on A's intensity scale
    groups = GROUPS * sample.group + groups_of_tiles(sample.a.shape)
    a, b, around, group = (v[keep] for v in (sample.a, sample.b, sample.surroundings, groups))
    share = of_b / ((of_a + of_b) or 1.0)
    line = line_errors(a, b, around, group, share, taken=gain == 1)
    if line is not None:
        errors["gain_ratio"], errors["offset"] = line[0] * gain, line[1] * gain
    of_gain = 0.0 if line is None or gain == 1 else line[0]
    errors["noise_a"], errors["noise_b"] = _of_noise(pair, analysis, of_gain)
    if pair.noise[0]:
        relative = math.hypot(_of_contrast(analysis), errors["noise_a"] / pair.noise[0])
        errors["snr"] = relative * sample.contrast / pair.noise[0]
    errors |= _of_limits(sample)
    if min(sample.a.shape[1:]) >= _SMALLEST:
        middle = len(sample.a) // 2
        errors["shift"] = shift_error(sample.a[middle], sample.b[middle])
    for name, lines in (
        ("column_offsets", pair.pattern.columns),
        ("row_offsets", pair.pattern.rows),
    ):
        if lines is not None:
            errors[name] = lines.error
    if analysis.drift_error is not None:
        errors["drift"] = analysis.drift_error
    shared_error = shared_noise_error(sample.a, sample.b)
    if shared_error is not None:
        errors["shared_noise"] = shared_error
    return errors | _of_tiles(analysis)


def _of_missing(analysis: Analysis) -> float:
    """Return the standard error of the share of missing pixels."""
    if analysis.outliers.missing == 0:
        return 0.0
    groups, absent = analysis.sample.group, analysis.outliers.pixels & analysis.sample.cut
    lost = np.bincount(groups[absent], minlength=GROUPS)
    count = np.bincount(groups.ravel(), minlength=GROUPS)
    return jackknife(1 - np.sqrt(1 - (lost.sum() - lost) / (count.sum() - count)))


def _of_tiles(analysis: Analysis) -> dict[str, float]:
    """Return the standard errors of the figures that are measured on each tile."""
    ordinary = analysis.sample.without(analysis.outliers.around)
    tiles = [_of_tile(ordinary.of_tile(tile), analysis.curve) for tile in ordinary.tiles()]
    if not tiles:
        return {}
    # A figure along y and along x has one standard error, from the scatter along both.
    whole = {name: np.array([tile[name] for tile in tiles], np.float64) for name in tiles[0]}
    return {
        name: math.sqrt(float(np.mean(np.nanvar(values, axis=0, ddof=1)))) / math.sqrt(len(tiles))
        for name, values in whole.items()
        if np.isfinite(values).all(axis=-1).sum() >= _FEWEST_TILES
    }


def _of_tile(sample: Sample, curve: TransferCurve) -> dict[str, tuple[float | None, ...]]:
    """Measure the figures of neighbouring pixels on one tile; None for undetermined ones."""
    correlation = autocorrelation(sample.difference, sample.valid, sample.quantum)
    return {
        "noise_correlation": correlation.of_neighbours or (None, None),
        "correlation_length": correlation.length,
        "moved_share": (moved_share(sample, curve),),
    }


def _of_limits(sample: Sample) -> dict[str, float]:
    """Return the standard errors of the shares of pixels at the limits of the detector.

    A pixel that is at the limit with probability p adds ``2 p (1 - p)`` to the variance of the
    count in both acquisitions, and is at the limit in only one of them with the same probability.
    """
    once = {
        "saturated_share": sample.saturated & (sample.a != sample.b),
        "black_share": sample.cut & ~sample.cut_twice,
    }
    return {
        name: math.sqrt(float(pixels.sum())) / (2 * pixels.size) for name, pixels in once.items()
    }


def _of_noise(pair: Pair, analysis: Analysis, relative: float) -> tuple[float, float]:
    """Return the standard errors of the noise of A and of B, each in its own ADU.

    `relative` is the standard error of the gain divided by the gain: with another gain, another
    part of the scene and of B's noise remains in the difference.
    """
    gain = pair.matches[1].gain
    sigma_a, sigma_b = pair.noise[0], pair.noise[1] / gain
    alike = math.isclose(sigma_a, sigma_b, rel_tol=1e-6)
    a, b = (values.astype(np.float64) for values in (analysis.sample.a, analysis.sample.b))
    moved = b + relative * (b - b.mean())
    before = _variances(a, b, alike, analysis)
    after = _variances(a, moved, alike, analysis) if relative else before
    errors = []
    for sigma, part, other, scale in zip(
        (sigma_a, sigma_b), before, after, (1.0, 1 / (1 + relative)), strict=True
    ):
        changed = math.sqrt(max(other.mean(), 0.0)) * scale - math.sqrt(max(part.mean(), 0.0))
        errors.append(math.hypot(_of_mean(part) / (2 * sigma), changed) if sigma else 0.0)
    return errors[0], errors[1] * gain


def _variances(
    a: np.ndarray, b: np.ndarray, alike: bool, analysis: Analysis
) -> tuple[np.ndarray, np.ndarray]:
    """Return the variances of the noise of A and of B in each group, on one intensity scale."""
    apart = a - b
    total, of_a, of_b = (
        _by_group(values, analysis)
        for values in (apart**2, apart * (a - neighbourhood(a)), -apart * (b - neighbourhood(b)))
    )
    if alike:
        return total / 2, total / 2
    return total * of_a / (of_a + of_b), total * of_b / (of_a + of_b)


def _of_contrast(analysis: Analysis) -> float:
    """Return the relative standard error of the contrast.

    With the noises n and n' of A and B, the square of the contrast has the error ``mean(s (n + n')
    + n n')``. This error cannot be measured directly, but two terms of the same size can, with ``d
    = n - n' = A - B``: ``s d``, and half the product of d at neighbouring pixels.
    """
    sample = analysis.sample
    apart = sample.difference.astype(np.float64)
    signal = sample.surroundings - sample.surroundings.mean(dtype=np.float64)
    linear, square = (
        _of_mean(_by_group(values, analysis))
        for values in (signal * apart, apart * np.roll(apart, 1, axis=-1) / 2)
    )
    if sample.contrast == 0:
        return 0.0
    return math.hypot(linear, square) / (2 * sample.contrast**2)


def _by_group(values: np.ndarray, analysis: Analysis) -> np.ndarray:
    """Return the mean of `values` in each group, corrected for the noise predicted there."""
    sample = analysis.sample
    keep = ~sample.empty  # empty areas mirror the data
    predicted = analysis.curve.variance_at(sample.surroundings)[keep]
    terms, group = values[keep], sample.group[keep]
    terms = terms - terms.mean(dtype=np.float64) * (predicted / predicted.mean() - 1)
    count = np.maximum(np.bincount(group, minlength=GROUPS), 1)
    return np.asarray(np.bincount(group, terms, minlength=GROUPS) / count)


def _of_mean(by_group: np.ndarray) -> float:
    """Return the standard error of the mean of values that have these means in the groups."""
    return float(by_group.std(ddof=1)) / math.sqrt(GROUPS)
