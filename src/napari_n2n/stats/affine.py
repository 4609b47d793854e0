"""Affine maps of intensity: the only maps that may be applied to a training target.

Any other map (log, square root, percentile clip) would shift the mean, the median or the mode of
the noise, and with it the result.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Affine:
    """The map ``x -> gain * x + offset`` between two intensity scales."""

    gain: float = 1.0
    offset: float = 0.0

    def __call__(self, values: Any) -> Any:
        """Map an array, tensor or number of any shape."""
        return values * self.gain + self.offset

    @property
    def inverse(self) -> "Affine":
        """The inverse map."""
        return Affine(1.0 / self.gain, -self.offset / self.gain)

    def after(self, first: "Affine") -> "Affine":
        """Return the map that applies `first`, then this one."""
        return Affine(self.gain * first.gain, self.gain * first.offset + self.offset)
