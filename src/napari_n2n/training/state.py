"""The state that changes during a run."""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from napari_n2n.model.network import Network
from napari_n2n.model.record import HeldOutScore

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
    diverged
        Step at which the loss or a score was not finite, which ends the run; else None.
    used
        Indices of the pairs of which a patch was drawn.
    """

    step: int = 0
    seconds: float = 0.0
    end: float | None = None
    loss: float = math.nan
    curve: list[HeldOutScore] = field(default_factory=list)
    best: HeldOutScore | None = None
    diverged: int | None = None
    used: set[int] = field(default_factory=set)


@dataclass(eq=False)
class TrainState:
    """Networks, optimiser and scores: all values that change during a run.

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

    def finish_step(self, loss: Tensor, averaging: float, drawn: set[int] | None = None) -> None:
        """Count an optimiser step, record its loss, and update the averaged weights.

        If the loss is not finite, only `History.diverged` is set.

        Parameters
        ----------
        loss
            Training loss of the step.
        averaging
            Decay of the moving average per step, 0 to 1.
        drawn
            Indices of the pairs of the batch.
        """
        history = self.history
        if history.step % _READ_LOSS_EVERY == 0:
            value = float(loss)
            if not math.isfinite(value):
                history.diverged = history.step
                return
            before = value if math.isnan(history.loss) else history.loss
            history.loss = before + _LOSS_SMOOTHING * (value - before)
        history.step += 1
        history.used |= drawn or set()
        update_average(self.average, self.network, history.step, averaging)

    def add_score(self, score: HeldOutScore) -> None:
        """Add the score of the averaged weights; keep them unless earlier ones were better."""
        history = self.history
        history.curve.append(score)
        lowest = min(earlier.held_out for earlier in history.curve)
        if score.held_out <= lowest * (1 + SCORE_TOLERANCE):
            history.best = score
            self.best = _copied(self.average)

    def is_finite(self) -> bool:
        """Return whether weights and their average are finite; waits for the device."""
        return all(
            bool(torch.isfinite(values).all())
            for network in (self.network, self.average)
            for values in network.state_dict().values()
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the state by name."""
        tensors = {f"average.{name}": values for name, values in self.average.state_dict().items()}
        tensors |= {f"network.{name}": values for name, values in self.network.state_dict().items()}
        tensors |= {f"best.{name}": values for name, values in self.best.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            # Step counters have torch's default type, which a calling program can change.
            tensors |= {f"optimizer.{index}.{name}": one.float() for name, one in moments.items()}
        return tensors

    def layout(self, *, begun: bool) -> dict[str, Tensor]:
        """Return tensors of the shapes and types of `tensors`, without memory.

        Parameters
        ----------
        begun
            Whether the optimiser has taken a step, and so has moments.
        """
        weights = self.network.state_dict()
        parts = dict.fromkeys(("average", "network", "best"), weights)
        if begun:
            for index, values in enumerate(self.network.parameters()):
                step = torch.empty((), dtype=torch.float32, device="meta")
                moments = {"step": step, "exp_avg": values, "exp_avg_sq": values}
                parts[f"optimizer.{index}"] = moments
        return {
            f"{part}.{name}": torch.empty_like(values, device="meta")
            for part, tensors in parts.items()
            for name, values in tensors.items()
        }

    def load(self, tensors: dict[str, Tensor], history: History, batch_size: int) -> None:
        """Restore a state from its tensors, on the CPU, and its other values.

        The tensors are copied to the device of the network, except Adam's step counters: these stay
        on the CPU, because Adam reads them in every step and would have to wait for the device.
        """
        parts: dict[str, Any] = {}
        for name, tensor in tensors.items():
            part, rest = name.split(".", 1)
            parts.setdefault(part, {})[rest] = tensor
        self.network.load_state_dict(parts["network"])
        self.average.load_state_dict(parts["average"])
        self.best = parts["best"]
        optimizer = self.optimizer.state_dict()
        for name, tensor in parts.get("optimizer", {}).items():
            index, key = name.split(".")
            optimizer["state"].setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict(optimizer)
        self.history, self.batch_size = history, batch_size


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


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in network.state_dict().items()}
