"""Find hot and dead pixels: single pixels that are too bright or too dark in both acquisitions.

They are common to both acquisitions, so the difference of the two does not show them. An optical
system spreads a point over several pixels: a structure that is one pixel wide in both is not light.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage

from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Smallest height in each acquisition, in standard deviations of its noise: for Gaussian noise, two
# acquisitions exceed it at the same pixel once in 10^11 pixels.
_SMALLEST = 4.5
# Smallest height in multiples of the fine structure around it: the texture of a scene.
_OF_TEXTURE = 7.0
# Largest height of the second brightest neighbour, as a part of the pixel's own height. An optical
# system spreads a point to at least 0.4 for 1.4 pixels per standard deviation.
_SHARP = 1 / 4
# Peaks whose second neighbour is up to this part of their height are counted too: points of light
# and details of a photograph are blunt more often than sharp.
_UNSHARP = 1 / 2
# Smallest number of hot pixels, and their smallest share of all peaks; the ends of strokes, with
# one bright neighbour, are peaks too. The share is three quarters for up to 6 % hot pixels, and
# less than a tenth for text.
_FEWEST, _LEAST_SHARE = 3, 0.5
# Most pixels of a group of touching hot pixels, and smallest height of one of them, as a part of
# that of its brightest neighbour: well below `_SHARP`, so that no pair is missed between the two.
_LARGEST_CLUSTER, _MEMBER = 4, 1 / 8
# Rounds of the search; each finds hot pixels next to those of the round before.
_ROUNDS = 2
# Largest share of the pixels found that may be due to chance, and the displacements (y, x) of B for
# which all pixels found are due to chance.
_BY_CHANCE = 0.05
_ELSEWHERE = ((0, 7), (7, 0), (5, -5))
# Number of brightness levels at which the noise is measured; and a quantile of the differences of A
# and B with its value for a standard deviation of 1: photon pulses have a long tail.
_LEVELS, _TAIL = 16, (0.97, 2.17)
# Side in pixels of the blocks in which the texture is measured.
_BLOCK = 16
# Standard deviation of a height, from a pixel and the median of 16 others, in units of the noise.
_OF_HEIGHT = 1.05
# Smallest noise, as a part of the range of the values.
_TINY = 1e-7
_NEIGHBOURS = [step for step in product((-1, 0, 1), repeat=2) if step != (0, 0)]
# The 16 pixels at a distance of two rows or columns.
_RING = [step for step in product(range(-2, 3), repeat=2) if max(map(abs, step)) == 2]


@dataclass(frozen=True, eq=False)
class _Peaks:
    """Pixels that exceed all but one of their neighbours; arrays with one entry for each.

    Attributes
    ----------
    place
        Index into the flattened plane.
    score
        Smaller one of the heights in A and in B, in standard deviations of the noise.
    second, first
        Heights of the second brightest and of the brightest neighbour, as a part of the pixel's.
    """

    place: np.ndarray
    score: np.ndarray
    second: np.ndarray
    first: np.ndarray

    def where(self, kept: np.ndarray) -> "_Peaks":
        """Return a selection of the peaks."""
        return _Peaks(*(part[kept] for part in (self.place, self.score, self.second, self.first)))


def find_hot_pixels(
    a: np.ndarray, b: np.ndarray, counted: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the hot and the dead pixels of two acquisitions of one scene.

    A pixel is hot if it exceeds its surroundings in both acquisitions by more than their noise and
    the texture of the scene, at most one of its neighbours does so too, and chance does not explain
    it: hardly any such pixels are found if B is displaced against A. Details of a scene are rarely
    as sharp; if many are nearly as sharp, no hot pixels are returned.

    Parameters
    ----------
    a, b
        One plane of each, or the means of the same planes; on one intensity scale; shape (Y, X).
    counted
        False for pixels that are no data; default all.

    Returns
    -------
    hot, dead
        Of the shape of a plane.
    """
    a, b = a.astype(np.float32), b.astype(np.float32)
    found, noise = [], _Noise.of(a, b)
    for sign in (np.float32(1), np.float32(-1)):
        peaks = _without_chance(sign * a, sign * b, noise.of_sign(sign), counted)
        mask = np.zeros(a.shape, bool)
        mask.flat[_sharp(peaks)] = True
        if mask.any():
            _add_neighbours(mask, sign * a, sign * b, noise.of_sign(sign))
        found.append(mask)
    return found[0], found[1]


