"""Weights from which a run on planes may start, instead of from chance.

`scripts/warm_start` taught them what noise is, on simulated scenes and simulated photon and read
noise, with and without correlation. They are no prior: training goes on with the pair alone, whose
loss decides where it ends. Their file is a model like any other.
"""

from importlib.resources import as_file, files
from typing import Any

from torch import nn

from napari_n2n.errors import BadInput
from napari_n2n.losses import Loss
from napari_n2n.model import load
from napari_n2n.settings import TrainingSettings


def wanted(settings: TrainingSettings, loss: Loss) -> bool:
    """Tell whether a run starts from these weights.

    Left to itself, one does where they have been shown to help: on planes, and where the noise
    averages out. They have seen neither outliers nor volumes.

    Raises
    ------
    BadInput
        If they are asked for where they do not fit.
    """
    fits = settings.dims == 2 and settings.network == "compact"
    if settings.start == "warm" and not fits:
        raise BadInput(
            "a warm start is known for planes and the compact network only: "
            "leave out --start warm, or use --dims 2"
        )
    return settings.start == "warm" or (settings.start == "auto" and fits and loss.name == "l2")


def network() -> tuple[dict[str, Any], nn.Module]:
    """Return name and arguments of the network that the weights are of, and it with them."""
    with as_file(files("napari_n2n") / "warm_start.n2n") as path:
        model = load(path)
    return model.architecture, model.networks[0]
