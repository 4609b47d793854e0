"""A trained network with all that is needed to use it, and where it comes from: one `.n2n` file."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_n2n import tensorfile
from napari_n2n.affine import Affine
from napari_n2n.errors import BadInput
from napari_n2n.network import NETWORKS

SUFFIX = ".n2n"


@dataclass(eq=False)
class Denoiser:
    """Network, normalisation and provenance.

    Attributes
    ----------
    network
        In evaluation mode.
    architecture
        Name in `NETWORKS` and arguments, from which the network can be built again.
    scale
        Map from intensities (ADU) to the normalised units of the training data.
    record
        Provenance, plain JSON: settings, acquisitions, gain match, noise, score, versions, training
        curve, and the range of values that it was trained on.
    """

    network: nn.Module
    architecture: dict[str, Any]
    scale: Affine
    record: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network.eval()

    @property
    def stride(self) -> int:
        """Shift in pixels under which the network repeats itself."""
        return int(self.network.stride)  # type: ignore[arg-type]

    @property
    def receptive_field(self) -> int:
        """Farthest distance in pixels from an output pixel to an input pixel it depends on."""
        return int(self.network.receptive_field)  # type: ignore[arg-type]

    def to(self, device: torch.device | str) -> "Denoiser":
        """Move the network to a device, and return self."""
        self.network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Denoise images in memory with one pass of the network.

        Parameters
        ----------
        images
            Shape (N, Y, X) in ADU; Y and X multiples of `stride`.

        Returns
        -------
        numpy.ndarray
            float32, of the same shape and unit.
        """
        device = next(self.network.parameters()).device
        normal = torch.from_numpy(np.ascontiguousarray(images, np.float32)).to(device)
        normal = self.scale(normal)[:, None].contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            clean = self.scale.inverse(self.network(normal)[:, 0])
        return clean.float().cpu().numpy()

    def save(self, path: str | Path) -> Path:
        """Write the model to one file and return its path; `.n2n` is added where it is missing."""
        path = Path(path)
        if path.suffix != SUFFIX:
            path = path.with_name(path.name + SUFFIX)
        note = {
            "architecture": self.architecture,
            "scale": [self.scale.gain, self.scale.offset],
            "record": self.record,
        }
        tensorfile.write(path, "model", dict(self.network.state_dict()), note)
        return path


def build_network(architecture: dict[str, Any]) -> nn.Module:
    """Build the network that an architecture names, with fresh weights."""
    arguments = dict(architecture)
    return NETWORKS[arguments.pop("name")](**arguments)


def load(path: str | Path) -> Denoiser:
    """Read a model that `Denoiser.save` wrote.

    Raises
    ------
    BadInput
        If the file is missing, damaged, or no model of napari-n2n.
    """
    tensors, note = tensorfile.read(Path(path), "model")
    try:
        network = build_network(note["architecture"])
        network.load_state_dict(tensors)
        scale = Affine(*note["scale"])
        return Denoiser(network, note["architecture"], scale, note["record"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise BadInput(
            f"{path}: was written by another version of napari-n2n ({type(error).__name__}): "
            "train it again, or install the version that wrote it"
        ) from error
