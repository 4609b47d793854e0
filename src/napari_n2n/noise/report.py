"""The figures that two acquisitions give away without any clean image."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import special

from napari_n2n import quality
from napari_n2n.noise.advice import Evidence, advise
from napari_n2n.noise.change import drift, moved_share
from napari_n2n.noise.correlation import Correlation, autocorrelation, shared_noise
from napari_n2n.noise.outliers import Mixture, fit_mixture
from napari_n2n.noise.sample import GROUPS, Sample
from napari_n2n.noise.transfer import TransferCurve, transfer_curve
from napari_n2n.pair import Finding, Pair, saturated_share

_OUTLIER_BINS = (0, 0.25, 0.5, 0.65, 0.8, 0.9, 0.96, 1)
_FAR_SHARE = 5e-4
_OUTLYING = 4.0
_MANY_OUTLIERS = 0.05


@dataclass(frozen=True)
class NoiseReport:
    """What is known about a pair; intensities in ADU of A, lengths in pixels as (y, x).

    Attributes
    ----------
    loss, reason
        The advised loss, and a sentence that says why.
    warnings
        What a person should know, each with a way out.
    shift
        Displacement of B against A.
    gain_ratio, offset
        ``B = gain_ratio A + offset``.
    photon_gain, read_noise, pedestal
        ADU per electron, ADU, ADU; None where the noise is not that of a photon-counting camera or
        too few pixels tell.
    skewness
        Third cumulant over variance^1.5 of the ordinary noise.
    median_shift
        How far the median of the ordinary noise lies below its mean, in ADU.
    outlier_share
        Of the pixels of each acquisition that something other than noise hit.
    outlier_shift
        How far these outliers pull the mean, in ADU.
    outliers_clustered
        True where they come in patches (text, dust) rather than single pixels.
    noise_correlation, correlation_length
        At lag 1; and the width of the Gaussian blur that would correlate white noise as much.
    shared_noise
        How much of the noise both acquisitions have in common, 0 to 1.
    noise_a, noise_b
        Standard deviation of each acquisition's noise, in its own ADU.
    saturated_share, black_share
        Of the pixels at the largest value, and at zero.
    clipping_shift
        How far clipping at zero lifts the darkest pixels, in ADU.
    moved_share, drift
        See `napari_n2n.noise.change`.
    snr
        Standard deviation of the scene over that of A's noise; None without noise.
    resolution
        Finest resolved period (ring correlation of A and B); None if there is none.
    training_factor
        How many times longer training takes than with independent pixels, about.
    errors
        Standard errors of the figures that have one, by name.
    """

    loss: str
    reason: str
    warnings: tuple[Finding, ...]
    shift: tuple[float, float]
    gain_ratio: float
    offset: float
    photon_gain: float | None
    read_noise: float | None
    pedestal: float | None
    skewness: float
    median_shift: float
    outlier_share: float
    outlier_shift: float
    outliers_clustered: bool
    noise_correlation: tuple[float, float]
    correlation_length: tuple[float, float]
    shared_noise: float
    noise_a: float
    noise_b: float
    saturated_share: float
    black_share: float
    clipping_shift: float
    moved_share: float
    drift: float
    snr: float | None
    resolution: float | None
    training_factor: float
    errors: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Say it in words, a line for each figure."""
        yield f"{'loss':<14}{self.loss.upper()}: {self.reason}"
        for name, words in self.figures():
            yield f"{name:<14}{words}"
        for warning in self.warnings:
            yield f"{warning.code}: {warning.message}"

    def figures(self) -> Iterator[tuple[str, str]]:
        """Name each figure and say it in words, with its standard error where that is known."""
        yield "noise in A", f"{self.with_error('noise_a')} ADU"
        yield "noise in B", f"{self.with_error('noise_b')} ADU"
        if self.snr is not None:
            yield "SNR", f"{self.snr:.2f}"
        if self.photon_gain is not None:
            yield "photon gain", f"{self.with_error('photon_gain')} ADU/electron"
        if self.read_noise is not None:
            yield "read noise", f"{self.with_error('read_noise')} ADU"
        if self.pedestal is not None:
            yield "black level", f"{self.pedestal:.4g} ADU"
        below = "below" if self.median_shift >= 0 else "above"
        yield "skewness", self.with_error("skewness")
        yield "median", f"{abs(self.median_shift):.2g} ADU {below} the mean"
        where = " in patches" if self.outliers_clustered else ""
        yield "outliers", f"{self.outlier_share:.2%} of the pixels{where}"
        y, x = self.correlation_length
        independent = max(y, x) == 0
        yield "correlation", "none" if independent else f"over {y:.1f}, {x:.1f} pixels (y, x)"
        yield "B against A", f"gain {self.gain_ratio:.4f}, offset {self.offset:+.3g} ADU"
        yield "shift", f"{self.shift[0]:+.2f}, {self.shift[1]:+.2f} pixels (y, x)"
        yield "saturated", f"{self.saturated_share:.3%}, at zero {self.black_share:.2%}"
        if self.resolution is not None:
            yield "resolution", f"{self.resolution:.1f} pixels"

    def with_error(self, name: str) -> str:
        """Return a figure, to as many digits as its standard error leaves it."""
        value, error = getattr(self, name), self.errors.get(name, 0.0)
        if not error > 0:
            return f"{value:.3g}"
        digits = max(0, -math.floor(math.log10(error)))
        return f"{value:.{digits}f} ± {error:.{digits}f}"


