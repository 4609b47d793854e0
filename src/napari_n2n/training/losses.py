"""Losses, and the statistic that a network trained with each one converges to.

A network trained to predict one noisy acquisition from another cannot predict the noise. In each
pixel, it converges to the value that minimises the expected loss over all noisy targets. The choice
of the loss is therefore the choice of a statistic (Lehtinen et al. 2018, sec. 2). The table
`LOSSES` is the only list of losses: command line, widgets, advice and docs use it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from napari_n2n.noise.measure import Report
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.training.likelihood import MeasuredNoise, negative_log, squared
from napari_n2n.training.normalisation import Batch
from napari_n2n.training.settings import TrainingSettings

# In normalised units; keeps the gradient finite where prediction and target are equal.
L0_EPSILON = 1e-8
L0_GAMMA_START = 2.0  # annealing starts from L2 (Lehtinen et al. 2018)
# At gamma = 0 there is no gradient left. With 70 % impulses, 0.2 was better than 0.5 and 0.05
# (benchmarks/README.md, "What was tried").
L0_GAMMA_END = 0.2
# One fixed exponent for validation: values of the annealed loss are not comparable. Smaller: nearer
# to the mode; larger: less noise in the score.
L0_GAMMA_HELD_OUT = 0.5


def l2(prediction: Tensor, target: Tensor, progress: float = 0.0) -> Tensor:
    """Squared error per pixel. Its minimiser is the mean of the targets."""
    return (prediction.float() - target) ** 2


def l1(prediction: Tensor, target: Tensor, progress: float = 0.0) -> Tensor:
    """Absolute error per pixel. Its minimiser is the median of the targets."""
    return (prediction.float() - target).abs()


def l0_gamma(progress: float) -> float:
    """Return the exponent of the annealed L0 loss at a share `progress` (0 to 1) of a run."""
    return L0_GAMMA_START + (L0_GAMMA_END - L0_GAMMA_START) * min(max(progress, 0.0), 1.0)


def power(prediction: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Return ``(|f - y| + eps)^gamma / gamma`` per pixel, in float32.

    Dividing by gamma keeps the gradient's scale while gamma falls (Lehtinen et al. 2018, eq. 10).
    In half precision eps would vanish, and the gradient at zero distance would be infinite.
    """
    distance = (prediction.float() - target.float()).abs()
    return (distance + L0_EPSILON) ** gamma / gamma


def l0(prediction: Tensor, target: Tensor, progress: float = 0.0) -> Tensor:
    """Annealed L0 per pixel: `power` with gamma falling from 2. Its minimiser is near the mode."""
    return power(prediction, target, l0_gamma(progress))


def _l0_held_out(prediction: Tensor, target: Tensor) -> Tensor:
    return power(prediction, target, L0_GAMMA_HELD_OUT)


