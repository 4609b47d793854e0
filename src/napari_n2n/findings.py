"""What a person should know about the acquisitions of a pair: a sentence each, with a way out."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_n2n.acquisition import Acquisition
from napari_n2n.affine import Affine
from napari_n2n.registration import whole_pixels


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
