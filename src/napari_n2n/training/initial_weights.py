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
from napari_n2n.model.building import build_network
from napari_n2n.model.denoiser import load
from napari_n2n.model.network import Network, Stabilisation
from napari_n2n.model.record import Architecture
from napari_n2n.pair.pair import Pair
from napari_n2n.training.losses import Loss
from napari_n2n.training.settings import TrainingSettings

_CURVE = "noise_curve"  # the weights that hold a `Stabilisation`
_WEIGHTS = {2: "pretrained.n2n", 3: "pretrained_volumes.n2n"}


def initial_network(
    settings: TrainingSettings,
    loss: Loss,
    pairs: Sequence[Pair],
    dims: int,
    mean: float = 0.0,
    stabilisation: Stabilisation | None = None,
    channel: int | None = None,
) -> tuple[dict[str, Any], Network]:
    """Return the architecture and the network, on the CPU, with which a run starts.

    Parameters
    ----------
    settings, loss, pairs
        Settings, loss and pairs of the run.
    dims
        2 for planes, 3 for volumes.
    mean
        Mean intensity in normalised units: initial output of a network with random weights.
    stabilisation
        Intensities in which the network computes; None for normalised units.
    channel
        Number of the network if each channel has its own; None if there is only one network.

    Raises
    ------
    BadInput
        If the settings contradict each other or do not suit the data, or the model to start from
        cannot be used.
    """
    wanted = architecture(dims, pairs)
    if settings.start_model is not None:
        chosen, network = _of_model(settings, wanted, dims, channel)
    elif is_pretrained(settings, loss):
        with as_file(files("napari_n2n") / "training" / _WEIGHTS[dims]) as path:
            model = load(path)
        chosen, network = model.architecture, model.networks[0]
    else:
        chosen = wanted
        network = build_network(chosen, settings.seed)
        nn.init.constant_(network.get_parameter("head.bias"), mean)
    if stabilisation is None:
        return chosen, network
    chosen = {**chosen, "stabilised": True}
    inner, network = network, build_network(chosen, settings.seed)
    curve = torch.tensor(stabilisation, dtype=torch.float32)
    network.load_state_dict({**inner.state_dict(), _CURVE: curve})
    return chosen, network


def _of_model(
    settings: TrainingSettings, wanted: dict[str, Any], dims: int, channel: int | None
) -> tuple[dict[str, Any], Network]:
    """Return architecture and network of the model that a run starts from.

    Intensities of the new data are normalised separately, so that a model of darker or brighter
    recordings can be used. The variance-stabilised intensities of a model are not used: the run
    computes new ones from its own noise, if it needs them.
    """
    path = settings.start_model
    assert path is not None
    model = load(path)
    count = len(model.networks)
    if model.dims != dims:
        kind = {2: "planes", 3: "volumes"}[model.dims]
        raise BadInput(f"{path}: was trained on {kind}: leave out --dims {dims}", "model")
    own, other = (_shape(one) for one in (model.architecture, wanted))
    differing = [f"{key} {own[key]}, not {other[key]}" for key in own if own[key] != other[key]]
    if differing:
        raise BadInput(
            f"{path}: its network does not suit these recordings ({', '.join(differing)}): train "
            "without --start",
            "model",
        )
    if count > 1 and (channel is None or channel >= count):
        raise BadInput(
            f"{path}: has a network for each of {count} channels: give recordings with these "
            "channels and --channels separate",
            "channels",
        )
    network = model.networks[channel or 0 if count > 1 else 0]
    weights = {name: values for name, values in network.state_dict().items() if name != _CURVE}
    chosen = {**model.architecture, "stabilised": False}
    network = build_network(chosen, settings.seed)
    network.load_state_dict(weights)
    return chosen, network


def _shape(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a network that determine the shapes of its weights."""
    return Architecture(**chosen).model_dump(exclude={"norm", "stabilised"})


def architecture(dims: int, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return name and arguments of the network for planes (2) or volumes (3) of the data.

    Raises
    ------
    BadInput
        If `dims` is 3 and an image is a single plane, or has neither a Z axis nor, with one
        channel, a T axis.
    """
    if dims == 2:
        return {"name": "compact", "channels": 1}
    for pair in pairs:
        first = pair.first
        if first.plane_count == 1:
            raise BadInput(f"{first.name}: is a single plane: train on planes (--dims 2)", "option")
        if not first.has_depth:
            raise BadInput(
                f"{first.name}: no labelled Z or T axis (axes: {first.axes}): set --axes ZYX or "
                "TYX, or train on planes (--dims 2)",
                "axes",
            )
        if pair.channel > 0 and "Z" not in first.axes:
            raise BadInput(
                f"{first.name}: movies with several channels are denoised plane by plane: save "
                "each channel as a movie of its own, or train on planes (--dims 2)",
                "axes",
            )
    return {"name": "stack", "channels": 1}


def is_pretrained(settings: TrainingSettings, loss: Loss) -> bool:
    """Return whether a run starts from weights that denoise: a model, or pretrained ones.

    By default they are used where tests have shown a benefit: with all losses but L0.
    """
    if settings.start_model is not None:
        return True
    if settings.start == "auto":
        return loss.name != "l0"
    return settings.start == "warm"
