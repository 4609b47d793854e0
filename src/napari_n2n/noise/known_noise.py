"""Read the noise of a microscope from a report that was measured on two of its recordings.

Two recordings show the noise better than one. For training on one recording, the report of another
scene can therefore be given, if it was recorded with the same settings.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.noise.single_report import SingleFigures, SingleReport, advise_single
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.recordings import first_field

_HOW = "write it with: napari-n2n inspect A B --json > noise.json"


def read_noise(path: Path, recordings: Sequence[Pair]) -> list[SingleReport]:
    """Return the noise of each channel of recordings, read from a report in JSON.

    Parameters
    ----------
    path
        What ``napari-n2n inspect A B --json`` printed.
    recordings
        Recordings of single acquisitions; their own noise is not measured.

    Raises
    ------
    BadInput
        If the file is not such a report, or of another number of channels.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}: {_HOW}", "unreadable") from error
    except ValueError as error:
        raise BadInput(f"{path}: not JSON: {_HOW}", "unreadable") from error
    if not isinstance(report, dict):
        raise BadInput(f"{path}: not a noise report: {_HOW}", "unreadable")
    channels = report.get("channels") or report.get("single") or [report]
    fields = first_field(recordings)
    if len(channels) != len(fields):
        raise BadInput(
            f"{path}: noise of {len(channels)} channels, but the recording has {len(fields)}: "
            "give the report of a recording with the same channels",
            "channels",
        )
    try:
        return [_of(own, pair) for own, pair in zip(channels, fields, strict=True)]
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: not a noise report: {_HOW}", "unreadable") from error


def _of(report: Mapping[str, Any], recording: Pair) -> SingleReport:
    model: Mapping[str, Any] = report["noise_model"]
    if report["noise_a"] is None:
        raise BadInput(
            f"{recording.first.name}: the noise report does not know the noise: {_HOW}", "single"
        )
    figures = SingleFigures(
        noise_a=float(report["noise_a"]),
        photon_gain=report["photon_gain"],
        read_noise=report["read_noise"],
        pedestal=report["pedestal"],
        noise_correlation=_pair_of(report["noise_correlation"]),
        correlation_length=_pair_of(report["correlation_length"]),
        outlier_share=float(report["outlier_share"]),
        saturated_share=float(report["saturated_share"]),
        black_share=float(report["black_share"]),
        noise_excess=(None, None),
        noise_model=NoiseModel(
            levels=tuple(map(float, model["levels"])),
            variances=tuple(map(float, model["variances"])),
            outlier_share=float(model["outlier_share"]),
            outlier_range=(float(model["outlier_range"][0]), float(model["outlier_range"][1])),
            lower_limit=model["lower_limit"],
            correlation=tuple(tuple(map(float, one)) for one in model.get("correlation", ())),
            step=float(model.get("step", 0.0)),
        ),
        errors=dict(report["errors"]),
    )
    return advise_single(figures, recording.findings)


def _pair_of(values: Sequence[float] | None) -> tuple[float, float] | None:
    return None if values is None else (float(values[0]), float(values[1]))
