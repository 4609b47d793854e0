"""Compute the expected error of a region of a result from the denoised acquisitions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_n2n.io.header import Region
from napari_n2n.model.error_model import ErrorModel
from napari_n2n.stats.affine import Affine


@dataclass(frozen=True, eq=False, slots=True)
class Contribution:
    """One denoised acquisition in a region.

    Attributes
    ----------
    target
        Part of the region that the acquisition covers.
    denoised
        The denoised pixels, on the intensity scale of the result (ADU).
    unknown
        True where the error is not known: at saturated and bad pixels, and in empty areas.
    """

    target: Region
    denoised: np.ndarray
    unknown: np.ndarray


def expected_error(
    model: ErrorModel, result: np.ndarray, parts: Sequence[Contribution], scale: Affine
) -> np.ndarray:
    """Return the expected deviation of a result from the clean image, in ADU.

    Parameters
    ----------
    model
        The error model that was learned during training.
    result
        Mean of the parts; shape (..., Y, X).
    parts
        One for each acquisition.
    scale
        Map from the intensities of the first acquisition, in which the model was learned, to those
        of the result.

    Returns
    -------
    numpy.ndarray
        float32, of the shape of the result; NaN where it is not known.
    """
    unknown, count = np.zeros(result.shape, bool), np.zeros(result.shape, np.int32)
    each = np.broadcast_to(result, (len(parts), *result.shape)).copy()
    for own, part in zip(each, parts, strict=True):
        own[part.target] = part.denoised
        unknown[part.target] |= part.unknown
        count[part.target] += 1
    first, each = scale.inverse(result), scale.inverse(each)
    error = model.expected(first, each)
    if (count < len(parts)).any():  # displaced acquisitions: some do not reach the edges
        np.copyto(error, model.expected(first), where=count < len(parts))
    error *= np.float32(scale.gain)
    error[unknown] = np.nan
    return error