@dataclass(frozen=True, eq=False)
class NoiseCurves:
    """What the figures were taken from, for plots."""

    transfer: TransferCurve
    correlation: Correlation
    differences: np.ndarray
    frequency: np.ndarray
    ring_correlation: np.ndarray


def measure_noise(pair: Pair) -> NoiseReport:
    """Measure the noise of a pair's first two acquisitions on a few planes spread over them."""
    return measure_with_curves(pair)[0]


def measure_with_curves(pair: Pair) -> tuple[NoiseReport, NoiseCurves]:
    """Measure the noise, and keep the curves behind the figures."""
    sample, match = Sample.of(pair), pair.matches[1]
    mixture = _outliers(sample)
    centre, outlying = _outlying(sample, mixture)
    curve = transfer_curve(sample, ~outlying)
    correlation = autocorrelation(sample.difference)
    share = mixture.share
    if share > _MANY_OUTLIERS:  # those that look like noise spoil the curve
        curve = replace(
            curve, photon_gain=None, read_noise=None, read_noise_error=None, pedestal=None
        )
    sigma_a, sigma_b = pair.noise[:2]
    black = float(np.mean(sample.a <= 0)) if sample.quantum else 0.0
    scene = float(np.mean((sample.a - sample.a.mean()) * (sample.b - sample.b.mean())))
    evidence = Evidence(
        outlier_share=share,
        outlier_shift=_outlier_shift(sample, centre, outlying) if share else 0.0,
        outliers_clustered=share > 0 and _clustered(outlying),
        noise=float(np.sqrt(np.mean(curve.variance))),
        signal=float(np.mean(sample.surroundings)) - (curve.pedestal or 0.0),
        skewness=curve.skewness,
        skewness_error=curve.skewness_error,
        median_shift=curve.median_shift,
        photon_gain=curve.photon_gain,
        correlation=(float(correlation.y[1]), float(correlation.x[1])),
        correlation_length=correlation.length,
        correlation_area=correlation.area,
        shared_noise=shared_noise(sample.a, sample.b),
        black_share=black,
        clipping_shift=_clipping_shift(sample, curve) if black else 0.0,
        moved_share=moved_share(sample, curve) if share < 0.01 else 0.0,
        drift=drift(sample) if share < 0.01 else 0.0,
    )
    advice = advise(evidence)
    frequency, rings = quality.fourier_ring_correlation(sample.a, sample.b)
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
        outlier_share=share,
        outlier_shift=evidence.outlier_shift,
        outliers_clustered=evidence.outliers_clustered,
        noise_correlation=evidence.correlation,
        correlation_length=correlation.length,
        shared_noise=evidence.shared_noise,
        noise_a=sigma_a,
        noise_b=sigma_b,
        saturated_share=float(
            np.mean(
                [
                    saturated_share(one, [plane for _, plane in one.spread_planes(2)])
                    for one in pair.acquisitions[:2]
                ]
            )
        ),
        black_share=black,
        clipping_shift=evidence.clipping_shift,
        moved_share=evidence.moved_share,
        drift=evidence.drift,
        snr=float(np.sqrt(max(scene, 0.0))) / sigma_a if sigma_a else None,
        resolution=quality.resolution(sample.a, sample.b),
        training_factor=advice.training_factor,
        errors=_errors(sample, curve, correlation),
    )
    return report, NoiseCurves(
        transfer=curve,
        correlation=correlation,
        differences=sample.difference[sample.valid].ravel()[:200_000] / np.sqrt(2),
        frequency=frequency,
        ring_correlation=rings,
    )


