"""Measure the noise of a pair: the noise report, and curves for plots."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_n2n.noise.advice import advise
from napari_n2n.noise.analysis import Analysis
from napari_n2n.noise.correlation import Correlation
from napari_n2n.noise.figures import NoiseFigures
from napari_n2n.noise.neighbouring_planes import depth_correlation
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.noise.photon_transfer import TransferCurve
from napari_n2n.noise.report import NoiseReport
from napari_n2n.noise.sample import Sample
from napari_n2n.noise.single_noise import measure_single
from napari_n2n.noise.single_report import SingleReport
from napari_n2n.noise.standard_errors import standard_errors
from napari_n2n.pair.matching import VAGUE
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.recordings import first_field
from napari_n2n.stats import image_quality
from napari_n2n.stats.statistics import noise_excess

Report = NoiseReport | SingleReport
"""The noise of two recordings of a scene, or of one."""

# Number of pixels in the histogram: enough to show tails down to 1 in 100,000 pixels.
_FOR_HISTOGRAM = 200_000


@dataclass(frozen=True, eq=False)
class NoiseCurves:
    """The curves from which the figures were measured, for plots."""

    transfer: TransferCurve
    correlation: Correlation
    differences: np.ndarray
    frequency: np.ndarray
    ring_correlation: np.ndarray

    def as_dict(self) -> dict[str, dict[str, list[float | None]]]:
        """Return plain JSON: the values of each plot, without the differences of single pixels."""
        transfer, correlation = self.transfer, self.correlation
        curves = {
            "photon_transfer": {
                "mean": transfer.mean,
                "variance": transfer.variance,
                "variance_error": transfer.variance_error,
                "robust_variance": transfer.robust_variance,
            },
            "noise_correlation": {"y": correlation.y, "x": correlation.x},
            "ring_correlation": {
                "frequency": self.frequency,
                "correlation": self.ring_correlation,
            },
        }
        return {
            name: {
                axis: [float(value) if np.isfinite(value) else None for value in values]
                for axis, values in curve.items()
            }
            for name, curve in curves.items()
        }


def measure_noise(pair: Pair) -> Report:
    """Measure the noise of a pair, or of a single recording, on up to six planes."""
    return measure_single(pair) if pair.is_single else measure_pair(pair)


def measure_pair(pair: Pair) -> NoiseReport:
    """Measure the noise of a pair; see `measure_noise`."""
    return _report(pair, Analysis.of(Sample.of(pair)))


def measure_with_curves(pair: Pair) -> tuple[NoiseReport, NoiseCurves]:
    """Measure the noise of a pair; return the report and the curves for plots."""
    analysis = Analysis.of(Sample.of(pair))
    sample = analysis.sample
    differences = sample.difference[sample.valid] / np.sqrt(2)
    frequency, rings = image_quality.fourier_ring_correlation(sample.a, sample.b)
    return _report(pair, analysis), NoiseCurves(
        transfer=analysis.curve,
        correlation=analysis.correlation,
        differences=differences[:: max(1, len(differences) // _FOR_HISTOGRAM)],
        frequency=frequency,
        ring_correlation=rings,
    )


def _report(pair: Pair, analysis: Analysis) -> NoiseReport:
    figures = _figures(pair, analysis)
    advice = vars(advise(figures))
    advice["warnings"] = (*pair.findings, *advice["warnings"])
    return NoiseReport(**advice, **vars(figures))


def _figures(pair: Pair, analysis: Analysis) -> NoiseFigures:
    sample, outliers, clipping = analysis.sample, analysis.outliers, analysis.clipping
    curve, correlation = analysis.curve, analysis.correlation
    noise_a, noise_b = pair.noise[:2]
    model = NoiseModel.of(analysis)
    depth = depth_correlation(pair)
    resolution = image_quality.resolution(sample.a, sample.b)
    errors = standard_errors(pair, analysis) | ({"depth_correlation": depth[1]} if depth else {})
    known = pair.matches[1].gain != 1 or errors.get("gain_ratio", np.inf) < VAGUE
    if not known:
        errors = {name: e for name, e in errors.items() if name not in ("gain_ratio", "offset")}
    if resolution.error is not None:
        errors["resolution"] = resolution.error
    return NoiseFigures(
        shift=pair.shift,
        gain_ratio=pair.matches[1].gain if known else None,
        offset=pair.matches[1].offset if known else None,
        photon_gain=curve.photon_gain,
        read_noise=curve.read_noise,
        pedestal=curve.pedestal,
        skewness=curve.skewness,
        median_shift=curve.median_shift,
        signal_dependent=analysis.signal_dependent,
        outlier_share=outliers.share,
        missing_share=outliers.missing,
        outlier_brighter=outliers.brighter,
        outlier_shift=outliers.shift,
        outliers_clustered=outliers.clustered,
        hits=pair.hits.count if pair.hits else 0,
        **_fixed_pattern(pair),
        bad_frames=pair.bad_planes,
        empty_share=pair.empty_share,
        pulse_share=outliers.pulse_share,
        pulses_certain=outliers.pulses_certain,
        noise_correlation=correlation.of_neighbours,
        correlation_length=correlation.length if correlation.of_neighbours else None,
        correlation_area=correlation.area,
        shared_noise=analysis.shared_noise,
        noise_a=noise_a,
        noise_b=noise_b,
        noise=float(np.sqrt(np.mean(curve.variance))),
        noise_excess=(
            noise_excess(sample.a, model.variance_at),
            noise_excess(sample.b, model.variance_at),
        ),
        signal=float(np.mean(sample.surroundings)) - (curve.pedestal or 0.0),
        saturated_share=sample.saturated_share,
        black_share=sample.black_share,
        clipping_shift=clipping.shift,
        clipped_mean_shift=clipping.mean_shift,
        clipped_median_shift=clipping.median_shift,
        moved_share=analysis.moved_share,
        drift=analysis.drift,
        snr=sample.contrast / noise_a if noise_a else None,
        depth_correlation=None if depth is None else depth[0],
        resolution=resolution.value,
        noise_model=model,
        errors=errors,
    )


def _fixed_pattern(pair: Pair) -> dict[str, Any]:
    """Return the figures of the fixed pattern of the detector."""
    pattern = pair.pattern
    return {
        "hot_pixels": len(pattern.hot),
        "dead_pixels": len(pattern.dead),
        "hot_pixel_share": pattern.hot_share,
        "column_offsets": pattern.columns and pattern.columns.rms,
        "row_offsets": pattern.rows and pattern.rows.rms,
    }


def measure_channels(pairs: Sequence[Pair]) -> list[Report]:
    """Measure the noise of every channel in the first field of view."""
    return [measure_noise(pair) for pair in first_field(pairs)]
