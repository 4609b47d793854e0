"""How a run begins and ends: the learning rate over a run, and weights averaged along the way."""

import math

import torch
from torch import nn

WARM_UP_STEPS = 50
RAMP_DOWN = 0.4


def learning_rate(peak: float, step: int, progress: float) -> float:
    """Warm up, stay at the peak, ramp down smoothly.

    Parameters
    ----------
    peak
        Highest rate.
    step
        Steps done; the first 50 warm up.
    progress
        Share of the run that is done, 0 to 1; the last 40 % ramp down by half a cosine.
    """
    rate = peak * min(1.0, (step + 1) / WARM_UP_STEPS)
    if progress > 1 - RAMP_DOWN:
        rate *= 0.5 + 0.5 * math.cos(math.pi * (progress - 1 + RAMP_DOWN) / RAMP_DOWN)
    return rate


def follow(average: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Let averaged weights (and statistics of batch norms) follow a network's by one step.

    The decay grows with the steps done, so that the first weights are soon forgotten.
    """
    decay = min(decay, step / (step + 10))
    averaged, current = average.state_dict(), network.state_dict()
    floats = [name for name, values in averaged.items() if values.is_floating_point()]
    torch._foreach_lerp_(
        [averaged[name] for name in floats], [current[name] for name in floats], 1 - decay
    )
