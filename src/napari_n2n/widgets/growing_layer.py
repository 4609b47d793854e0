"""A result that fills: the layer is there from the first moment, and shows what is on the disk.

The worker only writes shards; the layer looks at the same store, and where nothing has been written
the source shines through. When the result is whole its folder takes another name, and the layer is
handed the array that lies there; a large one is replaced by a layer of all its resolutions.
"""

import time
from typing import Any
from weakref import ref

import zarr
from napari.layers import Image
from superqt.utils import qthrottled

from napari_n2n.acquisition import Acquisition
from napari_n2n.denoising import DenoisingStep
from napari_n2n.durable import partial_path
from napari_n2n.ngff import levels as levels_of
from napari_n2n.widgets.aside import aside
from napari_n2n.widgets.denoising_job import Canvas
from napari_n2n.widgets.kept_plane import KeptPlane
from napari_n2n.widgets.result_layer import (
    contrast_limits,
    layer_arguments,
    middle_plane,
    turned_back,
)

_REFRESH_MS = 200
_LARGE = 2048  # pixels along a side, from which on looking at the whole takes long
_REST = 5  # times as long as reading a large plane takes, the window is left to the person


class GrowingLayer:
    """The layer of one result, from before its first shard on; a TIFF has none until it is whole.

    Parameters
    ----------
    viewer
        Receives the layer.
    canvas
        What `denoised` yielded first; where its source is a layer, the result lies on it and looks
        alike.
    """

    def __init__(self, viewer: Any, canvas: Canvas) -> None:
        self.canvas = canvas
        self._viewer = ref(viewer)
        self._source = canvas.source if isinstance(canvas.source, Image) else None
        self._layer: Image | None = None
        self._name = f"{canvas.header.name} (unfinished)"
        self._refresh = qthrottled(self._look_again, timeout=_REFRESH_MS)
        self._looking = self._outdated = False

    @property
    def layer(self) -> Image | None:
        """The layer; None before there is something to see, and after the person has removed it."""
        viewer = self._viewer()
        there = viewer is not None and self._layer is not None and self._layer in viewer.layers
        return self._layer if there else None

    def goes_on_with(self, canvas: Canvas) -> bool:
        """Tell whether this layer shows the unfinished part of the same result."""
        return self.canvas == canvas and self.layer is not None

    def follow(self, step: DenoisingStep) -> None:
        """Show what has been written."""
        if self._layer is not None:
            self._refresh()
        elif step.growing.is_dir():
            try:
                array = zarr.open_array(step.growing / "0", mode="r")
            except (FileNotFoundError, ValueError):
                return  # the run has ended before the window came to look
            self._add(array, self._name, self.canvas.limits)

    def finish(self) -> None:
        """Show the whole result, which stands at its own place now."""
        header = self.canvas.header
        opened = Acquisition.open(self.canvas.out)
        whole = opened.source
        if not isinstance(whole, zarr.Array):
            whole = opened.data.reshape(header.shape)  # a TIFF forgets axes of length one
        if self._layer is None:
            self._add(whole, header.name)
        elif (layer := self.layer) is not None:
            layer.data = self._turned(whole)
            if layer.name == self._name:
                layer.name = header.name
            if self._source is None and tuple(layer.contrast_limits) == self.canvas.limits:
                layer.contrast_limits = contrast_limits(middle_plane(whole))
        if isinstance(whole, zarr.Array) and max(header.shape[-2:]) > _LARGE:
            self._show_levels()

    def stop(self) -> None:
        """Keep the layer if a part of the result is kept; it may be gone on with."""
        if not self._grows():
            self.remove()
        self._look_again()

    def remove(self) -> None:
        """Take the layer away."""
        viewer, layer = self._viewer(), self.layer
        if viewer is not None and layer is not None:
            viewer.layers.remove(layer)

    def _grows(self) -> bool:
        return partial_path(self.canvas.out).exists()

    def _look_again(self) -> None:
        self._outdated = self._looking
        if (layer := self.layer) is not None and self._grows() and not self._looking:
            self._looking = True
            began, growing = time.perf_counter(), layer.data
            # What can't be read stays as it is: if the disk fails the run says so.
            aside(growing.read_again, lambda _: self._draw(growing, began))

    def _draw(self, growing: KeptPlane, began: float) -> None:
        self._looking = False
        if (layer := self.layer) is not None and layer.data is growing:
            layer.refresh(extent=False, highlight=False)
            taken = 1000 * (time.perf_counter() - began)
            self._refresh.setTimeout(max(_REFRESH_MS, round(_REST * taken)))
        if self._outdated:
            self._look_again()

    def _turned(self, array: Any) -> Any:
        return array if self._source is None else turned_back(array, self.canvas.order)

    def _show_levels(self) -> None:
        """Put a layer of all resolutions in the place of the layer, which cannot become one."""
        viewer, layer = self._viewer(), self.layer
        if viewer is None or layer is None:
            return
        _, looks, _ = layer.as_layer_data_tuple()
        levels = [self._turned(level) for level in levels_of(self.canvas.out)]
        several = Image(levels, **(looks | {"multiscale": True, "cache": False}))
        viewer.layers.insert(viewer.layers.index(layer), several)
        viewer.layers.remove(layer)
        several.name = layer.name
        self._layer = several

    def _add(self, array: Any, name: str, limits: tuple[float, float] | None = None) -> None:
        viewer, canvas = self._viewer(), self.canvas
        if viewer is None:
            return
        arguments = layer_arguments(array, canvas.header, self._source, canvas.order, limits)
        if self._grows():
            arguments["data"] = KeptPlane(arguments["data"])
        self._layer = viewer.add_image(**(arguments | {"name": name}))
        self._name = self._layer.name
