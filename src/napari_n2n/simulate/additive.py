"""Noise with zero mean: Gaussian, correlated (brown), Poisson and camera noise."""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy import ndimage

from napari_n2n.errors import BadInput
from napari_n2n.simulate.corruption import Level, Noise, Parameter, Range, fixed_level

# Most electrons or photons of a pixel: numpy draws Poisson numbers as 64-bit integers and fails
# above 9.2e18. This leaves a margin and is far beyond any detector.
_BRIGHTEST = 1e15

Sigma = Annotated[
    Level,
    Parameter("Strength", "Standard deviation, in grey values of the image", 0, 1e9, 1, True),
]


@dataclass(frozen=True)
class Gaussian(Noise):
    """White noise independent of the signal: ``x + N(0, sigma^2)``."""

    name = "gaussian"
    title = "White (Gaussian)"
    description = "Equally strong everywhere, like the noise of amplifiers and detectors."

    sigma: Sigma = 25

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        return clean + self.sigma * rng.standard_normal(clean.shape, dtype=np.float32)


@dataclass(frozen=True)
class Brown(Noise):
    """White noise blurred by a Gaussian and rescaled to standard deviation `sigma`.

    Pixels at distance d have the correlation ``exp(-d^2 / (4 width^2))``.
    """

    name = "brown"
    title = "Correlated (brown)"
    description = "Noise that extends over neighbouring pixels, as in resampled or filtered images."

    sigma: Sigma = 25
    width: Annotated[
        Level,
        Parameter("Grain size", "Standard deviation of the blur, in pixels", 0.1, 50, 0.1, True),
    ] = 1.5

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        width = fixed_level(self.width)
        reach = math.ceil(4 * width)  # where scipy truncates the kernel
        padded = (*clean.shape[:-2], *(length + 2 * reach for length in clean.shape[-2:]))
        white = rng.standard_normal(padded, dtype=np.float32)
        blurred = ndimage.gaussian_filter(white, width, axes=(-2, -1))
        blurred = blurred[..., reach:-reach, reach:-reach]
        point = np.zeros(2 * reach + 1)
        point[reach] = 1
        power = (ndimage.gaussian_filter1d(point, width, mode="constant") ** 2).sum()
        return clean + self.sigma / power * blurred


@dataclass(frozen=True)
class Poisson(Noise):
    """Photon noise: no photons at the low end of the range, `photons` at its high end.

    ``low + (high - low) / photons * Poisson(photons (x - low) / (high - low))``. The mean is the
    clean value; values below the low end are treated as dark.
    """

    name = "poisson"
    title = "Photons (Poisson)"
    description = "The fewer photons, the stronger the noise relative to the signal."
    uses_range = True

    photons: Annotated[
        Level, Parameter("Photons", "Photons of the brightest pixel", 1e-3, 1e9, 1, True)
    ] = 30

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        low, high = limits
        unit = (high - low) / fixed_level(self.photons)
        return low + unit * _counted((clean - low) / unit, rng)


@dataclass(frozen=True)
class Camera(Noise):
    """Camera noise: photon noise of the electrons and Gaussian read noise.

    ``offset + gain * (Poisson((x - offset) / gain) + N(0, read^2))`` with the clean image in ADU,
    `gain` in ADU per electron, `read` in electrons and `offset` (the black level) in ADU. The mean
    is the clean value; values below the offset are treated as dark.
    """

    name = "camera"
    title = "Camera sensor"
    description = "Photon noise and read noise, as in sCMOS and CCD cameras."

    gain: Annotated[
        Level,
        Parameter("Gain", "Grey values per electron, from the data sheet", 1e-6, 1e6, 0.1, True),
    ] = 1
    read: Annotated[
        Level,
        Parameter(
            "Read noise", "Standard deviation of the read noise, in electrons", 0, 1e6, 0.1, True
        ),
    ] = 1.5
    offset: Annotated[
        float, Parameter("Offset", "Grey value without light (black level), often 100", 0, 1e6, 10)
    ] = 0

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        gain, read = fixed_level(self.gain), fixed_level(self.read)
        electrons = _counted((clean - self.offset) / gain, rng)
        electrons += read * rng.standard_normal(clean.shape, dtype=np.float32)
        return self.offset + gain * electrons


def _counted(rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw Poisson numbers with the given rates; negative rates count as zero."""
    if rate.max() > _BRIGHTEST:
        raise BadInput(
            f"a pixel of {rate.max():.3g} electrons is too bright: use a larger gain", "option"
        )
    return rng.poisson(np.maximum(rate, 0)).astype(np.float32)
