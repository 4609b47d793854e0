"""What moved or drifted between two acquisitions: differences that noise cannot explain."""

import numpy as np
from scipy import ndimage

from napari_n2n.noise.sample import Sample
from napari_n2n.noise.transfer import TransferCurve
from napari_n2n.stats.statistics import MAD_TO_SIGMA, over_blocks

# Side in pixels of the spots that are tested for motion: larger ones see fainter, smaller ones
# smaller objects.
_SPOT = 4
# Difference of a spot, in standard deviations, that counts as motion: by chance 1 spot in 26
# million exceeds it.
_FAR = 5.5
# Difference of a pixel, in standard deviations, at which it is clipped: an outlier then moves its
# spot by 1 standard deviation at most.
_TAIL = 4.0
# Side in pixels of the blocks that are searched for in B, and the distance of the search: larger
# blocks are found more safely, a longer search finds faster motion.
_BLOCK, _REACH = 32, 16
# Share of a block's pixels that differ by more than noise, from which on it is searched for.
_SUSPICIOUS = 0.02
# Share of these pixels that may still differ where the block was found.
_EXPLAINED = 0.2
# Share of all such pixels in blocks that are found, from which on the rest counts as motion too.
_FOUND_AGAIN = 0.2
# Side in pixels of the squares that drift is measured on, and of those that its noise is taken
# from: several times the reach of correlated noise (2 to 3 pixels).
_PATCH, _SQUARE = 64, 16
# Difference of a square, in its standard errors, that counts as drift: not reached by chance.
_DRIFTED = 6
# ADU^2 that count as zero in divisions.
_TINY = 1e-12


def moved_share(sample: Sample, curve: TransferCurve) -> float:
    """Share of 4x4 pixel spots that differ by more than 5.5 standard deviations of the noise.

    The noise of a spot follows from the photon-transfer curve, scaled to that of the median spot,
    so that correlated noise is not taken for motion. Single outliers are clipped.
    """
    variance = 2 * curve.variance_at(sample.surroundings)
    limit = _TAIL * np.sqrt(variance)
    difference = np.where(sample.valid, sample.difference.clip(-limit, limit), 0.0)
    spots = over_blocks(difference, _SPOT)
    expected = over_blocks(variance, _SPOT) / _SPOT**2
    squares = spots**2 / np.maximum(expected, _TINY)
    typical = float(np.median(squares)) * MAD_TO_SIGMA**2
    return float(np.mean(squares > _FAR**2 * typical)) if typical > 0 else 0.0


def displaced(sample: Sample, suspicious: np.ndarray, limit: float) -> tuple[float, np.ndarray]:
    """Find where something moved, which would otherwise be taken for text or dust.

    What moved is in B too, but elsewhere: blocks of 32x32 pixels are searched for up to 16 pixels
    away. If a fifth of all suspicious pixels are in blocks that are found, the other suspicious
    pixels have moved too, farther away or over something else.

    Parameters
    ----------
    sample
        Where to search.
    suspicious
        Boolean, of the sample's shape: pixels that differ by more than noise.
    limit
        Difference in ADU beyond which they are suspicious.

    Returns
    -------
    share, around
        Share of the field in blocks with suspicious pixels; and, boolean of the sample's shape,
        these blocks with all their neighbours. 0 and all False if nothing moved.
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
    """Displacement of B against A in whole pixels, at the peak of their correlation."""
    bell = np.outer(*(np.hanning(length) for length in a.shape))
    a, b = (bell * (values - values.mean()) for values in (a, b))
    together = np.fft.irfft2(np.conj(np.fft.rfft2(a)) * np.fft.rfft2(b), s=a.shape)
    near = np.roll(together, (_REACH, _REACH), (0, 1))[: 2 * _REACH + 1, : 2 * _REACH + 1]
    row, column = np.unravel_index(int(np.argmax(near)), near.shape)
    return int(row) - _REACH, int(column) - _REACH


def drift(sample: Sample) -> tuple[float, float]:
    """Largest slow brightness difference between the two, relative to the signal's spread.

    Measured on squares of 64 pixels (or the whole plane if it is smaller); 0 if their noise
    explains it. The second value is its standard error, that of one square.
    """
    side = min(_PATCH, *sample.a.shape[1:])
    difference = sample.valid_difference
    means = over_blocks(difference, side)
    signal = float(np.std(over_blocks(sample.surroundings, _SPOT))) or 1.0
    # Correlated noise averages out between squares only; a drift hardly differs between neighbours.
    square = max(1, min(_SQUARE, side // 2))
    steps = np.diff(over_blocks(difference, square), axis=2) / np.sqrt(2)
    noise = float(np.std(steps)) * square / side
    largest = float(np.max(np.abs(means - np.median(means))))
    return (largest if largest > _DRIFTED * noise else 0.0) / signal, noise / signal
