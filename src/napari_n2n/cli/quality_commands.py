"""The commands about the quality of a result: each calls one function of the Python API."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from napari_n2n.cli.batch_run import (
    check_endings,
    fields_of_view_in,
    save_report,
    scored_results,
    show_report,
)
from napari_n2n.cli.left_out import LeftOut
from napari_n2n.cli.options import Axes, Dark, Json, Report, SkipBad, Table, common_options
from napari_n2n.cli.terminal import print_json, show
from napari_n2n.errors import BadInput


@common_options
def score(
    out: Annotated[Path, typer.Argument(help="The result to score, or a folder of results.")],
    against: Annotated[Path, typer.Option(help="An acquisition that was not used for the result.")],
    source: Annotated[
        Path | None, typer.Option("--input", help="The acquisition that was denoised.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="A clean image, for PSNR and SSIM.")] = None,
    table: Table = None,
    report: Report = None,
    axes: Axes = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Measure how good a result is, with or without a clean image.

    With folders, files of the same name belong together.
    """
    from napari_n2n.io.fields_of_view import is_folder
    from napari_n2n.quality.score import score_result

    check_endings((table, ".csv"), (report, ".html"))
    given = [one for one in (out, against, source, truth) if one is not None]
    if any(map(is_folder, given)):
        left_out = LeftOut(skip_bad)
        batch = scored_results(
            fields_of_view_in(given, left_out),
            with_input=source is not None,
            with_truth=truth is not None,
            axes=axes,
            left_out=left_out,
        )
        save_report(batch, table, report)
        if as_json:
            print_json({"fields": batch.as_list(), "left_out": left_out.as_list()})
        else:
            show_report(batch)
        left_out.end()
        return
    if table is not None or report is not None:
        raise BadInput(
            f"{out}: is one result: --table and --report are for folders of results", "option"
        )
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
