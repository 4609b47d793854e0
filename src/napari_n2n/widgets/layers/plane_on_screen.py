"""Find which plane of a recording is on screen, and place layers on exactly that part of it.

A layer made here covers only the part on screen, at its position in world coordinates: when a
slider moves to another plane, the layer is no longer visible.
"""

from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np
from napari.experimental import link_layers
from napari.layers import Image
from psygnal import Signal
from superqt.utils import qdebounced

from napari_n2n.io.acquisition import Acquisition, Region
from napari_n2n.widgets.layers.result_layer import LINKED, layer_arguments, translation_at

# Milliseconds without movement after which the camera counts as at rest. Longer: the preview lags
# behind; shorter: parts are denoised that are only passed while panning.
_SETTLED_MS = 120
# Pixels along a side up to which a plane is always shown whole: cutting it would save no time.
_WHOLE_SIDE = 512


@dataclass(frozen=True)
class PreviewSource:
    """The recording of which a preview is shown.

    Attributes
    ----------
    acquisition, source
        The recording, and the layer or path that it was opened from.
    limits
        Contrast limits of the preview if there is no layer.
    """

    acquisition: Acquisition
    source: Any
    limits: tuple[float, float]

    @property
    def layer(self) -> Image | None:
        """The layer; None for a file."""
        return self.source if isinstance(self.source, Image) else None


class PlaneOnScreen:
    """Follows the sliders and the camera of a viewer.

    Parameters
    ----------
    viewer
        The viewer that shows the recording.
    source
        The recording.

    Attributes
    ----------
    acquisition
        The recording.
    layer
        Its layer; None for a file, of which the middle plane is used.
    """

    changed = Signal()

    def __init__(self, viewer: Any, source: PreviewSource) -> None:
        self.acquisition, self._limits = source.acquisition, source.limits
        self.layer = source.layer
        self._viewer = ref(viewer)
        self._settled = qdebounced(self._emit, timeout=_SETTLED_MS)
        dims, camera = viewer.dims.events, viewer.scene.camera.events
        self._slots = [
            (dims.current_step, self._emit),
            (dims.order, self._emit),
            (dims.ndisplay, self._settled),
            (camera.zoom, self._settled),
            (camera.center, self._settled),
        ]
        for event, slot in self._slots:
            event.connect(slot)

    def close(self) -> None:
        """Disconnect from the viewer."""
        self._settled.cancel()
        for event, slot in self._slots:
            event.disconnect(slot)
        self._slots = []

    def _emit(self, _event: Any = None) -> None:
        self.changed.emit()

    def region(self) -> Region | None:
        """Return the part of a plane that is on screen; None if no plane is seen from the front."""
        shape, viewer = self.acquisition.shape, self._viewer()
        sides = [slice(0, length) for length in shape[-2:]]
        if self.layer is None:
            return (*(slice(n // 2, n // 2 + 1) for n in shape[:-2]), *sides)
        if viewer is None or not self.displayed():
            return None
        order = self.acquisition.order
        point = self.layer.world_to_data(viewer.dims.point)
        index = [round(float(point[dimension])) for dimension in order[:-2]]
        if not all(0 <= k < n for k, n in zip(index, shape[:-2], strict=True)):
            return None
        if max(shape[-2:]) > _WHOLE_SIDE and viewer.dims.ndisplay == 2:
            corners = np.array(self.layer.corner_pixels, float)
            if self.layer.multiscale:
                corners *= self.layer.downsample_factors[self.layer.data_level]
            sides = [
                slice(max(0, int(corners[0, axis])), min(length, int(corners[1, axis]) + 1))
                for axis, length in zip(order[-2:], shape[-2:], strict=True)
            ]
            if any(side.stop <= side.start for side in sides):
                return None
        return (*(slice(k, k + 1) for k in index), *sides)

    def displayed(self) -> tuple[int, ...]:
        """Return the axes shown down and across: -2 for rows, -1 for columns.

        The tuple is empty if the screen shows a section across the recorded planes.
        """
        viewer, order = self._viewer(), self.acquisition.order
        if viewer is None:
            return ()
        if self.layer is None:
            return -2, -1
        more = viewer.dims.ndim - self.layer.ndim
        shown = [dimension - more for dimension in viewer.dims.displayed]
        if not {order[-2], order[-1]} <= set(shown):
            return ()
        axes = {order[-2]: -2, order[-1]: -1}
        return tuple(axes[dimension] for dimension in shown if dimension in axes)

    def dimension(self, axis: int) -> int:
        """Return the dimension, in layers made here, of an axis of the recording."""
        return axis if self.layer is None else self.acquisition.order[axis]

    def add(self, name: str, region: Region, pixels: np.ndarray) -> Image | None:
        """Show pixels of a region in a new top layer that looks like the source.

        The selection stays as it is; contrast, gamma and colour map are linked to the source.
        """
        viewer = self._viewer()
        if viewer is None:
            return None
        header, order = self.acquisition.header, self.acquisition.order
        arguments = layer_arguments(pixels, header, self.layer, order, self._limits)
        selected = set(viewer.layers.selection)
        layer = viewer.add_image(
            **arguments
            | {"name": name, "translate": self._translation(region)}
            | {"blending": "translucent_no_depth", "metadata": {TEMPORARY: True}}
        )
        if selected:
            viewer.layers.selection.intersection_update(selected)
            viewer.layers.selection.update(selected)
        if self.layer is not None:
            link_layers([self.layer, layer], LINKED)
        return layer

    def update(self, layer: Image, region: Region, pixels: np.ndarray) -> None:
        """Show another region in a layer that `add` has made."""
        layer.translate = self._translation(region)
        layer.data = layer_arguments(
            pixels, self.acquisition.header, self.layer, self.acquisition.order, self._limits
        )["data"]

    def _translation(self, region: Region) -> np.ndarray:
        starts = np.array([along.start for along in region], float)
        if self.layer is None:
            return starts * self.acquisition.header.scale
        pixel = np.zeros(self.layer.ndim)
        pixel[list(self.acquisition.order)] = starts
        return translation_at(self.layer, pixel)


TEMPORARY = "napari-n2n: temporary"
"""Metadata key of layers that the plugin removes by itself; docks do not offer them."""


def is_temporary(layer: Any) -> bool:
    """Return whether a layer is a preview that the plugin will remove."""
    return bool(layer.metadata.get(TEMPORARY))
