"""Find motion and drift between two acquisitions: differences that noise cannot explain."""

import numpy as np
from scipy import ndimage

from napari_n2n.noise.photon_transfer import TransferCurve
from napari_n2n.noise.sample import Sample
from napari_n2n.stats.statistics import MAD_TO_SIGMA, over_blocks

# Side in pixels of the spots that are tested for motion. Larger: fainter objects are found;
# smaller: smaller objects are found.
_SPOT = 4
# Difference of a spot, in standard deviations, that counts as motion: by chance 1 spot in 26
# million exceeds it.
_FAR = 5.5
# Limit to which the difference of a pixel is clipped, in standard deviations: a single outlier then
# changes its spot by at most 1 standard deviation.
_TAIL = 4.0
# Side of the blocks of A that are searched for in B, and distance of the search, in pixels. Larger
# blocks are found more reliably; a longer search finds faster motion.
_BLOCK, _REACH = 32, 16
# Share of suspicious pixels, which differ by more than noise, above which a block is searched for.
_SUSPICIOUS = 0.02
# Largest part of this share that may still differ at the place where the block was found.
_EXPLAINED = 0.2
# Share of all suspicious pixels in blocks that were found, above which the rest is motion too.
_FOUND_AGAIN = 0.2
# Side in pixels of the squares on which drift is measured, and of those from which its noise is
# estimated: several times the reach of correlated noise (2 to 3 pixels).
_PATCH, _SQUARE = 64, 16
# Difference of a square, in standard errors, that counts as drift: not reached by chance.
_DRIFTED = 6
# Smallest divisor, in ADU^2.
_TINY = 1e-12


def moved_share(sample: Sample, curve: TransferCurve) -> float:
    """Return the share of 4x4 pixel spots that differ by more than 5.5 standard deviations.

    The noise of a spot follows from the photon-transfer curve, scaled to that of the median spot,
    so that correlated noise is not mistaken for motion. Single outliers are clipped.
    """
    variance = 2 * curve.variance_at(sample.surroundings)
    limit = _TAIL * np.sqrt(variance)
    difference = sample.valid_difference.clip(-limit, limit)
    spots = over_blocks(difference, _SPOT)
    expected = over_blocks(variance, _SPOT) / _SPOT**2
    squares = spots**2 / np.maximum(expected, _TINY)
    typical = float(np.median(squares)) * MAD_TO_SIGMA**2
    return float(np.mean(squares > _FAR**2 * typical)) if typical > 0 else 0.0


def displaced(sample: Sample, suspicious: np.ndarray, limit: float) -> tuple[float, np.ndarray]:
    """Find moving objects, which would otherwise be mistaken for text or dust.

    A moving object is at different places in A and B: blocks of 32x32 pixels of A are searched for
    in B up to 16 pixels away. If more than a fifth of all suspicious pixels are in blocks that are
    found, the other suspicious pixels count as motion too, because objects may move farther than
    the search, or behind other objects.

    Parameters
    ----------
    sample
        The pixels to search.
    suspicious
        True where A and B differ by more than noise; of the sample's shape.
    limit
        Difference in ADU beyond which a pixel is suspicious.

    Returns
    -------
    share, around
        Share of the plane in blocks with suspicious pixels; and a mask of the sample's shape, True
        in these blocks and all their neighbours. 0 and all False if nothing moved.
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
    """Return the displacement of B against A in whole pixels, from their correlation peak."""
    bell = np.outer(*(np.hanning(length) for length in a.shape))
    a, b = (bell * (values - values.mean()) for values in (a, b))
    together = np.fft.irfft2(np.conj(np.fft.rfft2(a)) * np.fft.rfft2(b), s=a.shape)
    near = np.roll(together, (_REACH, _REACH), (0, 1))[: 2 * _REACH + 1, : 2 * _REACH + 1]
    row, column = np.unravel_index(int(np.argmax(near)), near.shape)
    return int(row) - _REACH, int(column) - _REACH


def drift(sample: Sample) -> tuple[float, float]:
    """Return the largest slow brightness difference of A and B, relative to the signal's spread.

    It is measured on squares of 64 pixels, or on the whole plane if that is smaller; 0 if noise
    alone explains it. The second value is the standard error of one square.
    """
    side = min(_PATCH, *sample.a.shape[1:])
    difference = sample.valid_difference
    means = over_blocks(difference, side)
    signal = float(np.std(over_blocks(sample.surroundings, _SPOT))) or 1.0
    # Squares are larger than the reach of correlated noise, and neighbours have nearly equal drift,
    # so the differences of neighbours show the noise alone.
    square = max(1, min(_SQUARE, side // 2))
    steps = np.diff(over_blocks(difference, square), axis=2) / np.sqrt(2)
    noise = float(np.std(steps)) * square / side
    largest = float(np.max(np.abs(means - np.median(means))))
    return (largest if largest > _DRIFTED * noise else 0.0) / signal, noise / signal
