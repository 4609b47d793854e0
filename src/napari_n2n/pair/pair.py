"""Two or more acquisitions of one scene, checked and brought onto one grid and intensity scale.

Training works only if they show the same scene with independent noise. Acquisitions that cannot be
used raise an error; a shift by whole pixels and a different gain or offset are measured and
corrected automatically.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition, check_finite
from napari_n2n.pair.checks import Finding, find_ceilings, findings_of, refuse_duplicate
from napari_n2n.pair.hits import Hits, find_hits, without_hits
from napari_n2n.pair.matching import match_intensity, noise_levels
from napari_n2n.pair.registration import measure_shift, whole_pixels
from napari_n2n.stats.affine import Affine

# Smallest side of a plane for training, in pixels: one block of the statistics.
SMALLEST_SIDE = 32
# Number of planes that the checks read, and side in pixels of the middle part of each. More:
# smaller standard errors of shift and gain; fewer: faster.
_SAMPLED_PLANES, _SAMPLED_SIDE = 6, 1024


@dataclass(frozen=True, eq=False)
class Pair:
    """Acquisitions of one scene, cropped to the field of view that they share.

    Attributes
    ----------
    acquisitions
        Two or more, of one shape.
    matches
        For each, the map from the intensities of the first one to its own: ``B = gain A + offset``.
    shift
        Largest displacement (y, x) of any acquisition against the first, in pixels, before
        cropping.
    noise
        For each, the standard deviation of its noise on its own intensity scale; 0 if it is too
        small to be measured beside that of the others.
    offsets
        For each, the row and column of its original plane at which its cropped part starts.
    hits
        Sharp bright pixels in one acquisition only, such as cosmic rays; None if there are none.
    findings
        What the user should know about the pair.
    channel
        Index of the channel, 0 if there is only one.
    """

    acquisitions: tuple[Acquisition, ...]
    matches: tuple[Affine, ...]
    noise: tuple[float, ...]
    shift: tuple[float, float]
    offsets: tuple[tuple[int, int], ...]
    findings: tuple[Finding, ...]
    hits: Hits | None = None
    channel: int = 0

    @classmethod
    def open(cls, *sources: Any, axes: str | None = None) -> "Pair":
        """Open, check, register and match acquisitions of one scene.

        Parameters
        ----------
        sources
            Two or more of whatever `Acquisition.open` takes, or one with an axis of repeats (R).
        axes
            Letters of their dimensions; replaces the labels in the sources.

        Raises
        ------
        BadInput
            If their shapes differ, one is too small, constant or not finite, two are the same
            image, or they have several channels (use `open_pairs` for these).
        """
        opened = open_repeats(sources, axes)
        for acquisition in opened:
            if len(acquisition.along("C")) > 1:
                raise BadInput(
                    f"{acquisition.name}: has several channels, each with its own noise: "
                    "open_pairs makes a pair of each",
                    "channels",
                )
        return cls.of_acquisitions(
            [one for acquisition in opened for one in acquisition.along("C")]
        )

    @classmethod
    def of_acquisitions(cls, opened: list[Acquisition], channel: int = 0) -> "Pair":
        """Check, register and match opened acquisitions of one channel; see `open`."""
        _same_shape(opened)
        sampled = [_sample(acquisition) for acquisition in opened]
        for other in range(1, len(opened)):
            for earlier in range(other):
                refuse_duplicate(opened[earlier], opened[other], sampled[earlier], sampled[other])
        shifts = [(0.0, 0.0)] + [measure_shift(sampled[0], planes) for planes in sampled[1:]]
        cropped, offsets = _crop(opened, shifts)
        if any(start != offsets[0] for start in offsets):
            sampled = [_sample(acquisition) for acquisition in cropped]
        cropped = [
            replace(one, measured_saturation=level)
            for one, level in zip(cropped, find_ceilings(sampled), strict=True)
        ]
        matches = (Affine(), *(match_intensity(sampled[0], planes) for planes in sampled[1:]))
        views = [
            match.inverse(np.stack(planes)) for match, planes in zip(matches, sampled, strict=True)
        ]
        hits = find_hits(views)
        if hits is not None:
            cleaned = without_hits(views, hits)
            sampled = [list(match(view)) for match, view in zip(matches, cleaned, strict=True)]
            matches = (Affine(), *(match_intensity(sampled[0], planes) for planes in sampled[1:]))
        largest = max(shifts, key=lambda shift: math.hypot(*shift))
        return cls(
            acquisitions=tuple(cropped),
            matches=matches,
            noise=noise_levels(sampled, matches),
            shift=largest,
            offsets=offsets,
            findings=tuple(findings_of(cropped, sampled, matches, largest, hits)),
            hits=hits,
            channel=channel,
        )

    @property
    def first(self) -> Acquisition:
        """The first acquisition: its grid and intensities are the reference for the others."""
        return self.acquisitions[0]

    @property
    def pixels(self) -> int:
        """Number of pixels in all acquisitions together."""
        return len(self.acquisitions) * math.prod(self.first.shape)

    def match(self, source: int, target: int) -> Affine:
        """Return the map from the intensities of acquisition `source` to those of `target`."""
        return self.matches[target].after(self.matches[source].inverse)


def open_repeats(
    sources: Sequence[Any], axes: str | None, split: str | None = None
) -> list[Acquisition]:
    """Open sources and return each half and each repeat as a separate acquisition."""
    opened = [Acquisition.open(source, axes=axes) for source in sources]
    if split is not None:
        opened = [half for stack in opened for half in stack.split(split)]
    opened = [repeat for stack in opened for repeat in stack.along("R")]
    if len(opened) < 2:
        raise BadInput(
            "one acquisition is not a pair: give two acquisitions of the same scene, split a stack "
            "of one scene into even and odd frames (--split T), or label its axis of repeats R",
            "single",
        )
    return opened


def _same_shape(acquisitions: list[Acquisition]) -> None:
    first = acquisitions[0]
    for other in acquisitions[1:]:
        if other.shape != first.shape:
            raise BadInput(
                f"{other.name}: shape {other.shape} differs from {first.name}'s {first.shape}: "
                "both acquisitions must show the same field; crop them to one size",
                "shape",
            )
    if min(first.plane_shape) < SMALLEST_SIDE:
        raise BadInput(
            f"{first.name}: planes of {first.plane_shape[0]}x{first.plane_shape[1]} pixels are "
            f"too small for training: at least {SMALLEST_SIDE}x{SMALLEST_SIDE} are needed",
            "size",
        )


def _sample(acquisition: Acquisition) -> list[np.ndarray]:
    """Read a few planes, or their middle parts if they are large, and check their values."""
    planes = []
    for index, plane in acquisition.spread_planes(_SAMPLED_PLANES, _SAMPLED_SIDE):
        planes.append(check_finite(plane, acquisition, index))
    if all(np.ptp(plane) == 0 for plane in planes):
        raise BadInput(
            f"{acquisition.name}: every pixel is {planes[0].flat[0]:g}: "
            "nothing to train on; check the exposure or the channel",
            "constant",
        )
    return planes


def _crop(
    acquisitions: list[Acquisition], shifts: list[tuple[float, float]]
) -> tuple[list[Acquisition], tuple[tuple[int, int], ...]]:
    """Crop each acquisition to the field of view that all of them share."""
    whole = np.array([[whole_pixels(step) for step in shift] for shift in shifts])
    low, high = whole.min(axis=0), whole.max(axis=0)
    shape = np.array(acquisitions[0].plane_shape) - (high - low)
    starts = whole - low
    if not (high - low).any():
        return acquisitions, ((0, 0),) * len(acquisitions)
    if shape.min() < SMALLEST_SIDE:
        raise BadInput(
            f"{acquisitions[0].name}: the acquisitions share only {shape[0]}x{shape[1]} pixels: "
            "choose two recordings of the same field",
            "size",
        )
    cropped = [
        acquisition.cropped(*(slice(int(s), int(s + n)) for s, n in zip(start, shape, strict=True)))
        for acquisition, start in zip(acquisitions, starts, strict=True)
    ]
    return cropped, tuple((int(y), int(x)) for y, x in starts)