def _without_chance(
    a: np.ndarray, b: np.ndarray, noise: "_Noise", counted: np.ndarray | None
) -> _Peaks:
    """Return the peaks of A and B above the smallest height that chance does not explain."""
    peaks = _peaks(a, b, noise)
    if counted is not None:
        peaks = peaks.where(counted.flat[peaks.place])
    sharp = peaks.second < _SHARP
    if not sharp.any():
        return peaks.where(sharp)
    displaced = [_peaks(a, np.roll(b, step, (0, 1)), noise) for step in _ELSEWHERE]
    chance = np.sort(np.concatenate([one.score[one.second < _SHARP] for one in displaced]))
    scores = np.sort(peaks.score[sharp])
    beyond = len(scores) - np.arange(len(scores))
    expected = (len(chance) - np.searchsorted(chance, scores)) / len(_ELSEWHERE)
    due_to_chance = np.flatnonzero(expected > _BY_CHANCE * beyond)
    first = due_to_chance[-1] + 1 if len(due_to_chance) else 0
    return peaks.where(peaks.score >= (scores[first] if first < len(scores) else np.inf))


def _sharp(peaks: _Peaks) -> np.ndarray:
    """Return the places of the peaks that are too sharp for light; none if most are less sharp."""
    sharp = peaks.where(peaks.second < _SHARP)
    alone = sharp.first < _SHARP  # the end of a stroke has one bright neighbour
    if alone.sum() < max(_FEWEST, _LEAST_SHARE * len(peaks.place)):
        return np.zeros(0, np.int64)
    return np.asarray(sharp.place[alone])


def _add_neighbours(mask: np.ndarray, a: np.ndarray, b: np.ndarray, noise: "_Noise") -> None:
    """Add hot pixels that touch others: groups of similar height, or beside brighter ones."""
    for cluster in _clusters(a, b, noise):
        mask[tuple(cluster.T)] = True
    for _ in range(_ROUNDS):
        a, b = (np.where(mask, _rough_level(one), one) for one in (a, b))
        peaks = _peaks(a, b, noise)
        peaks = peaks.where((peaks.second < _SHARP) & (peaks.first < _SHARP))
        beside = ndimage.binary_dilation(mask, np.ones((3, 3)))
        mask.flat[peaks.place[beside.flat[peaks.place]]] = True


