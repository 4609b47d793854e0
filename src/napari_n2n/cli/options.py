"""The options that commands share, and what their words mean to the engine."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_n2n.errors import BadInput

if TYPE_CHECKING:
    from napari_n2n.pair.pair import Pair
    from napari_n2n.training.settings import TrainingSettings

Axes = Annotated[
    str | None, typer.Option(help="Letters of the dimensions, e.g. TYX, to overrule the files.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Memory = Annotated[str, typer.Option(help="Limit for the pixels in memory, e.g. 500MB or 4GB.")]
Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="A B [MORE]...",
        help="Recordings of one scene; A1 B1 + A2 B2 for several fields; or two folders.",
    ),
]
Split = Annotated[
    str | None, typer.Option(help="Take even and odd frames along this axis as two recordings.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what stands at the output.")]


def pairs_of(sources: list[Path], axes: str | None, split: str | None) -> "list[Pair]":
    """Open what `Sources`, `Axes` and `Split` name, a pair for each field and channel."""
    from napari_n2n import open_pairs
    from napari_n2n.io.fields_of_view import fields_of_view

    return open_pairs(*fields_of_view(sources), axes=axes, split=split and split.upper())


def byte_count(words: str) -> int:
    """Return the number of bytes that `Memory` names.

    Raises
    ------
    BadInput
        If it names none.
    """
    found = re.fullmatch(r"\s*([0-9.]+)\s*([kMGT]?)B?\s*", words, re.IGNORECASE)
    try:
        number = float(found.group(1)) if found else 0.0
    except ValueError:
        number = 0.0
    if found is None or number <= 0:
        raise BadInput(f"--memory {words}: cannot be read: write it as 500MB or 4GB", "option")
    return int(number * 1000 ** " kmgt".index((found.group(2) or " ").lower()))


def training_settings(**given: Any) -> "TrainingSettings":
    """Return settings of these values.

    Raises
    ------
    BadInput
        If one cannot be used, naming the option that gave it.
    """
    from pydantic import ValidationError

    from napari_n2n.training.settings import TrainingSettings

    try:
        return TrainingSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            f"--{first['loc'][0]} {first['input']}: {first['msg'].replace('Input should', 'must')}",
            "option",
        ) from error
