"""Describe recordings, measure the noise of the first pair of each channel, and print both."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_n2n.cli.batch_run import show_report
from napari_n2n.cli.left_out import LeftOut
from napari_n2n.cli.terminal import print_json, say, show
from napari_n2n.errors import BadInput

if TYPE_CHECKING:
    from napari_n2n.io.description import Description
    from napari_n2n.noise.measure import NoiseCurves, Report
    from napari_n2n.noise.report import NoiseReport
    from napari_n2n.pair.pair import Pair
    from napari_n2n.quality.field_report import FieldReport

    Measured = tuple[Pair, NoiseReport, NoiseCurves]


_RESULT = "this is a denoised result, not a recording"


def describe_each(
    fields: list[list[Path]], axes: str | None, left_out: LeftOut
) -> "list[tuple[Path, Description]]":
    """Describe the only file of each field of view; add bad files to `left_out`."""
    from napari_n2n.io.bad_fields import Problems

    described: list[tuple[Path, Description]] = []
    problems = Problems(left_out.add, single=len(fields) == 1)
    for field in fields:
        with problems.noted(field):
            described += zip(field, _described(field, axes), strict=True)
    problems.check(left=len(described))
    left_out.check()
    return described


def describe_measured(
    fields: list[list[Path]], measured: "list[Measured]", axes: str | None
) -> "list[Description]":
    """Describe the recordings of the field of view that was measured; others may be missing."""
    file = measured[0][0].first.path
    used = (field for field in fields if _file_of(field[0]) == file)
    return _described(next(used), axes)


def _file_of(source: Path) -> Path | None:
    """Return the `path` that the acquisition of a source will have; None for an address."""
    from napari_n2n.io.address import address_of
    from napari_n2n.io.image_name import split_image_name
    from napari_n2n.io.sources import expanded

    if address_of(source) is not None and not source.exists():
        return None
    return split_image_name(expanded(source))[0].absolute()


def _described(paths: Sequence[Path], axes: str | None) -> "list[Description]":
    from napari_n2n.io.description import Description
    from napari_n2n.io.sources import open_source

    return [Description.of(open_source(path, axes)) for path in paths]


def measure(pairs: "list[Pair]") -> "list[Measured]":
    """Measure the noise of the first field of view, for each channel."""
    from napari_n2n.noise.measure import measure_with_curves
    from napari_n2n.pair.recordings import first_field

    return [(pair, *measure_with_curves(pair)) for pair in first_field(pairs)]


def measure_alone(file: Path, axes: str | None) -> "list[Report] | str":
    """Measure the noise of each channel of a single recording; return the reason if this fails."""
    from napari_n2n import open_pairs, read_provenance
    from napari_n2n.noise.measure import measure_channels

    if read_provenance(file):
        return _RESULT
    try:
        return measure_channels(open_pairs([file], axes=axes, single=True))
    except BadInput as error:
        return str(error)


def save_figures(measured: "list[Measured]", plot: Path | None, hot_pixels: Path | None) -> None:
    """Save a plot and a list of hot pixels for each channel, if the user gave names for them."""
    from napari_n2n.noise.panels import draw_noise

    for number, (_, report, curves) in enumerate(measured if plot else ()):
        assert plot is not None
        file = _numbered(plot, number)
        draw_noise(report, curves, file)
        say(f"saved {file}")
    for number, (pair, _, _) in enumerate(measured if hot_pixels else ()):
        assert hot_pixels is not None
        file = _numbered(hot_pixels, number)
        pair.pattern.write_points(file)
        say(f"saved {file}")


def _numbered(path: Path, channel: int) -> Path:
    return path if channel == 0 else path.with_stem(f"{path.stem}_{channel}")


def print_measured(
    measured: "list[Measured]",
    recordings: "list[Description]",
    batch: "FieldReport | None",
    left_out: LeftOut | None,
) -> None:
    """Print the noise of each channel, and the description of each recording.

    If all fields of view were measured, print which of them differ instead. If `left_out` is given,
    print one JSON object instead of text.
    """
    if left_out is not None:
        from napari_n2n.noise.report_file import report_in_json

        whole = report_in_json(*zip(*(one[1:] for one in measured), strict=True))
        fields = {} if batch is None else {"fields": batch.as_list()}
        print_json(whole | fields | _in_json(recordings, left_out))
        return
    if batch is not None:
        show_report(batch)
        return
    for pair, report, _ in measured:
        if len(measured) > 1:
            show(pair.first.name)
        for line in report.lines():
            show(line)
    _print_lines(recordings)


def print_alone(
    measured: "list[tuple[Description, list[Report] | str]]", left_out: LeftOut | None = None
) -> None:
    """Print the description of recordings that are not pairs, and the noise of each.

    Parameters
    ----------
    measured
        Each recording, and the noise of each of its channels, or why it was not measured.
    left_out
        The files to name in the JSON object; None: print text instead.
    """
    from napari_n2n.noise.report_file import NOT_A_PAIR

    if left_out is not None:
        print_json(_alone_in_json(measured, left_out))
        return
    for recording, noise in measured:
        _print_lines([recording])
        if isinstance(noise, str):
            show(f"{'noise':<15}not measured: {noise}")
        else:
            for line in chain.from_iterable(report.lines() for report in noise):
                show(line)
        if len(measured) > 1:
            show("")
    if any(noise != _RESULT for _, noise in measured):
        show(f"{'second one':<15}{NOT_A_PAIR}")


def _alone_in_json(
    measured: "list[tuple[Description, list[Report] | str]]", left_out: LeftOut
) -> dict[str, Any]:
    """Return the noise of the first recording, and the description and noise of each recording."""
    from napari_n2n.noise.report_file import report_in_json

    whole = _in_json([recording for recording, _ in measured], left_out)
    for described, (_, noise) in zip(whole["recordings"], measured, strict=True):
        known = [] if isinstance(noise, str) else [report.as_dict() for report in noise]
        described |= {"noise": known, "noise_reason": noise if isinstance(noise, str) else None}
    noise = measured[0][1]
    if isinstance(noise, str):
        return report_in_json([], []) | {"reason": noise} | whole
    return report_in_json(noise, [None] * len(noise)) | whole


def _in_json(recordings: "list[Description]", left_out: LeftOut) -> dict[str, Any]:
    described = [one.as_dict() for one in recordings]
    return {"recordings": described, "left_out": left_out.as_list()}


def _print_lines(recordings: "list[Description]") -> None:
    for one in recordings:
        for line in one.lines():
            show(line)
