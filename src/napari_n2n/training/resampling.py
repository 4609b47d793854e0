"""Training images from one recording: simulated noise replaces a second recording.

There are two methods; both use the measured noise, and the noise determines the method.

- "pixels", if the noise of neighbouring pixels is independent. Some pixels are hidden, the network
  predicts them from their neighbours, and new noise is added to this prediction. The image with
  these pixels is the input; the values that were recorded there are the target. The noise of the
  target is not in the input, as in Noise2Noise. (Hidden pixels: Krull et al. 2019, who put other
  pixels of the image in their place.)
- "images", if the noise is correlated: neighbours would show the noise of a hidden pixel. The
  pretrained network denoises the recording, and new noise with the measured variance and
  correlation is added. The network then learns to remove exactly this noise from such images, but
  no structure of the sample that the pretrained network has not found.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_n2n.model.network import Network
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.noise.single_report import Method
from napari_n2n.training.likelihood import MeasuredNoise
from napari_n2n.training.normalisation import Batch

# Share of the pixels that are hidden. More: more training targets in a step; fewer: a better
# prediction of the hidden pixels. Other shares were not compared systematically.
_HIDDEN = 0.2
# Weight of the 7x7 neighbourhood relative to 3x3 when hidden pixels are filled: it matters only
# where all pixels of the 3x3 neighbourhood are hidden.
_FARTHER = 1e-3


@dataclass(frozen=True, eq=False)
class Resampling:
    """Makes the training images of one recording.

    Attributes
    ----------
    noise
        Variance of the noise at each level, in ADU.
    correlation
        Correlation of the noise along y and x at lags 0, 1, ...; empty for white noise.
    teacher
        For "images": the network that denoises the recording; None for "pixels".
    """

    noise: MeasuredNoise
    correlation: tuple[tuple[float, ...], ...]
    teacher: Network | None

    @classmethod
    def of(
        cls, method: Method, model: NoiseModel, network: Network, device: torch.device
    ) -> "Resampling":
        """Return the resampling for measured noise.

        Parameters
        ----------
        method, model
            From the noise report.
        network
            The network with its initial weights, on the device.
        device
            Device of the training.
        """
        noise = MeasuredNoise.of(model, 0.0, device)
        if method == "pixels":
            return cls(noise, (), None)
        teacher = copy.deepcopy(network).eval().requires_grad_(False)
        return cls(noise, model.correlation, teacher)

    def draw(self, network: Network, batch: Batch, seed: Sequence[int]) -> Batch:
        """Return a batch with input, target and weights to train on or to validate.

        Parameters
        ----------
        network
            The network that is trained; its weights are not changed.
        batch
            The recording as the input.
        seed
            Seed of hidden pixels and noise.
        """
        generator = torch.Generator(batch.input.device)
        generator.manual_seed(sum(part * 1_000_003**k for k, part in enumerate(seed)) % 2**63)
        with torch.no_grad():
            if self.teacher is not None:
                clean = self.teacher(_contiguous(batch.input, network))
                noisy = self._with_noise(clean.float(), batch, generator)
                return replace(batch, input=noisy, target=clean.float())
            shape = batch.input.shape
            hidden = torch.rand(shape, generator=generator, device=batch.input.device) < _HIDDEN
            predicted = network(_contiguous(_filled(batch.input, hidden), network)).float()
            noisy = self._with_noise(predicted, batch, generator)
        return replace(
            batch,
            input=torch.where(hidden, noisy, batch.input),
            target=batch.input,
            weight=batch.weight * hidden,
        )

    def _with_noise(self, clean: Tensor, batch: Batch, generator: torch.Generator) -> Tensor:
        """Add noise of the measured variance and correlation to images in normalised units."""
        variance = self.noise.variance(clean * batch.gain + batch.offset)
        white = torch.randn(clean.shape, generator=generator, device=clean.device)
        return clean + correlated(white, self.correlation) * variance.sqrt() / batch.gain


def correlated(white: Tensor, correlation: Sequence[Sequence[float]]) -> Tensor:
    """Filter white noise so that it is correlated along y and x; its variance remains.

    Parameters
    ----------
    white
        Shape (..., Y, X).
    correlation
        Correlation along y and x at lags 0, 1, ... pixels; empty: the noise is returned as it is.
    """
    for axis, along in zip((-2, -1), correlation, strict=False):
        length = white.shape[axis]
        lags = torch.zeros(length, dtype=torch.float64)
        for lag, value in enumerate(along[: (length + 1) // 2]):
            lags[lag] = value
            lags[-lag % length] = value
        # Measured correlations may be impossible for any noise: negative powers become 0.
        power = torch.fft.fft(lags).real.clamp(min=0.0)
        response = (power / power.mean()).sqrt().to(white.device, white.dtype)
        shape = [length if k == axis % white.ndim else 1 for k in range(white.ndim)]
        white = torch.fft.ifft(torch.fft.fft(white, dim=axis) * response.view(shape), dim=axis).real
    return white


def _filled(images: Tensor, hidden: Tensor) -> Tensor:
    """Replace hidden pixels by the mean of their neighbours in the plane that are not hidden."""
    seen = (~hidden).float()
    sums = _around(images * seen)
    counts = _around(seen).clamp(min=_FARTHER / math.prod((7, 7)))
    return torch.where(hidden, sums / counts, images)


def _around(images: Tensor) -> Tensor:
    """Return the mean of 3x3 pixels of the planes, with a little of that of 7x7 pixels."""
    planes = images.reshape(-1, 1, *images.shape[-2:])
    near, far = (F.avg_pool2d(planes, side, 1, side // 2) for side in (3, 7))
    return (near + _FARTHER * far).reshape(images.shape)


def _contiguous(images: Tensor, network: Network) -> Tensor:
    return images.contiguous(memory_format=network.memory_format)
