"""Recommend a loss for the noise figures of a pair, and warn of problems to correct first."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from napari_n2n.noise.correlation import CORRELATED
from napari_n2n.noise.figures import NoiseFigures
from napari_n2n.pair.checks import Finding, other_scenes

# Share of outliers up to which the median is used: it fails at one half; the difference is a margin
# for the error of the measured share.
_MOST_FOR_MEDIAN = 0.45
# Share of outliers below which they are not mentioned and do not decide the loss.
_FEWEST_OUTLIERS = 2e-3
# Share of outliers on one side above which all are called bright, or dark.
_ONE_SIDED = 0.9
# Share of saturated pixels that decides the loss: with fewer, L2 was as good or better on real
# scenes (benchmarks/README.md).
_SATURATED = 1e-2
# Shift of the mean by clipping, in standard deviations of the noise, that is worth a warning.
_CLIPPED = 0.02
# Smallest skewness that is reported: it shifts the median by skewness / 6, here 1 % of the noise.
_SKEWED = 0.05
# Part of the correlation of neighbours that is left at the largest lag (8 pixels) above which whole
# lines share noise: it is 0.9 to 1 for lines that flicker, and 0 for noise smoothed over 2 pixels.
_UNDIMINISHED = 0.7
# Longest training advised for correlated noise, as a multiple of that for white noise.
_LONGEST = 4.0
# Ratio of the noise of A and B below which the smaller noise counts as zero: only a 2500 times
# longer exposure would reach this ratio.
_SMOOTHED = 0.02
# Limits above which a warning is given: share of the noise that A and B have in common; share of
# pixels at zero; share of the field of view that moved; drift divided by the spread of the signal.
_SHARED, _BLACK, _MOVED, _DRIFTED = 0.15, 0.01, 2e-3, 0.1


@dataclass(frozen=True)
class Advice:
    """A recommended loss, with warnings about the acquisitions.

    Attributes
    ----------
    loss, reason
        Name of the recommended loss, and a sentence that gives the reason.
    warnings
        Problems of the acquisitions, each with a fix.
    training_factor
        Longest training, as a multiple of that for white noise.
    """

    loss: str
    reason: str
    warnings: tuple[Finding, ...]
    training_factor: float


def advise(figures: NoiseFigures) -> Advice:
    """Choose the loss whose statistic is closest to the clean signal."""
    loss, reason = _loss(figures)
    factor = 1.0
    if _correlated(figures):
        factor = min(_LONGEST, max(1.0, math.sqrt(figures.correlation_area)))
        lines, reach = _flickering(figures), max(figures.correlation_length or (0.0,))
        where = f"the same along whole {lines}" if lines else f"correlated over {reach:.1f} px"
        reason += f" The noise is {where}: training takes longer, up to {factor:.1f} times."
    return Advice(loss, reason, tuple(_warnings(figures)), factor)


def report_lines(advice: Advice, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the loss with its reason, a line for each figure, and the warnings.

    For acquisitions of different scenes only this warning is yielded.
    """
    others = other_scenes(advice.warnings)
    if not others:
        yield f"{'loss':<15}{advice.loss.upper()}: {advice.reason}"
        for name, text in rows:
            yield f"{name:<15}{text}"
    for warning in others or advice.warnings:
        yield f"{warning.code}: {warning.message}"


def one_side(brighter: float) -> str | None:
    """Return "bright" or "dark" if nearly all outliers are of this kind, else None."""
    if brighter > _ONE_SIDED:
        return "bright"
    return "dark" if brighter < 1 - _ONE_SIDED else None


