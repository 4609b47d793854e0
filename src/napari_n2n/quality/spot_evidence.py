"""Whether a spot of a result is real: the evidence of each recording, and a verdict in words.

The recordings are independent of each other; the network has seen all of them. So a spot is real if
the raw pixels show it above their noise, in each recording or in all of them together.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scipy import stats

Verdict = Literal[
    "shown",  # the recordings show the spot
    "one_recording",  # one recording shows it, the others do not
    "uncertain",  # the recordings suggest it
    "noise",  # it is within the noise
    "contradicted",  # the result shows it, the recordings do not
    "removed",  # the recordings show it, the result does not
    "detector",  # a bad pixel of the detector
    "unknown",  # it cannot be judged
]

# Standard errors of each recording, and of all together, from which a spot is real: in two
# recordings, noise exceeds both at 2 and at 3 of a million places. The limits are high because
# users look at the brightest of many thousand places in an image.
_EACH, _TOGETHER = 3.0, 4.5
# Difference of two figures, in standard errors, from which they contradict each other: noise
# exceeds it at 3 of 100,000 places.
_APART = 4.0
# Smallest standard error in ADU: that of a recording without noise.
_TINY = 1e-12
# Larger than the number of places in any image.
_MANY = 1e15


@dataclass(frozen=True, slots=True)
class AtSpot:
    """The evidence of one recording, on the intensity scale of the result, in ADU.

    Attributes
    ----------
    name
        A for the first recording, B for the second.
    value
        The raw pixel.
    mean, mean_error
        Mean of the pixels of the spot, and its standard error.
    above, above_error
        Mean of the spot less that of its surroundings, and its standard error.
    """

    name: str
    value: float
    mean: float
    mean_error: float
    above: float
    above_error: float


@dataclass(frozen=True, slots=True)
class SpotEvidence:
    """The evidence of result and recordings at a place, in ADU of the result.

    Attributes
    ----------
    place
        Index of the pixel along each axis of the result.
    size
        Diameter of the spot in pixels.
    result, error
        The pixel of the result, and its expected error; None without an error map, or where the map
        has no value.
    above
        Mean of the result in the spot less that of its surroundings.
    recordings
        Evidence of each recording; empty where the recordings do not overlap.
    on_bad_pixel
        Whether the pixel is a hot or dead pixel of the detector.
    """

    place: dict[str, int]
    size: int
    result: float
    error: float | None
    above: float
    recordings: tuple[AtSpot, ...]
    on_bad_pixel: bool = False

    @property
    def standard_errors(self) -> tuple[float, ...]:
        """Height of the spot in each recording, in standard errors; negative against the result."""
        return tuple(self._side * one.above / one.above_error for one in self.recordings)

    @property
    def together(self) -> float:
        """Height of the spot in all recordings together, in standard errors."""
        height, error = _combined(self.recordings)
        return self._side * height / error

    @property
    def verdict(self) -> Verdict:
        """The verdict of the recordings about the spot."""
        if self.on_bad_pixel:
            return "detector"
        if not all(one.above_error > 0 for one in self.recordings) or not self.recordings:
            return "unknown"
        if self._alone is not None:
            return "one_recording"
        height, error = _combined(self.recordings)
        seen, missing = self._side * height / error, self._side * (height - self.above) / error
        if seen < _EACH and missing <= -_APART:
            return "contradicted"
        if seen >= _TOGETHER and missing >= _APART and abs(self.above) < abs(height) / 2:
            return "removed"
        if seen >= _TOGETHER or min(self.standard_errors) >= _EACH:
            return "shown"
        return "uncertain" if seen >= _EACH else "noise"

    def line(self) -> str:
        """Return the figures and the verdict in one line."""
        return " ".join([self.figures(), self.in_words()])

    def figures(self) -> str:
        """Return the figures of the result and of each recording."""
        place = ", ".join(f"{axis} {index}" for axis, index in self.place.items())
        errors = [one.mean_error for one in self.recordings if one.mean_error > 0]
        digits = _digits(self.error or min(errors, default=abs(self.above) / 10))
        within = f" ± {self.error:.{digits}f}" if self.error else ""
        times = f" ({abs(self.above) / self.error:.1f} expected errors)" if self.error else ""
        parts = [
            f"{place} ({self.size} pixels wide): result {self.result:.{digits}f}{within} ADU, "
            f"{_above(self.above, digits)} its surroundings{times}"
        ]
        for one in self.recordings:
            digits = _digits(one.mean_error)
            parts.append(
                f"{one.name} {one.value:.{digits}f}, mean "
                f"{one.mean:.{digits}f} ± {one.mean_error:.{digits}f}, "
                f"{_above(one.above, digits, one.above_error)}"
            )
        return f"{'; '.join(parts)}."

    def in_words(self) -> str:
        """Return the verdict in one or two sentences."""
        verdict = self.verdict
        if verdict == "detector":
            return "A bad pixel of the detector, the same in all recordings: not part of the scene."
        if verdict == "unknown":
            return "It cannot be judged: the recordings have too few pixels here, or no noise."
        height, error = _combined(self.recordings)
        digits = _digits(error)
        raw = _above(height, digits, error)
        if verdict == "contradicted":
            return f"The recordings do not show it (together {raw}): do not believe it."
        if verdict == "removed":
            return f"The recordings show more than the result (together {raw}): it lacks a detail."
        alone = self._alone
        if alone is not None:
            cause = "an outlier such as a cosmic ray, or something that moved"
            return f"Only {alone.name} shows it ({self._by_recording}): {cause}."
        if verdict == "shown":
            return self._shown
        if verdict == "uncertain":
            places = f"{_two_digits(1 / stats.norm.sf(self.together)):,}"
            return (
                f"Not certain: {self.together:.1f} standard errors together, as by chance at one "
                f"of {places} places."
            )
        return f"Within the noise ({self._by_recording})."

    @property
    def _shown(self) -> str:
        count = len(self.recordings)
        words = "The recordings together show it"
        if min(self.standard_errors) >= _EACH:
            words = f"{'Both' if count == 2 else f'All {count}'} recordings show it"
        elif count == 1:
            words = "The recording shows it"
        first, *others = self.recordings
        differ = any(
            abs(one.above - first.above) > _APART * math.hypot(one.above_error, first.above_error)
            for one in others
        )
        change = ", but not equally: it moved, changed or bleached" if differ else ""
        return f"{words} ({self._by_recording}){change}."

    @property
    def _by_recording(self) -> str:
        times = [f"{one:.1f}" for one in self.standard_errors]
        return f"{' and '.join(times)} standard errors"

    @property
    def _side(self) -> float:
        """1 if the recordings, or else the result, show a bright spot; -1 for a dark one."""
        height, error = _combined(self.recordings)
        decides = height if abs(height) >= _EACH * error else self.above
        return math.copysign(1.0, decides)

    @property
    def _alone(self) -> AtSpot | None:
        """The only recording that shows the spot, if the others contradict it."""
        for one in self.recordings:
            others = [other for other in self.recordings if other is not one]
            side = math.copysign(1.0, one.above)
            if not others or side * one.above < _TOGETHER * one.above_error:
                continue
            height, error = _combined(others)
            apart = side * (one.above - height)
            if side * height < _EACH * error and apart >= _APART * math.hypot(
                one.above_error, error
            ):
                return one
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON; see the attributes."""
        judged = self.verdict != "unknown"
        return asdict(self) | {
            "expected_errors": abs(self.above) / self.error if self.error else None,
            "standard_errors": self.standard_errors if judged else None,
            "together": self.together if judged else None,
            "verdict": self.verdict,
            "words": self.in_words(),
        }


def _combined(recordings: Sequence[AtSpot]) -> tuple[float, float]:
    """Return the height of a spot in all recordings together, and its standard error."""
    precision = [1 / max(one.above_error, _TINY) ** 2 for one in recordings]
    heights = (one.above * weight for one, weight in zip(recordings, precision, strict=True))
    total = sum(precision)
    return (sum(heights) / total, 1 / math.sqrt(total)) if recordings else (0.0, math.inf)


def _above(height: float, digits: int, error: float | None = None) -> str:
    within = "" if error is None else f" ± {error:.{digits}f}"
    return f"{abs(height):.{digits}f}{within} {'below' if height < 0 else 'above'}"


def _digits(error: float) -> int:
    """Return the decimals of a figure, so that its error has one or two digits."""
    return max(0, -math.floor(math.log10(error / 2))) if error > 0 else 2


def _two_digits(number: float) -> int:
    """Round a large number to two digits."""
    digits = math.floor(math.log10(number)) if number < _MANY else 1
    return int(round(min(number, _MANY), 1 - digits))