@dataclass(frozen=True)
class Loss(ABC):
    """One row of the table of losses.

    Attributes
    ----------
    name
        Value of the setting `loss`.
    title
        Text in menus.
    statistic
        Statistic of the targets to which a network converges: mean, median or mode.
    right_when, wrong_when
        When the loss gives a correct or a wrong result, in one plain sentence each.
    """

    name: str
    title: str
    statistic: str
    right_when: str
    wrong_when: str

    @abstractmethod
    def training_error(self, prediction: Tensor, batch: Batch, progress: float) -> Tensor:
        """Return the mean loss of a batch at a share `progress` (0 to 1) of a run."""

    @abstractmethod
    def held_out_error(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss of a batch for validation; it does not change during a run."""

    def measured(self, model: NoiseModel, spread: float, device: torch.device) -> "Loss":
        """Return the loss for measured noise; only `Likelihood` depends on the noise."""
        return self


@dataclass(frozen=True)
class PixelLoss(Loss):
    """A loss that depends on the prediction and the target of each pixel alone.

    Attributes
    ----------
    per_pixel
        ``(prediction, target, progress) -> loss`` of the same shape, for training; `progress`
        runs from 0 to 1.
    held_out
        ``(prediction, target) -> loss`` of the same shape, for validation.
    """

    per_pixel: Callable[[Tensor, Tensor, float], Tensor]
    held_out: Callable[[Tensor, Tensor], Tensor]

    def training_error(self, prediction: Tensor, batch: Batch, progress: float) -> Tensor:
        """Return the mean loss of a batch; saturated pixels do not count."""
        return masked_mean(self.per_pixel(prediction, batch.target, progress), batch.exact)

    def held_out_error(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the mean validation loss of a batch; saturated pixels do not count."""
        return masked_mean(self.held_out(prediction, batch.target), batch.exact)


@dataclass(frozen=True)
class Likelihood(Loss):
    """The negative log-likelihood of the targets under the measured noise; see `likelihood`.

    Attributes
    ----------
    noise
        The measured noise; None before `measured`.
    """

    noise: MeasuredNoise | None = None

    def training_error(self, prediction: Tensor, batch: Batch, progress: float) -> Tensor:
        """Return the mean loss of a batch, for training."""
        images = _in_adu(prediction, batch, self._noise.lower_limit)
        return masked_mean(squared(self._noise, *images, progress), batch.weight)

    def held_out_error(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the mean negative log-likelihood of a batch, for validation."""
        images = _in_adu(prediction, batch, self._noise.lower_limit)
        return masked_mean(negative_log(self._noise, *images), batch.weight)

    def measured(self, model: NoiseModel, spread: float, device: torch.device) -> Loss:
        """Return the loss for a noise model and an image's standard deviation, both in ADU."""
        noise = MeasuredNoise.of(model, spread, device)
        statistic = self.statistic if noise.has_outliers else "mean"
        return replace(self, noise=noise, statistic=statistic)

    @property
    def _noise(self) -> MeasuredNoise:
        if self.noise is None:
            raise ValueError("the loss `likelihood` needs a noise model: call `measured` first")
        return self.noise


def _in_adu(prediction: Tensor, batch: Batch, lower_limit: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return prediction and target in ADU of the first acquisition, and which pixels are cut off.

    The last tensor is 1 where the target is at the detector's upper limit, -1 where it is at the
    lower one, else 0.
    """
    result, target = (
        image.float() * batch.gain + batch.offset for image in (prediction, batch.target)
    )
    return result, target, batch.saturated.float() - (target <= lower_limit).float()


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        PixelLoss(
            name="l2",
            title="L2 - mean",
            statistic="mean",
            right_when="The noise averages out: photon noise, camera noise, also correlated noise.",
            wrong_when="Outliers that do not average out (hot pixels, text) pull the result grey.",
            per_pixel=l2,
            held_out=l2,
        ),
        PixelLoss(
            name="l1",
            title="L1 - median",
            statistic="median",
            right_when=(
                "Outliers hit fewer than half of the pixels (hot pixels, dust, text), or noise is "
                "cut off at a lower limit."
            ),
            wrong_when="Photon noise at low counts is skewed: its median reads darker.",
            per_pixel=l1,
            held_out=l1,
        ),
        PixelLoss(
            name="l0",
            title="L0 - most common value",
            statistic="mode",
            right_when="Outliers of any value hit up to 90 % of the pixels.",
            wrong_when="Ordinary noise at low counts: its most common value reads darker.",
            per_pixel=l0,
            held_out=_l0_held_out,
        ),
        Likelihood(
            name="likelihood",
            title="Likelihood - the measured noise",
            statistic="mean without outliers",
            right_when=(
                "Outliers of any value hit the pixels, the detector cuts off values, or very "
                "bright and very dim structures must both be right."
            ),
            wrong_when=(
                "The noise was measured wrongly, for example because all outliers have one value."
            ),
        ),
    )
}
"""The losses by name."""


def masked_mean(loss: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of `loss`.

    Parameters
    ----------
    loss, weight
        Same shape; weight 0 leaves a pixel out (saturated, missing, held out).
    """
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)


def chosen_loss(settings: TrainingSettings, report: Report) -> Loss:
    """Return the loss of the settings, or the one recommended for a channel."""
    return LOSSES[report.loss if settings.loss == "auto" else settings.loss]
