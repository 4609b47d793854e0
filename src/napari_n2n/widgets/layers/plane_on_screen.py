"""Which plane of a recording a person looks at, and which part of it; what is shown there lies so.

A layer made here is as small as what is on screen, and lies at its place in the world: move the
slider on, and it is no longer seen.
"""

from typing import Any
from weakref import ref

import numpy as np
from napari.experimental import link_layers
from napari.layers import Image
from psygnal import Signal
from superqt.utils import qdebounced

from napari_n2n.io.acquisition import Acquisition, Region
from napari_n2n.widgets.layers.result_layer import layer_arguments, place_of

_DRAWN_MS = 120
_WHOLE_SIDE = 512
_LINKED = ("contrast_limits", "gamma", "colormap")


class PlaneOnScreen:
    """Follows the sliders and the camera of a viewer.

    Parameters
    ----------
    viewer
        Where the recording is looked at.
    acquisition
        The recording.
    source
        Its layer; None for a file, of which the plane in the middle counts as looked at.
    limits
        Contrast limits that suit it where there is no layer.
    """

    changed = Signal()

    def __init__(
        self,
        viewer: Any,
        acquisition: Acquisition,
        source: Image | None,
        limits: tuple[float, float],
    ) -> None:
        self.acquisition, self.source, self._limits = acquisition, source, limits
        self._viewer = ref(viewer)
        self._settled = qdebounced(self._say, timeout=_DRAWN_MS)
        dims, camera = viewer.dims.events, viewer.scene.camera.events
        self._slots = [
            (dims.current_step, self._say),
            (dims.order, self._say),
            (dims.ndisplay, self._settled),
            (camera.zoom, self._settled),
            (camera.center, self._settled),
        ]
        for event, slot in self._slots:
            event.connect(slot)

    def close(self) -> None:
        """Let go of the viewer."""
        self._settled.cancel()
        for event, slot in self._slots:
            event.disconnect(slot)
        self._slots = []

    def _say(self, _event: Any = None) -> None:
        self.changed.emit()

    def region(self) -> Region | None:
        """Return the part of a plane that is on screen; None where no plane lies in the screen."""
        shape, viewer = self.acquisition.shape, self._viewer()
        sides = [slice(0, length) for length in shape[-2:]]
        if self.source is None:
            return (*(slice(n // 2, n // 2 + 1) for n in shape[:-2]), *sides)
        if viewer is None or not self.displayed():
            return None
        order = self.acquisition.order
        point = self.source.world_to_data(viewer.dims.point)
        index = [round(float(point[dimension])) for dimension in order[:-2]]
        if not all(0 <= k < n for k, n in zip(index, shape[:-2], strict=True)):
            return None
        if max(shape[-2:]) > _WHOLE_SIDE and viewer.dims.ndisplay == 2:
            corners = np.array(self.source.corner_pixels, float)
            if self.source.multiscale:
                corners *= self.source.downsample_factors[self.source.data_level]
            sides = [
                slice(max(0, int(corners[0, axis])), min(length, int(corners[1, axis]) + 1))
                for axis, length in zip(order[-2:], shape[-2:], strict=True)
            ]
            if any(side.stop <= side.start for side in sides):
                return None
        return (*(slice(k, k + 1) for k in index), *sides)

    def displayed(self) -> tuple[int, ...]:
        """Return which axes, -2 for rows and -1 for columns, are down and across on screen.

        Empty where planes are not shown as they were taken.
        """
        viewer, order = self._viewer(), self.acquisition.order
        if viewer is None:
            return ()
        if self.source is None:
            return -2, -1
        more = viewer.dims.ndim - self.source.ndim
        shown = [dimension - more for dimension in viewer.dims.displayed]
        if not {order[-2], order[-1]} <= set(shown):
            return ()
        places = {order[-2]: -2, order[-1]: -1}
        return tuple(places[dimension] for dimension in shown if dimension in places)

    def dimension(self, axis: int) -> int:
        """Return which dimension of the layers made here an axis of the recording is."""
        return axis if self.source is None else self.acquisition.order[axis]

    def add(self, name: str, region: Region, pixels: np.ndarray) -> Image | None:
        """Show pixels of a region in a layer on top of all, which looks like the source.

        What is selected stays so; when the contrast of one changes, the other's does.
        """
        viewer = self._viewer()
        if viewer is None:
            return None
        header, order = self.acquisition.header, self.acquisition.order
        looks = layer_arguments(pixels, header, self.source, order, self._limits)
        selected = set(viewer.layers.selection)
        layer = viewer.add_image(
            **looks
            | {"name": name, "translate": self._place(region)}
            | {"blending": "translucent_no_depth", "metadata": {PASSING: True}}
        )
        if selected:
            viewer.layers.selection.intersection_update(selected)
            viewer.layers.selection.update(selected)
        if self.source is not None:
            link_layers([self.source, layer], _LINKED)
        return layer

    def update(self, layer: Image, region: Region, pixels: np.ndarray) -> None:
        """Let a layer that was made here show other pixels."""
        layer.translate = self._place(region)
        layer.data = layer_arguments(
            pixels, self.acquisition.header, self.source, self.acquisition.order, self._limits
        )["data"]

    def _place(self, region: Region) -> np.ndarray:
        starts = np.array([along.start for along in region], float)
        if self.source is None:
            return starts * self.acquisition.header.scale
        pixel = np.zeros(self.source.ndim)
        pixel[list(self.acquisition.order)] = starts
        return place_of(self.source, pixel)


PASSING = "napari-n2n: for the moment"
"""Metadata of layers that come and go by themselves: nobody wants to compute with them."""


def is_passing(layer: Any) -> bool:
    """Tell whether a layer only shows how a run does, and will go by itself."""
    return bool(layer.metadata.get(PASSING))