def _loss(figures: NoiseFigures) -> tuple[str, str]:
    share = figures.outlier_share
    hit = _hit(figures)
    if _lacks_too_much(figures):
        missing = f"{figures.missing_share:.0%}"
        return "l2", (
            f"{missing} of the pixels are {_missing(figures)}, too many for the median or the "
            f"most common value: L2 finds the mean, {missing} too dark."
        )
    if share > _FEWEST_OUTLIERS and _has_single_outliers(figures):
        return "likelihood", (
            f"{share:.1%} of the pixels are {hit}: the likelihood of the measured noise leaves "
            f"them out, L2 would be off by {figures.outlier_shift:.2g} ADU."
        )
    if share > _MOST_FOR_MEDIAN:
        return "l0", (
            f"{share:.0%} of the pixels are {hit}: only the most common value is right, so L0."
        )
    if share > _FEWEST_OUTLIERS and figures.outlier_shift > abs(figures.median_shift):
        return "l1", (
            f"{share:.1%} of the pixels are {hit}: L1 ignores them, L2 would be off by "
            f"{figures.outlier_shift:.2g} ADU."
        )
    if share > _FEWEST_OUTLIERS:
        return "l2", (
            f"{share:.1%} of the pixels are {hit}, which moves the mean by only "
            f"{figures.outlier_shift:.2g} ADU; the median would be off by "
            f"{abs(figures.median_shift):.2g} ADU, so L2."
        )
    if figures.pulse_share > _FEWEST_OUTLIERS:
        return "l2", _of_pulses(figures)
    beyond = _beyond_limits(figures)
    if beyond:
        return "likelihood", (
            f"{beyond}: the likelihood of the measured noise takes the detector's limits into "
            "account."
        )
    model = figures.noise_model
    if model.spans_wide_range:
        dark, bright = (math.sqrt(end(model.variances)) for end in (min, max))
        return "likelihood", (
            f"The noise is {dark:.2g} ADU in dim structures and {bright:.2g} ADU in the brightest: "
            "the likelihood of the measured noise finds the mean of both, L2 would neglect the dim "
            "ones."
        )
    skewed = abs(figures.skewness) > max(_SKEWED, 3 * figures.errors["skewness"])
    photons = "Photon noise" if figures.signal_dependent else "Noise"
    if skewed and figures.signal > 0:
        side = "low" if figures.median_shift > 0 else "high"
        off = min(abs(figures.median_shift) / figures.signal, 1.0)
        return "l2", f"{photons}, skewed: the median would read {off:.1%} {side}, so L2."
    return "l2", f"{photons} that averages out to the signal: L2 finds its mean."


def _has_single_outliers(figures: NoiseFigures) -> bool:
    """Return whether outliers of any value hit single pixels and matter more than the skewness."""
    alike = figures.outliers_clustered or figures.missing_share > figures.outlier_share / 2
    return not alike and figures.outlier_shift > abs(figures.median_shift)


def _beyond_limits(figures: NoiseFigures) -> str:
    """Return a description of the values beyond the detector's limits; empty if they are few."""
    raised = figures.clipped_mean_shift
    if raised > max(abs(figures.median_shift), _CLIPPED * figures.noise):
        return (
            f"Noise is cut off at {_lower_limit(figures)}, which raises the mean by {raised:.2g} "
            "ADU on average"
        )
    stuck = sum(figures.noise_model.stuck)
    if stuck > _FEWEST_OUTLIERS:
        return f"{stuck:.1%} of the pixels are outliers at the detector's limits"
    if figures.saturated_share > _SATURATED:
        return f"{figures.saturated_share:.1%} of the pixels are saturated"
    return ""


def _of_pulses(figures: NoiseFigures) -> str:
    """Return the reason for the mean if few pixels have large pulses."""
    share = f"{figures.pulse_share:.1%} of the pixels"
    if figures.pulses_certain:
        return (
            f"Photon pulses on {share}, more of them where the image is brighter: L2 keeps their "
            "light, the median would lose it."
        )
    return (
        f"{share} are far brighter than the others. The scene has too little contrast to tell "
        "photon pulses from outliers: L2 keeps all light; choose L1 if they are outliers."
    )


def _correlated(figures: NoiseFigures) -> bool:
    return max(figures.noise_correlation or (0.0,)) > CORRELATED


def _shared_by_neighbours(figures: NoiseFigures, y: float, x: float) -> Finding:
    """Return the warning of noise that is correlated by `y` and `x` at lag 1."""
    lines = _flickering(figures)
    what = f"Whole {lines} flicker" if lines else "Neighbouring pixels share noise"
    fix = "use a slower readout" if lines else "turn off smoothing"
    return Finding(
        "correlated_noise",
        f"{what} (correlation {y:.2f} in y, {x:.2f} in x): give the training more time, and {fix} "
        "in the camera software.",
    )


