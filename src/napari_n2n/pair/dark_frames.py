"""Make the map of a detector from dark frames: frames recorded without light.

The mean of dark frames shows the offset of every pixel. Its median is the black level, which is
kept: only deviations from it are subtracted.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.detector_map import DetectorMap
from napari_n2n.pair.fixed_pattern import in_source
from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Deviation of a pixel from its row and column above which it is bad, in standard deviations of all
# pixels: Gaussian values exceed it once in 10^9 pixels.
_BAD = 6.0
# The offsets of single pixels are used if at least this part of the variance between pixels is not
# noise of the mean: with less, they would add more noise than they remove.
_LEAST = 0.2
# Largest difference in ADU^2 that rounding causes between the variances of two halves.
_ROUNDING = 1 / 12


def dark_map(sources: Sequence[Any]) -> DetectorMap:
    """Return the bad pixels and offsets that dark frames show.

    The offset of a single pixel is multiplied by the share of its variance that is not the noise of
    the mean (a Wiener filter), and is not used if there is only one frame, or too much noise.

    Parameters
    ----------
    sources
        Anything that `Acquisition.open` accepts; every plane is a frame.

    Raises
    ------
    BadInput
        If a source cannot be read, or the shapes of their planes differ.
    """
    opened = [Acquisition.open(source) for source in sources]
    first = opened[0]
    total, squares, count = np.zeros(first.plane_shape), np.zeros(first.plane_shape), 0
    for one in opened:
        if one.plane_shape != first.plane_shape:
            raise BadInput(
                f"{one.name}: its planes have {_sides(one.plane_shape)} pixels, those of "
                f"{first.name} {_sides(first.plane_shape)}: give dark frames of one camera",
                "shape",
            )
        for _, plane in one.planes_at(range(one.plane_count)):
            total += plane
            squares += plane.astype(np.float64) ** 2
            count += 1
    mean = total / count
    noise = (squares - count * mean**2) / max(count - 1, 1)
    columns = np.median(mean, axis=0) - np.median(mean)
    rows = np.median(mean - columns, axis=1) - np.median(mean)
    rest = mean - np.median(mean) - columns - rows[:, None]
    spread = float(np.median(np.abs(rest))) * MAD_TO_SIGMA
    bad = np.abs(rest) > _BAD * max(spread, _ROUNDING)
    pixels = None
    if count > 1 and spread > 0:
        share = 1 - float(np.median(noise)) / count / spread**2
        if share > _LEAST:
            pixels = np.where(bad, 0.0, share * rest).astype(np.float32)
    return DetectorMap(bad, columns.astype(np.float32), rows.astype(np.float32), pixels)


def corrected_by(acquisition: Acquisition, dark: DetectorMap) -> Acquisition:
    """Return a view that is corrected by the map of dark frames.

    Raises
    ------
    BadInput
        If the planes have another shape.
    """
    shape = in_source(acquisition)[0]
    if shape != dark.shape:
        raise BadInput(
            f"{acquisition.name}: its planes have {_sides(shape)} pixels, those of the dark frames "
            f"{_sides(dark.shape)}: give dark frames with the same camera settings (--dark)",
            "shape",
        )
    return acquisition.corrected(dark)


def _sides(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"
