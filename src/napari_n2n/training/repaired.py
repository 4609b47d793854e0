"""Repair the fixed pattern of the detector in the acquisitions of a run.

Offsets are subtracted from input and target. A bad pixel is replaced by the mean of its neighbours
in the input, and has no weight in the target.
"""

from collections.abc import Sequence
from dataclasses import replace

from napari_n2n.io.detector_map import DetectorMap
from napari_n2n.model.record import DetectorRecord
from napari_n2n.pair.fixed_pattern import in_source
from napari_n2n.pair.pair import Pair


def repaired(pairs: Sequence[Pair]) -> list[Pair]:
    """Return pairs that are read without the fixed pattern of their detector.

    The fields of view of a channel have one detector: a pixel is bad if it was found in at least
    half of them, and an offset is their mean.
    """
    maps: dict[int, DetectorMap | None] = {}
    for channel in {pair.channel for pair in pairs}:
        own = [pair.pattern.detector for pair in pairs if pair.channel == channel]
        found = [one for one in own if one is not None]
        alike = len({one.shape for one in found}) == 1
        maps[channel] = DetectorMap.of_fields(found, len(own)) if alike else None
    return [_with_map(pair, maps[pair.channel]).corrected() for pair in pairs]


def _with_map(pair: Pair, detector: DetectorMap | None) -> Pair:
    """Return a pair with the map of all fields of view, or its own if these have other planes."""
    if detector is None or detector.shape != in_source(pair.first)[0]:
        return pair
    return replace(pair, pattern=replace(pair.pattern, detector=detector))


def detector_maps(pairs: Sequence[Pair]) -> list[DetectorRecord | None]:
    """Return the map that corrects the acquisitions of each channel."""
    channels = sorted({pair.channel for pair in pairs})
    first = [next(pair for pair in pairs if pair.channel == channel) for channel in channels]
    maps = [pair.first.detector for pair in first]
    return [DetectorRecord(**one.as_dict()) if one is not None else None for one in maps]
