"""The corruptions of the Noise2Noise paper, to be put on a clean image as often as wanted.

A corruption is a frozen value with a level (or a range from which every image draws its own), and
`apply` draws fresh noise at every call, so that two calls give a pair of which the truth is known.
Results are floats, neither clipped nor quantised: both would move the mean of the noise. The table
`NOISES` is the only place where corruptions are listed: command line, widgets and docs read it.

Images have the shape (..., Y, X). An array is one image with one level, whatever its leading axes;
with ``channels=True`` the axis before YX holds the colours of one picture, and what hits a pixel
hits all of them.
"""

import math
import re
import string
from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_type_hints

import numpy as np
from scipy import ndimage

from napari_n2n import lettering
from napari_n2n.errors import BadInput
from napari_n2n.finite import finite
from napari_n2n.writers import Writer, open_writer

Level = float | tuple[float, float]
Range = tuple[float, float]

_NUMBER = r"(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)"
_BRIGHTEST = 1e15


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number of a noise that a person may set.

    Attributes
    ----------
    label, tip
        What it is called, and a sentence in the words of who took the image.
    low, high
        Smallest and largest value that makes sense.
    step
        By how much one would change it.
    ranged
        True where a range may stand for the number, from which every image draws its own.
    """

    label: str
    tip: str
    low: float
    high: float
    step: float
    ranged: bool = False


Sigma = Annotated[
    Level,
    Parameter("Strength", "Spread of the noise, in grey values of the image", 0, 1e9, 1, True),
]


@dataclass(frozen=True)
class Noise:
    """A corruption.

    Attributes
    ----------
    name
        The word used on the command line.
    title, words
        What people see: a name, and a sentence on where such noise comes from.
    uses_range
        True where the result depends on the range of values of the image.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    words: ClassVar[str]
    uses_range: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, parameter in self.parameters().items():
            level = getattr(self, name)
            ends = level if isinstance(level, tuple) else (level, level)
            if isinstance(level, tuple) and not parameter.ranged:
                raise BadInput(f"{self.name}: {name} takes one number, not a range")
            if not parameter.low <= ends[0] <= ends[1] <= parameter.high:
                raise BadInput(
                    f"{self.name}: {name} {_shown(level)} does not lie within "
                    f"{parameter.low:g} to {parameter.high:g}"
                )

    def __str__(self) -> str:
        return ":".join([self.name, *(_shown(getattr(self, name)) for name in self.parameters())])

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """Return the numbers that can be set, by name, in the order of the command line."""
        hints = get_type_hints(cls, include_extras=True)
        return {one.name: hints[one.name].__metadata__[0] for one in fields(cls)}

    def settled(self, rng: np.random.Generator) -> Self:
        """Return the same noise at one level, drawn from its range: for two views of one level."""
        levels = {name: getattr(self, name) for name in self.parameters()}
        ranges = {name: level for name, level in levels.items() if isinstance(level, tuple)}
        return replace(self, **{name: float(rng.uniform(*ends)) for name, ends in ranges.items()})

    def apply(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        *,
        channels: bool = False,
        data_range: Range | None = None,
    ) -> np.ndarray:
        """Return the image with fresh noise.

        Parameters
        ----------
        image
            Clean, finite; shape (..., Y, X).
        rng
            What to draw from. One level is drawn for the whole array.
        channels
            True where the axis before YX holds the colours of one picture.
        data_range
            Lowest and highest value that the image could have; see `value_range` for the default.

        Returns
        -------
        numpy.ndarray
            float32, of the same shape and intensity unit.

        Raises
        ------
        BadInput
            If the noise refers to a range of values and the image has none.
        """
        limits = self._limits(image, data_range)
        clean = np.asarray(image, np.float32)
        return self.settled(rng)._corrupt(clean, rng, channels, limits).astype(np.float32)

    def _limits(self, image: np.ndarray, data_range: Range | None) -> Range:
        if not self.uses_range:
            return 0.0, 0.0
        low, high = data_range or value_range(image)
        if not low < high:
            raise BadInput(
                f"{self.name}: all pixels are {low:g}, and the noise refers to the range of the "
                "values: choose an image with structure"
            )
        return low, high

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True)
class Gaussian(Noise):
    """White noise that has nothing to do with the signal: ``x + N(0, sigma^2)``."""

    name = "gaussian"
    title = "White (Gaussian)"
    words = "The same grain everywhere, as from amplifiers and detectors."

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
    words = "Grain that spreads over neighbouring pixels, as in resampled or processed images."

    sigma: Sigma = 25
    width: Annotated[
        float, Parameter("Grain size", "Radius of a grain of noise, in pixels", 0.1, 50, 0.1)
    ] = 1.5

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        reach = math.ceil(4 * self.width)  # scipy cuts the kernel at 4 widths
        padded = (*clean.shape[:-2], *(length + 2 * reach for length in clean.shape[-2:]))
        white = rng.standard_normal(padded, dtype=np.float32)
        blurred = ndimage.gaussian_filter(white, self.width, axes=(-2, -1))
        blurred = blurred[..., reach:-reach, reach:-reach]
        point = np.zeros(2 * reach + 1)
        point[reach] = 1
        left_over = (ndimage.gaussian_filter1d(point, self.width, mode="constant") ** 2).sum()
        return clean + self.sigma / left_over * blurred


