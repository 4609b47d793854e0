"""Find planes that do not belong to a stack: blank, flashing, dark, saturated or out of focus.

A bad plane of one acquisition differs from the same plane of the others by more than the other
planes do. It is left out of measuring and training, where it would dominate every mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_n2n.io.acquisition import Acquisition, evenly_spaced
from napari_n2n.stats.affine import Affine
from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Number of pixels to read of each acquisition, smallest and largest number of planes, and side in
# pixels of the middle part of a plane: reading takes about a second.
_PIXELS, _FEWEST_READ, _MOST_READ, _SIDE = 2**26, 24, 500, 256
# Sides in pixels of the averages that show detail, and of those that show brightness.
_DETAIL, _COARSE = 2, 8
# Fewest planes for this check: two good planes must agree that the third is bad.
_FEWEST_PLANES = 3
# Largest share of bad planes: if there are more, the recordings differ everywhere.
_MOST = 1 / 3
# A plane is bad if its difference (as a square) exceeds that of the typical plane by this part of
# the contrast of the scene, by this part of the typical difference (Poisson noise, motion), and by
# this many standard deviations of the differences of all planes.
_OF_CONTRAST, _OF_TYPICAL, _DEVIATIONS = 0.25, 0.5, 8.0
# Difference of brightness between a frame of a movie and the frames before and after, in standard
# deviations, above which the frame is bad; and fewest frames for this check.
_SPIKE, _FEWEST_FRAMES = 10.0, 8
# Rounds of the fit of gain and offset without the planes that differ most, and smallest correlation
# for a gain.
_ROUNDS, _CORRELATED = 4, 0.3
# Squared difference from the neighbouring planes in one acquisition over that in the other: above
# this ratio only the first acquisition is bad.
_CLEARLY = 2.0
# Smallest relative change of brightness that is reported; correlation with the neighbouring planes
# above which the change is reported as a factor; and share of pixels at the largest value from
# which a plane is called saturated.
_BRIGHTER, _ALIKE, _AT_TOP = 0.2, 0.7, 0.3
# Word for a plane in which all pixels are equal.
BLANK = "blank"
# Frames that a message lists.
_LISTED = 12


@dataclass(frozen=True, slots=True)
class BadPlane:
    """A plane that does not belong to its stack.

    Attributes
    ----------
    plane
        Index of the plane over all leading axes of the acquisition.
    acquisition, frame
        Name of the acquisition, and the place of the plane in its source: "8" or "T 3 Z 5".
    what
        What is wrong with it, in words.
    """

    plane: int
    acquisition: str
    frame: str
    what: str


def find_bad_planes(acquisitions: Sequence[Acquisition], sampled: int) -> tuple[BadPlane, ...]:
    """Find the bad planes of acquisitions of one scene.

    Parameters
    ----------
    acquisitions
        Two or more, of one shape.
    sampled
        Number of evenly spread planes that must be among those examined.

    Returns
    -------
    tuple of BadPlane
        The bad planes, in the order of the stack. In long stacks, only evenly spread planes are
        examined.
    """
    first = acquisitions[0]
    rows, columns = first.plane_shape
    count = min(max(_PIXELS // (rows * columns), _FEWEST_READ), _MOST_READ)
    total = first.plane_count
    numbers = sorted({*evenly_spaced(total, count), *evenly_spaced(total, sampled)})
    if len(numbers) < 2:
        return ()
    views = [_Views.of(acquisition, numbers) for acquisition in acquisitions]
    bad = {}
    for other in range(1, len(views)):
        line = _consensus(views[0].coarse, views[other].coarse)
        a, b = views[0].on(line), views[other]
        found = _differing(a, b, is_movie=first.axes[:-2] == "T" and not first.axes_assumed)
        good = [k for k in range(len(numbers)) if not found[k]]
        for k in np.flatnonzero(found):
            for guilty, what in _describe(a, b, int(k), good):
                number = (0, other)[guilty]
                frame = _frame(acquisitions[number], numbers[k])
                bad[numbers[k], number] = BadPlane(
                    numbers[k], acquisitions[number].name, frame, what
                )
    return tuple(bad[key] for key in sorted(bad))


def listed(planes: Sequence[BadPlane]) -> str:
    """Return the frames, acquisition by acquisition: "a.tif: 8 (blank), 9 (blank)"."""
    names = dict.fromkeys(plane.acquisition for plane in planes)
    parts = []
    for name in names:
        own = [plane for plane in planes if plane.acquisition == name]
        more = len(own) - _LISTED
        words = [f"{plane.frame} ({plane.what})" for plane in own[:_LISTED]]
        parts.append(f"{name}: {', '.join(words)}{f' and {more} more' if more > 0 else ''}")
    return "; ".join(parts)


def _frame(acquisition: Acquisition, plane: int) -> str:
    """Return the place of a plane in its source, counted from 0: "8", or "T 3 Z 5"."""
    places = np.unravel_index(plane, acquisition.shape[:-2])
    numbers = []
    for dimension, place in zip(acquisition.order, places, strict=False):
        part = acquisition.window[dimension]
        assert isinstance(part, slice)
        numbers.append(range(part.start, part.stop, part.step or 1)[int(place)])
    if len(numbers) == 1:
        return str(numbers[0])
    return " ".join(f"{axis} {n}" for axis, n in zip(acquisition.axes, numbers, strict=False))


@dataclass(frozen=True, eq=False)
class _Views:
    """Block means of planes: detail without brightness, brightness, and a description of each."""

    detail: np.ndarray
    coarse: np.ndarray
    blank: np.ndarray
    saturated: np.ndarray

    @classmethod
    def of(cls, acquisition: Acquisition, numbers: Sequence[int]) -> "_Views":
        detail, coarse, blank, tops = [], [], [], []
        for _, plane in acquisition.planes_at(numbers, _SIDE):
            fine = _means(plane.astype(np.float64), _DETAIL)
            wide = _means(fine, _COARSE // _DETAIL)
            around = wide.repeat(_COARSE // _DETAIL, 0).repeat(_COARSE // _DETAIL, 1)
            detail.append(fine[: len(around), : around.shape[1]] - around)
            coarse.append(wide)
            top = plane.max()
            blank.append(top == plane.min())
            tops.append((float(top), float(np.mean(plane == top))))
        highest = max(top for top, _ in tops)
        saturated = [top == highest and share > _AT_TOP for top, share in tops]
        return cls(np.stack(detail), np.stack(coarse), np.array(blank), np.array(saturated))

    def on(self, line: Affine) -> "_Views":
        """Return the views on the intensity scale of another acquisition."""
        return _Views(self.detail * line.gain, line(self.coarse), self.blank, self.saturated)


def _means(plane: np.ndarray, side: int) -> np.ndarray:
    rows, columns = (length // side for length in plane.shape)
    cut = plane[: rows * side, : columns * side]
    return np.asarray(cut.reshape(rows, side, columns, side).mean(axis=(1, 3)))


def _consensus(a: np.ndarray, b: np.ndarray) -> Affine:
    """Fit ``B = gain A + offset`` to the block means, without the planes that differ most."""
    line = Affine(1.0, float(np.median(b.mean(axis=(1, 2)) - a.mean(axis=(1, 2)))))
    if len(a) >= _FEWEST_PLANES:
        spread_a, spread_b = (view.std(axis=(1, 2)) for view in (a, b))
        lit = (spread_a > 0) & (spread_b > 0)
        if lit.any():
            gain = float(np.median(spread_b[lit] / spread_a[lit]))
            line = Affine(gain, float(np.median((b - gain * a).mean(axis=(1, 2))[lit])))
    for _ in range(_ROUNDS):
        residual = np.mean((b - line(a)) ** 2, axis=(1, 2))
        kept = residual <= np.median(residual) * (1 + _OF_TYPICAL)
        x, y = a[kept].ravel(), b[kept].ravel()
        if x.std() == 0 or y.std() == 0 or np.corrcoef(x, y)[0, 1] < _CORRELATED:
            return Affine(1.0, float(np.median(b.mean(axis=(1, 2)) - a.mean(axis=(1, 2)))))
        gain = float(y.std() / x.std())
        line = Affine(gain, float(y.mean() - gain * x.mean()))
    return line


def _differing(a: _Views, b: _Views, *, is_movie: bool) -> np.ndarray:
    """Return which planes are bad, in either of two acquisitions on one intensity scale."""
    blank = a.blank | b.blank
    found = blank.copy()
    if len(blank) < _FEWEST_PLANES:
        return found
    differing = np.zeros(len(blank), bool)
    for one, other in ((a.coarse, b.coarse), (a.detail, b.detail)):
        centred = one - one.mean(axis=(1, 2), keepdims=True)
        together = np.mean(centred * (other - other.mean(axis=(1, 2), keepdims=True)), axis=(1, 2))
        contrast = np.maximum(together, np.median(together[~blank]) if not blank.all() else 0.0)
        square = np.mean((one - other) ** 2, axis=(1, 2))
        typical, scatter = _typical(square[~blank])
        differing |= square - typical > np.maximum(
            _OF_CONTRAST * np.maximum(contrast, 0.0),
            np.maximum(_OF_TYPICAL * typical, _DEVIATIONS * scatter),
        )
    if is_movie and len(blank) >= _FEWEST_FRAMES:
        differing |= _spikes((a.coarse + b.coarse) / 2)
    differing &= ~blank
    return found | differing if differing.sum() <= _MOST * len(blank) else found


def _typical(values: np.ndarray) -> tuple[float, float]:
    """Return the lower median and the robust standard deviation."""
    if values.size == 0:
        return 0.0, 0.0
    middle = float(np.sort(values)[(values.size - 1) // 2])
    return middle, float(np.median(np.abs(values - middle))) * MAD_TO_SIGMA


def _spikes(coarse: np.ndarray) -> np.ndarray:
    """Return the frames that are much brighter, or darker, than the frames before and after."""
    level = coarse.mean(axis=(1, 2))
    # Before the first frame and after the last one, the change from frame to frame continues.
    before, after = 2 * level[1] - level[2], 2 * level[-2] - level[-3]
    padded = np.concatenate([[before], level, [after]])
    middle = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    away = np.abs(level - middle)
    contrast = float(np.median(coarse.std(axis=(1, 2))))
    return away > max(_SPIKE * float(np.median(away)) * MAD_TO_SIGMA, 2 * contrast)


def _describe(a: _Views, b: _Views, k: int, good: Sequence[int]) -> list[tuple[int, str]]:
    """Return which of two acquisitions is bad in a plane (0, 1 or both), and what is wrong."""
    beside = sorted(good, key=lambda number: abs(number - k))[:2]
    views = (a, b)
    if not beside:
        return [(number, BLANK) for number in range(2) if views[number].blank[k]]
    usual = np.mean([view.coarse[beside].mean(axis=0) for view in views], axis=0)
    detail = np.mean([view.detail[beside].mean(axis=0) for view in views], axis=0)
    away = [
        float(np.mean((view.coarse[k] - usual) ** 2) + np.mean((view.detail[k] - detail) ** 2))
        for view in views
    ]
    guilty = [number for number in range(2) if away[number] * _CLEARLY >= away[1 - number]]
    return [(number, _what(views[number], k, usual, detail)) for number in guilty]


def _what(view: _Views, k: int, usual: np.ndarray, detail: np.ndarray) -> str:
    level, before = float(view.coarse[k].mean()), float(usual.mean())
    spread = float(usual.std())
    if view.saturated[k] and level > before:
        return "saturated"
    if view.blank[k]:
        return BLANK
    if spread > 0 and np.corrcoef(view.coarse[k].ravel(), usual.ravel())[0, 1] > _ALIKE:
        times = float(np.polyfit(usual.ravel(), view.coarse[k].ravel(), 1)[0])
        # A blurred plane has less contrast, but the same mean.
        if abs(times - 1) > _BRIGHTER and abs(level - before) > spread * abs(times - 1) / 2:
            return f"{times:.2g} times as bright"
    if abs(level - before) > max(spread / 2, _BRIGHTER * abs(before)):
        return "brighter" if level > before else "darker"
    power = float(np.mean(detail**2))
    if power > 0 and float(np.mean(view.detail[k] * detail)) < power * (1 - _BRIGHTER):
        return "out of focus or moved"
    return "different"
