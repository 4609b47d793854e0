"""The record of a training run, which a model file stores with the weights.

Every field has a default and unknown fields are kept, so that files of older and newer versions can
be loaded.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from napari_n2n.io.detector_map import DetectorMap
from napari_n2n.model.error_model import ErrorModel

RECORD_VERSION = 1
"""Version of the layout: increased if a field changes its meaning, not if one is added."""


# Tuples become lists at once, so that a record is equal before saving and after loading.
_Json = Annotated[dict[str, Any], BeforeValidator(lambda value: json.loads(json.dumps(value)))]


class _Value(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class _NoiseFigures(_Value):
    """The figures of a `NoiseReport` that are used after training; the others are only shown."""

    noise_a: float | None
    outlier_share: float
    noise_correlation: tuple[float, float] | None
    photon_gain: float | None
    read_noise: float | None
    pedestal: float | None
    gain_ratio: Annotated[float, Field(gt=0)] | None = 1.0
    offset: float | None = 0.0
    noise_excess: tuple[float | None, float | None] = (None, None)


def _with_figures(noise: dict[str, Any]) -> dict[str, Any]:
    _NoiseFigures.model_validate(noise)
    return noise


_Noise = Annotated[_Json, AfterValidator(_with_figures)]


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

    step: NonNegativeInt
    seconds: NonNegativeFloat
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
    pixels
        Hash of parts of some planes; empty if it was not computed: only some of many pairs have a
        hash.
    mask Hash of the mask; empty if there was no mask.
    """

    name: str
    path: str | None = None
    shape: tuple[NonNegativeInt, ...] = ()
    axes: str = ""
    dtype: str = ""
    channel: NonNegativeInt = 0
    gain: float = 1.0
    offset: float = 0.0
    pixels: str = ""
    mask: str = ""


class DetectorRecord(_Value):
    """A `DetectorMap` as plain JSON; see that class for the attributes."""

    shape: tuple[PositiveInt, PositiveInt]
    bad: list[NonNegativeInt] = []
    columns: list[float] = []
    rows: list[float] = []
    pixels: str = ""
    step: float = 0.0

    @model_validator(mode="after")
    def _is_a_map(self) -> "DetectorRecord":
        self.as_map()  # raises ValueError
        return self

    def as_map(self) -> DetectorMap:
        """Return the map."""
        return DetectorMap.from_dict(self.model_dump())


class ModelRecord(_Value):
    """The record of a training run.

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
    fields_of_view, fields_of_view_used
        Number of fields of view, and how many of them were trained on, at least in part.
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
    empty_square
        For each channel, side in pixels of the squares of equal pixels that were left out of
        training, such as those of a border; None if there were none.
    detector
        For each channel, the map of the detector by which its acquisitions were corrected; None if
        they were not.
    error
        For each channel, the expected error of its results; None if it could not be determined;
        empty if it was not asked for.
    error_reason
        Why the expected error is missing.
    curve
        All scores of the run.
    steps, seconds, stopped
        Length of the run in steps and seconds, and whether it was stopped before its end.
    diverged
        Step at which the loss was no longer finite, which ended the run; else None.
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
    fields_of_view: NonNegativeInt = 0
    fields_of_view_used: NonNegativeInt = 0
    values: list[tuple[float, float]] = []
    noise: list[_Noise] = []
    score: HeldOutScore | None = None
    score_reason: str | None = None
    data_range: list[NonNegativeFloat] = []
    empty_square: list[NonNegativeInt | None] = []
    detector: list[DetectorRecord | None] = []
    error: list[ErrorModel | None] = []
    error_reason: str | None = None
    curve: list[HeldOutScore] = []
    steps: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0
    stopped: bool = False
    diverged: NonNegativeInt | None = None
    device: str = ""
    precision: str = ""
    date: str | None = None
    versions: dict[str, str] = {}
    of_channels: list["ModelRecord"] = []

    def detector_of(self, channel: int) -> DetectorMap | None:
        """Return the map of the detector of a channel; a single map is used for all channels."""
        if not self.detector:
            return None
        found = self.detector[channel if len(self.detector) > 1 else 0]
        return found.as_map() if found is not None else None

    def error_of(self, channel: int) -> ErrorModel | None:
        """Return the expected error of a channel's results; a single one is for all channels."""
        if not self.error:
            return None
        return self.error[channel if len(self.error) > 1 else 0]

    def error_lines(self) -> Iterator[str]:
        """Yield a line with the error of each channel's results, or why it is unknown."""
        for number, error in enumerate(self.error):
            name = f"channel {number}: " if len(self.error) > 1 else ""
            if error is not None:
                yield f"{name}PSNR on pixels not trained on: {error.in_words()}"
            else:
                yield f"{name}error not known: {self.error_reason}"

    def fields_line(self) -> str | None:
        """Return how many of several fields of view were used, in one line."""
        if self.fields_of_view < 2:
            return None
        line = f"trained on {self.fields_of_view_used} of {self.fields_of_view} fields of view"
        if self.fields_of_view_used < self.fields_of_view:
            line += ": more steps (--steps) would use more of them"
        return line

    def loss_of(self, channel: int) -> str:
        """Return the name of the loss that a channel was trained with."""
        return self.of_channels[channel].loss if self.of_channels else self.loss


# Most poolings of a network: 12 shift a plane by 8,192 pixels. More would only slow down reading a
# file that claims them.
_MOST_DEPTH = 12


class Architecture(BaseModel):
    """Name and arguments of a network, as in a model file; see `CompactUNet`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    channels: Literal[1] = 1
    width: int = Field(default=32, ge=1)
    depth: int = Field(default=2, ge=0, le=_MOST_DEPTH)
    dims: int = Field(default=2, ge=2, le=3)
    flat: int = Field(default=0, ge=0, le=_MOST_DEPTH + 1)
    norm: bool = True
    stabilised: bool = False


# Beyond these limits, intensities overflow float32 (3e38) or lose all digits.
_Gain = Annotated[float, Field(gt=1e-30, lt=1e30, strict=True)]
_Offset = Annotated[float, Field(gt=-1e30, lt=1e30, strict=True)]


class ModelNote(BaseModel):
    """The note of a model file.

    Attributes
    ----------
    architecture
        Name and arguments of the networks.
    scales
        For each channel, gain and offset of the map from intensities (ADU) to normalised units.
    record
        Where the model comes from.
    """

    architecture: Architecture
    scales: list[tuple[_Gain, _Offset]] = Field(min_length=1)
    record: ModelRecord
