"""A trained model in one `.n2n` file: networks, normalisation and record."""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_n2n.errors import BadInput
from napari_n2n.model import tensorfile
from napari_n2n.model.building import network_without_weights
from napari_n2n.model.device import without_autocast
from napari_n2n.model.network import Network, folded
from napari_n2n.model.record import Architecture, ModelNote, ModelRecord
from napari_n2n.stats.affine import Affine

SUFFIX = ".n2n"


@dataclass(eq=False)
class Denoiser:
    """A trained model.

    Attributes
    ----------
    networks
        One for all channels, or one for each; in evaluation mode.
    ready
        Copies for inference, with the norms folded into the convolutions.
    architecture
        Name in `NETWORKS` and arguments of the networks.
    scales
        For each channel, the map from intensities (ADU) to the normalised units of the training
        data.
    record
        Description of the training; see `ModelRecord`.
    """

    networks: tuple[Network, ...]
    architecture: dict[str, Any]
    scales: tuple[Affine, ...]
    record: ModelRecord = field(default_factory=ModelRecord)

    def __post_init__(self) -> None:
        for network in self.networks:
            network.eval()
        self.ready = tuple(folded(network) for network in self.networks)

    @property
    def dims(self) -> int:
        """2 for planes, 3 for volumes."""
        return len(self.stride)

    @property
    def stride(self) -> tuple[int, ...]:
        """Shift in pixels along each axis under which the networks are equivariant."""
        return self.networks[0].stride

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """Distance in pixels along each axis beyond which an output pixel depends on no input."""
        return self.networks[0].receptive_field

    def bytes_of(self, sides: tuple[int, ...]) -> float:
        """Return the memory in bytes of a forward pass on an image with these sides in pixels."""
        return self.networks[0].bytes_of(sides)

    def to(self, device: torch.device | str) -> "Denoiser":
        """Return a model that computes on a device, with copies of the networks in `ready`.

        Both models share `networks`, whose weights `save` writes.
        """
        moved = copy.copy(self)
        moved.ready = tuple(copy.deepcopy(network).moved_to(device) for network in self.ready)
        return moved

    @property
    def _format(self) -> torch.memory_format:
        return self.networks[0].memory_format

    def predict(self, images: np.ndarray, channel: int = 0, turns: bool = False) -> np.ndarray:
        """Denoise images in memory with one pass of the network.

        Parameters
        ----------
        images
            Shape (N, [Z,] Y, X) in ADU; sides are multiples of `stride`.
        channel
            Index of the channel of the images.
        turns
            Test-time augmentation: average over 8 rotations and flips (8x slower).

        Returns
        -------
        numpy.ndarray
            float32, in the same shape and unit.
        """
        device = next(self.ready[0].parameters()).device
        given = torch.from_numpy(np.require(images, np.float32, ["C", "W"])).to(device)
        return self.apply(given, channel, turns).cpu().numpy()

    def apply(self, images: Tensor, channel: int = 0, turns: bool = False) -> Tensor:
        """Denoise float32 images on the device of the networks; see `predict`."""
        network = self.ready[channel if len(self.networks) > 1 else 0]
        scale = self.scales[channel if len(self.scales) > 1 else 0]
        with torch.inference_mode(), without_autocast(images.device.type):
            normal = scale(images)[:, None].contiguous(memory_format=self._format)
            output = self._augmented(network, normal) if turns else network(normal)
            return scale.inverse(output[:, 0]).float()

    def _augmented(self, network: nn.Module, images: Tensor) -> Tensor:
        total = torch.zeros_like(images)
        for mirror, quarters in product((False, True), range(4)):
            turned = torch.rot90(images.flip(-1) if mirror else images, quarters, (-2, -1))
            output = network(turned.contiguous(memory_format=self._format))
            output = torch.rot90(output, -quarters, (-2, -1))
            total += output.flip(-1) if mirror else output
        return total / 8

    def save(self, path: str | Path) -> Path:
        """Write the model to one file and return its path; `.n2n` is added if it is missing."""
        path = Path(path)
        if path.suffix != SUFFIX:
            path = path.with_name(path.name + SUFFIX)
        tensorfile.write(path, "model", self._tensors(), self._note())
        return path

    def to_bytes(self) -> bytes:
        """Return the content of the file that `save` writes."""
        return tensorfile.to_bytes("model", self._tensors(), self._note())

    def fingerprint(self) -> str:
        """Return a hash of weights and normalisation, as hexadecimal digits."""
        digest = hashlib.sha256(repr((self.architecture, self.scales)).encode())
        for name, values in self._tensors().items():
            digest.update(name.encode() + values.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    def _tensors(self) -> dict[str, Tensor]:
        return {
            f"{number}.{name}": values
            for number, network in enumerate(self.networks)
            for name, values in network.state_dict().items()
        }

    def _note(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "scales": [[scale.gain, scale.offset] for scale in self.scales],
            "record": self.record.model_dump(mode="json"),
        }


def merge_channels(parts: Sequence[Denoiser]) -> Denoiser:
    """Combine the models of single channels, in the order of the channels, into one model."""
    if len(parts) == 1:
        return parts[0]
    records = [part.record for part in parts]
    of_all = {
        "values": [values for record in records for values in record.values],
        "noise": [noise for record in records for noise in record.noise],
        "detector": [one for record in records for one in record.detector],
        "error": [one for record in records for one in record.error],
        "error_reason": next((one.error_reason for one in records if one.error_reason), None),
        "empty_square": [side for record in records for side in record.empty_square],
        "of_channels": records,
        "loss": ", ".join(dict.fromkeys(record.loss for record in records)),
    }
    return Denoiser(
        tuple(network for part in parts for network in part.networks),
        parts[0].architecture,
        tuple(scale for part in parts for scale in part.scales),
        records[0].model_copy(update=of_all),
    )


def load(path: str | PathLike[str]) -> Denoiser:
    """Read a model from a file that `Denoiser.save` wrote.

    Raises
    ------
    BadInput
        If the file is missing, damaged, or not a model of napari-n2n.
    """
    return _built(*tensorfile.read(Path(path), "model", _layout), str(path))


def from_bytes(content: bytes) -> Denoiser:
    """Read a model from the bytes that `Denoiser.to_bytes` returned."""
    return _built(*tensorfile.from_bytes(content, "model", "model", _layout), "model")


def _layout(note: dict[str, Any], names: list[str]) -> dict[str, Tensor]:
    """Return the tensors that a note describes; they take no memory: see `tensorfile.Layout`."""
    weights = network_without_weights(_architecture(note)).state_dict()
    count = len(names) // len(weights)  # a wrong number of names matches no layout
    return {f"{k}.{name}": tensor for k in range(count) for name, tensor in weights.items()}


def _architecture(note: dict[str, Any]) -> dict[str, Any]:
    architecture = note["architecture"]
    Architecture.model_validate(architecture)
    return dict(architecture)


def _built(tensors: dict[str, Tensor], note: dict[str, Any], name: str) -> Denoiser:
    try:
        checked, architecture = ModelNote.model_validate(note), _architecture(note)
        count = 1 + max(int(key.split(".")[0]) for key in tensors)
        if count not in (1, len(checked.scales)):
            raise ValueError("networks and channels differ in number")
        networks = []
        for number in range(count):
            network = network_without_weights(architecture)
            weights = {key: tensors[f"{number}.{key}"].clone() for key in network.state_dict()}
            network.load_state_dict(weights, assign=True)  # `to_empty` would import a compiler
            networks.append(network)
        scales = tuple(Affine(*scale) for scale in checked.scales)
        model = Denoiser(tuple(networks), architecture, scales, checked.record)
    except tensorfile.UNSUITABLE as error:
        raise tensorfile.other_version(name, "model", error) from error
    ready = (values for network in model.ready for values in network.state_dict().values())
    if not all(bool(torch.isfinite(values).all()) for values in ready):
        raise BadInput(
            f"{name}: is damaged (its batch norms are not finite): copy it again, or train again",
            "model",
        )
    return model
