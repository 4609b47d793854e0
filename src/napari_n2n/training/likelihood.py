"""The loss `likelihood`: the negative log-likelihood of the targets under the measured noise.

A target pixel is the signal plus noise of the measured variance, or an outlier; values beyond the
detector's limits are reported as the limit. The likelihood is maximised by expectation-maximisation
(Dempster, Laird & Rubin 1977): each step weights a pixel by the probability that it is no outlier,
and replaces a value at a limit by its expectation. Weights, variances and expectations are computed
from the prediction and carry no gradient, so that they do not bias the result.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_n2n.noise.noise_model import NoiseModel

# Share of the run over which the scale shrinks to that of the noise; afterwards it is constant.
_ANNEALING = 0.7
# Smallest scale in a mixture with outliers, as a part of the image's standard deviation: the error
# of the network itself adds to the noise.
_ERROR = 0.03
# Below this many standard deviations, log(Phi) and the density are both tiny: the limit of their
# ratio is used.
_FARTHEST = 30.0


@dataclass(frozen=True, eq=False)
class MeasuredNoise:
    """The noise of a channel as tensors.

    Attributes
    ----------
    levels, variances
        Variance at equidistant signal levels, in ADU.
    share, density
        Share of outliers, and their probability density per ADU.
    spread
        Standard deviation of the image, in ADU.
    """

    levels: Tensor
    variances: Tensor
    share: float
    density: float
    spread: float

    @classmethod
    def of(cls, model: NoiseModel, spread: float, device: torch.device) -> "MeasuredNoise":
        """Return the tensors of a noise model on a device."""
        low, high = model.outlier_range
        return cls(
            torch.tensor(model.levels, dtype=torch.float32, device=device),
            torch.tensor(model.variances, dtype=torch.float32, device=device),
            model.outlier_share,
            1 / max(high - low, 1e-30),
            spread,
        )

    def variance(self, signal: Tensor) -> Tensor:
        """Return the variance of the noise at signal levels, in ADU^2."""
        last = len(self.levels) - 1
        step = (self.levels[last] - self.levels[0]) / last
        position = ((signal - self.levels[0]) / step.clamp(min=1e-30)).clamp(min=0.0)
        below = position.floor().clamp(max=last - 1).long()
        start, end = self.variances[below], self.variances[below + 1]
        return torch.maximum(start + (position - below) * (end - start), self.variances.min())

    def scale(self, signal: Tensor, progress: float) -> Tensor:
        """Return the variance of ordinary residuals at a share `progress` of a run, in ADU^2."""
        variance = self.variance(signal)
        if self.share == 0:
            return variance
        left = max(0.0, 1 - progress / _ANNEALING)
        return variance + (self.spread * max(left**2, _ERROR)) ** 2


def squared(
    noise: MeasuredNoise, prediction: Tensor, target: Tensor, censored: Tensor, progress: float
) -> Tensor:
    """Return the weighted squared error per pixel whose gradient is that of the likelihood.

    Parameters
    ----------
    noise
        The noise.
    prediction, target
        In ADU; same shape.
    censored
        1 where the target is at the upper limit, -1 at the lower limit, else 0.
    progress
        Share of the run that is done, 0 to 1.
    """
    with torch.no_grad():
        signal = prediction.detach()
        variance = noise.scale(signal, progress)
        expected = expectation(signal, target, censored, variance)
        weight = ordinary(noise, signal, target, censored, variance) / variance
    return weight * (prediction - expected) ** 2


def ordinary(
    noise: MeasuredNoise, signal: Tensor, target: Tensor, censored: Tensor, variance: Tensor
) -> Tensor:
    """Return the probability that a pixel is no outlier, given its value; 1 without outliers."""
    if noise.share == 0:
        return torch.ones_like(signal)
    odds = math.log((1 - noise.share) / (noise.share * noise.density))
    density = -0.5 * (target - signal) ** 2 / variance - 0.5 * torch.log(2 * math.pi * variance)
    return torch.where(censored == 0, torch.sigmoid(odds + density), 1.0)


def expectation(signal: Tensor, target: Tensor, censored: Tensor, variance: Tensor) -> Tensor:
    """Return the expected value of each pixel before it was cut off at a limit (Tobit).

    ``E[y | y >= c] = s + sqrt(v) h((c - s) / sqrt(v))`` with the hazard rate of the normal
    distribution, ``h(k) = phi(k) / (1 - Phi(k))``; mirrored at a lower limit.
    """
    deviation = variance.sqrt()
    distance = (censored * (target - signal) / deviation).clamp(max=_FARTHEST)
    hazard = torch.exp(
        -0.5 * distance**2 - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(-distance)
    )
    return torch.where(censored == 0, target, signal + censored * deviation * hazard)


def negative_log(
    noise: MeasuredNoise, prediction: Tensor, target: Tensor, censored: Tensor
) -> Tensor:
    """Return the negative log-likelihood per pixel, for validation; in ADU."""
    variance = noise.scale(prediction, 1.0)
    distance = (target - prediction) / variance.sqrt()
    exact = -0.5 * distance**2 - 0.5 * torch.log(2 * math.pi * variance)
    if noise.share > 0:
        outlier = torch.full_like(exact, math.log(noise.share * noise.density))
        exact = torch.logaddexp(math.log(1 - noise.share) + exact, outlier)
    beyond = torch.special.log_ndtr(-censored * distance)
    return -torch.where(censored == 0, exact, beyond)
