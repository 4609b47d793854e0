"""The commands about the quality of a result: each calls one function of the Python API."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from napari_n2n.cli.options import Axes, Dark, Json, common_options
from napari_n2n.cli.terminal import print_json, show
from napari_n2n.errors import BadInput


@common_options
def score(
    out: Annotated[Path, typer.Argument(help="The result to score.")],
    against: Annotated[Path, typer.Option(help="An acquisition that was not used for the result.")],
    source: Annotated[
        Path | None, typer.Option("--input", help="The acquisition that was denoised.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="A clean image, for PSNR and SSIM.")] = None,
    axes: Axes = None,
    as_json: Json = False,
) -> None:
    """Measure how good a result is, with or without a clean image."""
    from napari_n2n.quality.score import score_result

    result = score_result(out, against, source=source, truth=truth, axes=axes)
    if as_json:
        print_json(asdict(result))
        return
    for line in result.lines():
        show(line)


@common_options
def spot(
    result: Annotated[Path, typer.Argument(help="The denoised image.")],
    recordings: Annotated[
        list[Path],
        typer.Argument(metavar="A B [MORE]...", help="The recordings that it was made from."),
    ],
    at: Annotated[
        list[str],
        typer.Option(help="The pixel, Y,X or T,Z,Y,X as in the result; may be repeated."),
    ],
    error: Annotated[
        Path | None, typer.Option(help="The error map of the result, from denoise --error.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Diameter of the spot in pixels; default: 3, 5 or 9."),
    ] = None,
    axes: Axes = None,
    dark: Dark = None,
    as_json: Json = False,
) -> None:
    """Check whether a spot of a result is real: do the recordings show it beyond their noise."""
    from napari_n2n.quality.spot_check import SpotCheck

    places = [_place(text) for text in at]
    check = SpotCheck.open(result, *recordings, error=error, axes=axes, dark=dark or ())
    spots = [check.at(*place, size=size) for place in places]
    if as_json:
        print_json({"spots": [one.as_dict() for one in spots]})
        return
    for one in spots:
        show(one.line())


def _place(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        message = f"--at {text}: not a place: give whole numbers, for example --at 120,88"
        raise BadInput(message, "option") from None
