"""Describe an image in OME-Zarr 0.5: axes, pixel sizes, position, names, colours and contrast."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np

from napari_n2n.io.header import WINDOW, Channel, Header
from napari_n2n.io.window import evenly_spaced

AXIS_TYPES = {"T": "time", "C": "channel", **dict.fromkeys("ZYX", "space"), "R": "repeat"}
# Colours of channels whose file names none: one is shown in grey, several so that they differ
# where they overlap.
_GREY, _COLOURS = "FFFFFF", ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
# Frames of a channel from which its contrast is measured, and percentiles shown as black and as
# full colour: a few pixels are far above the others.
_FRAMES, _SHOWN = 16, (0.1, 99.9)


def describe(header: Header, levels: Sequence[Any]) -> dict[str, Any]:
    """Return the value of the attribute `ome`.

    Parameters
    ----------
    header
        Description of the full resolution.
    levels
        The arrays, the full resolution first; contrast that is not known is measured in the last.
    """
    image = {
        "name": header.written_name,
        "axes": [_axis(*pair) for pair in zip(header.axes, header.units, strict=True)],
        "datasets": [_dataset(header, level) for level in range(len(levels))],
    }
    channels = [
        {
            "label": channel.name,
            "color": channel.colour,
            "active": True,
            "window": dict(zip(WINDOW, channel.window, strict=True)),
        }
        for channel in _channels(header, levels[-1])
    ]
    return {"version": "0.5", "multiscales": [image], "omero": {"channels": channels}}


def _axis(letter: str, unit: str) -> dict[str, str]:
    axis = {"name": letter.lower(), "type": AXIS_TYPES[letter]}
    return axis | {"unit": unit} if unit != "pixel" and letter != "C" else axis


def _dataset(header: Header, level: int) -> dict[str, Any]:
    factor, steps = float(2**level), header.scale
    scale = [*steps[:-2], steps[-2] * factor, steps[-1] * factor]
    start = list(header.translation or (0.0,) * len(steps))
    for axis in (-2, -1):
        # Averaging 2x2 pixels moves the centre of the first one by half a fine pixel.
        start[axis] += steps[axis] * (factor - 1.0) / 2.0
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(start):
        transforms.append({"type": "translation", "translation": start})
    return {"path": str(level), "coordinateTransformations": transforms}


def _channels(header: Header, array: Any) -> list[Channel]:
    """Return every channel with a colour and a window."""
    axis = header.axes.find("C")
    count = header.shape[axis] if axis >= 0 else 1
    known = [*header.channels[:count], *[Channel()] * (count - len(header.channels))]
    colours = cycle(_COLOURS) if count > 1 else cycle([_GREY])
    return [
        Channel(one.name, one.colour or colour, one.window or _measured(array, axis, index))
        for index, (one, colour) in enumerate(zip(known, islice(colours, count), strict=True))
    ]


def _measured(array: Any, axis: int, channel: int) -> tuple[float, ...]:
    """Return the window of a channel, from some of its frames."""
    leading = [length for k, length in enumerate(array.shape[:-2]) if k != axis]
    places = [
        np.unravel_index(number, leading) if leading else ()
        for number in evenly_spaced(int(np.prod(leading)), _FRAMES)
    ]
    planes = [
        np.asarray(array[(*place[:axis], channel, *place[axis:]) if axis >= 0 else place])
        for place in places
    ]
    values = np.stack(planes).astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return (0.0, 1.0, 0.0, 1.0)
    start, end = (float(value) for value in np.percentile(values, _SHOWN))
    return (float(values.min()), float(values.max()), start, end if end > start else start + 1.0)
