"""Base classes of all corruptions: immutable objects that draw new noise at every call.

Images have the shape (..., Y, X). The whole array has one noise level, for any number of leading
axes. With ``channels=True`` the axis before YX contains the colours of one picture, and a replaced
pixel is replaced in all colours.
"""

from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self, get_type_hints

import numpy as np

from napari_n2n.errors import BadInput

Level = float | tuple[float, float]
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Description of a number that users can set.

    Attributes
    ----------
    label, tip
        Label of the field, and its tooltip.
    low, high
        Smallest and largest allowed value.
    step
        Step of the spin box.
    ranged
        True if the number may be a range, from which a level is drawn for every image.
    """

    label: str
    tip: str
    low: float
    high: float
    step: float
    ranged: bool = False


@dataclass(frozen=True)
class Noise:
    """Base class of a corruption.

    Attributes
    ----------
    name
        Name on the command line.
    title, description
        Name in the interface, and a sentence that says where this noise occurs.
    uses_range
        True if the result depends on the range of values of the image.
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
                raise BadInput(f"{self.name}: {name} is a range: give one number", "option")
            if not parameter.low <= ends[0] <= ends[1] <= parameter.high:
                raise BadInput(
                    f"{self.name}: {name} {_formatted(level)} is out of range: give "
                    f"{parameter.low:g} to {parameter.high:g}",
                    "option",
                )

    def __str__(self) -> str:
        return ":".join(
            [self.name, *(_formatted(getattr(self, name)) for name in self.parameters())]
        )

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """Return the parameters by name, in the order of the command line."""
        hints = get_type_hints(cls, include_extras=True)
        return {one.name: hints[one.name].__metadata__[0] for one in fields(cls)}

    def with_drawn_level(self, rng: np.random.Generator) -> Self:
        """Return the same noise with its ranges replaced by levels drawn from them."""
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
        """Return the image with new noise.

        Parameters
        ----------
        image
            Clean image without NaN or infinite pixels; shape (..., Y, X).
        rng
            Random generator. One level is drawn for the whole array.
        channels
            True if the axis before YX contains the colours of one picture.
        data_range
            Lowest and highest possible value of the image; default `value_range`.

        Returns
        -------
        numpy.ndarray
            float32, in the shape and intensity unit of the image.

        Raises
        ------
        BadInput
            If the noise depends on the range of values and all pixels are equal.
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
                f"{self.name}: all pixels are {low:g}, the noise depends on the range of values: "
                "choose an image with structure",
                "constant",
            )
        return low, high

    def _corrupt(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True)
class Replacement(Noise):
    """A corruption that replaces some pixels and does not change the others."""

    def with_mask(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        *,
        channels: bool = False,
        data_range: Range | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the image with new noise as `apply` does, and a mask of the replaced pixels.

        Missing pixels can be excluded from a loss with this mask.

        Returns
        -------
        noisy, hit
            float32 in the shape of the image; bool in the same shape, with a single channel if
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
    """Return the level as a float; it must not be a range."""
    assert not isinstance(level, tuple)
    return level


def value_range(image: np.ndarray) -> Range:
    """Return the range of an image: 0 to 255 for 8 bit, else its lowest and highest value."""
    if image.dtype == np.uint8:
        return 0.0, 255.0
    return float(image.min()), float(image.max())


def _formatted(level: Level) -> str:
    return "-".join(f"{end:g}" for end in (level if isinstance(level, tuple) else (level,)))
