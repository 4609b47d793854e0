"""All that a person can decide about a training run, as one model.

Widgets show it, the command line fills it, the model file stores it. With `steps` given, the same
settings and seed give the same weights on the CPU.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_n2n.defaults import MEMORY

LossName = Literal["auto", "l2", "l1", "l0", "hdr"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
PresetName = Literal["quick", "balanced", "thorough"]


@dataclass(frozen=True, slots=True)
class Preset:
    """How long a run goes on by itself.

    Attributes
    ----------
    name
        The word used on the command line and in settings.
    effort
        Most steps, as a multiple of what the data usually need.
    words
        What it is for, in one plain sentence.
    """

    name: PresetName
    effort: float
    words: str


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("quick", 0.3, "A first look: the noise goes, the finest detail is still soft."),
        Preset("balanced", 1.0, "What most recordings need; ends when nothing improves any more."),
        Preset("thorough", 3.0, "The last bit of detail: goes on for longer before it gives up."),
    )
}
"""The presets by name."""


class TrainingSettings(BaseModel):
    """Settings of one training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: LossName = "auto"
    """What the network is asked to find; "auto" lets the measured noise decide."""

    preset: PresetName = "balanced"
    """How long to go on where `steps` are not given."""

    steps: int | None = Field(default=None, ge=1)
    """Number of steps; None: until the held-out score stops improving, or `minutes` are over."""

    minutes: float | None = Field(default=None, gt=0)
    """Most time for the run; without `steps` it may end earlier, when more would bring nothing."""

    device: DeviceName = "auto"
    """Where to compute; "auto" takes CUDA, then MPS, then the CPU."""

    seed: int = Field(default=0, ge=0)
    """Decides the first weights, the held-out blocks and every draw."""

    network: Literal["compact", "paper"] = "compact"
    """"compact" learns one pair within minutes; "paper" is the U-Net of the Noise2Noise paper."""

    start: Literal["auto", "warm", "cold"] = "auto"
    """From weights that know noise from simulations ("warm") or from chance ("cold"); "auto" starts
    warm on planes whose noise averages out."""

    dims: Literal[2, 3] = 2
    """2 takes a stack plane by plane; 3 learns volumes, for which it needs a depth axis."""

    channels: Literal["together", "separate"] = "together"
    """One network for all channels, each normalised by itself; or one for each."""

    memory: int = Field(default=MEMORY, ge=1)
    """Bytes that the pixels being learned from may take; what does not fit is streamed."""

    patch: int = Field(default=64, ge=32)
    """Side of a patch in pixels."""

    batch: int = Field(default=16, ge=1)
    """Places in a batch; each is learned in both directions."""

    learning_rate: float = Field(default=1.5e-3, gt=0)
    """Peak of the learning rate."""

    averaging: float = Field(default=0.998, ge=0, lt=1)
    """Decay of the running average of the weights, a step."""
