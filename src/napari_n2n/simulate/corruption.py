"""What every corruption is: a frozen value with levels, that draws fresh noise at every call.

Images have the shape (..., Y, X). An array is one image with one level, whatever its leading axes;
with ``channels=True`` the axis before YX holds the colours of one picture, and what hits a pixel
hits all of them.
"""

from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self, get_type_hints

import numpy as np

from napari_n2n.errors import BadInput

Level = float | tuple[float, float]
Range = tuple[float, float]


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


@dataclass(frozen=True)
class Noise:
    """A corruption.

    Attributes
    ----------
    name
        The word used on the command line.
    title, description
        What people see: a name, and a sentence on where such noise comes from.
    uses_range
        True where the result depends on the range of values of the image.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    uses_range: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, parameter in self.parameters().items():
            level = getattr(self, name)
            ends = level if isinstance(level, tuple) else (level, level)
            if isinstance(level, tuple) and not parameter.ranged:
                raise BadInput(f"{self.name}: {name} takes one number, not a range", "option")
            if not parameter.low <= ends[0] <= ends[1] <= parameter.high:
                raise BadInput(
                    f"{self.name}: {name} {_shown(level)} does not lie within "
                    f"{parameter.low:g} to {parameter.high:g}",
                    "option",
                )

    def __str__(self) -> str:
        return ":".join([self.name, *(_shown(getattr(self, name)) for name in self.parameters())])

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """Return the numbers that can be set, by name, in the order of the command line."""
        hints = get_type_hints(cls, include_extras=True)
        return {one.name: hints[one.name].__metadata__[0] for one in fields(cls)}

    def with_drawn_level(self, rng: np.random.Generator) -> Self:
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
        return self.with_drawn_level(rng)._corrupt(clean, rng, channels, limits).astype(np.float32)

    def _limits(self, image: np.ndarray, data_range: Range | None) -> Range:
        if not self.uses_range:
            return 0.0, 0.0
        low, high = data_range or value_range(image)
        if not low < high:
            raise BadInput(
                f"{self.name}: all pixels are {low:g}, and the noise refers to the range of the "
                "values: choose an image with structure",
                "constant",
            )
        return low, high

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        raise NotImplementedError


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
        return self.with_drawn_level(rng)._replaced(clean, rng, channels, limits)

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        return self._replaced(clean, rng, channels, limits)[0]

    def _replaced(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


def fixed_level(level: Level) -> float:
    """Return the level of a noise that is `settled`."""
    assert not isinstance(level, tuple)
    return level


def value_range(image: np.ndarray) -> Range:
    """Return the lowest and highest value an image could have: 0 to 255 for 8 bit, else it has."""
    if image.dtype == np.uint8:
        return 0.0, 255.0
    return float(image.min()), float(image.max())


def _shown(level: Level) -> str:
    return "-".join(f"{end:g}" for end in (level if isinstance(level, tuple) else (level,)))
