"""The loss `likelihood`: the negative log-likelihood of the targets under the measured noise.

A target pixel is the signal plus noise of the measured variance, or an outlier; values beyond the
detector's limits are reported as the limit. The likelihood is maximised by expectation-maximisation
(Dempster, Laird & Rubin 1977): each step weights a pixel by the probability that it is no outlier,
and replaces a value at a limit by its expectation. Weights, variances and expectations are computed
from the prediction and carry no gradient, so that they do not bias the result. While the prediction
still has errors, its residuals are larger than the noise: their scale is measured in every batch,
so that structure that the network has not learned yet is not treated as outliers.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_n2n.noise.noise_model import NoiseModel

# Part of a run over which the scale shrinks to that of the noise: this part without outliers, and
# this much longer for the share of outliers, but at most the whole run. Faster: dark and bright
# parts are taken for outliers (impulses on 75 %, 200 steps: 17 dB instead of 23). Slower: outliers
# have an influence for longer.
_FASTEST, _SLOWER = 0.3, 2.0
# Smallest scale in a mixture with outliers, as a part of the image's standard deviation: near 0,
# few pixels would decide.
_ERROR = 0.03
# The error of the prediction is measured on every n-th pixel of a batch; n is a prime number, so
# that the pixels are in all columns. And the number of rounds of expectation-maximisation: further
# rounds change little.
_EVERY, _ROUNDS = 17, 12
# Smallest share of outliers, so that its logarithm is finite: rarer ones do not occur.
_RAREST = 1e-20
# Standard deviations beyond which float32 cannot represent density and log(Phi): the hazard rate is
# then replaced by its limit, the distance itself.
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
    lower_limit
        Values up to this one, in ADU, are at the detector's lower limit.
    stuck
        Shares of outliers at the lower and at the upper limit.
    half_step
        Half of the step between the values, in ADU: values at a limit may be inside by this much.
    """

    levels: Tensor
    variances: Tensor
    share: float
    density: float
    spread: float
    lower_limit: float = -math.inf
    stuck: tuple[float, float] = (0.0, 0.0)
    half_step: float = 0.0

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
            -math.inf if model.lower_limit is None else model.lower_limit,
            model.stuck,
            model.step / 2,
        )

    @property
    def has_outliers(self) -> bool:
        """Whether some pixels are outliers, so that the weights depend on the prediction."""
        return self.share > 0 or max(self.stuck) > 0

    def variance(self, signal: Tensor) -> Tensor:
        """Return the variance of the noise at signal levels, in ADU^2."""
        last = len(self.levels) - 1
        step = (self.levels[last] - self.levels[0]) / last
        position = ((signal - self.levels[0]) / step.clamp(min=1e-30)).clamp(min=0.0)
        below = position.floor().clamp(max=last - 1).long()
        start, end = self.variances[below], self.variances[below + 1]
        return torch.maximum(start + (position - below) * (end - start), self.variances.min())

    def limited(self, target: Tensor, censored: Tensor) -> Tensor:
        """Return the targets; at a limit, the value beyond which the detector reports the limit."""
        return target - censored * self.half_step

    def scale(self, signal: Tensor, progress: float) -> Tensor:
        """Return the variance of ordinary residuals at a share `progress` of a run, in ADU^2."""
        return self.variance(signal) + self.excess(progress)

    def excess(self, progress: float) -> float:
        """Return the difference of `scale` and the variance of the noise, in ADU^2."""
        if not self.has_outliers:
            return 0.0
        share = min(1.0, self.share + sum(self.stuck))
        left = 1 - progress / min(1.0, _FASTEST + _SLOWER * share)
        return (self.spread * max(left, _ERROR)) ** 2


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
        signal, target = prediction.detach(), noise.limited(target, censored)
        variance = of_residuals(noise, signal, target, censored, progress)
        expected = expectation(signal, target, censored, variance)
        weight = ordinary(noise, signal, target, censored, variance) / variance
    return weight * (prediction - expected) ** 2


def of_residuals(
    noise: MeasuredNoise, signal: Tensor, target: Tensor, censored: Tensor, progress: float
) -> Tensor:
    """Return the variance of the residuals that are no outliers, in ADU^2; see `squared`."""
    variance = noise.variance(signal)
    if not noise.has_outliers:
        return variance
    error = squared_error(noise, target - signal, variance, censored)
    return variance + error.clamp(min=noise.excess(progress))


