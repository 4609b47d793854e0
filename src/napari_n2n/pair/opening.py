"""Open many fields of view in threads, in their order.

The fixed pattern of the detector is searched for in some of many fields only: it is the same in
all, and the search takes half of the time of opening.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.detector_map import DetectorMap
from napari_n2n.io.window import evenly_spaced
from napari_n2n.pair.fixed_pattern import FixedPattern, in_source
from napari_n2n.pair.line_offsets import LineOffsets
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.sampled import SAMPLED_PLANES, SAMPLED_SIDE

# Number of fields of view in which the fixed pattern is searched if there are more: a pixel that is
# bad in half of them is not bad by chance.
_SEARCHED = 16
# Most threads: more would wait for the disk and for Python's lock.
_MOST_THREADS = 16
# Number of pixels of all acquisitions that are checked at the same time; each takes 100 bytes.
_PIXELS_AT_ONCE = 2**21


@dataclass(frozen=True, eq=False)
class Patterns:
    """Fixed patterns that are the same in all fields of view.

    Attributes
    ----------
    of_channels
        One for each channel; empty if they are not known.
    shape
        Rows and columns of the planes of the source.
    """

    of_channels: tuple[FixedPattern, ...] = ()
    shape: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, fields: Sequence[Sequence[Pair]]) -> "Patterns":
        """Return the pattern that most of some fields of view share, if they can be compared."""
        shapes = {in_source(pair.first)[0] for pairs in fields for pair in pairs}
        if len(shapes) != 1 or len({len(pairs) for pairs in fields}) > 1:
            return cls()
        found = [_common([pair.pattern for pair in pairs]) for pairs in zip(*fields, strict=True)]
        return cls(tuple(found), shapes.pop())

    def known(self, acquisition: Acquisition, channel: int) -> FixedPattern | None:
        """Return the pattern of an acquisition; None if it has to be searched for."""
        if channel >= len(self.of_channels) or in_source(acquisition)[0] != self.shape:
            return None
        return self.of_channels[channel]


OpenField = Callable[[int, Patterns], list[Pair]]
"""Function that opens the field of view at an index and finds patterns that are not known."""


def opened_in_order(
    count: int, open_field: OpenField
) -> Generator[Callable[[], list[Pair]], None, None]:
    """Open fields of view and yield for each, in their order, a function with its pairs.

    The function returns the pairs, or raises the error of this field of view. Several are opened at
    a time if they are small.

    Parameters
    ----------
    count
        Number of fields of view.
    open_field
        Function that opens one of them; called in threads.
    """
    first: Future[list[Pair]] = Future()
    try:
        first.set_result(open_field(0, Patterns()))
    except BadInput as error:
        first.set_exception(error)
    yield first.result
    threads = 1 if first.exception() else _threads(first.result())
    with ThreadPoolExecutor(threads, thread_name_prefix="napari-n2n-open") as pool:
        try:
            searched = {0: first}
            if count > _SEARCHED:
                for index in evenly_spaced(count, _SEARCHED)[1:]:
                    searched[index] = pool.submit(open_field, index, Patterns())
            good = [pairs for one in searched.values() for pairs in _if_good(one)]
            patterns = Patterns.of(good) if count > _SEARCHED else Patterns()
            ahead: deque[Future[list[Pair]]] = deque()
            for index in range(1, count):
                if index not in searched:
                    searched[index] = pool.submit(open_field, index, patterns)
                ahead.append(searched.pop(index))
                if len(ahead) > threads:
                    yield ahead.popleft().result
            for one in ahead:
                yield one.result
        finally:
            pool.shutdown(cancel_futures=True)


def _if_good(opened: Future[list[Pair]]) -> Iterator[list[Pair]]:
    """Yield the pairs of a field of view, unless it is bad."""
    with suppress(BadInput):
        yield opened.result()


def _threads(pairs: Sequence[Pair]) -> int:
    """Return how many fields of view like this one are opened at a time."""
    first = pairs[0].first
    pixels = len(pairs[0].acquisitions) * min(first.plane_count, SAMPLED_PLANES)
    pixels *= math.prod(min(side, SAMPLED_SIDE) for side in first.plane_shape)
    return max(1, min(_PIXELS_AT_ONCE // pixels, _MOST_THREADS, os.cpu_count() or 1))


def _common(patterns: Sequence[FixedPattern]) -> FixedPattern:
    found = [one.detector for one in patterns if one.detector is not None]
    detector = DetectorMap.of_fields(found, len(patterns)) if found else None
    return FixedPattern(
        hot=_in_most([one.hot for one in patterns]),
        dead=_in_most([one.dead for one in patterns]),
        searched=max(one.searched for one in patterns),
        columns=_mean_offsets([one.columns for one in patterns]),
        rows=_mean_offsets([one.rows for one in patterns]),
        detector=detector,
    )


def _in_most(places: Sequence[np.ndarray]) -> np.ndarray:
    """Return the places that are in at least half of the lists; shape (n, 2)."""
    found, counts = np.unique(np.concatenate(places), axis=0, return_counts=True)
    return found[2 * counts >= len(places)]


def _mean_offsets(found: Sequence[LineOffsets | None]) -> LineOffsets | None:
    known = [one for one in found if one is not None]
    if not known or len({len(one.values) for one in known}) > 1:
        return None
    values = np.sum([one.values for one in known], axis=0) / len(found)
    rms = float(np.sqrt(np.mean([one.rms**2 for one in known])))
    error = float(np.sqrt(np.sum([one.error**2 for one in known]))) / len(known)
    return LineOffsets(rms, error, values)
