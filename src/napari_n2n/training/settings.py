"""The settings of a training run, as one pydantic model.

The options of `napari-n2n train`, the form of the Train dock, "Copy as Python" and "Copy as
command" are generated from its fields; model files store the settings. If `steps` is given, the
same settings and data give the same weights on the CPU.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, field_validator

from napari_n2n.defaults import MEMORY, MOST_MEMORY

LossName = Literal["auto", "l2", "l1", "l0", "likelihood"]
PresetName = Literal["quick", "balanced", "thorough"]
DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?|mps", re.ASCII)
"""The names of devices; torch determines which of them this computer has."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A choice of training length, used if no number of steps is given.

    Attributes
    ----------
    name
        The word used on the command line and in settings.
    effort
        Maximum number of steps, as a multiple of what the data usually need.
    description
        Purpose of the preset, in one plain sentence.
    """

    name: PresetName
    effort: float
    description: str


# Efforts are a factor of about 3 apart, so that the presets differ visibly in time and result.
PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("quick", 0.3, "A first look: little noise left, fine detail still soft."),
        Preset("balanced", 1.0, "For most recordings; ends when the result stops improving."),
        Preset("thorough", 3.0, "The last bit of detail: waits longer for improvements."),
    )
}
"""The presets by name."""


STARTS = {
    "auto": "automatic",
    "warm": "weights pretrained on simulated noise",
    "cold": "random weights",
}
"""Initial weights other than a model, and the text of each choice in menus."""


class TrainingSettings(BaseModel):
    """Settings of one training run.

    Name, title, type, default, limits and docstring of each field describe it in all front ends.
    `json_schema_extra` holds values that only the dock's form needs: `form` is "main" or
    "advanced", and missing if the form leaves the field out; `labels` name the choices in the menu;
    `unset` is shown for None; `step` and `maximum` belong to the spin box.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    loss: LossName = Field(default="auto", title="Loss", json_schema_extra={"form": "main"})
    """Training loss; auto: chosen from the measured noise."""

    preset: PresetName = Field(
        default="balanced", title="Preset", json_schema_extra={"form": "main"}
    )
    """How long to train if no number of steps is given."""

    minutes: float | None = Field(
        default=None,
        gt=0,
        le=7 * 24 * 60,  # a week
        title="Minutes",
        json_schema_extra={
            "form": "advanced",
            "unset": "no limit",
            "step": 0.5,
            "maximum": 24 * 60,
        },
    )
    """Time limit in minutes; training ends earlier when the result stops improving."""

    steps: int | None = Field(
        default=None,
        ge=1,
        le=10**7,  # weeks, even on a fast graphics card
        title="Steps",
        json_schema_extra={"form": "advanced", "unset": "automatic", "step": 100, "maximum": 10**7},
    )
    """Fixed number of steps, for repeatable runs; default: until the result stops improving."""

    dims: Literal["auto", 2, 3] = Field(
        default="auto",
        title="Dimensions",
        json_schema_extra={
            "form": "advanced",
            "labels": {"auto": "automatic", "2": "2 - planes", "3": "3 - volumes, movies"},
        },
    )
    """2: plane by plane; 3: with neighbours (Z, T); auto: 3 if alike."""

    channels: Literal["together", "separate"] = Field(
        default="together", title="Channels", json_schema_extra={"form": "advanced"}
    )
    """One network for all channels, or one for each (always if their losses differ)."""

    fixed_pattern: Literal["keep", "repair"] = Field(
        default="keep",
        title="Hot pixels",
        json_schema_extra={
            "form": "advanced",
            "labels": {"keep": "keep", "repair": "repair hot pixels and offsets"},
        },
    )
    """Hot pixels and offsets of columns and rows: keep them, or repair input and target."""

    error_map: Literal["off", "on"] = Field(
        default="off",
        title="Error map",
        json_schema_extra={
            "form": "advanced",
            "labels": {"off": "off", "on": "learn the error (3 x the time)"},
        },
    )
    """on: also learn how far results are from the truth; takes three times as long."""

    device: str = Field(default="auto", title="Device", json_schema_extra={"form": "advanced"})
    """Where to compute: auto, cpu, cuda, cuda:1 or mps; auto: a graphics card if possible."""

    memory: ByteSize = Field(
        default=ByteSize(MEMORY),
        ge=1,
        le=MOST_MEMORY,
        title="Memory",
        json_schema_extra={"form": "advanced"},
    )
    """Memory limit for pixels, e.g. 500MB or 4GB; larger data are streamed."""

    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,  # the largest that the dock's spin box can hold
        title="Seed",
        json_schema_extra={"form": "advanced", "maximum": 2**31 - 1},
    )
    """Random seed; the same seed and steps give the same weights on the CPU."""

    # Larger: more context, slower steps; below 32, most of a patch is close to its edges. Sixteen
    # patches of 1024 pixels take more than 10 GB in a step.
    patch: int = Field(
        default=64,
        ge=32,
        le=1024,
        title="Patch size",
        json_schema_extra={"form": "advanced", "step": 16, "maximum": 1024},
    )
    """Side of a training patch in pixels, at least 32."""

    # 16 gave better results than 8 in the same time on all scenes (benchmarks/README.md).
    batch: int = Field(
        default=16,
        ge=1,
        le=1024,  # of the smallest patches, more than 10 GB in a step
        title="Batch size",
        json_schema_extra={"form": "advanced", "maximum": 1024},
    )
    """Patches per step, each trained in both directions; fewer need less memory."""

    start: str = Field(default="auto", title="Start from", json_schema_extra={"form": "advanced"})
    """auto; warm: pretrained on simulated noise; cold: random; or a model to continue from."""

    # 1.5e-3 was as good as lower rates from pretrained weights, and works from random ones
    # (benchmarks/README.md, "What was tried"). A step of Adam changes a weight by about the rate:
    # above 1, by more than the weight itself.
    learning_rate: float = Field(default=1.5e-3, gt=0, le=1, title="Learning rate")
    """Peak learning rate of Adam; half of it for one recording from pretrained weights."""

    # 0.998 averages over about 500 steps. Larger: less noise in the weights; smaller: less lag.
    averaging: float = Field(default=0.998, ge=0, lt=1, title="Averaging")
    """Decay per step of the exponential moving average of the weights; 0: no averaging."""

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, name: str) -> str:
        if not DEVICE.fullmatch(name):
            raise ValueError("must be auto, cpu, cuda, mps, or cuda:1 for the second card")
        return name

    @field_validator("start")
    @classmethod
    def _is_a_start(cls, name: str) -> str:
        if name not in STARTS and not name.endswith(".n2n"):
            raise ValueError("must be auto, warm, cold, or a model file MODEL.n2n")
        return name

    @property
    def start_model(self) -> Path | None:
        """The model file that the run starts from; None without such a file."""
        return None if self.start in STARTS else Path(self.start).expanduser()

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth_value(cls, value: Any) -> Any:
        if isinstance(value, bool):  # pydantic takes True for 1
            raise ValueError("must be a number, not true or false")
        return value


def networks(settings: TrainingSettings) -> int:
    """Return how many networks are trained: for error maps, one more on each half of the pixels."""
    return 3 if settings.error_map == "on" else 1
