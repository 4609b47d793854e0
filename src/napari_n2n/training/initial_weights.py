"""Choose the architecture for the settings and the data, and its initial weights.

Pretrained weights come from `scripts/warm_start`: simulated scenes with simulated photon and read
noise, with and without correlation. They are only a starting point: training continues with the
pair alone, and its loss determines the result. Their file is an ordinary model file.
"""

from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import Any

import torch
from torch import nn

from napari_n2n.errors import BadInput
from napari_n2n.model.denoiser import load
from napari_n2n.model.network import Network, Stabilisation, build_network, flat_levels
from napari_n2n.pair.pair import Pair
from napari_n2n.training.losses import Loss
from napari_n2n.training.patches import VOLUME_DEPTH
from napari_n2n.training.settings import TrainingSettings

# Arguments of `CompactUNet` for volumes: narrower and shallower than for planes, because a voxel
# costs more time than a pixel of a plane.
_VOLUME_NETWORK = {"width": 24, "depth": 1}


def initial_network(
    settings: TrainingSettings,
    loss: Loss,
    pairs: Sequence[Pair],
    mean: float = 0.0,
    stabilisation: Stabilisation | None = None,
) -> tuple[dict[str, Any], Network]:
    """Return the architecture and the network, on the CPU, with which a run starts.

    Parameters
    ----------
    settings, loss, pairs
        Settings, loss and pairs of the run.
    mean
        Mean intensity in normalised units: initial output of a network with random weights.
    stabilisation
        Intensities in which the network computes; None for normalised units.

    Raises
    ------
    BadInput
        If the settings contradict each other or do not suit the data.
    """
    if is_pretrained(settings, loss):
        with as_file(files("napari_n2n") / "training/pretrained.n2n") as path:
            model = load(path)
        chosen, network = model.architecture, model.networks[0]
    else:
        chosen = architecture(settings, pairs)
        network = build_network(chosen, settings.seed)
        nn.init.constant_(network.get_parameter("head.bias"), mean)
    if stabilisation is None:
        return chosen, network
    chosen = {**chosen, "stabilised": True}
    inner, network = network, build_network(chosen, settings.seed)
    curve = torch.tensor(stabilisation, dtype=torch.float32)
    network.load_state_dict({**inner.state_dict(), "noise_curve": curve})
    return chosen, network


def architecture(settings: TrainingSettings, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return name and arguments of the network for the settings and the data.

    Raises
    ------
    BadInput
        If `settings.dims` is 3 and an image has no Z axis.
    """
    if settings.dims == 2:
        return {"name": "compact", "channels": 1}
    for pair in pairs:
        first = pair.first
        if not first.has_depth:
            raise BadInput(
                f"{first.name}: no labelled Z axis (axes: {first.axes}): set --axes ZYX, or train "
                "on planes (--dims 2)",
                "axes",
            )
    flat = flat_levels(pairs[0].first.scale[-3:], _VOLUME_NETWORK["depth"])
    while any(_is_cut(pair.first.shape[-3], _VOLUME_NETWORK["depth"] + 1 - flat) for pair in pairs):
        flat += 1
    return {"name": "compact", "channels": 1, "dims": 3, "flat": flat, **_VOLUME_NETWORK}


def _is_cut(planes: int, poolings: int) -> bool:
    """Return whether patches of a thin volume would have fewer planes than the volume itself.

    In training, the network must meet both ends of a thin volume at the distance at which it meets
    them in denoising.
    """
    return planes < VOLUME_DEPTH and planes % 2**poolings > 0


def is_pretrained(settings: TrainingSettings, loss: Loss) -> bool:
    """Return whether a run starts from pretrained weights.

    By default they are used where tests have shown a benefit: for planes with all losses but L0.
    Pretraining did not include volumes.

    Raises
    ------
    BadInput
        If the settings ask for pretrained weights for volumes.
    """
    if settings.start == "warm" and settings.dims != 2:
        raise BadInput(
            "pretrained weights (--start warm) exist for planes only: "
            "leave out --start warm, or use --dims 2",
            "option",
        )
    if settings.start == "auto":
        return settings.dims == 2 and loss.name != "l0"
    return settings.start == "warm"
