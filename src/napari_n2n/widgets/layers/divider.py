"""A divider across the canvas: raw on its left, denoised on its right.

The left side is a temporary layer: the raw pixels on screen up to the divider. It stays on top of
previews and results; other layers that are added later are above it. No other layer is changed.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from psygnal import Signal

from napari_n2n.denoising.preview import middle
from napari_n2n.widgets.background import LatestOnly
from napari_n2n.widgets.layers.plane_on_screen import PlaneOnScreen, is_temporary
from napari_n2n.widgets.layers.result_layer import is_result

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_n2n.io.acquisition import Region

# Pixels along a side: only the middle of a larger region is read, as in the preview.
_LARGEST_SIDE = 2048
# Distance from the line in screen pixels within which the mouse can drag the line. Larger: easier
# to hit, but panning beside the line is blocked.
_GRIP = 8
_COLOUR = "#ffd24d"  # yellow, to stand out on grey images


class Divider:
    """Shows the raw plane on the left of a line that can be dragged.

    Parameters
    ----------
    viewer
        The viewer whose canvas is divided.
    screen
        Finds the region on screen.
    """

    moved = Signal(float)
    removed = Signal()

    def __init__(self, viewer: Any, screen: PlaneOnScreen) -> None:
        self._viewer, self._screen = ref(viewer), screen
        self._layer: Image | None = None
        self._region: Region | None = None
        self._requests = LatestOnly(viewer)
        self._raw = np.empty(0)
        self._axis = -1
        self._at: int | None = None
        self._open = True
        screen.changed.connect(self._look)
        viewer.layers.events.inserted.connect(self._stay_on_top)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.mouse_drag_callbacks.append(self._drag)
        self._look()

    @property
    def layer(self) -> "Image | None":
        """The temporary layer of the raw pixels."""
        return self._layer

    @property
    def share(self) -> float:
        """Position, from the left edge (0) to the right edge (1) of the region on screen."""
        if self._region is None or self._at is None:
            return 0.5
        along = self._region[self._axis]
        return min(max((self._at - along.start) / (along.stop - along.start), 0.0), 1.0)

    @share.setter
    def share(self, share: float) -> None:
        if self._region is not None:
            along = self._region[self._axis]
            self._move(along.start + share * (along.stop - along.start))

    def close(self) -> None:
        """Remove the divider and its layer."""
        if not self._open:
            return
        self._open = False
        self._requests.cancel()
        self._screen.changed.disconnect(self._look)
        if (viewer := self._viewer()) is None:
            return
        viewer.layers.events.inserted.disconnect(self._stay_on_top)
        viewer.layers.events.removed.disconnect(self._on_removed)
        viewer.mouse_drag_callbacks.remove(self._drag)
        if self._layer is not None and self._layer in viewer.layers:
            viewer.layers.remove(self._layer)

    def _look(self) -> None:
        """Read the region on screen, in another thread if it is not in memory."""
        region = self._screen.region()
        region = None if region is None else middle(region, _LARGEST_SIDE)
        self._requests.cancel()
        if region is None:
            if self._layer is not None:
                self._layer.visible = False
        elif region == self._region:
            self._show(region, self._raw)
        elif isinstance(self._screen.acquisition.source, np.ndarray):
            self._show(region, self._screen.acquisition.read(region))
        else:
            read = partial(self._screen.acquisition.read, region)
            self._requests.read(read, partial(self._show, region))

    def _show(self, region: "Region", raw: np.ndarray | None) -> None:
        if raw is None:
            return  # could not be read: napari reads the same pixels and reports the error
        self._region, self._raw, self._axis = region, raw, self._screen.displayed()[-1]
        self._draw()

    def _move(self, to: float) -> None:
        assert self._region is not None
        along = self._region[self._axis]
        at = round(min(max(to, along.start), along.stop))
        if at != self._at:
            self._at = at
            self._draw()

    def _draw(self) -> None:
        assert self._region is not None
        along = self._region[self._axis]
        if self._at is None:
            self._at = (along.start + along.stop) // 2
        end = min(max(self._at, along.start), along.stop)
        part = list(self._region)
        part[self._axis] = slice(along.start, max(end, along.start + 1))
        left = [slice(None)] * len(part)
        left[self._axis] = slice(0, max(end - along.start, 1))
        pixels = self._raw[tuple(left)]
        if self._layer is None:
            name = f"{self._screen.acquisition.name} raw | denoised"
            self._layer = layer = self._screen.add(name, tuple(part), pixels)
            if layer is not None:
                frame = layer.bounding_box
                frame.points, frame.line_thickness, frame.line_color = False, 2, _COLOUR
                frame.visible = True
        else:
            self._screen.update(self._layer, tuple(part), pixels)
            self._layer.visible = end > along.start
        self.moved.emit(self.share)

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        """Move the divider with the mouse, if the button was pressed on it."""
        layer = self._layer
        if layer is None or self._at is None or viewer.dims.ndisplay != 2:
            return
        dimension = self._screen.dimension(self._axis)
        zoom = viewer.scene.camera.zoom * layer.scale[dimension]
        if event.button != 1 or abs(self._column(event.position) - self._at) * zoom > _GRIP:
            return
        pan, viewer.scene.camera.mouse_pan = viewer.scene.camera.mouse_pan, False
        try:
            yield
            while event.type == "mouse_move":
                self._move(self._column(event.position))
                yield
        finally:
            viewer.scene.camera.mouse_pan = pan

    def _column(self, position: Any) -> float:
        assert self._layer is not None and self._region is not None
        dimension = self._screen.dimension(self._axis)
        within = float(self._layer.world_to_data(position)[dimension])
        return within + 0.5 + self._region[self._axis].start

    def _stay_on_top(self, event: Any) -> None:
        """Move above a preview or a result that was added, but not above other layers."""
        viewer, added = self._viewer(), event.value
        if viewer is None or self._layer is None or self._layer not in viewer.layers:
            return
        here, there = viewer.layers.index(self._layer), viewer.layers.index(added)
        if there > here and (is_temporary(added) or is_result(added)):
            viewer.layers.move(here, there + 1)

    def _on_removed(self, event: Any) -> None:
        if event.value is self._layer:
            self.close()
            self.removed.emit()
