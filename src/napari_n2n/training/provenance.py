"""Create the record of a run for the model file: data, settings, scores and versions."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from napari_n2n.model.record import AcquisitionRecord, ModelRecord
from napari_n2n.noise.report import NoiseReport
from napari_n2n.pair.pair import Pair
from napari_n2n.training.held_out import HeldOut
from napari_n2n.training.normalisation import Normalisation
from napari_n2n.training.settings import TrainingSettings
from napari_n2n.training.state import History

_NO_PSNR = "outliers in the target make a mean squared error, and so a PSNR, meaningless"


def record_of_run(
    pairs: Sequence[Pair],
    settings: TrainingSettings,
    reports: Sequence[NoiseReport],
    normalisations: Sequence[Normalisation],
    held_out: HeldOut,
    history: History,
    **outcome: Any,
) -> ModelRecord:
    """Return the record of a run.

    Parameters
    ----------
    pairs, settings, reports, normalisations, held_out, history
        Data and settings of the run, and its scores.
    **outcome
        Further fields of `ModelRecord`.
    """
    return ModelRecord(
        settings=settings.model_dump(),
        loss=held_out.loss.name,
        acquisitions=_acquisitions(pairs),
        values=[one.values for one in normalisations],
        noise=[report.as_dict() for report in reports],
        score=history.best,
        score_reason=None if held_out.loss.statistic == "mean" else _NO_PSNR,
        data_range=held_out.data_range,
        curve=history.curve,
        steps=history.step,
        diverged=history.diverged,
        seconds=round(history.seconds, 1),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "napari-n2n": version("napari-n2n"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        **outcome,
    )


def _acquisitions(pairs: Sequence[Pair]) -> list[AcquisitionRecord]:
    """Describe every acquisition of every pair."""
    return [
        AcquisitionRecord(
            name=acquisition.name,
            path=str(acquisition.path) if acquisition.path else None,
            shape=acquisition.shape,
            axes=acquisition.axes,
            dtype=str(acquisition.dtype),
            channel=pair.channel,
            gain=match.gain,
            offset=match.offset,
        )
        for pair in pairs
        for acquisition, match in zip(pair.acquisitions, pair.matches, strict=True)
    ]
