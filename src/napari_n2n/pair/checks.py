"""What a person should know about the acquisitions of a pair: a sentence each, with a way out.

The same image under two names: no two exposures differ by less than their noise.

The largest value that a detector delivers: less than its pixel type could hold, often.

A camera of 12 bits ends at 4095 in pixels of 16, and a stack that was scaled to 1 ends there.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.pair.registration import whole_pixels
from napari_n2n.stats.affine import Affine
from napari_n2n.stats.statistics import noise_level


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person should know about a pair: a code word, and a sentence with a way out."""

    code: str
    message: str


def find(
    acquisitions: Sequence[Acquisition],
    sampled: Sequence[Sequence[np.ndarray]],
    matches: Sequence[Affine],
    shift: tuple[float, float],
) -> Iterator[Finding]:
    """Yield what a person should know.

    Parameters
    ----------
    acquisitions
        Cropped to what all of them show.
    sampled
        For each, a few planes, or the middle of each; shape (Y, X).
    matches
        For each, the map from the first one's intensities to its own.
    shift
        Largest displacement (y, x) before cropping, in pixels.
    """
    first = acquisitions[0]
    yield from _unnamed_axis(first)
    yield from _displacement(*shift)
    for acquisition, match in zip(acquisitions[1:], matches[1:], strict=True):
        if abs(match.gain - 1) > 0.02:
            yield Finding(
                "gain",
                f"{acquisition.name} is {match.gain:.3f} times as bright as {first.name}: "
                "matched in training, each comes back in its own gain.",
            )
    for acquisition, planes in zip(acquisitions, sampled, strict=True):
        yield from _clipping(acquisition, planes)
    pixels = math.prod(first.shape)
    if pixels < 128 * 128:
        yield Finding(
            "few_pixels",
            f"Only {pixels} pixels to learn from: expect a smoother result. "
            "Add frames, or use a model trained on a larger field of the same sample.",
        )


def _unnamed_axis(first: Acquisition) -> Iterator[Finding]:
    if first.axes_in_doubt:
        yield Finding(
            "axes",
            f"Nobody names the first axis of {first.name}: its {first.plane_count} planes are "
            "taken for depth. If it is time, channels or repeats, name the axes: "
            "--axes TYX, CYX or RYX.",
        )


def _displacement(dy: float, dx: float) -> Iterator[Finding]:
    where = f"The acquisitions are displaced by ({dy:.2f}, {dx:.2f}) pixels (y, x)"
    if whole_pixels(dy) or whole_pixels(dx):
        yield Finding(
            "shift",
            f"{where}: cropped to the part that both show. "
            "Take both without moving the stage for the full field.",
        )
    elif math.hypot(dy, dx) > 0.25:
        yield Finding(
            "shift",
            f"{where}, less than a pixel: the finest detail will blur a little. "
            "Register them first to keep it.",
        )


def _clipping(acquisition: Acquisition, planes: Sequence[np.ndarray]) -> Iterator[Finding]:
    share = float(np.mean([(plane >= acquisition.saturation).mean() for plane in planes]))
    if share > 1e-3:
        yield Finding(
            "clipped",
            f"{share:.2%} of {acquisition.name} is saturated, at {acquisition.saturation:g}: these "
            "pixels are left out of the loss, and what is brighter reads too low. Lower the "
            "exposure or the detector gain to measure them.",
        )


def refuse_duplicate(
    a: Acquisition, b: Acquisition, planes_a: list[np.ndarray], planes_b: list[np.ndarray]
) -> None:
    """Refuse the same image twice, also if it was rescaled, recompressed or rounded.

    Parameters
    ----------
    a, b
        What to name.
    planes_a, planes_b
        A sample of each, plane by plane of the same place; each of shape (Y, X).

    Raises
    ------
    BadInput
        If their difference is much smaller than the noise of one.
    """
    differing = grain = 0.0
    for plane_a, plane_b in zip(planes_a, planes_b, strict=True):
        gain, offset = _regression(plane_a.ravel(), plane_b.ravel())
        differing += float(np.mean((plane_b - gain * plane_a - offset) ** 2)) / 2
        grain += noise_level(plane_b[None]) ** 2
    if differing == 0 or differing < 0.05 * grain:
        raise BadInput(
            f"{b.name}: is the same image as {a.name} (their difference has "
            f"{math.sqrt(differing):.3g} ADU where the noise of one has {math.sqrt(grain):.3g}): "
            "two separate exposures are needed; split a stack into even and odd frames instead",
            "duplicate",
        )


def _regression(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    deviation = x - x.mean(dtype=np.float64)
    spread = float(np.mean(deviation**2))
    gain = float(np.mean(deviation * y)) / spread if spread else 1.0
    return gain, float(y.mean(dtype=np.float64) - gain * x.mean(dtype=np.float64))


_FEWEST = 50
_LEAST_SHARE = 5e-4
_NEAR = 0.02
_TOGETHER = 0.3


def ceilings(sampled: Sequence[Sequence[np.ndarray]]) -> list[float | None]:
    """Find the value at which each of several acquisitions of one scene is saturated.

    It is the largest one, more frequent than all that lie shortly below it, and many of the places
    that reach it in one acquisition do so in another one too - what hits pixels by chance, as
    bright text does, does not.

    Parameters
    ----------
    sampled
        For each acquisition, some planes of the same places; shape (Y, X).

    Returns
    -------
    list of float or None
        None where nothing is saturated.
    """
    stacks = [np.stack(list(planes)) for planes in sampled]
    tops = [float(stack.max()) for stack in stacks]
    reached = [stack >= top for stack, top in zip(stacks, tops, strict=True)]
    return [
        top if _piled_up(stack, top) and _in_common(number, reached) else None
        for number, (stack, top) in enumerate(zip(stacks, tops, strict=True))
    ]


def _piled_up(stack: np.ndarray, top: float) -> bool:
    """Tell whether more pixels have the largest value than any shortly below it."""
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
    own = reached[number]
    shares = [float(other[own].mean()) for k, other in enumerate(reached) if k != number]
    return max(shares) > _TOGETHER
