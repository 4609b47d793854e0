"""Where a model comes from: the typed record that a model file keeps beside the weights.

Every field has a default and unknown fields are kept, so that files of older and newer versions
load alike.
"""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

RECORD_VERSION = 1
"""Number of the record's layout: raised when a field changes its meaning, not when one is added."""


# Tuples become lists at once: a record is equal before it is saved and after it is loaded.
_Json = Annotated[dict[str, Any], BeforeValidator(lambda value: json.loads(json.dumps(value)))]


class _Value(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class HeldOutScore(_Value):
    """Score of the averaged weights on the held-out blocks at one step.

    Attributes
    ----------
    step, seconds
        Optimiser steps and training time (s) until then.
    loss
        Training loss in normalised units, averaged over recent steps; None before the first step.
    held_out
        Validation error in normalised units.
    psnr, psnr_se
        Reference-free PSNR and its standard error, in dB; None if it could not be determined.
    """

    step: int
    seconds: float
    loss: float | None
    held_out: float
    psnr: float | None
    psnr_se: float | None


class AcquisitionRecord(_Value):
    """One acquisition that a model was trained on.

    Attributes
    ----------
    name, path, shape, axes, dtype, channel
        What it was; `path` is None for an array or a layer.
    gain, offset
        Map from the intensities (ADU) of the pair's first acquisition to those of this one.
    """

    name: str
    path: str | None = None
    shape: tuple[int, ...] = ()
    axes: str = ""
    dtype: str = ""
    channel: int = 0
    gain: float = 1.0
    offset: float = 0.0


class ModelRecord(_Value):
    """Where a model comes from.

    Attributes
    ----------
    version
        `RECORD_VERSION` of the program that wrote it.
    settings
        Fields of the `TrainingSettings`.
    loss
        Name of the loss.
    acquisitions
        Those of every pair.
    values
        For each channel, the range of intensities (ADU) that it was trained on.
    noise
        For each channel, the fields of its `NoiseReport`.
    score
        That of the saved weights; None for weights that were never validated.
    score_reason
        Why the score has no PSNR.
    data_range
        For each channel, the range of intensities (ADU) that its PSNR refers to.
    curve
        All scores of the run.
    steps, seconds, stopped
        Length of the run in steps and seconds, and whether it was stopped before its end.
    device, precision
        Where and in which floating-point type the network was trained.
    date, versions
        ISO 8601 date and time (UTC) of the end of the training, None for weights still in training,
        and the versions of the programs.
    of_channels
        Where channels were trained one after the other, the record of each.
    """

    version: int = RECORD_VERSION
    settings: _Json = {}
    loss: str = ""
    acquisitions: list[AcquisitionRecord] = []
    values: list[tuple[float, float]] = []
    noise: list[_Json] = []
    score: HeldOutScore | None = None
    score_reason: str | None = None
    data_range: list[float] = []
    curve: list[HeldOutScore] = []
    steps: int = 0
    seconds: float = 0.0
    stopped: bool = False
    device: str = ""
    precision: str = ""
    date: str | None = None
    versions: dict[str, str] = {}
    of_channels: list["ModelRecord"] = []
