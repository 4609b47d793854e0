"""Open sources as the acquisitions of one scene: halves and repeats, or a single recording."""

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
    opened = _open_recordings(sources, axes, detector)
    if split is not None:
        opened = [half for stack in opened for half in _halves(stack, split)]
    opened = [repeat for stack in opened for repeat in stack.along("R")]
    if len(opened) < 2:
        raise BadInput(
            "one acquisition is not a pair: give two acquisitions of the same scene, split a stack "
            "of one scene into even and odd frames (--split T), label its axis of repeats R, or "
            "train on the single recording (--single), which works best if the noise of "
            "neighbouring pixels is independent",
            "single",
        )
    return opened


def _halves(stack: Acquisition, axis: str) -> Sequence[Acquisition]:
    """Return even and odd frames along an axis; two channels, of two cameras, by their names."""
    return stack.along("C") if axis == "C" and stack.frames.get("C") else stack.split(axis)


def open_single(
    sources: Sequence[Any], axes: str | None, detector: DetectorMap | None = None
) -> Acquisition:
    """Open the only recording of a scene.

    Raises
    ------
    BadInput
        If there are several sources or repeats.
    """
    first, *others = _open_recordings(sources, axes, detector)
    if others or "R" in first.axes:
        raise BadInput(
            f"{first.name}: the scene was recorded more than once: leave out --single, because two "
            "recordings give a better result than one",
            "single",
        )
    return first


def _open_recordings(
    sources: Sequence[Any], axes: str | None, detector: DetectorMap | None
) -> list[Acquisition]:
    """Open sources; hot pixels and offsets are corrected by `detector`."""
    opened = [Acquisition.open(source, axes=axes) for source in sources]
    return opened if detector is None else [corrected_by(one, detector) for one in opened]


def check_one_channel(acquisition: Acquisition) -> None:
    """Raise `BadInput` if an acquisition has several channels."""
    if len(acquisition.along("C")) > 1:
        raise BadInput(
            f"{acquisition.name}: has several channels, each with its own noise: "
            "open_pairs makes a pair of each",
            "channels",
        )
