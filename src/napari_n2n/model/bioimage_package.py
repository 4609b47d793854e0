"""Export a model as a package of the BioImage Model Zoo, for Fiji, ilastik and bioimageio.core.

The package is a zip file with the network as TorchScript, a description (rdf.yaml, format 0.5), the
record as README.md, and an input with its output. Intensities are normalised inside the network, so
that other programs need no pre- or post-processing. Allowed image sizes and the halo are stated:
tiles then give the same pixels as the whole image.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy import ndimage
from torch import Tensor, nn

from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import write_atomically
from napari_n2n.io.output_path import check_overwrite, output_file
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.package_readme import package_readme

SUFFIX = ".zip"

# The earliest version of the format that describes sizes and halos of single axes: programs can
# read files of earlier versions than their own.
_FORMAT = "0.5.4"
_INPUT, _OUTPUT = "raw", "denoised"  # names of the tensors
# Largest difference, in normalised units (a standard deviation of the image is 1), between two
# computations of one pixel: 1e-6 to 1e-5 by float32 rounding.
_ROUNDING = 1e-3
_NOT_IN_NAMES = re.compile(r"[^\w ()-]", re.ASCII)
_LONGEST_NAME = 128  # characters
_NOT_IN_IDS = re.compile(r"[^a-z0-9]+")
_SPDX = re.compile(r"[A-Za-z0-9.+-]+")
_PAPER = {
    "text": "Lehtinen et al., Noise2Noise: Learning Image Restoration without Clean Data, 2018",
    "doi": "10.48550/arXiv.1803.04189",
}


def export_bioimage(
    denoiser: Denoiser,
    out: str | Path,
    *,
    authors: Sequence[str] = (),
    license: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model as a package of the BioImage Model Zoo, and return its path.

    Parameters
    ----------
    denoiser
        The model.
    out
        The package, NAME.zip; the model is called NAME.
    authors
        Names of the authors.
    license
        SPDX identifier of the licence, such as CC-BY-4.0. The zoo needs a licence and authors,
        other programs do not.
    overwrite
        Replace an existing file.

    Raises
    ------
    BadInput
        If the name cannot be used, the file exists, or the model repairs a fixed pattern.
    """
    path = output_file(out)
    if path.suffix.lower() != SUFFIX:
        raise BadInput(f"{out}: unknown ending: must be {SUFFIX}", "output")
    check_overwrite(path, overwrite=overwrite)
    if license is not None and not _SPDX.fullmatch(license):
        raise BadInput(
            f"--license {license}: is no SPDX identifier: write it as CC-BY-4.0", "option"
        )
    if any(denoiser.record.detector):
        raise BadInput(
            f"{path}: the model repairs hot pixels and offsets of its detector before the network, "
            "which other programs cannot do: train with --fixed-pattern keep and without --dark",
            "model",
        )
    described = {"authors": [{"name": name} for name in authors], "license": license}
    files = _files(denoiser.to("cpu"), path.stem, {k: v for k, v in described.items() if v})
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_atomically(path, _zipped(files))


