"""Corruptions that replace pixels with text, random values, or zeros (missing pixels).

Rendering text is slow, so a fixed set of strings is rendered once as masks, from which every text
is composed.
"""

import string
from dataclasses import dataclass
from functools import cache
from typing import Annotated

import numpy as np

from napari_n2n.simulate.corruption import Level, Parameter, Range, Replacement

# Number of rendered strings. More: more varied texts; fewer: less time and memory on first use.
_STRINGS = 512
_LETTERS = string.ascii_letters + string.digits + string.punctuation


def _write_strings(
    picture: np.ndarray,
    covered: np.ndarray,
    share: float,
    limits: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Draw strings on a picture in place, each in one random colour.

    Parameters
    ----------
    picture
        Shape (C, Y, X).
    covered
        Shape (Y, X), all False; set to True in place where letters are.
    share
        Fraction of the pixels to cover, 0 to 1; the last string may exceed it slightly.
    limits
        Range from which the colours are drawn.
    rng
        Random generator.
    """
    strings, count = _strings(), 0
    rows, columns = covered.shape
    while count < share * covered.size:
        letters = strings[rng.integers(len(strings))]
        height, width = letters.shape
        top, left = int(rng.integers(1 - height, rows)), int(rng.integers(1 - width, columns))
        place = (slice(max(top, 0), top + height), slice(max(left, 0), left + width))
        inside = letters[max(-top, 0) : rows - top, max(-left, 0) : columns - left]
        count += int(np.count_nonzero(inside > covered[place]))
        covered[place] |= inside
        colour = rng.uniform(*limits, len(picture))
        picture[:, *place][:, inside] = colour[:, None]


@cache
def _strings() -> list[np.ndarray]:
    """Render random strings in several sizes, as bool masks of shape (Y, X)."""
    from PIL import Image, ImageDraw, ImageFont

    rng = np.random.default_rng(0)
    # Sizes in pixels. Larger strings reach the wanted share with fewer draws; smaller ones leave no
    # large gaps.
    fonts = {size: ImageFont.load_default(size) for size in range(8, 33, 2)}
    masks = []
    for size in rng.choice(list(fonts), _STRINGS):
        text = "".join(rng.choice(list(_LETTERS), rng.integers(3, 11)))
        left, top, right, bottom = (int(edge) for edge in fonts[size].getbbox(text))
        picture = Image.new("L", (right - left + 1, bottom - top + 1))
        ImageDraw.Draw(picture).text((-left, -top), text, fill=255, font=fonts[size])
        masks.append(np.asarray(picture) > 127)
    return masks


@dataclass(frozen=True)
class Text(Replacement):
    """Random strings at random places, in random sizes and greys (or colours).

    Strings are added until the fraction of covered pixels exceeds `share`.
    """

    name = "text"
    title = "Text on top"
    description = "Text over the image: a pixel has either its true value or a random one."
    uses_range = True

    share: Annotated[
        Level,
        Parameter("Covered", "Fraction of the image that is covered, 0 to 1", 0, 0.95, 0.05, True),
    ] = 0.25

    def _replaced(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> tuple[np.ndarray, np.ndarray]:
        noisy, hit = clean.copy(), np.zeros(_mask_shape(clean, channels), bool)
        colours = clean.shape[-3] if channels else 1
        pictures = noisy.reshape(-1, colours, *clean.shape[-2:])
        for picture, covered in zip(pictures, hit.reshape(-1, *clean.shape[-2:]), strict=True):
            _write_strings(picture, covered, float(self.share), limits, rng)  # type: ignore[arg-type]
        return noisy, hit


@dataclass(frozen=True)
class Impulse(Replacement):
    """Pixels replaced in all colours by random values, uniform over the whole range."""

    name = "impulse"
    title = "Random pixels"
    description = "Single pixels with random values, like hot pixels and transmission errors."
    uses_range = True

    share: Annotated[
        Level,
        Parameter("Replaced", "Fraction of the pixels that is replaced, 0 to 1", 0, 1, 0.05, True),
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
    """Missing pixels, set to 0 in all colours.

    A missing pixel is not a measurement: exclude it from a loss with the mask of `with_mask`.
    """

    name = "bernoulli"
    title = "Missing pixels"
    description = "Single pixels without a measurement, set to zero."

    share: Annotated[
        Level,
        Parameter("Missing", "Fraction of the pixels that is missing, 0 to 1", 0, 1, 0.05, True),
    ] = 0.5

    def _replaced(
        self, clean: np.ndarray, rng: np.random.Generator, channels: bool, limits: Range
    ) -> tuple[np.ndarray, np.ndarray]:
        hit = rng.random(_mask_shape(clean, channels), dtype=np.float32) < self.share
        return np.where(hit, np.float32(0), clean), hit


def _mask_shape(image: np.ndarray, channels: bool) -> tuple[int, ...]:
    if not channels:
        return image.shape
    return (*image.shape[:-3], 1, *image.shape[-2:])