def squared_error(
    noise: MeasuredNoise, residual: Tensor, variance: Tensor, censored: Tensor
) -> Tensor:
    """Return the mean squared error of a prediction in ADU^2, by expectation-maximisation.

    It is the variance of the residuals that are no outliers, less that of the noise. Starting from
    the spread of the image, each round weights the residuals by the probability that they are no
    outliers, given the latest variance.

    Parameters
    ----------
    noise
        The noise, with outliers.
    residual, variance, censored
        Target less prediction, in ADU; variance of the noise, in ADU^2; and the pixels at limits,
        which are left out. A part of the pixels is used.
    """
    residual, variance, censored = (
        one.expand_as(residual).flatten()[::_EVERY] for one in (residual, variance, censored)
    )
    shares = 1 - noise.share - sum(noise.stuck), noise.share * noise.density
    odds = math.log(max(shares[0], _RAREST)) - math.log(max(shares[1], _RAREST))
    squares, inside = residual**2, (censored == 0).float()
    error = torch.full((), noise.spread**2, device=residual.device)
    for _ in range(_ROUNDS):
        whole = variance + error
        own = -0.5 * (squares / whole + torch.log(2 * math.pi * whole))
        weight = inside * torch.sigmoid(own + odds)
        total = weight.sum().clamp(min=_RAREST)
        error = ((weight * (squares - variance)).sum() / total).clamp(min=0.0)
    return error


def ordinary(
    noise: MeasuredNoise, signal: Tensor, target: Tensor, censored: Tensor, variance: Tensor
) -> Tensor:
    """Return the probability that a pixel is no outlier, given its value; 1 without outliers."""
    if not noise.has_outliers:
        return torch.ones_like(target)
    own, outlier = _log_densities(noise, signal, target, censored, variance)
    return torch.sigmoid(own - outlier)


def _log_densities(
    noise: MeasuredNoise, signal: Tensor, target: Tensor, censored: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the log of the densities of ordinary values and of outliers, times their shares.

    At a limit these are probabilities instead of densities.
    """
    difference = target - signal
    own = -0.5 * (difference**2 / variance + torch.log(2 * math.pi * variance))
    outlier = torch.full_like(own, math.log(max(noise.share * noise.density, _RAREST)))
    at_limit = censored != 0  # few pixels, and their probability costs ten times as much
    if at_limit.any():
        side = censored[at_limit]
        distance = side * difference[at_limit] / variance.expand_as(own)[at_limit].sqrt()
        own[at_limit] = torch.special.log_ndtr(-distance)
        low, high = (math.log(max(share, _RAREST)) for share in noise.stuck)
        outlier[at_limit] = torch.where(side > 0, high, low)
    return own + math.log(max(1 - noise.share - sum(noise.stuck), _RAREST)), outlier


def expectation(signal: Tensor, target: Tensor, censored: Tensor, variance: Tensor) -> Tensor:
    """Return the expected value of each pixel before it was cut off at a limit (Tobit).

    ``E[y | y >= c] = s + sqrt(v) h((c - s) / sqrt(v))`` with the hazard rate of the normal
    distribution, ``h(k) = phi(k) / (1 - Phi(k))``; mirrored at a lower limit.
    """
    at_limit = censored != 0
    if not at_limit.any():
        return target
    side = censored[at_limit]
    mean, deviation = (values.expand_as(target)[at_limit] for values in (signal, variance.sqrt()))
    distance = side * (target[at_limit] - mean) / deviation
    near = distance.clamp(max=_FARTHEST)
    hazard = torch.exp(-0.5 * near**2 - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(-near))
    hazard = torch.maximum(hazard, distance)  # it is always larger, so this applies beyond only
    expected = target.clone()
    expected[at_limit] = mean + side * deviation * hazard
    return expected


def most_likely(
    noise: MeasuredNoise, targets: Tensor, censored: Tensor, rounds: int = 40
) -> Tensor:
    """Return the value that maximises the likelihood of many targets of each pixel.

    A network that is trained with this loss converges to this value.

    Parameters
    ----------
    noise
        The noise.
    targets, censored
        As in `squared`; shape (draws, ...).
    rounds
        Steps in which the scale shrinks to that of the noise.
    """
    found, targets = targets.mean(0), noise.limited(targets, censored)
    for step in range(rounds):
        signal = found.expand_as(targets)
        variance = noise.scale(signal, step / rounds)
        weight = ordinary(noise, signal, targets, censored, variance)
        expected = expectation(signal, targets, censored, variance)
        found = (weight * expected).sum(0) / weight.sum(0).clamp(min=_RAREST)
    return found


def negative_log(
    noise: MeasuredNoise, prediction: Tensor, target: Tensor, censored: Tensor
) -> Tensor:
    """Return the negative log-likelihood per pixel, for validation; in ADU."""
    target = noise.limited(target, censored)
    variance = of_residuals(noise, prediction, target, censored, 1.0)
    own, outlier = _log_densities(noise, prediction, target, censored, variance)
    return -torch.logaddexp(own, outlier) if noise.has_outliers else -own
