"""What moved or drifted between two acquisitions: differences that noise cannot explain."""

import numpy as np
from scipy import ndimage

from napari_n2n.noise.sample import Sample
from napari_n2n.noise.transfer import TransferCurve
from napari_n2n.stats.statistics import MAD_TO_SIGMA, over_blocks

_SPOT = 4
_PATCH = 64
_SQUARE = 16
_FAR = 5.5
_TAIL = 4.0
_BLOCK = 32
_REACH = 16
_SUSPICIOUS = 0.02
_EXPLAINED = 0.2
_FOUND_AGAIN = 0.2


def moved_share(sample: Sample, curve: TransferCurve) -> float:
    """Share of 4x4 pixel spots that differ by more than 5.5 standard deviations of the noise.

    The noise of a spot follows from the photon-transfer curve; its scale is that of the median
    spot, so that correlated noise does not pass for motion. Single outliers are clipped.
    """
    variance = 2 * curve.variance_at(sample.surroundings)
    limit = _TAIL * np.sqrt(variance)
    difference = np.where(sample.valid, sample.difference.clip(-limit, limit), 0.0)
    spots = over_blocks(difference, _SPOT)
    expected = over_blocks(variance, _SPOT) / _SPOT**2
    squares = spots**2 / np.maximum(expected, 1e-12)
    typical = float(np.median(squares)) * MAD_TO_SIGMA**2
    return float(np.mean(squares > _FAR**2 * typical)) if typical > 0 else 0.0


def displaced(sample: Sample, suspicious: np.ndarray, limit: float) -> tuple[float, np.ndarray]:
    """Tell where something moved, so that it passes for text or dust.

    What moved is in B too, but elsewhere: blocks of 32x32 pixels are looked for up to 16 pixels
    away. Where a fifth of all suspicious pixels lie in blocks that are found again, what is
    suspicious elsewhere has moved too, out of sight or over something else.

    Parameters
    ----------
    sample
        Where to look.
    suspicious
        Boolean, of the sample's shape: pixels that differ by more than noise.
    limit
        By how much, in ADU.

    Returns
    -------
    share, around
        Of the field, blocks with suspicious pixels; and, boolean of the sample's shape, these with
        all blocks beside them. 0 and nothing if nothing moved.
    """
    nothing = np.zeros(sample.a.shape, bool)
    if min(sample.a.shape[1:]) < _BLOCK:
        return 0.0, nothing
    share = over_blocks(suspicious.astype(np.float32), _BLOCK)
    around = [
        np.pad(values, ((0, 0), (_REACH, _REACH), (_REACH, _REACH)), "reflect")
        for values in (sample.a, sample.b)
    ]
    found = 0.0
    for plane, row, column in np.argwhere(share > _SUSPICIOUS):
        y, x = row * _BLOCK, column * _BLOCK
        side = _BLOCK + 2 * _REACH
        a, b = (values[plane, y : y + side, x : x + side] for values in around)
        dy, dx = _offset(a, b)
        here = a[_REACH:-_REACH, _REACH:-_REACH]
        there = b[_REACH + dy :, _REACH + dx :][:_BLOCK, :_BLOCK]
        left = float(np.mean(np.abs(here - there) > limit))
        if left < _EXPLAINED * share[plane, row, column]:
            found += float(share[plane, row, column])
    if found <= _FOUND_AGAIN * float(share.sum()):
        return 0.0, nothing
    blocks = ndimage.maximum_filter(share, (1, 3, 3)) > _SUSPICIOUS
    pixels = blocks.repeat(_BLOCK, axis=1).repeat(_BLOCK, axis=2)
    below, beside = (nothing.shape[axis] - pixels.shape[axis] for axis in (1, 2))
    around_these = np.pad(pixels, ((0, 0), (0, below), (0, beside)), "edge")
    return float(np.mean(share > _SUSPICIOUS)), around_these


def _offset(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """Whole pixels by which B is displaced against A: the peak of their correlation, in reach."""
    bell = np.outer(*(np.hanning(length) for length in a.shape))
    a, b = (bell * (values - values.mean()) for values in (a, b))
    together = np.fft.irfft2(np.conj(np.fft.rfft2(a)) * np.fft.rfft2(b), s=a.shape)
    near = np.roll(together, (_REACH, _REACH), (0, 1))[: 2 * _REACH + 1, : 2 * _REACH + 1]
    row, column = np.unravel_index(int(np.argmax(near)), near.shape)
    return int(row) - _REACH, int(column) - _REACH


def drift(sample: Sample) -> tuple[float, float]:
    """Largest slow brightness difference between the two, relative to the signal's spread.

    Of squares of 64 pixels (of the whole plane where it is smaller); 0 where their noise explains
    it. Comes with its standard error, which is that of one square.
    """
    side = min(_PATCH, *sample.a.shape[1:])
    difference = sample.valid_difference
    means = over_blocks(difference, side)
    signal = float(np.std(over_blocks(sample.surroundings, _SPOT))) or 1.0
    # Noise that neighbours share averages out over squares only; a drift hardly shows in the next.
    square = max(1, min(_SQUARE, side // 2))
    steps = np.diff(over_blocks(difference, square), axis=2) / np.sqrt(2)
    noise = float(np.std(steps)) * square / side
    largest = float(np.max(np.abs(means - np.median(means))))
    return (largest if largest > 6 * noise else 0.0) / signal, noise / signal