def _clusters(a: np.ndarray, b: np.ndarray, noise: "_Noise") -> Iterator[np.ndarray]:
    """Yield the rows and columns of each group of touching hot pixels, surrounded by dark ones."""
    mean = (a + b) / 2
    level = _rough_level(mean)
    texture = _texture(np.abs(mean - level))
    texture = texture.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)[: a.shape[0], : a.shape[1]]
    least = np.maximum(_SMALLEST * _OF_HEIGHT * noise.at(level), _OF_TEXTURE * texture)
    height = np.minimum(a, b) - level
    high = (height > least) & (height > _MEMBER * ndimage.maximum_filter(height, 3))
    labels, _ = ndimage.label(high, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if sizes[number] > _LARGEST_CLUSTER:
            continue
        around = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
        inside = labels[around] == number
        heights = mean[around] - np.median(level[around])
        outside = np.sort(heights[~inside])
        if outside[-2] < _SHARP * heights[inside].min():
            yield np.argwhere(inside) + [part.start for part in around]


@dataclass(frozen=True, eq=False)
class _Noise:
    """Standard deviation of the noise of one acquisition as a function of the brightness, in ADU.

    It is linear between the levels, and the same in A and B.
    """

    levels: np.ndarray
    deviations: np.ndarray

    @classmethod
    def of(cls, a: np.ndarray, b: np.ndarray) -> "_Noise":
        """Measure the noise of A and B."""
        level, difference = _rough_level((a + b) / 2).ravel(), np.abs(a - b).ravel()
        inner = np.quantile(level, np.linspace(0, 1, _LEVELS + 1)[1:-1])
        which = np.digitize(level, inner)
        levels, deviations = [], []
        for number in np.unique(which):
            here = difference[which == number]
            middle = float(np.median(here)) * MAD_TO_SIGMA
            tail = float(np.quantile(here, _TAIL[0])) / _TAIL[1]
            levels.append(float(level[which == number].mean()))
            deviations.append(max(middle, tail) / np.sqrt(2))
        order = np.argsort(levels)
        floor = _TINY * float(np.ptp(inner)) or _TINY
        return cls(np.array(levels)[order], np.maximum(np.array(deviations)[order], floor))

    def of_sign(self, sign: np.float32) -> "_Noise":
        """Return the noise of A and B multiplied by 1 or -1."""
        return self if sign > 0 else _Noise(-self.levels[::-1], self.deviations[::-1])

    def at(self, level: np.ndarray) -> np.ndarray:
        """Return the standard deviation at some levels."""
        return np.interp(level, self.levels, self.deviations).astype(np.float32)


def _peaks(a: np.ndarray, b: np.ndarray, noise: _Noise) -> _Peaks:
    """Return the sharp peaks of the mean of A and B that exceed noise and texture."""
    mean = (a + b) / 2
    rough = _rough_level(mean)
    first, second = _brightest_neighbours(mean)
    # Cheap tests first: of noise, they leave less than 1 % of the pixels.
    least = (1 - _UNSHARP) * _SMALLEST * _OF_HEIGHT * noise.at(rough) / 2
    place = np.flatnonzero(mean - second > least)
    rows, columns = np.unravel_index(place, mean.shape)
    level = _of_ring(mean, rows, columns)
    height = np.maximum(mean.flat[place] - level, np.float32(1e-30))
    deviation = noise.at(level) * _OF_HEIGHT
    score = np.minimum(
        *((one.flat[place] - _of_ring(one, rows, columns)) / deviation for one in (a, b))
    )
    texture = _texture(np.abs(mean - rough))[rows // _BLOCK, columns // _BLOCK]
    peaks = _Peaks(
        place, score, (second.flat[place] - level) / height, (first.flat[place] - level) / height
    )
    high = (score > _SMALLEST) & (height > _OF_TEXTURE * texture)
    return peaks.where(high & (peaks.second < _UNSHARP))


def _rough_level(plane: np.ndarray) -> np.ndarray:
    """Return the median over columns of the medians over rows of 3x3 pixels, two pixels apart."""
    padded = np.pad(plane, 2, mode="reflect")
    down = _middle(padded[:-4], padded[2:-2], padded[4:])
    return _middle(down[:, :-4], down[:, 2:-2], down[:, 4:])


def _middle(one: np.ndarray, two: np.ndarray, three: np.ndarray) -> np.ndarray:
    low, high = np.minimum(one, two), np.maximum(one, two)
    return np.maximum(low, np.minimum(high, three))


def _brightest_neighbours(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest and the second largest of the eight neighbours of every pixel."""
    padded = np.pad(plane, 1, mode="reflect")
    rows, columns = plane.shape
    first = np.full(plane.shape, -np.inf, np.float32)
    second = first.copy()
    for y, x in _NEIGHBOURS:
        value = padded[1 + y : 1 + y + rows, 1 + x : 1 + x + columns]
        np.maximum(second, np.minimum(first, value), out=second)
        np.maximum(first, value, out=first)
    return first, second


def _of_ring(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the median of the 16 pixels around some pixels, at a distance of two."""
    padded = np.pad(plane, 2, mode="reflect")
    ring = np.stack([padded[rows + 2 + y, columns + 2 + x] for y, x in _RING])
    return np.median(ring, axis=0) if ring.size else np.zeros(len(rows), np.float32)


def _texture(detail: np.ndarray) -> np.ndarray:
    """Return the typical fine detail in and around each block, as a standard deviation."""
    sides = [-length % _BLOCK for length in detail.shape]
    padded = np.pad(detail, [(0, side) for side in sides], mode="symmetric")
    blocks = padded.reshape(padded.shape[0] // _BLOCK, _BLOCK, -1, _BLOCK)
    typical = np.median(blocks, axis=(1, 3)) * MAD_TO_SIGMA
    return np.asarray(ndimage.maximum_filter(typical, 3))
