"""Measure how similar neighbouring planes of a volume, or frames of a movie, are.

The planes are filtered by a difference of Gaussians: detail of a few pixels matters for denoising.
The noise of two acquisitions is independent, so it averages out in the mean product of a plane of A
and the same plane of B, and in that of a plane of A and its neighbour in B: both contain the scene
alone. Their ratio is the correlation of the scene in neighbouring planes.
"""

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_n2n.io.acquisition import evenly_spaced
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.sampled import stacked
from napari_n2n.stats.statistics import GROUPS, MAD_TO_SIGMA, groups_of_tiles, jackknife

# Finest and coarsest detail in pixels, as standard deviations of the two Gaussians: finer detail is
# mostly noise, coarser detail is visible without neighbours.
_FINE, _COARSE = 1.0, 4.0
# Number of places along the axis, and side in pixels of the middle part of the planes there. More:
# a smaller standard error; fewer: faster.
_PLACES, _SIDE = 8, 512
# Fewest planes of a volume: if there are two, each has only one neighbour.
_FEWEST = 3
# Values are clipped at this many standard deviations, so that a few outliers or very bright
# structures do not dominate.
_CUT = 5.0
# The scene counts as measured if its variance is this many standard errors above zero.
_SEEN = 4.0


def depth_correlation(pair: Pair) -> tuple[float, float] | None:
    """Return the correlation of the scene in neighbouring planes, with its standard error.

    Parameters
    ----------
    pair
        Two acquisitions of a scene.

    Returns
    -------
    tuple of float, or None
        1 if neighbouring planes are equal, 0 if they have nothing in common. None if there is
        only one acquisition, no labelled Z or T axis with three planes, or more noise than scene.
    """
    first = pair.first
    if pair.is_single or not first.has_depth or first.shape[-3] < _FEWEST:
        return None
    products = sum(_products(pair), np.zeros((2, GROUPS)))
    same, near = np.sum(products, axis=1)
    without = np.sum(products, axis=1, keepdims=True) - products
    if not same > _SEEN * jackknife(list(without[0])) > 0:
        return None
    return float(near / same), jackknife(list(without[1] / without[0]))


def _products(pair: Pair) -> Iterator[np.ndarray]:
    """Yield, for some places, the products of the same and of neighbouring planes.

    Each has shape (2, tiles): summed over each of 16 equal tiles, whose noise is independent.
    """
    depth = pair.first.shape[-3]
    bad = {one.plane for one in pair.bad_planes}
    lower = [n for n in range(pair.first.plane_count) if (n + 1) % depth and not {n, n + 1} & bad]
    for place in evenly_spaced(len(lower), _PLACES):
        numbers = (lower[place], lower[place] + 1)
        a, b = (_details(stacked(one, numbers, _SIDE)) for one in pair.acquisitions[:2])
        tiles = groups_of_tiles(a.shape[1:]).ravel()
        yield np.stack(
            [
                np.bincount(tiles, product.sum(axis=0).ravel(), minlength=GROUPS)
                for product in (a * b, a * b[::-1])
            ]
        )


def _details(planes: np.ndarray) -> np.ndarray:
    """Return the fine detail of planes, in standard deviations of each; shape (planes, Y, X)."""
    planes = planes.astype(np.float64)
    fine, coarse = (gaussian_filter(planes, (0, one, one)) for one in (_FINE, _COARSE))
    detail = fine - coarse
    spread = MAD_TO_SIGMA * np.median(np.abs(detail), axis=(1, 2), keepdims=True)
    spread = np.where(spread > 0, spread, detail.std(axis=(1, 2), keepdims=True) + 1e-300)
    return np.clip(detail / spread, -_CUT, _CUT)
