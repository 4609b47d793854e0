"""Learn the error of the results from pixels that were not trained on, without a clean image.

The plane is divided into two halves like a chessboard, and a network is trained on each. On the
other half, its result is independent of the noise of the target: the squared distance of the two,
less the noise of the target, is on average the squared error of the result (cross-fitting).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import optimize

from napari_n2n.model.error_model import ErrorModel, features, noise_variance
from napari_n2n.model.network import Network
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.stats import image_quality
from napari_n2n.stats.statistics import Measurement, balanced, mean_over_blocks, neighbourhood
from napari_n2n.training.normalisation import Batch
from napari_n2n.training.prepare import Parts
from napari_n2n.training.provenance import NO_PSNR

# Side of a square of the chessboard in pixels. Larger: more pixels far from the other half, whose
# noise may be correlated; smaller: both halves show the same kinds of structure.
_SQUARE = 32
_TOO_SMALL = "the error is too small to be determined from so few pixels"
_TINY = 1e-9  # part of the largest weight sum that is added, so that features may be equal


class HalfMask:
    """Every second square of a chessboard: held out from the training of one network.

    Parameters
    ----------
    shape
        Rows and columns of the plane.
    half
        0 or 1.
    """

    def __init__(self, shape: tuple[int, int], half: int) -> None:
        self._side, self._half = max(1, min(_SQUARE, min(shape) // 2)), half

    def mask(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the mask of a part of the plane, True where held out."""
        y, x = (np.arange(part.start, part.stop) // self._side for part in (rows, columns))
        return np.asarray((y[:, None] + x) % 2 == self._half)


@dataclass(frozen=True, eq=False)
class _View:
    """A window: arrays of shape ([Z,] Y, X) in ADU of the pair's first acquisition.

    Attributes
    ----------
    result, other
        The denoised acquisition, and the denoised acquisition that is its target.
    errors
        Squared errors of the result, each with an expectation equal to the true one.
    weight
        1 for the pixels that count.
    """

    result: np.ndarray
    other: np.ndarray
    errors: np.ndarray
    weight: np.ndarray

    @property
    def private(self) -> np.ndarray:
        """Squared errors that the two results do not share."""
        return (self.result - self.other) ** 2 / 2


def learned_errors(halves: Sequence[Parts], noise: Sequence[NoiseModel]) -> dict[str, Any]:
    """Fit the expected error of the results of each channel.

    Parameters
    ----------
    halves
        Runs with a `HalfMask`, one for each half; the averages in their states are used.
    noise
        For each channel, the noise of its first acquisition.

    Returns
    -------
    dict
        The fields `error` and `error_reason` of the model's record.
    """
    if halves[0].loss.statistic != "mean":
        return {"error": [None] * len(noise), "error_reason": NO_PSNR}
    windows = [
        (channel, list(_views(half.state.average, batch)))
        for half in halves
        for channel, batch in half.held_out.batches
    ]
    ranges = halves[0].held_out.data_range
    found = [
        _fitted([views for k, views in windows if k == channel], model, data_range)
        for channel, (model, data_range) in enumerate(zip(noise, ranges, strict=True))
    ]
    return {"error": found, "error_reason": None if all(found) else _TOO_SMALL}


def _views(network: Network, batch: Batch) -> Iterator[_View]:
    """Yield the view of each acquisition in a window; the next one is its target."""
    with torch.inference_mode():
        images = batch.input.contiguous(memory_format=network.memory_format)
        outputs = torch.cat([network(images[k : k + 1]).float() for k in range(len(images))])
    results, inputs, targets = (
        (values * batch.gain + batch.offset)[:, 0].cpu().numpy().astype(np.float64)
        for values in (outputs, batch.input, batch.target)
    )
    weights = batch.exact[:, 0].cpu().numpy()
    for number, (result, a, b) in enumerate(zip(results, inputs, targets, strict=True)):
        level = balanced(a, b, neighbourhood(a), neighbourhood(b))
        errors = (result - b) ** 2 - (b - level) * (b - a)
        yield _View(result, results[(number + 1) % len(results)], errors, weights[number])


def _fitted(
    windows: Sequence[Sequence[_View]], noise: NoiseModel, data_range: float
) -> ErrorModel | None:
    psnr = _psnr([[(view.errors, view.weight) for view in views] for views in windows], data_range)
    if psnr.value is None or psnr.error is None:
        return None
    mean = _psnr(
        [[(view.errors - view.private / 2, view.weight) for view in views] for views in windows],
        data_range,
    )
    views = [view for window in windows for view in window]
    return ErrorModel(
        levels=noise.levels,
        variances=noise.variances,
        whole=_weights([(view, view.errors) for view in views], noise),
        shared=_weights([(view, view.errors - view.private) for view in views], noise),
        psnr=psnr.value,
        psnr_se=psnr.error,
        psnr_mean=mean.value,
        psnr_mean_se=mean.error,
    )


def _psnr(
    windows: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]], data_range: float
) -> Measurement:
    """Return the PSNR of squared errors and their weights, in the views of each window."""
    parts = [
        (
            np.stack([errors * weight for errors, weight in views]),
            np.stack([weight for _, weight in views]),
        )
        for views in windows
    ]
    return image_quality.psnr_reference_free(mean_over_blocks(parts), data_range)


def _weights(
    views: Sequence[tuple[_View, np.ndarray]], noise: NoiseModel
) -> tuple[float, float, float]:
    """Fit weights >= 0 of the features to squared errors, by weighted least squares.

    A squared error of one pixel scatters in proportion to the variance of its noise.
    """
    products, sums = np.zeros((3, 3)), np.zeros(3)
    for view, squares in views:
        counted = view.weight > 0
        variance = noise_variance(view.result, noise.levels, noise.variances)
        parts = features(view.result, variance)
        rows = np.stack([(part / variance)[counted] for part in parts])
        products += rows @ rows.T
        sums += rows @ (squares / variance)[counted]
    lower = np.linalg.cholesky(products + _TINY * products.max() * np.eye(3))
    first, second, third = optimize.nnls(lower.T, np.linalg.solve(lower, sums))[0]
    return float(first), float(second), float(third)