def _flickering(figures: NoiseFigures) -> str:
    """Return "rows" or "columns" if whole lines have their own noise, else an empty text.

    The correlation along such lines is the same at all lags, and there is none across; that of
    smoothed noise decreases.
    """
    if not (correlation := figures.noise_model.correlation):
        return ""
    down, across = correlation
    for name, along, other in (("columns", down, across), ("rows", across, down)):
        if along[-1] > _UNDIMINISHED * along[1] and other[1] < CORRELATED < along[1]:
            return name
    return ""


def _lacks_too_much(figures: NoiseFigures) -> bool:
    """Return whether outliers are too many for the median, and zeros too many for the mode."""
    many = figures.outlier_share > _MOST_FOR_MEDIAN
    return many and figures.missing_share > figures.outlier_share / 4


def _lower_limit(figures: NoiseFigures) -> str:
    """Return the lower limit of the values in words."""
    limit = figures.noise_model.lower_limit
    return f"{limit:g} ADU" if limit else "zero"


def _missing(figures: NoiseFigures) -> str:
    return f"missing (they read {_missing_value(figures)})"


def _missing_value(figures: NoiseFigures) -> str:
    """Return the value of missing pixels, the smallest of all; 0 if it is 0 within the noise."""
    value = figures.noise_model.outlier_range[0]
    return f"{value:.3g}" if abs(value) > figures.noise_a else "0"


def _hit(figures: NoiseFigures) -> str:
    """Return a description of the pixels that are outliers."""
    side = one_side(figures.outlier_brighter)
    if figures.missing_share > figures.outlier_share / 2:
        return _missing(figures)
    if figures.outliers_clustered:
        return f"hit by {side} patches" if side else "hit by text or dust"
    return f"hit by {side} outliers" if side else "hit by outliers of any value"


def _warnings(figures: NoiseFigures) -> Iterator[Finding]:
    noises = {"A": figures.noise_a, "B": figures.noise_b / (figures.gain_ratio or 1.0)}
    smoothest = min(noises, key=lambda name: noises[name])
    if noises[smoothest] < _SMOOTHED * max(noises.values()):
        yield Finding(
            "smoothed",
            f"{smoothest} has no noise of its own: it was smoothed, denoised, or computed from the "
            "other one. Choose two recordings as the detector wrote them.",
        )
    if figures.gain_ratio is None:
        yield Finding(
            "gain",
            "The gain of B against A could not be measured, because the scene has too little "
            "contrast or outliers hide it: taken as 1. Record both with the same exposure and "
            "detector gain.",
        )
    if figures.shared_noise is not None and figures.shared_noise > _SHARED:
        yield Finding(
            "duplicate",
            f"About {figures.shared_noise:.0%} of the noise is the same in A and B and will "
            "stay in the result: a fixed pattern of the detector (every pixel has its own offset "
            "or gain), or overlapping averages or copies. Subtract dark frames "
            "(option dark), or use separate exposures.",
        )
    if figures.noise_correlation is not None and _correlated(figures):
        yield _shared_by_neighbours(figures, *figures.noise_correlation)
    if _lacks_too_much(figures):
        yield Finding(
            "missing",
            f"{figures.missing_share:.0%} of the pixels read {_missing_value(figures)} between "
            "much brighter ones, and no loss can restore them: fill them from their neighbours "
            "first, or record again.",
        )
    if figures.clipping_shift > _CLIPPED * figures.noise and figures.black_share > _BLACK:
        yield Finding(
            "clipped",
            f"{figures.black_share:.1%} of the pixels are cut off at {_lower_limit(figures)}: dark "
            f"areas read about {figures.clipping_shift:.2g} ADU too bright. Raise the camera's "
            "offset, and keep negative values when you subtract a background.",
        )
    if figures.moved_share is not None and figures.moved_share > _MOVED:
        yield Finding(
            "motion",
            f"{figures.moved_share:.1%} of the field differs between A and B by more than "
            "noise: moving objects will blur. Record A and B in faster succession; or, for a "
            "movie, train on one recording with 3 dimensions.",
        )
    if figures.drift is not None and figures.drift > _DRIFTED and not _flickering(figures):
        yield Finding(
            "drift",
            f"The brightness of parts of the field changes between A and B by up to "
            f"{figures.drift:.0%} of the signal's spread: bleaching, focus or illumination "
            "drifted. Alternate the exposures of A and B.",
        )
