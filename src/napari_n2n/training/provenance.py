"""Create the record of a run for the model file, and compare acquisitions with a record."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch

from napari_n2n.io.acquisition import Acquisition, evenly_spaced
from napari_n2n.io.fingerprint import fingerprint, hash_of_pixels
from napari_n2n.io.written_by import date_now, has_fixed_date
from napari_n2n.model.record import AcquisitionRecord, HeldOutScore, ModelRecord
from napari_n2n.noise.measure import Report
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.recordings import field_numbers
from napari_n2n.training.held_out import HeldOut
from napari_n2n.training.normalisation import Normalisation
from napari_n2n.training.settings import TrainingSettings
from napari_n2n.training.state import History

# Number of pairs whose pixels are compared when a run is resumed. Of each, a few planes are read,
# in about a second.
_COMPARED_PAIRS = 8
NO_PSNR = "outliers in the target make a mean squared error, and so a PSNR, meaningless"
"""Why scores are missing if the statistic of the loss is not the mean."""
NO_PSNR_OF_ONE = "one recording does not show how much of it is noise, and so no PSNR of its result"
"""Why scores are missing if a model was trained on one recording."""
TOO_SMALL = "the error is too small to be determined from so few pixels"
"""Why scores are missing if the error is less than two standard errors from zero."""


Fingerprints = dict[int, list[dict[str, Any]]]
"""For some pairs, by their index, the `fingerprint` of each acquisition."""


def fingerprints(pairs: Sequence[Pair]) -> Fingerprints:
    """Describe the content of some pairs; call it before a run, which may take hours."""
    return {
        index: [fingerprint(one) for one in _inputs(pairs[index])]
        for index in evenly_spaced(len(pairs), _COMPARED_PAIRS)
    }


def _inputs(pair: Pair) -> tuple[Acquisition, ...]:
    """Return the acquisitions of a pair, and the image of its mask."""
    return pair.acquisitions if pair.mask is None else (*pair.acquisitions, pair.mask.image)


def record_of_run(
    pairs: Sequence[Pair],
    inputs: Fingerprints,
    settings: TrainingSettings,
    reports: Sequence[Report],
    normalisations: Sequence[Normalisation],
    held_out: HeldOut,
    history: History,
    **outcome: Any,
) -> ModelRecord:
    """Return the record of a run.

    Parameters
    ----------
    pairs, inputs, settings, reports, normalisations, held_out, history
        Data and settings of the run, and its scores.
    **outcome
        Further fields of `ModelRecord`.
    """
    return ModelRecord(
        settings=settings.model_dump(),
        loss=held_out.loss.name,
        acquisitions=_acquisitions(pairs, inputs),
        fields_of_view=len(set(numbers := field_numbers(pairs))),
        fields_of_view_used=len({numbers[index] for index in history.used}),
        values=[one.values for one in normalisations],
        noise=[report.as_dict() for report in reports],
        score=None if history.best is None else _reproducible(history.best),
        score_reason=_no_psnr(pairs, held_out.loss.statistic, history.best),
        data_range=held_out.data_range,
        empty_square=empty_squares(pairs),
        curve=[_reproducible(score) for score in history.curve],
        steps=history.step,
        diverged=history.diverged,
        seconds=0.0 if has_fixed_date() else round(history.seconds, 1),
        date=date_now(),
        versions={
            "napari-n2n": version("napari-n2n"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        **outcome,
    )


def _no_psnr(pairs: Sequence[Pair], statistic: str, best: HeldOutScore | None) -> str | None:
    """Return why a score has no PSNR; None if it has one."""
    if any(pair.is_single for pair in pairs):
        return NO_PSNR_OF_ONE
    if statistic != "mean":
        return NO_PSNR
    return TOO_SMALL if best is not None and best.psnr is None else None


def _reproducible(score: HeldOutScore) -> HeldOutScore:
    """Return a score, without the measured time if times must not be stored."""
    return score.model_copy(update={"seconds": 0.0}) if has_fixed_date() else score


def empty_squares(pairs: Sequence[Pair]) -> list[int | None]:
    """Return for each channel the largest side of a square that was left out, or None."""
    channels = sorted({pair.channel for pair in pairs})
    sides = [[pair.empty_square or 0 for pair in pairs if pair.channel == c] for c in channels]
    return [max(own) or None for own in sides]


def _acquisitions(pairs: Sequence[Pair], inputs: Fingerprints) -> list[AcquisitionRecord]:
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
            pixels=inputs[index][number]["pixels"][-1] if index in inputs else "",
            mask=_hash_of_mask(pair) if index in inputs else "",
        )
        for index, pair in enumerate(pairs)
        for number, (acquisition, match) in enumerate(
            zip(pair.acquisitions, pair.matches, strict=True)
        )
    ]


def _hash_of_mask(pair: Pair) -> str:
    return "" if pair.mask is None else hash_of_pixels(pair.mask.image)


def difference(record: ModelRecord, pairs: Sequence[Pair]) -> str:
    """Return how pairs differ from those that a model was trained on; empty if they do not.

    Names and folders are not compared. Models of version 0.1 do not describe the pixels.
    """
    if record.of_channels:  # trained one after another
        pairs = sorted(pairs, key=lambda pair: pair.channel)
    known = [one for part in record.of_channels or [record] for one in part.acquisitions]
    given = [one for pair in pairs for one in pair.acquisitions]
    of_pair = [pair for pair in pairs for _ in pair.acquisitions]
    if len(known) != len(given):
        return f"{len(known)} recordings, not on {len(given)}"
    for before, now, pair in zip(known, given, of_pair, strict=True):
        if before.pixels and before.mask != _hash_of_mask(pair):
            return "another mask"
        if (before.shape, before.axes, before.dtype) != (now.shape, now.axes, str(now.dtype)):
            shape = "x".join(map(str, before.shape))
            return f"{before.name} ({shape} {before.dtype}), not on {now.name}"
        if before.pixels and before.pixels != hash_of_pixels(now):
            return f"other pixels than those of {now.name}"
    return ""
