"""Find empty areas: connected pixels of exactly one value, such as borders and masks.

Registered and rotated stacks have borders of zeros, segmented images a constant background. Noise
never gives such areas, so they contain no data. Two kinds of places look like empty areas but
contain data: dark places of photon counters, where few pixels count a photon, and saturated places.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

# Fewest pixels of an area, and its smallest share of the plane: noise that is rounded to few values
# gives areas of a few pixels, and small areas change no figure.
_FEWEST, _LEAST_SHARE = 64, 2e-4
# Width in pixels of the rim around an area that is left out of measuring too: the interpolation of
# registered images mixes data with the empty value there (2 pixels for cubic splines). The rim is
# used for training, because otherwise the network would smear the area into it.
_RIM = 2
# Largest size in pixels of a speck, a gap in an area; and largest number of specks per pixel of the
# area. Single photons make more of them in all but the darkest places.
_SPECK, _SPECKS = 25, 2e-4
# Largest share of the pixels beside an area that have its value. Beside places without photons it
# is about one half, because light fades over several pixels.
_BESIDE = 0.15
# If fewer of all other pixels have the value of an area than this share, the value is no data.
_NOT_IN_DATA = 1e-3
# Largest number of reflections of a pixel until its mirror image is in the data.
_REFLECTIONS = 6
# Sides in pixels of the squares by which an empty area is recognised in one acquisition alone: the
# receptive field of a network is larger.
SQUARES = (3, 5, 7, 9)
_NEIGHBOURS = np.ones((3, 3), bool)


def empty_areas(
    views: Sequence[np.ndarray], ceilings: Sequence[float], rim: int = _RIM
) -> np.ndarray:
    """Return where at least one of several acquisitions is empty.

    An area must be flat in another acquisition too, at least in part: borders of registered frames
    may differ by a few pixels.

    Parameters
    ----------
    views
        For each acquisition, the same planes; shape (..., Y, X).
    ceilings
        For each acquisition, the value from which on areas are saturated, not empty.
    rim
        Width in pixels of the rim around an area that counts as empty too.

    Returns
    -------
    numpy.ndarray
        Of the shape of a view.
    """
    planes = [view.reshape(-1, *view.shape[-2:]) for view in views]
    empty = np.zeros(planes[0].shape, bool)
    for number, mask in enumerate(empty):
        here = [view[number] for view in planes]
        for own, ceiling in enumerate(ceilings):
            mask |= _of_plane(here, own, ceiling)
        if rim and mask.any():
            mask |= ndimage.binary_dilation(mask, _NEIGHBOURS, rim)
    return empty.reshape(views[0].shape)


def filled(view: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Return planes with empty areas filled by the mirror image of the data beside them.

    Neighbourhoods, Fourier transforms and shares then follow the statistics of the data. Planes
    that are empty everywhere are unchanged.
    """
    result = view.copy()
    for number in np.ndindex(*empty.shape[:-2]):
        lost = empty[number]
        if lost.all() or not lost.any():
            continue
        nearest = ndimage.distance_transform_edt(lost, return_distances=False, return_indices=True)
        place = np.indices(lost.shape)
        end = np.array(lost.shape)[:, None, None] - 1
        for _ in range(_REFLECTIONS):
            inside = lost[place[0], place[1]]
            if not inside.any():
                break
            mirror = 2 * nearest[:, place[0], place[1]] - place
            mirror = end - np.abs(end - np.abs(mirror))  # reflected at the ends of the plane
            place = np.where(inside, mirror.clip(0, end), place)
        place = np.where(lost[place[0], place[1]], nearest, place)
        result[number] = view[number][place[0], place[1]]
    return result


def _of_plane(views: Sequence[np.ndarray], own: int, ceiling: float) -> np.ndarray:
    """Return where one of several views of a plane is empty, without the rim."""
    plane, empty = views[own], np.zeros(views[own].shape, bool)
    equal, fewest = flat(plane), max(_FEWEST, _LEAST_SHARE * plane.size)
    if np.count_nonzero(equal) < fewest:
        return empty
    rest = [view[~equal] for view in views]
    if len(views) > 1 and rest[0].size and np.mean(rest[0] == rest[-1]) > 1 / 2:
        return empty  # without noise, a smooth background has one value, too
    labels, _ = ndimage.label(equal, _NEIGHBOURS)
    sizes = np.bincount(labels.ravel())
    others = plane[~equal]
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if sizes[label] < fewest:
            continue
        box = tuple(slice(max(0, part.start - 2), part.stop + 2) for part in box)
        area = labels[box] == label
        values, counts = np.unique(plane[box][area], return_counts=True)
        value = values[np.argmax(counts)]
        area &= plane[box] == value  # areas of two values may touch
        if value >= ceiling or _has_specks(area):
            continue
        alike = [plane[box]] + [
            view[box]
            for number, view in enumerate(views)
            if number != own and np.mean(view[box][area] == np.median(view[box][area])) > 1 / 2
        ]
        if len(alike) == 1 < len(views):
            continue  # text, dust or a lost part of one acquisition
        in_data = others.size > 0 and np.mean(others == value) > _NOT_IN_DATA
        if not in_data or _has_sharp_edge(alike, area, ~equal[box]):
            empty[box] |= area
    return empty


def _has_specks(area: np.ndarray) -> bool:
    """Return whether an area has many small gaps."""
    gaps, number = ndimage.label(~area)
    specks = np.count_nonzero(np.bincount(gaps.ravel())[1:] <= _SPECK) if number else 0
    return bool(specks > max(1.0, _SPECKS * np.count_nonzero(area)))


def _has_sharp_edge(views: Sequence[np.ndarray], area: np.ndarray, apart: np.ndarray) -> bool:
    """Return whether, in every view, few pixels beside an area have the value of the area."""
    beside = ndimage.binary_dilation(area, _NEIGHBOURS) & apart
    return not beside.any() or all(
        np.mean(view[beside] == np.median(view[area])) <= _BESIDE for view in views
    )


def flat(plane: np.ndarray, side: int = 3) -> np.ndarray:
    """Return the pixels of all squares of equal pixels; the plane continues at its edges."""
    more = side - 1
    padded = np.pad(plane, more, mode="edge")
    across, down = padded[:, 1:] == padded[:, :-1], padded[1:] == padded[:-1]
    rows, columns = (length - more for length in padded.shape)
    equal = across[:, :columns].copy()
    for step in range(1, more):
        equal &= across[:, step : step + columns]
    squares = equal[:rows].copy()
    for step in range(1, side):
        squares &= equal[step : step + rows]
    for step in range(more):
        squares &= down[step : step + rows, :columns]
    if not squares.any():
        return np.zeros(plane.shape, bool)
    covered = np.zeros(padded.shape, bool)
    covered[:rows, :columns] = squares
    for axis in (0, 1):
        start = covered.copy()
        for step in range(1, side):
            covered |= np.roll(start, step, axis)
    return covered[more:-more, more:-more]


def smallest_square(views: Sequence[np.ndarray]) -> int:
    """Return the side of the smallest square of equal pixels that does not occur in planes.

    Parameters
    ----------
    views
        For each acquisition, planes whose empty areas are filled.
    """
    return next(
        (
            side
            for side in SQUARES
            if not any(flat(plane, side).any() for view in views for plane in view)
        ),
        SQUARES[-1],
    )
