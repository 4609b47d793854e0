"""A layer above all others that shows the plane on screen, denoised by the current network."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

from psygnal import Signal

from napari_n2n.denoising.preview import PreviewImage
from napari_n2n.io.acquisition import Region
from napari_n2n.widgets.layers.plane_on_screen import PlaneOnScreen

if TYPE_CHECKING:
    from napari.layers import Image


class PreviewLayer:
    """Requests the region on screen whenever it changes, and shows the answers.

    Parameters
    ----------
    viewer
        Receives the layer.
    screen
        Finds the region on screen.
    ask
        Called with the region to preview; with None when no preview is wanted.
    """

    removed = Signal()

    def __init__(
        self, viewer: Any, screen: PlaneOnScreen, ask: Callable[[Region | None], None]
    ) -> None:
        self._viewer, self._screen, self._request = ref(viewer), screen, ask
        self._layer: Image | None = None
        self._open = True
        screen.changed.connect(self._ask)
        viewer.layers.events.removed.connect(self._on_removed)
        self._ask()

    def show(self, look: PreviewImage) -> None:
        """Show a denoised region."""
        if not self._open:
            return
        if self._layer is None:
            name = f"{self._screen.acquisition.name} preview"
            self._layer = self._screen.add(name, look.region, look.pixels)
        else:
            self._screen.update(self._layer, look.region, look.pixels)

    def close(self) -> None:
        """Remove the layer and request no more previews."""
        if not self._open:
            return
        self._open = False
        self._request(None)
        self._screen.changed.disconnect(self._ask)
        if (viewer := self._viewer()) is None:
            return
        viewer.layers.events.removed.disconnect(self._on_removed)
        if self._layer is not None and self._layer in viewer.layers:
            viewer.layers.remove(self._layer)

    def _ask(self) -> None:
        self._request(self._screen.region())

    def _on_removed(self, event: Any) -> None:
        if event.value is self._layer:
            self.close()
            self.removed.emit()
