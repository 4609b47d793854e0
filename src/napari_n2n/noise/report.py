"""The figures that two acquisitions give away without any clean image."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from napari_n2n import quality
from napari_n2n.pair import Finding, Pair, saturated_share

_PLANES = 6


@dataclass(frozen=True)
class NoiseReport:
    """What is known about a pair; intensities in ADU, lengths in pixels, (y, x).

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
    noise_a, noise_b
        Standard deviation of each acquisition's noise.
    saturated_share
        Share of the pixels of both that are saturated.
    resolution
        Finest resolved period (ring correlation of A and B at 1/7); None if there is none.
    """

    loss: str
    reason: str
    warnings: tuple[Finding, ...]
    shift: tuple[float, float]
    gain_ratio: float
    offset: float
    noise_a: float
    noise_b: float
    saturated_share: float
    resolution: float | None
    photon_gain: float | None = None
    read_noise: float | None = None
    skewness: float | None = None
    outlier_share: float | None = None
    noise_correlation: tuple[float, float] | None = None
    correlation_length: tuple[float, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Say it in words, a line for each figure."""
        yield f"loss        {self.loss.upper()}: {self.reason}"
        yield f"noise       A {self.noise_a:.3g} ADU, B {self.noise_b:.3g} ADU"
        yield f"B against A gain {self.gain_ratio:.4f}, offset {self.offset:+.3g} ADU"
        yield f"shift       {self.shift[0]:+.2f}, {self.shift[1]:+.2f} pixels (y, x)"
        yield f"saturated   {self.saturated_share:.3%}"
        if self.resolution is not None:
            yield f"resolution  {self.resolution:.1f} pixels"
        for warning in self.warnings:
            yield f"{warning.code}: {warning.message}"


def measure_noise(pair: Pair) -> NoiseReport:
    """Measure the noise of a pair's first two acquisitions on a few planes spread over them."""
    first, second = pair.acquisitions[:2]
    match = pair.matches[1]
    a, b = (
        np.stack([plane for _, plane in acquisition.spread_planes(_PLANES)])
        for acquisition in (first, second)
    )
    b_as_a = match.inverse(b)
    surroundings = quality.neighbourhood((a + b_as_a) / 2)
    # E[(A - m)(A - B)] = var(A): B's noise and the scene drop out (m: the pixel's surroundings).
    variance_a = float(np.mean((a - surroundings) * (a - b_as_a), dtype=np.float64))
    variance_b = float(np.mean((b_as_a - surroundings) * (b_as_a - a), dtype=np.float64))
    return NoiseReport(
        loss="l2",
        reason="L2 finds the mean, which is the clean signal wherever the noise averages out.",
        warnings=pair.findings,
        shift=pair.shift,
        gain_ratio=match.gain,
        offset=match.offset,
        noise_a=float(np.sqrt(max(variance_a, 0.0))),
        noise_b=float(np.sqrt(max(variance_b, 0.0)) * match.gain),
        saturated_share=(saturated_share(first, list(a)) + saturated_share(second, list(b))) / 2,
        resolution=quality.resolution(a, b_as_a),
    )
