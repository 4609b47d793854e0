"""Noise that averages out: of the detector, of the light, of a camera that has both."""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy import ndimage

from napari_n2n.errors import BadInput
from napari_n2n.simulate.corruption import Level, Noise, Parameter, Range, fixed_level

_BRIGHTEST = 1e15

Sigma = Annotated[
    Level,
    Parameter("Strength", "Spread of the noise, in grey values of the image", 0, 1e9, 1, True),
]


@dataclass(frozen=True)
class Gaussian(Noise):
    """White noise that has nothing to do with the signal: ``x + N(0, sigma^2)``."""

    name = "gaussian"
    title = "White (Gaussian)"
    description = "The same grain everywhere, as from amplifiers and detectors."

    sigma: Sigma = 25

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        return clean + self.sigma * rng.standard_normal(clean.shape, dtype=np.float32)


@dataclass(frozen=True)
class Brown(Noise):
    """White noise, blurred by a Gaussian and brought back to standard deviation `sigma`.

    Neighbours at distance d are correlated by ``exp(-d^2 / (4 width^2))``, up to the pixel grid.
    """

    name = "brown"
    title = "Smeared (brown)"
    description = (
        "Grain that spreads over neighbouring pixels, as in resampled or processed images."
    )

    sigma: Sigma = 25
    width: Annotated[
        Level, Parameter("Grain size", "Radius of a grain of noise, in pixels", 0.1, 50, 0.1, True)
    ] = 1.5

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        width = fixed_level(self.width)
        reach = math.ceil(4 * width)  # scipy cuts the kernel at 4 widths
        padded = (*clean.shape[:-2], *(length + 2 * reach for length in clean.shape[-2:]))
        white = rng.standard_normal(padded, dtype=np.float32)
        blurred = ndimage.gaussian_filter(white, width, axes=(-2, -1))
        blurred = blurred[..., reach:-reach, reach:-reach]
        point = np.zeros(2 * reach + 1)
        point[reach] = 1
        left_over = (ndimage.gaussian_filter1d(point, width, mode="constant") ** 2).sum()
        return clean + self.sigma / left_over * blurred


@dataclass(frozen=True)
class Poisson(Noise):
    """Photon noise: the low end of the range is dark, its high end collects `photons`.

    ``low + (high - low) / photons * Poisson(photons (x - low) / (high - low))``: the mean is the
    clean value; whatever lies below the low end counts as dark.
    """

    name = "poisson"
    title = "Photons (Poisson)"
    description = (
        "Every photon counts: the fewer there are, the grainier, and bright parts most of all."
    )
    uses_range = True

    photons: Annotated[
        Level, Parameter("Photons", "Photons that the brightest pixel collects", 1e-3, 1e9, 1, True)
    ] = 30

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        low, high = limits
        unit = (high - low) / fixed_level(self.photons)
        return low + unit * _counted((clean - low) / unit, rng)


@dataclass(frozen=True)
class Camera(Noise):
    """A camera: photon noise of the electrons, and Gaussian noise of their read-out.

    ``offset + gain * (Poisson((x - offset) / gain) + N(0, read^2))`` with the clean image in ADU:
    the mean is the clean value; whatever lies below the offset counts as dark.
    """

    name = "camera"
    title = "Camera sensor"
    description = "What a camera adds: photon noise, and the noise of reading out every pixel."

    gain: Annotated[
        Level,
        Parameter("Gain", "Grey values per electron, from the data sheet", 1e-6, 1e6, 0.1, True),
    ] = 1
    read: Annotated[
        Level, Parameter("Read noise", "Noise of reading a pixel, in electrons", 0, 1e6, 0.1, True)
    ] = 1.5
    offset: Annotated[
        float, Parameter("Offset", "Grey value of complete darkness, often 100", 0, 1e6, 10)
    ] = 0

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        gain, read = fixed_level(self.gain), fixed_level(self.read)
        electrons = _counted((clean - self.offset) / gain, rng)
        electrons += read * rng.standard_normal(clean.shape, dtype=np.float32)
        return self.offset + gain * electrons


def _counted(rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw numbers of particles; negative rates count as none."""
    if rate.max() > _BRIGHTEST:
        raise BadInput(
            f"a pixel of {rate.max():.3g} particles is too bright: use a larger gain", "option"
        )
    return rng.poisson(np.maximum(rate, 0)).astype(np.float32)
