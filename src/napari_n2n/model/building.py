"""Build a network by its name, with random weights or without any."""

import threading
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from napari_n2n.model.network import CompactUNet, Network
from napari_n2n.model.stack_network import StackUNet

NETWORKS: dict[str, type[Network]] = {"compact": CompactUNet, "stack": StackUNet}
"""The networks, by their name in model files."""
_GLOBAL_SEED = threading.Lock()  # torch draws initial weights from one generator for all threads


def build_network(architecture: dict[str, Any], seed: int = 0) -> Network:
    """Build a network with random weights, without changing torch's global random state.

    Parameters
    ----------
    architecture
        Name in `NETWORKS`, and arguments of the network.
    seed
        Seed of the weights.
    """
    arguments = dict(architecture)
    kind = NETWORKS[arguments.pop("name")]
    with _GLOBAL_SEED, torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.random.default_generator.manual_seed(seed)  # weights are built on the CPU
        return kind(**arguments)


def network_without_weights(architecture: dict[str, Any]) -> Network:
    """Build a network on the meta device: its tensors have shapes, but take no memory."""
    arguments = dict(architecture)
    kind = NETWORKS[arguments.pop("name")]
    with torch.device("meta"), _NoInitialValues():
        return kind(**arguments)


class _NoInitialValues(TorchFunctionMode):
    """Skip `torch.nn.init`: on the meta device it imports a compiler, which takes seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))