class _WithNormalisation(nn.Module):
    """Map images in ADU, shape (N, channels, [Z,] Y, X), to denoised images."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.networks, self.scales = nn.ModuleList(denoiser.ready), denoiser.scales

    def forward(self, images: Tensor) -> Tensor:
        """Denoise images whose sides are multiples of the stride."""
        denoised = [
            scale.inverse(self.networks[number % len(self.networks)](scale(channel)))
            for number, (scale, channel) in enumerate(
                zip(self.scales, images.split(1, dim=1), strict=True)
            )
        ]
        return torch.cat(denoised, dim=1)


def _files(denoiser: Denoiser, name: str, described: dict[str, Any]) -> dict[str, bytes]:
    """Return the files of the package by their name."""
    sizes = [_sizes(*numbers) for numbers in _along_axes(denoiser)]
    script = _script(denoiser, [shortest for shortest, _, _ in sizes])
    # Another size than that of the trace, so that a network that depends on the size is noticed.
    given = _test_image(denoiser, [shortest + step for shortest, step, _ in sizes])
    channels = range(len(denoiser.scales))
    result = np.stack([denoiser.predict(given[:, one], one) for one in channels], axis=1)
    with torch.inference_mode():
        repeated = script(torch.from_numpy(given)).numpy()
    deviations = 1 / np.array([scale.gain for scale in denoiser.scales])
    off = np.abs(repeated - result).max(axis=(0, *range(2, result.ndim))) / deviations
    if not (off < _ROUNDING).all():
        raise RuntimeError(f"TorchScript differs from the model by {off.max():.2g} deviations")
    weights = io.BytesIO()
    torch.jit.save(script, weights)
    files = {
        "README.md": package_readme(denoiser, name).encode(),
        "weights.pt": weights.getvalue(),
        "input.npy": _npy(given),
        "output.npy": _npy(result),
    }
    files["rdf.yaml"] = _description(denoiser, name, described, files).encode()
    return files


def _along_axes(denoiser: Denoiser) -> list[tuple[int, int]]:
    """Return receptive field and stride along each axis."""
    return list(zip(denoiser.receptive_field, denoiser.stride, strict=True))


def _sizes(reach: int, stride: int) -> tuple[int, int, int]:
    """Return the shortest side, the step between allowed sides, and the halo, in pixels.

    A tile that starts on a multiple of the stride keeps the network's grid if the halo is also a
    multiple.
    """
    halo = -(-reach // stride) * stride
    return 2 * halo + stride, stride, halo


def _script(denoiser: Denoiser, sides: list[int]) -> torch.jit.ScriptModule:
    example = torch.zeros(1, len(denoiser.scales), *sides)
    module = _WithNormalisation(denoiser).eval()
    with torch.no_grad():
        return torch.jit.trace(module, example, check_trace=False)


def _test_image(denoiser: Denoiser, sides: list[int]) -> np.ndarray:
    """Return a simulated image in ADU, with the black level and deviation of the training data."""
    rng = np.random.default_rng(0)
    image = np.empty((1, len(denoiser.scales), *sides), np.float32)
    for number, scale in enumerate(denoiser.scales):
        structure = ndimage.gaussian_filter(rng.normal(size=sides), 3)  # pixels: coarser than noise
        noise = 0.3 * rng.normal(size=sides)  # of a deviation of 1
        image[0, number] = scale.inverse(np.abs(structure / structure.std()) + noise)
    return image


def _description(
    denoiser: Denoiser, name: str, described: dict[str, Any], files: dict[str, bytes]
) -> str:
    """Return rdf.yaml."""
    axes = "zyx"[-denoiser.dims :]
    sizes = dict(zip(axes, (_sizes(*numbers) for numbers in _along_axes(denoiser)), strict=True))
    names = [f"channel{number}" for number in range(len(denoiser.scales))]

    def tensor(kind: str, words: str, spatial: list[dict[str, Any]], file: str) -> dict[str, Any]:
        channel = {"type": "channel", "channel_names": list(names)}  # a copy: no alias in YAML
        return {
            "id": kind,
            "description": words,
            "axes": [{"type": "batch"}, channel, *spatial],
            "data": {"type": "float32"},
            "test_tensor": _file(file, files),
        }

    given = [
        {"type": "space", "id": axis, "size": {"min": shortest, "step": step}}
        for axis, (shortest, step, _) in sizes.items()
    ]
    computed = [
        {"type": "space", "id": axis, "halo": halo, "size": {"tensor_id": _INPUT, "axis_id": axis}}
        for axis, (_, _, halo) in sizes.items()
    ]
    version = torch.__version__.partition("+")[0]
    note = {
        "type": "model",
        "format_version": _FORMAT,
        # Optional, but the reader of deepImageJ fails without it.
        "id": f"napari-n2n-{_NOT_IN_IDS.sub('-', name.lower())}".rstrip("-"),
        "name": f"Noise2Noise {re.sub(_NOT_IN_NAMES, ' ', name).strip()}"[:_LONGEST_NAME],
        "description": "Denoises recordings like those that it was trained on, without clean "
        "images (Noise2Noise, napari-n2n).",
        **described,
        "cite": [_PAPER],
        "documentation": _file("README.md", files),
        "tags": ["denoising", "noise2noise", "unet", f"{denoiser.dims}d"],
        "timestamp": denoiser.record.date or datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": [tensor(_INPUT, "Recording in the unit of the detector.", given, "input.npy")],
        "outputs": [tensor(_OUTPUT, "The same without noise.", computed, "output.npy")],
        "weights": {"torchscript": {**_file("weights.pt", files), "pytorch_version": version}},
    }
    return yaml.safe_dump(note, sort_keys=False, allow_unicode=True)


def _file(name: str, files: dict[str, bytes]) -> dict[str, str]:
    return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}


def _npy(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


def _zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as package:
        for name, data in files.items():
            package.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return content.getvalue()