@dataclass(frozen=True)
class Poisson(Noise):
    """Photon noise: the low end of the range is dark, its high end collects `photons`.

    ``low + (high - low) / photons * Poisson(photons (x - low) / (high - low))``: the mean is the
    clean value; whatever lies below the low end counts as dark.
    """

    name = "poisson"
    title = "Photons (Poisson)"
    words = "Every photon counts: the fewer there are, the grainier, and bright parts most of all."
    uses_range = True

    photons: Annotated[
        Level, Parameter("Photons", "Photons that the brightest pixel collects", 1e-3, 1e9, 1, True)
    ] = 30

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        low, high = limits
        unit = (high - low) / self.photons  # type: ignore[operator]
        return low + unit * _counted((clean - low) / unit, rng)


@dataclass(frozen=True)
class Camera(Noise):
    """A camera: photon noise of the electrons, and Gaussian noise of their read-out.

    ``offset + gain * (Poisson((x - offset) / gain) + N(0, read^2))`` with the clean image in ADU:
    the mean is the clean value; whatever lies below the offset counts as dark.
    """

    name = "camera"
    title = "Camera sensor"
    words = "What a camera adds: photon noise, and the noise of reading out every pixel."

    gain: Annotated[
        float, Parameter("Gain", "Grey values per electron, from the data sheet", 1e-6, 1e6, 0.1)
    ] = 1
    read: Annotated[
        float, Parameter("Read noise", "Noise of reading a pixel, in electrons", 0, 1e6, 0.1)
    ] = 1.5
    offset: Annotated[
        float, Parameter("Offset", "Grey value of complete darkness, often 100", 0, 1e6, 10)
    ] = 0

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        electrons = _counted((clean - self.offset) / self.gain, rng)
        electrons += self.read * rng.standard_normal(clean.shape, dtype=np.float32)
        return self.offset + self.gain * electrons


