"""What moved or drifted between two acquisitions: differences that noise cannot explain."""

import numpy as np

from napari_n2n.noise.sample import Sample
from napari_n2n.noise.transfer import TransferCurve

_SPOT = 4
_PATCH = 64
_FAR = 5.5
_TAIL = 4.0


def moved_share(sample: Sample, curve: TransferCurve) -> float:
    """Share of 4x4 pixel spots that differ by more than 5.5 standard deviations of the noise.

    The noise of a spot follows from the photon-transfer curve; its scale is that of the median
    spot, so that correlated noise does not pass for motion. Single outliers are clipped.
    """
    variance = 2 * curve.variance_at(sample.surroundings)
    limit = _TAIL * np.sqrt(variance)
    difference = np.where(sample.valid, sample.difference.clip(-limit, limit), 0.0)
    spots = _blocks(difference, _SPOT)
    expected = _blocks(variance, _SPOT) / _SPOT**2
    squares = spots**2 / np.maximum(expected, 1e-12)
    typical = float(np.median(squares)) / 0.4549
    return float(np.mean(squares > _FAR**2 * typical)) if typical > 0 else 0.0


def drift(sample: Sample) -> float:
    """Largest slow brightness difference between the two, relative to the signal's spread.

    Over squares of 64 pixels (the whole plane where it is smaller), less than what their noise
    explains.
    """
    side = min(_PATCH, *sample.a.shape[1:])
    difference = np.where(sample.valid, sample.difference, 0.0)
    means = _blocks(difference, side)
    signal = float(np.std(_blocks(sample.surroundings, _SPOT))) or 1.0
    noise = float(np.std(_blocks(difference, _SPOT))) * _SPOT / side
    largest = float(np.max(np.abs(means - np.median(means))))
    return largest / signal if largest > 6 * noise else 0.0


def _blocks(stack: np.ndarray, side: int) -> np.ndarray:
    rows, columns = (length // side * side for length in stack.shape[1:])
    cut = stack[:, :rows, :columns]
    return cut.reshape(len(stack), rows // side, side, columns // side, side).mean(axis=(2, 4))
