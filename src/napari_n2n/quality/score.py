"""Scores of a result, against another acquisition and against a clean image (truth)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.long_axes import long_shape
from napari_n2n.noise.measure import measure_noise
from napari_n2n.pair.empty_areas import filled
from napari_n2n.pair.hits import without_hits
from napari_n2n.pair.pair import Pair
from napari_n2n.stats import image_quality
from napari_n2n.stats.statistics import Measurement

_PLANES = 32  # more: slightly smaller standard errors, more memory and time
# Share of outliers above which outliers dominate the mean squared error, so that it is not
# reported.
_MOST_OUTLIERS = 0.02


@dataclass(frozen=True)
class Score:
    """Scores of one result; None if a score could not be determined.

    Attributes
    ----------
    psnr_reference_free, psnr_reference_free_se
        Reference-free PSNR in dB, and its standard error.
    residual_correlation
        Lag-1 correlation of the other acquisition minus the result: 0 if only noise is left.
    resolution
        Finest period in pixels that the raw acquisitions resolve.
    psnr, ssim
        PSNR in dB and SSIM against the truth.
    data_range
        Range of intensities (ADU) that the PSNRs refer to.
    reason
        Why a score is missing.
    """

    psnr_reference_free: float | None
    psnr_reference_free_se: float | None
    residual_correlation: float
    resolution: float | None
    psnr: float | None
    ssim: float | None
    data_range: float
    reason: str | None

    def lines(self) -> Iterator[str]:
        """Yield one line of text for each score."""
        if self.psnr_reference_free is not None:
            yield (
                f"PSNR without a clean image  {self.psnr_reference_free:.2f} "
                f"+- {self.psnr_reference_free_se:.2f} dB (range {self.data_range:g})"
            )
        if self.psnr is not None and self.ssim is not None:
            yield f"PSNR against the truth      {self.psnr:.2f} dB"
            yield f"SSIM against the truth      {self.ssim:.4f}"
        yield f"residual correlation        {self.residual_correlation:+.4f}"
        if self.resolution is not None:
            yield f"resolution of the raw data  {self.resolution:.1f} pixels"
        if self.reason is not None:
            yield f"missing: {self.reason}"


def score_result(
    result: Any,
    against: Any,
    *,
    source: Any = None,
    truth: Any = None,
    axes: str | None = None,
) -> Score:
    """Score a result on up to 32 evenly spread planes.

    Parameters
    ----------
    result
        The denoised `source`, computed from it alone and on its intensity scale.
    against
        An acquisition of the same scene that was not used for the result.
    source
        The acquisition that was denoised; without it the noise of `against` is unknown and there
        is no reference-free PSNR.
    truth
        A clean image.
    axes
        Letters of the dimensions, instead of those in the sources.

    Raises
    ------
    BadInput
        If an image cannot be read or the shapes differ.
    """
    made, other = (Acquisition.open(one, axes=axes) for one in (result, against))
    clean = _stack(made)
    estimate, finest, reason = Measurement(None, None), None, None
    scale = image_quality.data_range(other.plane(other.plane_count // 2))
    if source is not None:
        pair = Pair.open(source, other, axes=axes)
        _check_shape(made, pair.first)
        planes = pair.planes(_PLANES)
        a, b = planes.views[:2]
        if pair.leaves_out or pair.pattern.is_notable:
            scale = image_quality.data_range(b[len(b) // 2].astype(other.dtype))
        seen = np.stack([plane for _, plane in made.planes_at(planes.numbers)])
        seen = filled(seen, planes.empty)
        b = pair.matches[1].inverse(b)
        weight = 1.0 - (planes.empty | planes.bad)
        seen = np.where(planes.bad, b, seen)
        if pair.hits is not None:
            weight = weight * ~pair.hits.in_either(a, b)
            a, b = without_hits((a, b), pair.hits)
        finest = image_quality.resolution(a, b).value
        outliers = measure_noise(pair).outlier_share
        if outliers > _MOST_OUTLIERS:
            reason = (
                f"outliers on {outliers:.1%} of the pixels make a mean squared error meaningless"
            )
        else:
            error = image_quality.reference_free_error(seen, a, b, weight)
            estimate = image_quality.psnr_reference_free(error, scale)
            if estimate.value is None:
                reason = (
                    "the error of the result is too small to be determined from this many pixels"
                )
    else:
        _check_shape(made, other)
        seen, b = clean, _stack(other)
        reason = "a PSNR without a clean image needs the denoised acquisition (--input)"
    with_truth: tuple[float | None, float | None] = (None, None)
    if truth is not None:
        true = Acquisition.open(truth, axes=axes)
        _check_shape(made, true)
        with_truth = (
            image_quality.psnr(_stack(true), clean, scale),
            image_quality.ssim(_stack(true), clean, scale),
        )
    return Score(
        psnr_reference_free=estimate.value,
        psnr_reference_free_se=estimate.error,
        residual_correlation=image_quality.residual_correlation(seen, b),
        resolution=finest,
        psnr=with_truth[0],
        ssim=with_truth[1],
        data_range=scale,
        reason=reason,
    )


def _stack(acquisition: Acquisition) -> np.ndarray:
    return np.stack([plane for _, plane in acquisition.spread_planes(_PLANES)])


def _check_shape(result: Acquisition, other: Acquisition) -> None:
    if long_shape(result) != long_shape(other):
        raise BadInput(
            f"{result.name}: shape {result.shape} differs from {other.name}'s {other.shape}: "
            "score a result against acquisitions of the same field of view, without a shift",
            "shape",
        )
