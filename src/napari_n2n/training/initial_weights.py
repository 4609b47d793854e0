"""Weights from which a run on planes may start, instead of from chance.

`scripts/warm_start` taught them what noise is, on simulated scenes and simulated photon and read
noise, with and without correlation. They are no prior: training goes on with the pair alone, whose
loss decides where it ends. Their file is a model like any other.

Which network suits the settings and the data.
"""

from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import Any

from torch import nn

from napari_n2n.errors import BadInput
from napari_n2n.model.denoiser import load
from napari_n2n.model.network import flat_levels
from napari_n2n.pair.pair import Pair
from napari_n2n.training.losses import Loss
from napari_n2n.training.settings import TrainingSettings

# Volumes: a pixel costs more than one of a plane.
_VOLUME_NETWORK = {"width": 24, "depth": 1}


def architecture(settings: TrainingSettings, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return name and arguments of the network that suits settings and data.

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
                f"{first.name}: volumes are asked for, and nobody names a depth axis Z among its "
                f"axes {first.axes}: name them, as in --axes ZYX, or learn planes (--dims 2)",
                "axes",
            )
    volumes = [pair.first.shape[-3:] for pair in pairs]
    thinnest = min(volume[0] for volume in volumes)
    flat = flat_levels(pairs[0].first.scale[-3:], _VOLUME_NETWORK["depth"])
    while 2 ** (_VOLUME_NETWORK["depth"] + 1 - flat) > thinnest:
        flat += 1
    return {"name": "compact", "channels": 1, "dims": 3, "flat": flat, **_VOLUME_NETWORK}


def wanted(settings: TrainingSettings, loss: Loss) -> bool:
    """Tell whether a run starts from these weights.

    Left to itself, one does where they have been shown to help: on planes, and where the noise
    averages out. They have seen neither outliers nor volumes.

    Raises
    ------
    BadInput
        If they are asked for where they do not fit.
    """
    if settings.start == "warm" and settings.dims != 2:
        raise BadInput(
            "pretrained weights (--start warm) exist for planes only: "
            "leave out --start warm, or use --dims 2",
            "option",
        )
    if settings.start == "auto":
        return settings.dims == 2 and loss.name == "l2"
    return settings.start == "warm"


def network() -> tuple[dict[str, Any], nn.Module]:
    """Return name and arguments of the network that the weights are of, and it with them."""
    with as_file(files("napari_n2n") / "training/pretrained.n2n") as path:
        model = load(path)
    return model.architecture, model.networks[0]
