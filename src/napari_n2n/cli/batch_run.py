"""Measure many fields of view, and write a table and a page with the figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_n2n.cli.left_out import LeftOut
from napari_n2n.cli.terminal import progress, say, show
from napari_n2n.errors import BadInput
from napari_n2n.io.output_path import output_file

if TYPE_CHECKING:
    from napari_n2n.pair.pair import Pair
    from napari_n2n.quality.field_report import FieldReport
    from napari_n2n.quality.measured_field import MeasuredField


def check_endings(*outputs: tuple[Path | None, str]) -> None:
    """Raise `BadInput` if the name of an output has the wrong ending, or cannot be written."""
    for path, ending in outputs:
        if path is None:
            continue
        output_file(path)
        if path.suffix.lower() != ending:
            raise BadInput(f"{path}: unknown ending: must be {ending}", "output")


def measured_pairs(pairs: "Sequence[Pair]", left_out: LeftOut) -> "FieldReport":
    """Measure the noise of every pair."""
    from napari_n2n.quality.field_report import FieldReport
    from napari_n2n.quality.measured_field import NOISE, MeasuredField

    fields = []
    with progress("measuring") as follow:
        for number, pair in enumerate(pairs, 1):
            fields.append(MeasuredField.of_pair(pair))
            follow(number / len(pairs), f"{number} of {len(pairs)}: {pair.first.name}")
    return FieldReport("Noise of the recordings", [*fields, *_not_usable(left_out)], NOISE)


def fields_of_view_in(folders: Sequence[Path], left_out: LeftOut) -> list[list[Path]]:
    """Return the files of the same name in folders; raise `BadInput` if one is not a folder."""
    from napari_n2n.io.fields_of_view import fields_of_view, is_folder

    for path in folders:
        if not is_folder(path):
            raise BadInput(
                f"{path}: is not a folder, but others are: give folders with files of the same "
                "names, or single files",
                "unmatched",
            )
    fields = fields_of_view(folders, on_bad=left_out.add)
    left_out.check()
    return fields


def scored_results(
    fields: Sequence[Sequence[Path]],
    *,
    with_input: bool,
    with_truth: bool,
    axes: str | None,
    left_out: LeftOut,
) -> "FieldReport":
    """Score many results.

    Parameters
    ----------
    fields
        For each, the result, the acquisition to compare it with, and the input and the truth if
        they are given.
    with_input, with_truth
        Whether inputs and truths are given.
    """
    from napari_n2n.io.acquisition import Acquisition
    from napari_n2n.io.bad_fields import Problems
    from napari_n2n.quality.field_report import FieldReport
    from napari_n2n.quality.measured_field import SCORES, MeasuredField
    from napari_n2n.quality.score import score_result

    found: list[MeasuredField] = []
    problems = Problems(left_out.add)
    with progress("scoring") as follow:
        for number, (result, against, *more) in enumerate(fields, 1):
            source = more[0] if with_input else None
            truth = more[-1] if with_truth else None
            with problems.noted([result, against, *more]):
                score = score_result(result, against, source=source, truth=truth, axes=axes)
                found.append(MeasuredField.of_score(Acquisition.open(result, axes=axes), score))
            follow(number / len(fields), f"{number} of {len(fields)}: {result.name}")
    left_out.check()
    problems.check(left=len(found))
    return FieldReport("Scores of the results", [*found, *_not_usable(left_out)], SCORES)


def _not_usable(left_out: LeftOut) -> "list[MeasuredField]":
    from napari_n2n.quality.measured_field import MeasuredField

    return [MeasuredField.not_usable(one.code, str(one)) for one in left_out.problems]


def save_report(report: "FieldReport", table: Path | None, page: Path | None) -> None:
    """Write the table and the page, if the user gave a name for them."""
    for path, write in ((table, report.write_table), (page, report.write_page)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
            say(f"saved {path}")


def show_report(report: "FieldReport") -> None:
    """Print the summary, and a line for each field of view that differs."""
    show(report.summary())
    for number in report.differing:
        show(f"{report.fields[number].name}: {'; '.join(report.differences[number].reasons)}")
