"""Learn the error of the results from pixels that were not trained on, without a clean image.

The plane is divided into two halves like a chessboard, and a network is trained on each. On the
half without training, the result is independent of the noise of the target. The squared difference
of result and target, minus the variance of that noise, is then on average the squared error of the
result (cross-fitting).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import optimize

from napari_n2n.model.error_model import ErrorModel, features, noise_variance
from napari_n2n.model.network import Network
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.stats import image_quality
from napari_n2n.stats.statistics import (
    Measurement,
    balanced,
    block_sums,
    mean_of_blocks,
    neighbourhood,
)
from napari_n2n.training.normalisation import Batch
from napari_n2n.training.prepare import Parts
from napari_n2n.training.provenance import NO_PSNR, TOO_SMALL

# Side of a square of the chessboard in pixels. Larger: more pixels far from the other half, whose
# noise may be correlated; smaller: both halves show the same kinds of structure.
_SQUARE = 32
_TINY = 1e-9  # part of the largest sum, added to the diagonal so that equal features are allowed


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
        Noise of the first acquisition of each channel.

    Returns
    -------
    dict
        The fields `error` and `error_reason` of the model's record.
    """
    if halves[0].loss.statistic != "mean":
        return {"error": [None] * len(noise), "error_reason": NO_PSNR}
    ranges = halves[0].held_out.data_range
    fits = [_Fit(*known) for known in zip(noise, ranges, strict=True)]
    for half in halves:
        for channel, batch in half.held_out.batches:
            fits[channel].add(list(_views(half.state.average, batch)))
    found = [fit.fitted() for fit in fits]
    return {"error": found, "error_reason": None if all(found) else TOO_SMALL}


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
        level, _ = balanced(a, b, neighbourhood(a), neighbourhood(b))
        errors = (result - b) ** 2 - (b - level) * (b - a)
        yield _View(result, results[(number + 1) % len(results)], errors, weights[number])


@dataclass(eq=False)
class _Squares:
    """Sums over squared errors, to fit the weights of the features and a PSNR; no pixels are kept.

    Attributes
    ----------
    blocks
        For each window, the sums of squares and weights over blocks.
    products, sums
        Normal equations of the weights of the `features`, by weighted least squares: a squared
        error of one pixel scatters in proportion to the variance of its noise.
    """

    blocks: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    products: np.ndarray = field(default_factory=lambda: np.zeros((3, 3)))
    sums: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def add_blocks(self, squares: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> None:
        """Add a window: for each of its views, the squared errors and the weights."""
        terms = [one * weight for one, weight in zip(squares, weights, strict=True)]
        self.blocks.append(block_sums(np.stack(terms), np.stack(weights)))

    def add_view(self, view: _View, squares: np.ndarray, noise: NoiseModel) -> None:
        """Add the squared errors of a view to the normal equations."""
        counted = view.weight > 0
        variance = noise_variance(view.result, noise.levels, noise.variances)
        parts = features(view.result, variance)
        rows = np.stack([(part / variance)[counted] for part in parts])
        self.products += rows @ rows.T
        self.sums += rows @ (squares / variance)[counted]

    def psnr(self, data_range: float) -> Measurement:
        """Return the PSNR of the squared errors that were added."""
        return image_quality.psnr_reference_free(mean_of_blocks(self.blocks), data_range)

    def weights(self) -> tuple[float, float, float]:
        """Return the weights >= 0 of the features."""
        lower = np.linalg.cholesky(self.products + _TINY * self.products.max() * np.eye(3))
        first, second, third = optimize.nnls(lower.T, np.linalg.solve(lower, self.sums))[0]
        return float(first), float(second), float(third)


@dataclass(eq=False)
class _Fit:
    """The expected error of one channel, fitted window by window.

    Attributes
    ----------
    noise, data_range
        Noise of the first acquisition, and the range that a PSNR refers to.
    whole, mean, shared
        Squared errors of a result, of the mean of two results, and the part that both share.
    """

    noise: NoiseModel
    data_range: float
    whole: _Squares = field(default_factory=_Squares)
    mean: _Squares = field(default_factory=_Squares)
    shared: _Squares = field(default_factory=_Squares)

    def add(self, views: Sequence[_View]) -> None:
        """Add the views of a window."""
        weights = [view.weight for view in views]
        self.whole.add_blocks([view.errors for view in views], weights)
        self.mean.add_blocks([view.errors - view.private / 2 for view in views], weights)
        for view in views:
            self.whole.add_view(view, view.errors, self.noise)
            self.shared.add_view(view, view.errors - view.private, self.noise)

    def fitted(self) -> ErrorModel | None:
        """Return the expected error; None if it could not be determined."""
        psnr, mean = self.whole.psnr(self.data_range), self.mean.psnr(self.data_range)
        if psnr.value is None or psnr.error is None:
            return None
        return ErrorModel(
            levels=self.noise.levels,
            variances=self.noise.variances,
            whole=self.whole.weights(),
            shared=self.shared.weights(),
            psnr=psnr.value,
            psnr_se=psnr.error,
            psnr_mean=mean.value,
            psnr_mean_se=mean.error,
        )
