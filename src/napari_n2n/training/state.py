"""The state that changes during a run, and its checkpoint file."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_n2n.errors import BadInput
from napari_n2n.model import tensorfile
from napari_n2n.model.network import Network
from napari_n2n.model.record import HeldOutScore
from napari_n2n.training.normalisation import Normalisation
from napari_n2n.training.settings import TrainingSettings

# Relative difference below which validation errors count as equal. The later weights are then kept,
# which was never worse in seven runs (benchmarks/README.md, "What was tried").
SCORE_TOLERANCE = 1e-3
_BETAS = (0.9, 0.99)  # of Adam, as in Lehtinen et al. 2018
# The training loss is read only every 10 steps, because reading waits for the GPU; it is smoothed.
_READ_LOSS_EVERY = 10
_LOSS_SMOOTHING = 0.2  # share of the latest value


@dataclass
class History:
    """Progress and scores of a run.

    Attributes
    ----------
    step, seconds
        Number of optimiser steps and training time in seconds so far.
    end
        Last step, set when a plateau is detected; until then None.
    loss
        Training loss in normalised units, smoothed over recent steps.
    curve
        Scores of all validations.
    best
        Score of the best weights.
    """

    step: int = 0
    seconds: float = 0.0
    end: float | None = None
    loss: float = math.nan
    curve: list[HeldOutScore] = field(default_factory=list)
    best: HeldOutScore | None = None


@dataclass(eq=False)
class TrainState:
    """Everything that changes during a run.

    Attributes
    ----------
    network
        The network being trained.
    average
        Exponential moving average of the network's weights, in evaluation mode.
    optimizer
        Adam for the weights of `network`.
    best
        Averaged weights with the best score so far.
    batch_size
        Patches per step, each in both directions.
    history
        Progress and scores.
    """

    network: Network
    average: Network
    optimizer: torch.optim.Adam
    best: dict[str, Tensor]
    batch_size: int
    history: History = field(default_factory=History)

    @classmethod
    def begin(cls, network: Network, learning_rate: float, batch_size: int) -> "TrainState":
        """Return the state before the first step."""
        average = copy.deepcopy(network).eval().requires_grad_(False)
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, betas=_BETAS)
        return cls(network.train(), average, optimizer, _copied(average), batch_size)

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def finish_step(self, loss: Tensor, averaging: float) -> None:
        """Count an optimiser step, record its loss, and update the averaged weights.

        Parameters
        ----------
        loss
            Training loss of the step.
        averaging
            Decay of the moving average per step, 0 to 1.
        """
        history = self.history
        if history.step % _READ_LOSS_EVERY == 0:
            value = float(loss)
            before = value if math.isnan(history.loss) else history.loss
            history.loss = before + _LOSS_SMOOTHING * (value - before)
        history.step += 1
        update_average(self.average, self.network, history.step, averaging)

    def add_score(self, score: HeldOutScore) -> None:
        """Add the score of the averaged weights; keep them unless earlier ones were better."""
        history = self.history
        history.curve.append(score)
        lowest = min(earlier.held_out for earlier in history.curve)
        if score.held_out <= lowest * (1 + SCORE_TOLERANCE):
            history.best = score
            self.best = _copied(self.average)

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and the plain values of the state."""
        tensors = {f"average.{name}": values for name, values in self.average.state_dict().items()}
        tensors |= {f"network.{name}": values for name, values in self.network.state_dict().items()}
        tensors |= {f"best.{name}": values for name, values in self.best.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": values for name, values in moments.items()}
        history = vars(self.history) | {
            "curve": [score.model_dump() for score in self.history.curve],
            "best": self.history.best and self.history.best.model_dump(),
        }
        return tensors, {"history": history, "places": self.batch_size}

    def load(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""
        device = next(self.network.parameters()).device
        parts: dict[str, Any] = {}
        for name, tensor in tensors.items():
            part, rest = name.split(".", 1)
            parts.setdefault(part, {})[rest] = tensor.to(device)
        self.network.load_state_dict(parts["network"])
        self.average.load_state_dict(parts["average"])
        self.best = parts["best"]
        optimizer = self.optimizer.state_dict()
        for name, tensor in parts.get("optimizer", {}).items():
            index, key = name.split(".")
            optimizer["state"].setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict(optimizer)
        history = values["history"]
        curve = [HeldOutScore.model_validate(score) for score in history["curve"]]
        best = history["best"] and HeldOutScore.model_validate(history["best"])
        self.history = History(**history | {"curve": curve, "best": best})
        self.batch_size = values["places"]


def update_average(average: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Update the average of a network's weights and batch-norm statistics after a step.

    In early steps the decay is smaller, so that the initial weights soon lose their influence.

    `torch.optim.swa_utils.AveragedModel` is not suitable: its first update copies the weights, and
    with buffers it also averages integer counters.
    """
    decay = min(decay, step / (step + 10))
    current = network.state_dict()
    for name, values in average.state_dict().items():
        if values.is_floating_point():
            values.lerp_(current[name], 1 - decay)


def save_checkpoint(
    path: Path,
    state: TrainState,
    settings: TrainingSettings,
    normalisations: Sequence[Normalisation],
) -> None:
    """Write the state to a file, with the settings and normalisation that it belongs to."""
    tensors, values = state.state_dict()
    values |= {"settings": settings.model_dump(), "scales": _scales(normalisations)}
    tensorfile.write(path, "checkpoint", tensors, values)


def load_checkpoint(
    path: Path,
    state: TrainState,
    settings: TrainingSettings,
    normalisations: Sequence[Normalisation],
) -> None:
    """Load a file written by `save_checkpoint` into `state`.

    Raises
    ------
    BadInput
        If the checkpoint cannot be read or belongs to other data or settings.
    """
    tensors, values = tensorfile.read(path, "checkpoint")
    may_change = {"steps", "minutes", "device"}  # a run may become longer or use another device
    before, now = values["settings"], settings.model_dump(exclude=may_change)
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        raise BadInput(
            f"{path}: the run had another {changed[0]} ({before.get(changed[0])}): "
            "resume with the same settings, or start again without --resume",
            "resume",
        )
    if values["scales"] != _scales(normalisations):
        raise BadInput(
            f"{path}: the run had other acquisitions: start again without --resume", "resume"
        )
    state.load(tensors, values)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in network.state_dict().items()}


def _scales(normalisations: Sequence[Normalisation]) -> list[list[float]]:
    return [[one.scale.gain, one.scale.offset] for one in normalisations]
