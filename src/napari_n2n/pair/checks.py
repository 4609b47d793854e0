"""Checks of the acquisitions of a pair: duplicates, saturation, and findings for the user."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.written_by import read_provenance
from napari_n2n.pair.bad_planes import BadPlane, listed
from napari_n2n.pair.fixed_pattern import FixedPattern
from napari_n2n.pair.hits import Hits
from napari_n2n.pair.registration import whole_pixels
from napari_n2n.pair.sampled import Sampled
from napari_n2n.pair.training_mask import TrainingMask
from napari_n2n.stats.affine import Affine
from napari_n2n.stats.statistics import most_noise, noise_level, over_blocks


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the user should know about a pair: a code word, and a sentence with a fix."""

    code: str
    message: str


_OTHER_SCENE = "other_scene"


def other_scenes(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that say that two acquisitions show different scenes.

    Noise is measured as the difference of two acquisitions of one scene. If the scenes differ, no
    figure and no other finding is valid.
    """
    return [one for one in findings if one.code == _OTHER_SCENE]


# Difference of the gain from 1 above which it is reported: 2 % of the signal.
_GAIN = 0.02
# Shift in pixels above which a sub-pixel shift is reported: it reduces the contrast at 0.25 cycles
# per pixel by 8 % (cos(2 pi f d)).
_SHIFT = 0.25
# Share of saturated pixels above which they are reported.
_SATURATED = 1e-3
# Number of pixels below which a network overfits within minutes.
_FEW_PIXELS = 128 * 128
# Most messages of one kind about many fields of view: more would hide the other kinds.
_SHOWN = 3
# Ratio of the variance of the difference to that of the noise below which two images count as the
# same: rounding and compression stay below it, separate exposures are near 1.
_SAME = 0.05
# Difference of two images, in parts of noise and finest detail, below which it is only rounding.
_ROUNDED = 1e-3
# Standard deviation of the smoothed image, in noise levels, above which it shows structure: white
# noise has 0.11. The smoothed images of two recordings of one scene then have a correlation of 0.95
# or more; the limit is half of that, because motion, text and drift reduce the correlation.
_STRUCTURE, _SAME_SCENE = 0.5, 0.3
# Text and other large outliers hide the scene in smoothed images. The scene is still the same if
# the medians of blocks (side in pixels) have at least this rank correlation, or if a quantile of
# the differences of pixels is smaller than between displaced images by this factor.
_MEDIANS, _SAME_MEDIANS = 16, 0.3
_QUANTILE, _SAME_PIXELS = 0.1, 0.7
# Smallest number and share of pixels at a saturation level: more than there are hot pixels.
_FEWEST, _LEAST_SHARE = 50, 5e-4
# Interval below the saturation level, in parts of the range of values, that must contain fewer
# pixels than the level itself.
_NEAR = 0.02
# Share of the saturated pixels that must be saturated in another acquisition too.
_TOGETHER = 0.3


def findings_of(
    acquisitions: Sequence[Acquisition],
    sampled: Sampled,
    matches: Sequence[Affine],
    shift: tuple[float, float],
    hits: Hits | None,
    pattern: FixedPattern,
) -> Iterator[Finding]:
    """Yield the findings about the acquisitions of a pair.

    Parameters
    ----------
    acquisitions
        Cropped to the field of view that they share.
    sampled
        A few planes of each.
    matches
        For each acquisition, the map from the intensities of the first one to its own.
    shift
        Largest displacement (y, x) before cropping, in pixels.
    hits
        Sharp bright pixels in one acquisition only.
    pattern
        The fixed pattern of the detector.
    """
    first = acquisitions[0]
    yield from _results(acquisitions)
    yield from _unnamed_axis(first)
    yield from _displacement(*shift)
    if pattern.is_notable:
        yield Finding("fixed_pattern", pattern.message())
    if hits is not None:
        yield Finding(
            "hits",
            f"{hits.count} sharp bright spots, up to {hits.largest:.3g} ADU high, are in one "
            "acquisition only (cosmic rays): left out of measuring and training. Check the result "
            "at these places, or use a third acquisition.",
        )
    for number, acquisition in enumerate(acquisitions[1:], start=1):
        views, smooth = ((one[0], one[number]) for one in (sampled.views, sampled.surroundings))
        yield from _other_scene(first, acquisition, views, smooth)
    for acquisition, match in zip(acquisitions[1:], matches[1:], strict=True):
        if abs(match.gain - 1) > _GAIN:
            name, than = _distinct_names(acquisition, first)
            yield Finding(
                "gain",
                f"{name} is {match.gain:.3f} times as bright as {than}: "
                "matched for training; each result keeps the gain of its acquisition.",
            )
    for acquisition, planes in zip(acquisitions, sampled.views, strict=True):
        yield from _clipping(acquisition, planes)
    pixels = math.prod(first.shape)
    if pixels < _FEW_PIXELS:
        yield Finding(
            "few_pixels",
            f"Only {pixels} pixels to train on: expect a smoother result. "
            "Add frames, or use a model trained on a larger field of the same sample.",
        )


def messages_of(findings: Iterable[Finding], pixels: int) -> list[str]:
    """Return the messages about many fields of view, a few of each kind.

    Parameters
    ----------
    findings
        Findings of all fields of view.
    pixels
        Pixels of all fields of view together, in one acquisition and channel.
    """
    of_kinds: dict[str, dict[str, None]] = {}
    for one in findings:
        if one.code != "few_pixels" or pixels < _FEW_PIXELS:
            of_kinds.setdefault(one.code, {})[one.message] = None
    messages: list[str] = []
    for of_kind in of_kinds.values():
        messages += list(of_kind)[:_SHOWN]
        if (more := len(of_kind) - _SHOWN) > 0:
            messages.append(
                f"{more} more like the last one: 'inspect FOLDER_A FOLDER_B --table TABLE.csv' "
                "lists them for each field of view."
            )
    return messages


def _other_scene(
    first: Acquisition,
    other: Acquisition,
    views: tuple[np.ndarray, np.ndarray],
    smooth: tuple[np.ndarray, np.ndarray],
) -> Iterator[Finding]:
    """Warn if both acquisitions show structure, but not the same structure."""
    spreads = [float(np.std(one, dtype=np.float64)) for one in smooth]
    a, b = (one - one.mean(dtype=np.float64) for one in smooth)
    together = float(np.mean(a * b, dtype=np.float64))
    if together >= _SAME_SCENE * spreads[0] * spreads[1]:
        return
    levels = [_roughness(one) for one in views]
    if any(spread <= _STRUCTURE * level for spread, level in zip(spreads, levels, strict=True)):
        return
    if not _share_unhit_pixels(*views):
        correlation = together / (spreads[0] * spreads[1])
        names = " and ".join(_distinct_names(first, other))
        yield Finding(
            _OTHER_SCENE,
            f"{names} do not show the same scene (correlation of their "
            f"structures {correlation:.2f}; 1 for one scene): choose two recordings of one place "
            "and one channel, or align them first.",
        )


def _share_unhit_pixels(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two acquisitions agree where neither is covered by text or other outliers."""
    rows, columns = a.shape[1:]
    displaced = np.roll(b, (rows // 2, columns // 2), (1, 2))
    near, chance = (float(np.quantile(np.abs(a - one), _QUANTILE)) for one in (b, displaced))
    if near < _SAME_PIXELS * chance:
        return True
    side = min(_MEDIANS, rows // 2, columns // 2)
    medians = [over_blocks(one, side, np.median).ravel() for one in (a, b)]
    if any(np.ptp(one) == 0 for one in medians):
        return False
    return bool(stats.spearmanr(*medians).statistic > _SAME_MEDIANS)


def _roughness(planes: np.ndarray) -> float:
    """Return the noise of planes from second differences, which sparse pulses and outliers raise.

    Like `noise_level`, but the mean square instead of the median: outliers must not be taken for
    structure.
    """
    rough = np.diff(np.diff(planes.astype(np.float64), 2, axis=1), 2, axis=2)
    return float(np.sqrt(np.mean(rough**2))) / 6


def findings_about_left_out(
    first: Acquisition, bad: Sequence[BadPlane], empty: float, mask: TrainingMask | None = None
) -> Iterator[Finding]:
    """Yield the findings about planes and areas that contain no data.

    Parameters
    ----------
    first
        The first acquisition.
    bad
        Planes that do not belong to their stack.
    empty
        Share of the sampled pixels in empty areas.
    mask
        Where pixels are used; None: everywhere.
    """
    if mask is not None:
        yield Finding(
            "mask",
            f"Measured and trained only inside {mask.image.name}, {mask.share:.1%} of the pixels; "
            "denoised everywhere.",
        )
    if bad:
        yield Finding(
            "bad_frames",
            f"Frames that do not belong to the recording, {listed(bad)}: left out of measuring and "
            "training, and denoised like the others. Check them, or remove them.",
        )
    if empty > 0:
        yield Finding(
            "empty",
            f"{empty:.0%} of {first.name} is empty (areas of exactly one value, such as a border "
            "or a mask): left out of measuring, training and scores.",
        )


def _distinct_names(one: Acquisition, other: Acquisition) -> tuple[str, str]:
    """Return the names of two acquisitions, with their folders if the names are the same."""
    if one.name != other.name or one.path is None or other.path is None:
        return one.name, other.name
    return f"{one.path.parent.name}/{one.name}", f"{other.path.parent.name}/{other.name}"


def _results(acquisitions: Sequence[Acquisition]) -> Iterator[Finding]:
    for one in acquisitions:
        if one.path is not None and read_provenance(one.path):
            yield Finding(
                "denoised",
                f"{one.name} is a denoised result, not a recording: its noise is not that of the "
                "detector. Choose the recording that it was made from.",
            )


def _unnamed_axis(first: Acquisition) -> Iterator[Finding]:
    if first.axes_in_doubt:
        yield Finding(
            "axes",
            f"The first axis of {first.name} is unlabelled: its {first.plane_count} planes are "
            "taken as depth, and each is denoised alone. Set the axes: --axes ZYX if it is depth, "
            "so that neighbouring planes can help each other; or TYX, CYX or RYX.",
        )


def _displacement(dy: float, dx: float) -> Iterator[Finding]:
    where = f"The acquisitions are displaced by ({dy:.2f}, {dx:.2f}) pixels (y, x)"
    if whole_pixels(dy) or whole_pixels(dx):
        yield Finding(
            "shift",
            f"{where}: cropped to the field of view that both share. "
            "Record both without moving the stage to keep all of it.",
        )
    elif math.hypot(dy, dx) > _SHIFT:
        yield Finding(
            "shift",
            f"{where}, less than a pixel: the finest detail will blur a little. "
            "Register them first to keep it.",
        )


def _clipping(acquisition: Acquisition, planes: np.ndarray) -> Iterator[Finding]:
    share = float(np.mean([(plane >= acquisition.saturation).mean() for plane in planes]))
    if share > _SATURATED:
        yield Finding(
            "clipped",
            f"{share:.2%} of {acquisition.name} is saturated, at {acquisition.saturation:g}: these "
            "pixels are left out of the loss, and brighter structures appear too dark. Lower the "
            "exposure or the detector gain to measure them.",
        )


def refuse_duplicate(
    a: Acquisition, b: Acquisition, planes_a: np.ndarray, planes_b: np.ndarray
) -> None:
    """Raise if both are the same image, even if one was rescaled, recompressed or rounded.

    Parameters
    ----------
    a, b Acquisitions, named in the message.
    planes_a, planes_b
        Sampled planes of each, from the same places; shape (planes, Y, X).

    Raises
    ------
    BadInput
        If the difference of a and b is much smaller than the noise of b.
    """
    differing = most = 0.0
    for plane_a, plane_b in zip(planes_a, planes_b, strict=True):
        gain, offset = _regression(plane_a.ravel(), plane_b.ravel())
        differing += float(np.mean((plane_b - gain * plane_a - offset) ** 2)) / 2
        most += most_noise(plane_b) ** 2
    if differing > _SAME * most:
        return
    grain = sum(noise_level(plane_b[None]) ** 2 for plane_b in planes_b)
    if differing == 0 or differing < _SAME * grain:
        name, than = _distinct_names(b, a)
        apart, detail = (math.sqrt(one / len(planes_b)) for one in (differing, grain))
        nearly = "" if apart < _ROUNDED * detail else " nearly"
        raise BadInput(
            f"{name}: is{nearly} the same image as {than} (they differ by {apart:.3g} ADU, noise "
            f"and finest detail of one image are {detail:.3g} ADU): two separate exposures with "
            "visible noise are needed; split a stack into even and odd frames instead",
            "duplicate",
        )


def _regression(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    deviation = x - x.mean(dtype=np.float64)
    spread = float(np.mean(deviation**2))
    gain = float(np.mean(deviation * y)) / spread if spread else 1.0
    return gain, float(y.mean(dtype=np.float64) - gain * x.mean(dtype=np.float64))


def find_ceilings(sampled: Sequence[np.ndarray]) -> list[float | None]:
    """Find the value at which each of several acquisitions of one scene is saturated.

    It is often less than the pixel type can hold: 4095 for a 12-bit camera. The largest value is a
    saturation level if it is more frequent than all values shortly below it together, and if many
    of the pixels that reach it in one acquisition reach it in another too. Outliers at random
    places, such as bright text, fail the second test.

    Parameters
    ----------
    sampled
        For each acquisition, a few planes from the same places; shape (planes, Y, X).

    Returns
    -------
    list of float or None
        For each acquisition, its saturation level in ADU, or None if nothing is saturated.
    """
    tops = [float(stack.max()) for stack in sampled]
    reached = [stack >= top for stack, top in zip(sampled, tops, strict=True)]
    return [
        top if _piled_up(stack, top) and _in_common(number, reached) else None
        for number, (stack, top) in enumerate(zip(sampled, tops, strict=True))
    ]


def _piled_up(stack: np.ndarray, top: float) -> bool:
    """Return whether more pixels have the largest value than all values shortly below it."""
    count = int((stack >= top).sum())
    if count < max(_FEWEST, _LEAST_SHARE * stack.size):
        return False
    below = stack[stack < top]
    if below.size == 0:
        return False
    next_value = float(below.max())
    shortly = min(next_value, top - _NEAR * (top - float(stack.min())))
    return count > int((below >= shortly).sum())


def _in_common(number: int, reached: Sequence[np.ndarray]) -> bool:
    if len(reached) == 1:
        return True
    own = reached[number]
    shares = [float(other[own].mean()) for k, other in enumerate(reached) if k != number]
    return max(shares) > _TOGETHER