def _outliers(sample: Sample) -> Mixture:
    """Fit the mixture at several brightnesses; outliers are what all of them show.

    Photon noise in the dark has a heavy tail that looks like sparse outliers, but only there.
    Patches of outliers change the brightness around them, in the lower of two acquisitions or in
    the higher, so that both are tried.
    """
    found = [
        _outliers_by(sample, quality.neighbourhood(end(sample.a, sample.b)))
        for end in (np.minimum, np.maximum)
    ]
    return max(found, key=lambda mixture: mixture.share)


def _outliers_by(sample: Sample, brightness: np.ndarray) -> Mixture:
    a, b, m = (values[sample.valid] for values in (sample.a, sample.b, brightness))
    low, high = (float(end) for end in np.quantile(np.concatenate([a, b]), (1e-4, 1 - 1e-4)))
    fits = []
    for first, last in pairwise(np.quantile(m, _OUTLIER_BINS)):
        here = (m >= first) & (m <= last)
        if here.sum() >= 500:
            fits.append(fit_mixture(a[here], b[here], (low, high), sample.quantum))
    if not fits:
        return Mixture(0.0, 0.0, 0.0)
    bright = fits[len(fits) // 2 :]
    share, noise, far = (
        float(np.median([getattr(fit, name) for fit in group]))
        for name, group in (("share", fits), ("noise", fits), ("far", bright))
    )
    if far < _FAR_SHARE:
        return Mixture(0.0, noise, far)
    if share > 0.6:  # too few untouched pixels for a fit at every brightness
        return fit_mixture(a, b, (low, high), sample.quantum)
    return Mixture(share, noise, far)


def _outlying(sample: Sample, mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """Return the level of the ordinary pixels around each one, and which pixels are outliers."""
    if mixture.share == 0:
        return sample.surroundings, np.zeros(sample.a.shape, bool)
    far = np.abs(sample.difference) > _OUTLYING * np.sqrt(2) * mixture.noise
    mean = (sample.a + sample.b) / 2
    level = quality.neighbourhood(np.where(far, 0.0, mean).astype(np.float32))
    weight = quality.neighbourhood((~far).astype(np.float32))
    return np.where(weight > 0.02, level / np.maximum(weight, 0.02), sample.surroundings), far


def _outlier_shift(sample: Sample, centre: np.ndarray, outlying: np.ndarray) -> float:
    """Pull of the outliers on the mean: root mean square over eight signal levels, in ADU."""
    edges = np.quantile(centre, np.linspace(0, 1, 9))
    shifts = []
    for low, high in pairwise(edges):
        here = (centre >= low) & (centre <= high)
        clean = here & ~outlying
        if clean.any():
            shifts.append(float(sample.a[here].mean() - sample.a[clean].mean()))
    return float(np.sqrt(np.mean(np.square(shifts)))) if shifts else 0.0


def _clustered(outlying: np.ndarray) -> bool:
    """Tell whether outliers have outliers for neighbours more often than by chance."""
    share = float(outlying.mean())
    beside = float((outlying[..., 1:] & outlying[..., :-1]).mean())
    return beside > 2 * share**2 + 0.1 * share


def _clipping_shift(sample: Sample, curve: TransferCurve) -> float:
    """Mean of ``E[max(s + n, 0)] - s`` over the darkest tenth of the pixels, Gaussian noise."""
    level = np.quantile(sample.surroundings, 0.1)
    sigma = float(np.sqrt(curve.variance_at(np.array(level))))
    ratio = float(level) / sigma
    density = float(np.exp(-0.5 * ratio**2) / np.sqrt(2 * np.pi))
    return sigma * density - float(level) * float(special.ndtr(-ratio))


def _errors(sample: Sample, curve: TransferCurve, correlation: Correlation) -> dict[str, float]:
    errors = {"skewness": curve.skewness_error, "noise_correlation": correlation.error}
    if curve.photon_gain is not None:
        errors["photon_gain"] = curve.gain_error
    if curve.read_noise_error is not None:
        errors["read_noise"] = curve.read_noise_error
    squares = np.bincount(
        sample.group.ravel(), (sample.difference.astype(np.float64) ** 2).ravel(), minlength=GROUPS
    ) / np.bincount(sample.group.ravel(), minlength=GROUPS)
    noise = float(np.sqrt(squares.mean() / 2))
    scatter = float(squares.std(ddof=1)) / np.sqrt(GROUPS)
    errors["noise_a"] = errors["noise_b"] = scatter / (4 * noise) if noise else 0.0
    return errors
