"""The layer of a result that is still being written; it shows the shards that are complete.

The worker only writes shards; the layer reads the same zarr store. When the result is complete, its
folder is renamed, and the layer gets the array in the renamed folder. A large layer is replaced by
a multiscale layer, and the layer of a file with channels by one layer for each channel. napari
reads the pixels that it draws on the GUI thread, which must not wait for a disk: the part drawn
last is cached here, and read again in another thread.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import zarr
from napari.experimental import link_layers
from napari.layers import Image
from superqt.utils import qthrottled

from napari_n2n.denoising.denoise import DenoisingStep
from napari_n2n.denoising.plan import Quantity
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.header import Header
from napari_n2n.io.ngff_writer import levels as levels_of
from napari_n2n.widgets.background import LatestOnly
from napari_n2n.widgets.layers.channel_layers import channel_arguments, channel_count
from napari_n2n.widgets.layers.result_layer import (
    LINKED,
    as_result,
    contrast_limits,
    in_source_order,
    layer_arguments,
    middle_plane,
)


@dataclass(frozen=True)
class ResultStarted:
    """Announces a result before its first pixel is computed.

    Attributes
    ----------
    out
        Path of the result when it is complete.
    header, order
        Header of the result, and for each of its axes the corresponding dimension of the source.
    limits
        Contrast limits of the result.
    warnings
        Sentences for the user.
    source
        The layer or path that is denoised; the first one if there are several.
    look
        Contrast and colours as arguments of ``add_image``, instead of those of the source.
    quantity
        Kind of the result: the denoised image, or its error map.
    under
        Whether the new layer is put below the last one, which stays active.
    """

    out: Path
    header: Header
    order: tuple[int, ...]
    limits: tuple[float, float]
    warnings: tuple[str, ...]
    source: Any
    look: dict[str, Any] = field(default_factory=dict)
    quantity: Quantity = "result"
    under: bool = False


class CachedPlane:
    """A view of an array for `napari.layers.Image` that caches the part read last.

    Parameters
    ----------
    array
        Any lazy array; other threads or processes may write its values.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self._cached: tuple[Any, np.ndarray] | None = None
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype = array.dtype
        self.ndim: int = array.ndim

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return a part, from the cache if the same part was read last."""
        cached = self._cached
        if cached is None or cached[0] != index:
            cached = self._cached = (index, np.asarray(self._array[index]))
        return cached[1]

    def __array__(self, *arguments: Any, **options: Any) -> np.ndarray:
        """Read the whole array; the cache stays as it is."""
        return np.asarray(self._array).__array__(*arguments, **options)

    def read_again(self) -> None:
        """Update the cached part; any thread may call this."""
        cached = self._cached
        if cached is None:
            return
        fresh = (cached[0], np.asarray(self._array[cached[0]]))
        if self._cached is cached:  # else another part was read in the meantime
            self._cached = fresh


# Minimum milliseconds from one refresh to the next: 5 a second look continuous and cost little.
_REFRESH_MS = 200
# Pixels along a side above which a plane is shown at several resolutions: reading all pixels of a
# larger plane takes noticeably long.
_LARGE = 2048
# Pause after a refresh, as a multiple of the time that it took: with 5, refreshes keep a slow disk
# busy for at most a sixth of the time.
_REST = 5


class GrowingLayer:
    """Shows one result as a layer: a store from its first shard on, a TIFF once it is complete.

    Parameters
    ----------
    viewer
        Receives the layer.
    result
        Announces the result; a source that is a layer gives it transforms, contrast and colours.
    """

    def __init__(self, viewer: Any, result: ResultStarted) -> None:
        self.result = result
        self._viewer = ref(viewer)
        self._source = result.source if isinstance(result.source, Image) else None
        self._layer: Image | None = None
        self._channels: list[Image] = []  # the layers of a complete result of a file with channels
        self._store: Path | None = None  # where the result grows
        self._name = f"{result.header.name} (unfinished)"
        self._refresh = qthrottled(self._read_again, timeout=_REFRESH_MS)
        self._requests = LatestOnly(viewer)

    @property
    def layer(self) -> Image | None:
        """The layer; None before the first shard, and after the user has removed it."""
        viewer = self._viewer()
        there = viewer is not None and self._layer is not None and self._layer in viewer.layers
        return self._layer if there else None

    @property
    def layers(self) -> list[Image]:
        """The layers of the result that the user has not removed; several for channels."""
        viewer = self._viewer()
        shown = [*self._channels, self.layer]
        return [one for one in shown if one is not None and viewer and one in viewer.layers]

    def shows(self, result: ResultStarted) -> bool:
        """Return whether this layer shows the unfinished part of a result that is resumed."""
        return self.result == result and self.layer is not None

    def follow(self, step: DenoisingStep) -> None:
        """Show the shards that have been written."""
        self._store = step.growing
        if self._layer is not None:
            self._refresh()
        elif step.growing.is_dir():
            try:
                array = zarr.open_array(step.growing / "0", mode="r")
            except (FileNotFoundError, ValueError):
                return  # the run has ended, and the store was renamed or removed
            self._add(array, self._name, self.result.limits)

    def finish(self) -> None:
        """Show the complete result, which has its final name now."""
        header = self.result.header
        opened = Acquisition.open(self.result.out)
        whole = opened.source
        if not isinstance(whole, zarr.Array):
            whole = opened.data.reshape(header.shape)  # a TIFF does not store axes of length one
        if self._source is None and channel_count(header) > 1:
            self._show_channels(whole)
            return
        if self._layer is None:
            self._add(whole, header.name)
        elif (layer := self.layer) is not None:
            layer.data = self._in_source_order(whole)
            if layer.name == self._name:
                layer.name = header.name
            if self._source is None and tuple(layer.contrast_limits) == self.result.limits:
                layer.contrast_limits = contrast_limits(middle_plane(whole))
            self._read_status_again()
        if isinstance(whole, zarr.Array) and max(header.shape[-2:]) > _LARGE:
            self._show_levels()

    def stop(self) -> None:
        """Keep the layer if the unfinished result can be resumed, else remove it."""
        if not self._grows():
            self.remove()
        self._read_again()

    def remove(self) -> None:
        """Remove the layer."""
        if (viewer := self._viewer()) is not None:
            for layer in self.layers:
                viewer.layers.remove(layer)
            self._read_status_again()

    def _read_status_again(self) -> None:
        """Update the status bar, which still shows the value of an unfinished pixel: nan."""
        viewer = self._viewer()
        if viewer is not None and self._name in str(viewer.status):
            viewer.status = ""
            viewer.cursor.events.position(value=viewer.cursor.position)

    def _grows(self) -> bool:
        return self._store is not None and self._store.exists()

    def _read_again(self) -> None:
        layer = self.layer
        if layer is None or not isinstance(layer.data, CachedPlane) or not self._grows():
            return
        began, growing = time.perf_counter(), layer.data
        # After an error the old pixels stay: if the disk fails, the run reports it.
        self._requests.read(growing.read_again, lambda _: self._draw(growing, began))

    def _draw(self, growing: CachedPlane, began: float) -> None:
        if (layer := self.layer) is not None and layer.data is growing:
            layer.refresh(extent=False, highlight=False)
            taken = 1000 * (time.perf_counter() - began)
            self._refresh.setTimeout(max(_REFRESH_MS, round(_REST * taken)))

    def _in_source_order(self, array: Any) -> Any:
        return array if self._source is None else in_source_order(array, self.result.order)

    def _show_levels(self) -> None:
        """Replace the layer, which cannot become multiscale, by a layer with all resolutions."""
        viewer, layer = self._viewer(), self.layer
        if viewer is None or layer is None:
            return
        _, attributes, _ = layer.as_layer_data_tuple()
        levels = [self._in_source_order(level) for level in levels_of(self.result.out)]
        several = Image(levels, **(attributes | {"multiscale": True, "cache": False}))
        viewer.layers.insert(viewer.layers.index(layer), several)
        viewer.layers.remove(layer)
        several.name = layer.name
        self._layer = several
        self._link()

    def _show_channels(self, whole: Any) -> None:
        """Replace the layer by one for each channel, unless the user has removed it."""
        viewer, layer, result = self._viewer(), self.layer, self.result
        if viewer is None or (layer is None and self._layer is not None):
            return
        large = isinstance(whole, zarr.Array) and max(result.header.shape[-2:]) > _LARGE
        levels = levels_of(result.out) if large else [whole]
        is_error = result.quantity == "error"
        place = len(viewer.layers) if layer is None else viewer.layers.index(layer)
        named = channel_arguments(levels, result.header, result.look, error_map=is_error)
        for number, arguments in enumerate(named):
            self._channels.append(Image(**arguments))
            viewer.layers.insert(place + number, self._channels[-1])
        if layer is not None:
            viewer.layers.remove(layer)
            self._layer = None
            self._read_status_again()
        if not is_error:
            viewer.layers.selection.active = self._channels[-1]

    def _add(self, array: Any, name: str, limits: tuple[float, float] | None = None) -> None:
        viewer, result = self._viewer(), self.result
        if viewer is None:
            return
        arguments = layer_arguments(array, result.header, self._source, result.order, limits)
        arguments |= result.look
        if self._grows():
            arguments["data"] = CachedPlane(arguments["data"])
        active = viewer.layers.selection.active
        marked = as_result(arguments, error_map=result.quantity == "error")
        self._layer = viewer.add_image(**(marked | {"name": name}))
        if result.under:
            viewer.layers.move(len(viewer.layers) - 1, len(viewer.layers) - 2)
            viewer.layers.selection.active = active
        self._name = self._layer.name
        self._link()

    def _link(self) -> None:
        """Link contrast and colours with those of the source, in both directions."""
        viewer, source, layer = self._viewer(), self._source, self._layer
        if viewer is None or source is None or layer is None or self.result.look:
            return
        if source in viewer.layers:
            link_layers([source, layer], LINKED)
