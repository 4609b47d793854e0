"""Show a result of a file with channels as napari opens channels: a layer for each."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import dask.array as da

from napari_n2n.io.header import Channel, Header
from napari_n2n.widgets.layers.result_layer import (
    as_result,
    contrast_limits,
    layer_arguments,
    middle_plane,
)

# The colours that napari uses for two channels, and for more, if the file names no colours.
_TWO = ("magenta", "green")
_MORE = ("cyan", "yellow", "magenta", "red", "green", "blue")


def channel_count(header: Header) -> int:
    """Return the number of channels of a stack; 1 without an axis of channels."""
    return header.shape[header.axes.index("C")] if "C" in header.axes else 1


def channel_arguments(
    levels: Sequence[Any], header: Header, look: dict[str, Any], *, error_map: bool
) -> Iterator[dict[str, Any]]:
    """Yield the arguments of `napari.layers.Image` for each channel of a result from a file.

    Parameters
    ----------
    levels
        The result at full resolution, and at lower ones if any; axes as in `header`.
    header
        Its description, with names and colours of the channels if they are known.
    look
        Contrast and colours of all channels, instead of their own.
    error_map
        Whether it is an error map; it is hidden, because it would shine through the images.
    """
    axis, count = header.axes.index("C"), channel_count(header)
    known = header.channels if len(header.channels) == count else (Channel(),) * count
    usual = _TWO if count == 2 else _MORE
    whole = layer_arguments(levels[0], header, None, (), limits=(0.0, 1.0))
    for key in ("scale", "translate", "units", "axis_labels"):
        whole[key] = [one for place, one in enumerate(whole[key]) if place != axis]
    for index, channel in enumerate(known):
        parts = [_part(level, axis, index) for level in levels]
        colour = f"#{channel.colour}" if channel.colour else usual[index % len(usual)]
        arguments = whole | {
            "data": parts if len(parts) > 1 else parts[0],
            "multiscale": len(parts) > 1,
            "name": f"{channel.name or f'C{index}'} {header.name}",
            "colormap": colour,
            "blending": "additive",
            "visible": not error_map,
            "contrast_limits": contrast_limits(middle_plane(parts[0])),
        }
        yield as_result(arguments | look, error_map=error_map, channel=index)


def _part(array: Any, axis: int, index: int) -> Any:
    """Return one channel of an array, lazily."""
    if not isinstance(array, da.Array):
        # A random name: by default dask reads all pixels to derive a name from them.
        array = da.from_array(array, name=f"n2n-{uuid.uuid4().hex}", inline_array=True)
    return array[(slice(None),) * axis + (index,)]
