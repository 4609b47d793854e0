"""From a pair to its noise report, and the curves behind the figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_n2n.noise.advice import Evidence, advise
from napari_n2n.noise.correlation import Correlation
from napari_n2n.noise.figures import Figures
from napari_n2n.noise.report import NoiseReport
from napari_n2n.noise.sample import Sample
from napari_n2n.noise.standard_errors import standard_errors
from napari_n2n.noise.transfer import TransferCurve
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.recordings import first_field
from napari_n2n.stats import image_quality

_FOR_HISTOGRAM = 200_000


@dataclass(frozen=True, eq=False)
class NoiseCurves:
    """What the figures were taken from, for plots."""

    transfer: TransferCurve
    correlation: Correlation
    differences: np.ndarray
    frequency: np.ndarray
    ring_correlation: np.ndarray

    def as_dict(self) -> dict[str, dict[str, list[float | None]]]:
        """Return plain JSON: the values of each plot, but for the single differences."""
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


def _spread(values: np.ndarray) -> np.ndarray:
    """Take some of many values, from all over."""
    return values[:: max(1, len(values) // _FOR_HISTOGRAM)]


def measure_noise(pair: Pair) -> NoiseReport:
    """Measure the noise of a pair's first two acquisitions on a few planes spread over them."""
    return measure_with_curves(pair)[0]


def measure_with_curves(pair: Pair) -> tuple[NoiseReport, NoiseCurves]:
    """Measure the noise, and keep the curves behind the figures."""
    found, match = Figures.of(Sample.of(pair)), pair.matches[1]
    sample = found.sample
    outliers, curve, correlation = found.outliers, found.curve, found.correlation
    sigma_a, sigma_b = pair.noise[:2]
    evidence = Evidence(
        outlier_share=outliers.share,
        missing_share=outliers.missing,
        outlier_brighter=outliers.brighter,
        outlier_shift=outliers.shift,
        outliers_clustered=outliers.clustered,
        noise=float(np.sqrt(np.mean(curve.variance))),
        signal=float(np.mean(sample.surroundings)) - (curve.pedestal or 0.0),
        skewness=curve.skewness,
        skewness_error=curve.skewness_error,
        median_shift=curve.median_shift,
        photon_gain=curve.photon_gain,
        correlated=correlation.matters,
        correlation=correlation.of_neighbours or (0.0, 0.0),
        correlation_length=correlation.length,
        correlation_area=correlation.area,
        shared_noise=found.shared_noise,
        black_share=sample.black_share,
        clipping_shift=found.clipping.shift,
        clipped_mean_shift=found.clipping.mean_shift,
        clipped_median_shift=found.clipping.median_shift,
        moved_share=found.moved_share,
        drift=found.drift,
    )
    advice = advise(evidence)
    frequency, rings = image_quality.fourier_ring_correlation(sample.a, sample.b)
    report = NoiseReport(
        loss=advice.loss,
        reason=advice.reason,
        warnings=(*pair.findings, *advice.warnings),
        shift=pair.shift,
        gain_ratio=match.gain,
        offset=match.offset,
        photon_gain=curve.photon_gain,
        read_noise=curve.read_noise,
        pedestal=curve.pedestal,
        skewness=curve.skewness,
        median_shift=curve.median_shift,
        signal_dependent=found.signal_dependent,
        outlier_share=outliers.share,
        missing_share=outliers.missing,
        outlier_brighter=outliers.brighter,
        outlier_shift=outliers.shift,
        outliers_clustered=outliers.clustered,
        noise_correlation=correlation.of_neighbours,
        correlation_length=correlation.length if correlation.of_neighbours else None,
        shared_noise=evidence.shared_noise,
        noise_a=sigma_a,
        noise_b=sigma_b,
        saturated_share=sample.saturated_share,
        black_share=sample.black_share,
        clipping_shift=evidence.clipping_shift,
        moved_share=evidence.moved_share,
        drift=evidence.drift,
        snr=sample.contrast / sigma_a if sigma_a else None,
        resolution=image_quality.resolution(sample.a, sample.b),
        training_factor=advice.training_factor,
        errors=standard_errors(pair, found),
    )
    return report, NoiseCurves(
        transfer=curve,
        correlation=correlation,
        differences=_spread(sample.difference[sample.valid]) / np.sqrt(2),
        frequency=frequency,
        ring_correlation=rings,
    )


def measure_channels(pairs: Sequence[Pair]) -> list[NoiseReport]:
    """Measure the noise of every channel, on its first field of view."""
    return [measure_noise(pair) for pair in first_field(pairs)]