@dataclass(frozen=True)
class Replacement(Noise):
    """A corruption that replaces some pixels and leaves the others as they are."""

    def with_mask(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        *,
        channels: bool = False,
        data_range: Range | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what `apply` returns, and where it replaced pixels.

        The mask is what a loss needs that shall leave missing pixels out.

        Returns
        -------
        noisy, hit
            float32 of the image's shape; bool of the same shape, but with a single channel where
            `channels` is True.
        """
        limits = self._limits(image, data_range)
        clean = np.asarray(image, np.float32)
        return self.settled(rng)._replaced(clean, rng, channels, limits)

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        return self._replaced(clean, rng, channels, limits)[0]

    def _replaced(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


@dataclass(frozen=True)
class Text(Replacement):
    """Printable strings at random places, in random sizes and greys (or colours).

    They are written until the share of covered pixels passes `share`.
    """

    name = "text"
    title = "Text on top"
    words = "Writing laid over the image: every pixel is either right or nonsense."
    uses_range = True

    share: Annotated[
        Level,
        Parameter("Covered", "Share of the image that is covered, 0 to 1", 0, 0.95, 0.05, True),
    ] = 0.25

    def _replaced(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> tuple[np.ndarray, np.ndarray]:
        noisy, hit = clean.copy(), np.zeros(_mask_shape(clean, channels), bool)
        colours = clean.shape[-3] if channels else 1
        pictures = noisy.reshape(-1, colours, *clean.shape[-2:])
        for picture, covered in zip(pictures, hit.reshape(-1, *clean.shape[-2:]), strict=True):
            lettering.write(picture, covered, float(self.share), limits, rng)  # type: ignore[arg-type]
        return noisy, hit


@dataclass(frozen=True)
class Impulse(Replacement):
    """Pixels replaced by a value drawn evenly from the whole range; all colours of a pixel."""

    name = "impulse"
    title = "Random pixels"
    words = "Single pixels with a random value, as hot or dead pixels and transmission errors."
    uses_range = True

    share: Annotated[
        Level, Parameter("Hit", "Share of the pixels that is hit, 0 to 1", 0, 1, 0.05, True)
    ] = 0.7

    def _replaced(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> tuple[np.ndarray, np.ndarray]:
        low, high = limits
        hit = rng.random(_mask_shape(clean, channels), dtype=np.float32) < self.share
        values = rng.random(clean.shape, dtype=np.float32) * np.float32(high - low)
        return np.where(hit, values + np.float32(low), clean), hit


@dataclass(frozen=True)
class Bernoulli(Replacement):
    """Pixels that are missing, and read 0; all colours of a pixel.

    Zero is no measurement: leave these pixels out of a loss, by the mask of `with_mask`.
    """

    name = "bernoulli"
    title = "Missing pixels"
    words = "Single pixels without a measurement, which read zero."

    share: Annotated[
        Level, Parameter("Missing", "Share of the pixels that is missing, 0 to 1", 0, 1, 0.05, True)
    ] = 0.5

    def _replaced(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> tuple[np.ndarray, np.ndarray]:
        hit = rng.random(_mask_shape(clean, channels), dtype=np.float32) < self.share
        return np.where(hit, np.float32(0), clean), hit


NOISES: dict[str, type[Noise]] = {
    noise.name: noise for noise in (Gaussian, Brown, Poisson, Camera, Text, Impulse, Bernoulli)
}
"""The corruptions by name."""


def parse(words: str) -> Noise:
    """Read a corruption from the command line's words.

    Parameters
    ----------
    words
        A name of `NOISES` and its numbers, as in ``gaussian:25``, ``brown:25:1.5`` or
        ``camera:GAIN:READ:OFFSET``; ``gaussian:0-50`` draws the level of every image from a range.
        Numbers that are left out take their defaults.

    Raises
    ------
    BadInput
        If there is no such noise or a number cannot be used.
    """
    name, *numbers = words.strip().lower().split(":")
    if name not in NOISES:
        examples = ", ".join(str(noise()) for noise in NOISES.values())
        raise BadInput(f"noise '{words}': unknown: write one like {examples}")
    kind = NOISES[name]
    usage = ":".join([name, *(parameter.upper() for parameter in kind.parameters())])
    levels = [_level(number) for number in numbers]
    if None in levels or len(levels) > len(kind.parameters()):
        raise BadInput(f"noise '{words}': cannot be read: write it as {usage}, like {kind()}")
    try:
        return kind(*levels)
    except BadInput as error:
        raise BadInput(f"noise '{words}': {error}") from error


def value_range(image: np.ndarray) -> Range:
    """Return the lowest and highest value an image could have: 0 to 255 for 8 bit, else it has."""
    if image.dtype == np.uint8:
        return 0.0, 255.0
    return float(image.min()), float(image.max())


@dataclass(frozen=True, slots=True)
class SimulationStep:
    """Where a run stands: planes done, and planes in all."""

    done: int
    total: int

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return self.done / self.total


def simulate_by_planes(
    clean: Any, noise: Noise, out: Sequence[Path], *, seed: int = 0, overwrite: bool = False
) -> Generator[SimulationStep, None, list[Path]]:
    """Write noisy acquisitions of a clean one; a generator that yields after every plane.

    Closing it before its end leaves nothing behind.

    Parameters
    ----------
    clean
        An `Acquisition`. Where the noise refers to a range of values, it is that of the stack.
    noise
        Every plane of every file draws its own, and its own level if that is a range.
    out
        A path for each noisy acquisition, ending in .tif or .ome.zarr.
    seed
        The same seed gives the same pixels.
    overwrite
        Replace what stands at `out`; without it, that is refused.

    Returns
    -------
    list of pathlib.Path
        What was written: float32, with the pixel sizes of `clean`.

    Raises
    ------
    BadInput
        If `clean` has pixels that are no numbers, or something stands at `out`.
    """
    for path in out:
        if path.exists() and not overwrite:
            raise BadInput(f"{path}: exists already: choose another folder or add --overwrite")
    data_range = _stack_range(clean) if noise.uses_range else None
    writers: list[Writer] = []
    try:
        for path, letter in zip(out, string.ascii_lowercase, strict=False):
            name = f"{clean.name} {letter}"
            writers.append(
                open_writer(path, replace(clean.header, dtype=np.dtype(np.float32), name=name))
            )
        for index, leading in enumerate(np.ndindex(*clean.shape[:-2])):
            plane = finite(clean.plane(index), clean, index)
            where = (*(slice(i, i + 1) for i in leading), *(slice(0, n) for n in plane.shape))
            for view, writer in enumerate(writers):
                rng = np.random.default_rng((seed, index, view))
                noisy = noise.apply(plane, rng, data_range=data_range)
                writer.write(where, noisy.reshape([part.stop - part.start for part in where]))
            yield SimulationStep(index + 1, clean.plane_count)
        for writer in writers:
            for _, make in writer.pyramid():
                make()
        return [writer.finish() for writer in writers]
    except BaseException:
        for writer in writers:
            writer.discard()
        raise


def _stack_range(clean: Any) -> Range:
    planes = (finite(clean.plane(index), clean, index) for index in range(clean.plane_count))
    ends = [value_range(plane) for plane in planes]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _shown(level: Level) -> str:
    return "-".join(f"{end:g}" for end in (level if isinstance(level, tuple) else (level,)))


def _level(number: str) -> Level | None:
    found = re.fullmatch(f"{_NUMBER}(?:-{_NUMBER})?", number)
    if found is None:
        return None
    low, high = found.groups()
    return float(low) if high is None else (float(low), float(high))


def _counted(rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw numbers of particles; negative rates count as none."""
    if rate.max() > _BRIGHTEST:
        raise BadInput(f"a pixel of {rate.max():.3g} particles is too bright: use a larger gain")
    return rng.poisson(np.maximum(rate, 0)).astype(np.float32)


def _mask_shape(image: np.ndarray, channels: bool) -> tuple[int, ...]:
    if not channels:
        return image.shape
    return (*image.shape[:-3], 1, *image.shape[-2:])
