"""Where a model comes from: the record that a model file stores with the weights.

Every field has a default and unknown fields are kept, so that files of older and newer versions can
be loaded.
"""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

RECORD_VERSION = 1
"""Version of the layout: increased if a field changes its meaning, not if one is added."""


# Tuples become lists at once, so that a record is equal before saving and after loading.
_Json = Annotated[dict[str, Any], BeforeValidator(lambda value: json.loads(json.dumps(value)))]


class _Value(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class HeldOutScore(_Value):
    """Score of the averaged weights on the held-out blocks at one step.

    Attributes
    ----------
    step, seconds
        Number of optimiser steps and training time in seconds until this validation.
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
        Description of the acquisition; `path` is None for an array or a layer.
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
        Name of the loss; if channels have different ones, their names.
    acquisitions
        The acquisitions of every pair.
    values
        For each channel, the range of intensities (ADU) in the training data.
    noise
        For each channel, the fields of its `NoiseReport`.
    score
        Score of the saved weights; None if they were never validated.
    score_reason
        Why the score has no PSNR.
    data_range
        For each channel, the range of intensities (ADU) that its PSNR refers to.
    curve
        All scores of the run.
    steps, seconds, stopped
        Length of the run in steps and seconds, and whether it was stopped before its end.
    device, precision
        Device and floating-point type of the training.
    date, versions
        Date and time (ISO 8601, UTC) at which training ended, None while it runs; and the versions
        of the programs.
    of_channels
        If channels were trained one after another, the record of each.
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
