"""The figures that two acquisitions give away without any clean image."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from napari_n2n.noise.advice import one_side
from napari_n2n.pair.checks import Finding


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
        ADU per electron, ADU, ADU; None where the noise does not grow with the signal. Read noise
        and pedestal also where neighbours share noise, and read noise where it is too little to be
        told.
    skewness
        Third cumulant over variance^1.5 of the ordinary noise.
    median_shift
        How far the median of the ordinary noise lies below its mean, in ADU.
    signal_dependent
        Whether the noise grows with the signal; None where outliers or clipping hide it.
    outlier_share, outlier_brighter
        Of the pixels of each acquisition that something other than noise hit; and the share of
        these that reads too bright, had they as much room below as above.
    missing_share
        Of the pixels that have no value: they read 0 amid others far above. Part of the outliers.
    outlier_shift
        How far these outliers pull the mean, in ADU.
    outliers_clustered
        True where they come in patches (text, dust) rather than single pixels.
    noise_correlation, correlation_length
        At lag 1; and the width of the Gaussian blur that would correlate white noise as much. None
        where outliers leave too few pixels to tell.
    shared_noise
        How much of the noise both acquisitions have in common, 0 to 1; None where the scene's own
        detail hides it.
    noise_a, noise_b
        Standard deviation of each acquisition's noise, in its own ADU.
    saturated_share, black_share
        Of the pixels at the largest value, and at zero.
    clipping_shift
        How far clipping at zero lifts the darkest pixels, in ADU.
    moved_share, drift
        See `napari_n2n.noise.change`; None where outliers hide it.
    snr
        Standard deviation of the scene over that of A's noise; None without noise.
    resolution
        Finest resolved period (ring correlation of A and B); None if there is none.
    training_factor
        How many times longer than with independent pixels training may take.
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
    signal_dependent: bool | None
    outlier_share: float
    missing_share: float
    outlier_brighter: float
    outlier_shift: float
    outliers_clustered: bool
    noise_correlation: tuple[float, float] | None
    correlation_length: tuple[float, float] | None
    shared_noise: float | None
    noise_a: float
    noise_b: float
    saturated_share: float
    black_share: float
    clipping_shift: float
    moved_share: float | None
    drift: float | None
    snr: float | None
    resolution: float | None
    training_factor: float
    errors: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    def line(self) -> str:
        """Say in one line what the noise is."""
        parts = [f"Noise {self.noise_a:.3g} and {self.noise_b:.3g} ADU in A and B"]
        if self.snr is not None:
            parts.append(f"SNR {self.snr:.2g}")
        if self.photon_gain is not None:
            parts.append(f"{self.photon_gain:.3g} ADU/electron")
        if (reach := max(self.correlation_length or (0.0,))) > 0:
            parts.append(f"correlated over {reach:.1f} px")
        if self.outlier_share > 0.001:
            parts.append(f"{self.outlier_share:.1%} outliers")
        return ", ".join(parts)

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
            yield "SNR", self.with_error("snr")
        if self.photon_gain is not None:
            yield "photon gain", f"{self.with_error('photon_gain')} ADU/electron"
        if self.read_noise is not None:
            yield "read noise", f"{self.with_error('read_noise')} ADU"
        if self.pedestal is not None:
            yield "black level", f"{self.with_error('pedestal')} ADU"
        below = "below" if self.median_shift >= 0 else "above"
        yield "skewness", self.with_error("skewness")
        yield "median", f"{self.with_error('median_shift').lstrip('-')} ADU {below} the mean"
        yield (
            "B against A",
            f"gain {self.with_error('gain_ratio')}, offset {self.with_error('offset')} ADU",
        )
        yield "shift", self._shift()
        if self.resolution is not None:
            yield "resolution", f"{self.with_error('resolution')} pixels"
        found = dict(self._found())
        yield from ((name, words) for name, words in found.items() if words)
        for heading, words in (("not found", ""), ("not told", None)):
            names = [name for name, said in found.items() if said == words]
            if names:
                yield heading, ", ".join(names)

    def _found(self) -> Iterator[tuple[str, str | None]]:
        """Name what spoils recordings, and say it in words.

        Nothing is said of what was not found, and None stands for what cannot be told.
        """
        yield "outliers", self._outliers()
        yield "correlation", self._correlation()
        yield "common noise", self._share("shared_noise", 0.05, "of it in A and B alike")
        yield "motion", self._share("moved_share", 5e-4, "of the field")
        yield "drift", self._share("drift", 0.0, "of the signal's spread")
        yield "saturation", self._share("saturated_share", 0.0, "of the pixels")
        lifted = f", dark areas {self.with_error('clipping_shift')} ADU too bright"
        black = f"of the pixels{lifted if self.clipping_shift else ''}"
        yield "zeros", self._share("black_share", 0.0, black)

    def _outliers(self) -> str:
        where = " in patches" if self.outliers_clustered else ""
        side = one_side(self.outlier_brighter)
        sides = f"all {side}" if side else "bright and dark"
        return self._share("outlier_share", 0.0, f"of the pixels{where}, {sides}") or ""

    def _correlation(self) -> str | None:
        if self.correlation_length is None:
            return None
        y, x = self.correlation_length
        length = f"{y:.1f}, {x:.1f}{self._around('correlation_length')}"
        return f"over {length} pixels (y, x)" if max(y, x) > 0 else ""

    def _share(self, name: str, unnoticed: float, of_what: str) -> str | None:
        """Say a share in percent; nothing if it is no more than what goes unnoticed."""
        share = getattr(self, name)
        if share is None:
            return None
        if share <= unnoticed:
            return ""
        error = 100 * self.errors.get(name, 0.0)
        return f"{_rounded(100 * share, error)} % {of_what}"

    def _shift(self) -> str:
        y, x = self.shift
        return f"{y:+.2f}, {x:+.2f}{self._around('shift')} pixels (y, x)"

    def _around(self, name: str) -> str:
        error = self.errors.get(name)
        return "" if error is None else f" ± {error:.2f}"

    def with_error(self, name: str) -> str:
        """Return a figure, to as many digits as its standard error leaves it."""
        return _rounded(getattr(self, name), self.errors.get(name, 0.0))


def _rounded(value: float, error: float) -> str:
    """Write a figure and its standard error, to the first digit of the latter."""
    if not error > 0:
        return f"{value:.3g}"
    digits = max(0, -math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
