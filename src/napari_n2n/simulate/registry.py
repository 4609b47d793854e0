"""The table of all corruptions, and their notation on the command line: ``gaussian:25``."""

import re

from napari_n2n.errors import BadInput
from napari_n2n.simulate.additive import Brown, Camera, Gaussian, Poisson
from napari_n2n.simulate.corruption import Level, Noise
from napari_n2n.simulate.replacement import Bernoulli, Impulse, Text

_NUMBER = r"(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)"

NOISES: dict[str, type[Noise]] = {
    noise.name: noise for noise in (Gaussian, Brown, Poisson, Camera, Text, Impulse, Bernoulli)
}
"""The corruptions by name."""


def parse(text: str) -> Noise:
    """Return the corruption that a text describes.

    Parameters
    ----------
    text
        A name of `NOISES` and its numbers, as in ``gaussian:25``, ``brown:25:1.5`` or
        ``camera:GAIN:READ:OFFSET``; ``gaussian:0-50`` draws the level of every image from a range.
        Omitted numbers have their default values.

    Raises
    ------
    BadInput
        If there is no such noise, or a number cannot be used.
    """
    name, *numbers = text.strip().lower().split(":")
    if name not in NOISES:
        examples = ", ".join(str(noise()) for noise in NOISES.values())
        raise BadInput(f"noise '{text}': unknown: write one like {examples}", "option")
    kind = NOISES[name]
    usage = ":".join([name, *(parameter.upper() for parameter in kind.parameters())])
    levels = [_level(number) for number in numbers]
    if None in levels or len(levels) > len(kind.parameters()):
        raise BadInput(
            f"noise '{text}': cannot be read: write it as {usage}, like {kind()}", "option"
        )
    try:
        return kind(*levels)
    except BadInput as error:
        raise BadInput(f"noise '{text}': {error}", error.code) from error


def _level(number: str) -> Level | None:
    found = re.fullmatch(f"{_NUMBER}(?:-{_NUMBER})?", number)
    if found is None:
        return None
    low, high = found.groups()
    return float(low) if high is None else (float(low), float(high))
