"""From figures to a loss, a sentence that says why, and warnings with a way out."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_n2n.pair.checks import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_n2n.noise.report import NoiseReport

MOST_FOR_MEDIAN = 0.45
_FEWEST_OUTLIERS = 2e-3
_ONE_SIDED = 0.9
_CLIPPED = 0.02


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the advice is drawn from; see `napari_n2n.noise.report.NoiseReport` for the figures."""

    outlier_share: float
    missing_share: float
    outlier_brighter: float
    outlier_shift: float
    outliers_clustered: bool
    noise: float
    signal: float
    skewness: float
    skewness_error: float
    median_shift: float
    photon_gain: float | None
    correlated: bool
    correlation: tuple[float, float]
    correlation_length: tuple[float, float]
    correlation_area: float
    shared_noise: float | None
    black_share: float
    clipping_shift: float
    clipped_mean_shift: float
    clipped_median_shift: float
    moved_share: float | None
    drift: float | None


@dataclass(frozen=True, slots=True)
class Advice:
    """A loss by name, why, what to know, and how many times longer to train."""

    loss: str
    reason: str
    warnings: tuple[Finding, ...]
    training_factor: float


def advise(evidence: Evidence) -> Advice:
    """Choose the loss whose statistic lies nearest to the clean signal."""
    loss, reason = _loss(evidence)
    factor = 1.0
    if evidence.correlated:
        factor = min(4.0, max(1.0, math.sqrt(evidence.correlation_area)))
        reach = max(evidence.correlation_length)
        reason += (
            f" The noise is correlated over {reach:.1f} px: training takes longer, up to "
            f"{factor:.1f} times."
        )
    return Advice(loss, reason, tuple(_warnings(evidence)), factor)


def _loss(evidence: Evidence) -> tuple[str, str]:
    share = evidence.outlier_share
    hit = _hit(evidence)
    if _lacks_too_much(evidence):
        missing = f"{evidence.missing_share:.0%}"
        return "l2", (
            f"{missing} of the pixels are missing (they read 0), too many for the median or the "
            f"most common value: L2 finds the mean, {missing} too dark."
        )
    if share > MOST_FOR_MEDIAN:
        return "l0", (
            f"{share:.0%} of the pixels are {hit}: only the most common value is right, so L0."
        )
    if share > _FEWEST_OUTLIERS and evidence.outlier_shift > abs(evidence.median_shift):
        return "l1", (
            f"{share:.1%} of the pixels are {hit}: L1 ignores them, L2 would be off by "
            f"{evidence.outlier_shift:.2g} ADU."
        )
    if share > _FEWEST_OUTLIERS:
        return "l2", (
            f"{share:.1%} of the pixels are {hit}, which moves the mean by only "
            f"{evidence.outlier_shift:.2g} ADU; the median would be off by "
            f"{abs(evidence.median_shift):.2g} ADU, so L2."
        )
    lifted = evidence.clipped_mean_shift - evidence.clipped_median_shift
    if lifted > max(abs(evidence.median_shift), _CLIPPED * evidence.noise):
        return "l1", (
            f"Noise is cut off at zero, which lifts the mean by {evidence.clipped_mean_shift:.2g} "
            f"ADU on average and the median by {evidence.clipped_median_shift:.2g} ADU, so L1."
        )
    skewed = abs(evidence.skewness) > max(0.05, 3 * evidence.skewness_error)
    photons = "Photon noise" if evidence.photon_gain is not None else "Noise"
    if skewed and evidence.signal > 0:
        side = "low" if evidence.median_shift > 0 else "high"
        off = min(abs(evidence.median_shift) / evidence.signal, 1.0)
        return "l2", f"{photons}, skewed: the median would read {off:.1%} {side}, so L2."
    return "l2", f"{photons} that averages out to the signal: L2 finds its mean."


def _lacks_too_much(evidence: Evidence) -> bool:
    """Tell whether outliers are too many for the median, and zero is too common for the mode."""
    many = evidence.outlier_share > MOST_FOR_MEDIAN
    return many and evidence.missing_share > evidence.outlier_share / 4


def one_side(brighter: float) -> str | None:
    """Name the side that the outliers are on, by the share that reads too bright; None for both."""
    if brighter > _ONE_SIDED:
        return "bright"
    return "dark" if brighter < 1 - _ONE_SIDED else None


def _hit(evidence: Evidence) -> str:
    """Say what happened to the pixels that are off."""
    side = one_side(evidence.outlier_brighter)
    if evidence.missing_share > evidence.outlier_share / 2:
        return "missing (they read 0)"
    if evidence.outliers_clustered:
        return f"hit by {side} patches" if side else "hit by text or dust"
    return f"hit by {side} outliers" if side else "hit by outliers of any value"


def _warnings(evidence: Evidence) -> list[Finding]:
    found = []
    if evidence.shared_noise is not None and evidence.shared_noise > 0.15:
        found.append(
            Finding(
                "duplicate",
                f"About {evidence.shared_noise:.0%} of the noise is the same in A and B and will "
                "stay in the result: use separate exposures, not overlapping averages or copies, "
                "and correct fixed patterns first.",
            )
        )
    if evidence.correlated:
        y, x = evidence.correlation
        found.append(
            Finding(
                "correlated_noise",
                f"Neighbouring pixels share noise (correlation {y:.2f} in y, {x:.2f} in x): give "
                "the training more time, and turn off smoothing in the camera software.",
            )
        )
    if _lacks_too_much(evidence):
        found.append(
            Finding(
                "missing",
                f"{evidence.missing_share:.0%} of the pixels read 0 amid others far above, and no "
                "loss finds what is there: fill them from their neighbours first, or record again.",
            )
        )
    if evidence.clipping_shift > 0.02 * evidence.noise and evidence.black_share > 0.01:
        found.append(
            Finding(
                "clipped",
                f"{evidence.black_share:.1%} of the pixels are cut off at zero: dark areas read "
                f"about {evidence.clipping_shift:.2g} ADU too bright. Raise the camera's offset.",
            )
        )
    if evidence.moved_share is not None and evidence.moved_share > 2e-3:
        found.append(
            Finding(
                "motion",
                f"{evidence.moved_share:.1%} of the field differs between A and B by more than "
                "noise: what moves will blur. Take both faster after each other, or split one "
                "stack into even and odd frames.",
            )
        )
    if evidence.drift is not None and evidence.drift > 0.1:
        found.append(
            Finding(
                "drift",
                f"The brightness of parts of the field changes between A and B by up to "
                f"{evidence.drift:.0%} of the signal's spread: bleaching, focus or illumination "
                "drifted. Alternate the exposures of A and B.",
            )
        )
    return found


_ROBUSTNESS = ("hdr", "l2", "l1", "l0")


def advised_loss(reports: "Sequence[NoiseReport]") -> str:
    """Return the loss that suits all channels: the one that bears the most outliers."""
    return max((report.loss for report in reports), key=_ROBUSTNESS.index)
