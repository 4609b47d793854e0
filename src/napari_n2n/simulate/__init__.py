"""The corruptions of the Noise2Noise paper, to be put on a clean image as often as wanted.

A corruption is a frozen value with a level (or a range from which every image draws its own), and
`apply` draws fresh noise at every call, so that two calls give a pair of which the truth is known.
Results are floats, neither clipped nor quantised: both would move the mean of the noise. The table
`NOISES` is the only place where corruptions are listed: command line, widgets and docs read it.
"""

from napari_n2n.simulate.grain import Brown, Camera, Gaussian, Poisson
from napari_n2n.simulate.noise import Level, Noise, Parameter, Replacement, value_range
from napari_n2n.simulate.planes import SimulationStep, simulate_by_planes
from napari_n2n.simulate.replaced import Bernoulli, Impulse, Text
from napari_n2n.simulate.words import NOISES, parse

__all__ = [
    "NOISES",
    "Bernoulli",
    "Brown",
    "Camera",
    "Gaussian",
    "Impulse",
    "Level",
    "Noise",
    "Parameter",
    "Poisson",
    "Replacement",
    "SimulationStep",
    "Text",
    "parse",
    "simulate_by_planes",
    "value_range",
]
