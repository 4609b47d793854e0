"""The expected error of a denoised pixel, as learned from pixels that were not trained on.

The squared error is modelled by three features of the result itself: the variance of the noise at
its brightness, v; the contrast of the result around the pixel, c; and sqrt(v c). The part of the
error that several results of one scene do not share is measured from their scatter, so that moving
parts get a large error too.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat
from scipy import ndimage

from napari_n2n.stats.statistics import variance_at

_SIDE = 9
"""Side in pixels of the square in which contrast and scatter are averaged: about the size
of a blurred point. Larger: smoother; smaller: noisier."""

REACH = 2 * (_SIDE // 2)
"""Distance in pixels up to which the result around a pixel decides its expected error."""

# Smallest variance of the noise, as a part of that at the darkest measured level.
_DARKEST = 0.25

Weights = tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat]


class ErrorModel(BaseModel):
    """The expected squared error of a result, in ADU of the first acquisition of the training.

    Attributes
    ----------
    levels, variances
        Variance of the noise of one acquisition at ascending levels (ADU).
    whole
        Weights of the `features` in the squared error of one denoised acquisition.
    shared
        Weights of the `features` in the part of the squared error that all denoised acquisitions of
        a scene have in common.
    psnr, psnr_se
        PSNR in dB of one denoised acquisition on pixels that were not trained on, and its standard
        error.
    psnr_mean, psnr_mean_se
        PSNR and standard error for the mean of two denoised acquisitions; None if it could not be
        determined.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    levels: tuple[float, ...] = Field(min_length=1)
    variances: tuple[NonNegativeFloat, ...] = Field(min_length=1)
    whole: Weights
    shared: Weights
    psnr: float
    psnr_se: float
    psnr_mean: float | None = None
    psnr_mean_se: float | None = None

    def in_words(self) -> str:
        """Return a line with the PSNR of the results on pixels that were not trained on."""
        alone = f"{self.psnr:.2f} ± {self.psnr_se:.2f} dB for one acquisition"
        if self.psnr_mean is None or self.psnr_mean_se is None:
            return alone
        return f"{alone}, {self.psnr_mean:.2f} ± {self.psnr_mean_se:.2f} dB for the average of two"

    def expected(self, result: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
        """Return the expected deviation (root mean square) of a result from the clean image.

        Parameters
        ----------
        result
            Shape (..., Y, X), in ADU.
        others
            The denoised acquisitions, if `result` is their mean; shape (acquisitions, ..., Y, X).

        Returns
        -------
        numpy.ndarray
            float32, of the shape of the result, in ADU: the clean value is within this deviation in
            68 % of the pixels, and within twice the deviation in 95 %.
        """
        parts = features(result, noise_variance(result, self.levels, self.variances))
        several = others is not None and len(others) > 1
        weights = self.shared if several else self.whole
        square = sum(weight * part for weight, part in zip(weights, parts, strict=True))
        if others is not None and several:
            square = square + around(others.var(axis=0, ddof=1)) / len(others)
        return np.sqrt(square).astype(np.float32)


def noise_variance(
    result: np.ndarray, levels: tuple[float, ...], variances: tuple[float, ...]
) -> np.ndarray:
    """Return the variance of the noise at the brightness of a result, in ADU^2."""
    return np.maximum(variance_at(result, levels, variances), _DARKEST * variances[0])


def features(result: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return v, c and sqrt(v c) of a result of shape (..., Y, X), in ADU^2; v is `variance`."""
    contrast = around((result - around(result)) ** 2)
    return variance, contrast, np.sqrt(variance * contrast)


def around(values: np.ndarray) -> np.ndarray:
    """Return the mean of the 9x9 pixels around each pixel; shape (..., Y, X)."""
    sides = (1,) * (values.ndim - 2) + (_SIDE, _SIDE)
    return np.asarray(ndimage.uniform_filter(values.astype(np.float64), sides, mode="reflect"))
