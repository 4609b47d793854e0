"""Open sources as the acquisitions of one scene: halves and repeats are separate ones."""

from collections.abc import Sequence
from typing import Any

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.detector_map import DetectorMap
from napari_n2n.pair.dark_frames import corrected_by


def open_repeats(
    sources: Sequence[Any],
    axes: str | None,
    split: str | None = None,
    detector: DetectorMap | None = None,
) -> list[Acquisition]:
    """Open sources and return each half and each repeat as a separate acquisition.

    Hot pixels and offsets are corrected by `detector`, the map of dark frames.
    """
    opened = [Acquisition.open(source, axes=axes) for source in sources]
    if detector is not None:
        opened = [corrected_by(one, detector) for one in opened]
    if split is not None:
        opened = [half for stack in opened for half in _halves(stack, split)]
    opened = [repeat for stack in opened for repeat in stack.along("R")]
    if len(opened) < 2:
        raise BadInput(
            "one acquisition is not a pair: give two acquisitions of the same scene, split a stack "
            "of one scene into even and odd frames (--split T), or label its axis of repeats R",
            "single",
        )
    return opened


def _halves(stack: Acquisition, axis: str) -> Sequence[Acquisition]:
    """Return even and odd frames along an axis; two channels, of two cameras, by their names."""
    return stack.along("C") if axis == "C" and stack.frames.get("C") else stack.split(axis)
