"""Write noise reports as JSON, and read the noise of a microscope from such a file.

Two recordings show the noise better than one. For training on one recording, the report of another
scene can therefore be given, if it was recorded with the same settings.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import write_atomically
from napari_n2n.io.description import Description
from napari_n2n.io.plain_json import plain_json
from napari_n2n.noise.measure import NoiseCurves, Report
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.noise.report import NoiseReport
from napari_n2n.noise.single_noise import measure_single
from napari_n2n.noise.single_report import SingleFigures, SingleReport, advise_single
from napari_n2n.pair.checks import Finding, other_scenes
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.recordings import first_field

NOT_A_PAIR = (
    "not given: a second recording of the scene, or --split T, which takes even and odd frames, "
    "shows the noise with more certainty"
)
_HOW = "give a report that the Noise dock saved, or that inspect printed as JSON"
# Bytes: a report of ten channels has 0.2 MB; an image that was chosen by mistake is not read to its
# end.
_LARGEST = 50_000_000
# Ratio of the noise in a report to that of the recording above which they do not fit: the noise of
# one recording is known to 30 % or better.
_OTHER = 1.5

_Share = Annotated[float, Field(ge=0, le=1)]


def report_in_json(
    reports: Sequence[Report], curves: Sequence[NoiseCurves | None]
) -> dict[str, Any]:
    """Return the noise of the channels of a recording or a pair as ``inspect --json`` prints it.

    All figures of a pair are null if the acquisitions show different scenes.
    """
    pairs = [
        _of_pair(report, curve)
        for report, curve in zip(reports, curves, strict=True)
        if isinstance(report, NoiseReport)
    ]
    if not pairs:
        figures = [report.as_dict() for report in reports]
        return {"loss": None, "reason": f"second recording {NOT_A_PAIR}", "single": figures}
    return pairs[0] | ({"channels": pairs} if len(pairs) > 1 else {})


def _of_pair(report: NoiseReport, curves: NoiseCurves | None) -> dict[str, Any]:
    whole = report.as_dict() | ({"curves": curves.as_dict()} if curves else {})
    if not (others := other_scenes(report.warnings)):
        return whole
    return dict.fromkeys(whole) | {"reason": others[0].message, "warnings": whole["warnings"]}


def write_noise_report(
    path: Path,
    reports: Sequence[Report],
    curves: Sequence[NoiseCurves | None],
    recordings: Iterable[Description],
) -> None:
    """Write the noise of the channels of recordings as a file for `read_noise_report`.

    Parameters
    ----------
    path
        The file; one of this name is replaced.
    reports, curves
        Noise of each channel, and its curves; a single recording has no curves (None).
    recordings
        Descriptions of the recordings.
    """
    described = {"recordings": [one.as_dict() for one in recordings]}
    whole = plain_json(report_in_json(reports, curves) | described)
    write_atomically(path, json.dumps(whole, allow_nan=False).encode())


def read_noise_report(path: str | Path, recordings: Pair | Sequence[Pair]) -> list[SingleReport]:
    """Return the noise of each channel of recordings, read from a report in JSON.

    Parameters
    ----------
    path
        File that the Noise dock saved, or the output of ``napari-n2n inspect A B --json``.
    recordings
        Recordings of single acquisitions, made by `Pair.single` or `open_pairs`.

    Returns
    -------
    list of SingleReport
        With a warning if the noise of a recording is known to be different.

    Raises
    ------
    BadInput
        If the file is not such a report, or of another number of channels.
    """
    path = Path(path).expanduser()
    report = _read(path)
    channels = report.get("channels") or report.get("single") or [report]
    fields = first_field([recordings] if isinstance(recordings, Pair) else recordings)
    if not isinstance(channels, list):
        raise BadInput(f"{path}: not a noise report: {_HOW}", "unreadable")
    if len(channels) != len(fields):
        raise BadInput(
            f"{path}: noise of {len(channels)} channels, but the recording has {len(fields)}: "
            "give the report of a recording with the same channels",
            "channels",
        )
    return [_of_channel(path, own, pair) for own, pair in zip(channels, fields, strict=True)]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise BadInput(f"{path}: too large for a noise report: {_HOW}", "unreadable")
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}: {_HOW}", "unreadable") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not JSON: {_HOW}", "unreadable") from error
    if not isinstance(report, dict):
        raise BadInput(f"{path}: not a noise report: {_HOW}", "unreadable")
    return report


class _Written(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, strict=False)


class _WrittenModel(_Written):
    """The fields of a `NoiseModel` that describe one recording; see there."""

    levels: tuple[float, ...] = Field(min_length=2)
    variances: tuple[Annotated[float, Field(gt=0)], ...]
    outlier_share: _Share
    outlier_range: tuple[float, float]
    lower_limit: float | None
    correlation: tuple[()] | tuple[tuple[float, ...], tuple[float, ...]] = ()
    step: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _check_curve(self) -> "_WrittenModel":
        if len(self.levels) != len(self.variances) or list(self.levels) != sorted(self.levels):
            raise ValueError("needs a variance at each of ascending levels")
        return self


class _WrittenFigures(_Written):
    """The figures of a report that are used; see `SingleFigures`."""

    noise_a: Annotated[float, Field(gt=0)]
    photon_gain: float | None
    read_noise: float | None
    pedestal: float | None
    noise_correlation: tuple[float, float] | None
    correlation_length: tuple[float, float] | None
    outlier_share: _Share
    saturated_share: _Share
    black_share: _Share
    noise_model: _WrittenModel
    errors: dict[str, float | None]


def _of_channel(path: Path, report: Any, recording: Pair) -> SingleReport:
    if isinstance(report, dict) and report.get("noise_a", 0) is None:
        raise BadInput(f"{path}: in it, the noise is not determined: {_HOW}", "unreadable")
    try:
        written = _WrittenFigures.model_validate(report)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "figures"
        words = f"{path}: not a noise report ({where}: {first['msg']}): {_HOW}"
        raise BadInput(words, "unreadable") from error
    known = written.model_dump(exclude={"noise_model", "errors"})
    figures = SingleFigures(
        **known,
        noise_excess=(None, None),
        noise_model=NoiseModel(**written.noise_model.model_dump()),
        errors={name: error for name, error in written.errors.items() if error is not None},
    )
    findings = (*recording.findings, *_differs(path.name, figures.noise_model, recording))
    return advise_single(figures, findings, path.name)


def _differs(source: str, given: NoiseModel, recording: Pair) -> list[Finding]:
    """Return a warning if the noise of a recording certainly differs from that in a report."""
    own = measure_single(recording)
    if own.noise_a is None:
        return []
    levels = np.array(own.noise_model.levels)
    ratios = given.variance_at(levels) / own.noise_model.variance_at(levels)
    ratio = math.sqrt(float(np.exp(np.median(np.log(ratios)))))
    if 1 / _OTHER < ratio < _OTHER:
        return []
    return [
        Finding(
            "other_noise",
            f"{source} has {ratio:.2g} times the noise that this recording shows: give the "
            "report of two recordings with the same settings of the microscope.",
        )
    ]
