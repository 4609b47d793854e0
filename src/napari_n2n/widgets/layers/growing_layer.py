"""A result that fills: the layer is there from the first moment, and shows what is on the disk.

The worker only writes shards; the layer looks at the same store, and where nothing has been written
the source shines through. When the result is whole its folder takes another name, and the layer is
handed the array that lies there; a large one is replaced by a layer of all its resolutions.

An array that others write while a layer shows it: drawing it anew waits for no disk.

napari reads what it draws on the thread of the window. The part that it asked for last is kept
here, and read again on another thread.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import zarr
from napari.layers import Image
from superqt.utils import qthrottled

from napari_n2n.denoising.denoise import DenoisingStep
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.crash_safe import partial_path
from napari_n2n.io.header import Header
from napari_n2n.io.ngff import levels as levels_of
from napari_n2n.widgets.background import aside
from napari_n2n.widgets.layers.result_layer import (
    contrast_limits,
    layer_arguments,
    middle_plane,
    turned_back,
)


@dataclass(frozen=True)
class Canvas:
    """What is known of a result before its first pixel.

    Attributes
    ----------
    out
        Where it will stand.
    header, order
        Of the result, and for each of its axes the dimension of the source that it is.
    limits
        Contrast limits that suit the source.
    warnings
        Sentences for the person.
    source
        What it is the result of; of several, the first.
    """

    out: Path
    header: Header
    order: tuple[int, ...]
    limits: tuple[float, float]
    warnings: tuple[str, ...]
    source: Any


class KeptPlane:
    """A view of an array for `napari.layers.Image`, which keeps the part that was last looked at.

    Parameters
    ----------
    array
        Any lazy array, of which another thread or process writes the values.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self._kept: tuple[Any, np.ndarray] | None = None
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype = array.dtype
        self.ndim: int = array.ndim

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return a part as it was when it was last read; read it if it is another one."""
        kept = self._kept
        if kept is None or kept[0] != index:
            kept = self._kept = (index, np.asarray(self._array[index]))
        return kept[1]

    def __array__(self, *arguments: Any, **options: Any) -> np.ndarray:
        """Read the whole, keeping nothing."""
        return np.asarray(self._array).__array__(*arguments, **options)

    def read_again(self) -> None:
        """Read the part that was last looked at as it is now; any thread may do this."""
        kept = self._kept
        if kept is None:
            return
        fresh = (kept[0], np.asarray(self._array[kept[0]]))
        if self._kept is kept:  # nobody has looked elsewhere in the meantime
            self._kept = fresh


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
