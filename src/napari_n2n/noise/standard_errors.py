"""Standard errors of the figures of a report.

Figures of single pixels are measured eight times, each time without one of eight groups of blocks
spread over the plane (jackknife); figures of neighbouring pixels are measured on each of eight
tiles.
"""

import math

import numpy as np

from napari_n2n.noise.analysis import Analysis
from napari_n2n.noise.change import moved_share
from napari_n2n.noise.clipping import find_clipping
from napari_n2n.noise.correlation import autocorrelation, shared_noise
from napari_n2n.noise.photon_transfer import TransferCurve
from napari_n2n.noise.sample import Sample
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.registration import shift_error
from napari_n2n.stats import image_quality
from napari_n2n.stats.statistics import GROUPS, jackknife, neighbourhood

# Side in pixels of a plane below which its 4x4 tiles are too small to measure a shift.
_SMALLEST = 128
# Fewest tiles with a value for a standard deviation: its own standard error is then 40 %.
_FEWEST_TILES = 4


def standard_errors(pair: Pair, analysis: Analysis) -> dict[str, float]:
    """Return the standard errors by figure name."""
    sample, curve, usable = analysis.sample, analysis.curve, ~analysis.outliers.pixels
    errors = {name: e for name, e in curve.errors.items() if getattr(curve, name) is not None} | {
        "outlier_share": math.hypot(analysis.outliers.error, _of_missing(analysis)),
        "outlier_shift": analysis.outliers.shift_error,
    }
    if analysis.clipping.shift:
        errors["clipping_shift"] = jackknife(
            [find_clipping(sample.without(sample.group == k)).shift for k in range(GROUPS)]
        )
    errors["gain_ratio"], errors["offset"] = _of_line(sample, usable & sample.valid)
    errors["noise_a"], errors["noise_b"] = _of_noise(pair, sample)
    if min(sample.a.shape[1:]) >= _SMALLEST:
        middle = len(sample.a) // 2
        errors["shift"] = shift_error(sample.a[middle], sample.b[middle])
    if analysis.drift_error is not None:
        errors["drift"] = analysis.drift_error
    return errors | _scatter_of_tiles(analysis)


def _of_missing(analysis: Analysis) -> float:
    """Return the standard error of the share of missing pixels."""
    if analysis.outliers.missing == 0:
        return 0.0
    groups, absent = analysis.sample.group, analysis.outliers.pixels & analysis.sample.cut
    lost = np.bincount(groups[absent], minlength=GROUPS)
    count = np.bincount(groups.ravel(), minlength=GROUPS)
    return jackknife(1 - np.sqrt(1 - (lost.sum() - lost) / (count.sum() - count)))


def _scatter_of_tiles(analysis: Analysis) -> dict[str, float]:
    """Return the standard errors of the figures that are measured on each tile."""
    ordinary = analysis.sample.without(analysis.outliers.around)
    tiles = [_of_tile(ordinary.of_tile(tile), analysis.curve) for tile in ordinary.tiles()]
    if not tiles:
        return {}
    whole = np.array([list(tile.values()) for tile in tiles], dtype=np.float64)
    known = np.isfinite(whole).sum(axis=0)
    return {
        name: float(np.nanstd(values, ddof=1)) / math.sqrt(count)
        for name, values, count in zip(tiles[0], whole.T, known, strict=True)
        if count >= _FEWEST_TILES
    }


def _of_tile(sample: Sample, curve: TransferCurve) -> dict[str, float | None]:
    """Measure the figures of neighbouring pixels on one tile; None for undetermined ones."""
    correlation = autocorrelation(sample.difference, sample.valid, sample.quantum)
    noise = math.sqrt(float(np.mean(sample.difference**2, dtype=np.float64)) / 2)
    return {
        "noise_correlation": max(correlation.of_neighbours or (math.nan, math.nan)),
        "correlation_length": max(correlation.length),
        "shared_noise": shared_noise(sample.a, sample.b),
        "moved_share": moved_share(sample, curve),
        "snr": sample.contrast / noise if noise else None,
        "resolution": image_quality.resolution(sample.a, sample.b),
        "saturated_share": float(sample.saturated.mean()) / 2,
        "black_share": float(sample.cut.mean()),
    }


def _of_line(sample: Sample, usable: np.ndarray) -> tuple[float, float]:
    """Return the jackknife standard errors of gain and offset of B against A."""
    group = sample.group[usable]
    a, b, m = (
        values[usable].astype(np.float64) for values in (sample.a, sample.b, sample.surroundings)
    )
    sums = np.array(
        [
            np.bincount(group, values, minlength=GROUPS)
            for values in (np.ones_like(a), a, b, m, m * a, m * b)
        ]
    )
    lines = []
    for left_out in range(GROUPS):
        count, *rest = np.delete(sums, left_out, axis=1).sum(axis=1)
        mean_a, mean_b, mean_m, product_a, product_b = np.array(rest) / max(count, 1.0)
        spread = product_a - mean_m * mean_a
        gain = (product_b - mean_m * mean_b) / spread if spread > 0 else 1.0
        lines.append((gain, mean_b - gain * mean_a))
    gains, offsets = zip(*lines, strict=True)
    return jackknife(gains), jackknife(offsets)


def _of_noise(pair: Pair, sample: Sample) -> tuple[float, float]:
    """Return the standard errors of the noise of A and of B, each in its own ADU."""
    apart = sample.difference.astype(np.float64)
    count = np.bincount(sample.group.ravel(), minlength=GROUPS)
    total, of_a, of_b = (
        np.bincount(sample.group.ravel(), values.ravel(), minlength=GROUPS) / count
        for values in (
            apart**2,
            apart * (sample.a - neighbourhood(sample.a)),
            -apart * (sample.b - neighbourhood(sample.b)),
        )
    )
    gain = pair.matches[1].gain
    sigma_a, sigma_b = pair.noise[0], pair.noise[1] / gain
    alike = math.isclose(sigma_a, sigma_b, rel_tol=1e-6)
    errors = []
    for sigma, own in ((sigma_a, of_a), (sigma_b, of_b)):
        variance = total / 2 if alike else total * own / (of_a + of_b)
        scatter = float(variance.std(ddof=1)) / math.sqrt(GROUPS)
        errors.append(scatter / (2 * sigma) if sigma else 0.0)
    return errors[0], errors[1] * gain
