"""Compare raw and denoised in a viewer: a preview of the plane on screen, and the divider."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import ref

from psygnal import Signal

from napari_n2n.denoising.preview import PreviewImage
from napari_n2n.io.acquisition import Region
from napari_n2n.widgets.layers.before_after import denoised_layers, save_picture
from napari_n2n.widgets.layers.divider import Divider
from napari_n2n.widgets.layers.plane_on_screen import PlaneOnScreen, PreviewSource
from napari_n2n.widgets.layers.preview_layer import PreviewLayer


class Comparison:
    """Shows raw and denoised side by side: during a run the preview, after it the result.

    Parameters
    ----------
    viewer
        The viewer that shows them.
    preview
        Whether the preview is switched on at first.

    Attributes
    ----------
    divider
        The divider on the canvas; None while the canvas is not divided.
    """

    changed = Signal()
    divider_moved = Signal(float)

    def __init__(self, viewer: Any, *, preview: bool = True) -> None:
        self._viewer = ref(viewer)
        self._wanted = preview
        self._ask: Callable[[Region | None], None] | None = None
        self._screen: PlaneOnScreen | None = None
        self._preview: PreviewLayer | None = None
        self.divider: Divider | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a recording to compare with."""
        return self._screen is not None

    @property
    def preview(self) -> bool:
        """Whether the preview is switched on."""
        return self._wanted

    @preview.setter
    def preview(self, wanted: bool) -> None:
        self._wanted = wanted
        if wanted:
            self._begin_preview()
        else:
            self._end_preview()
        self.changed.emit()

    @property
    def split(self) -> bool:
        """Whether the canvas is divided."""
        return self.divider is not None

    @split.setter
    def split(self, wanted: bool) -> None:
        viewer = self._viewer()
        if wanted and self.divider is None and self._screen is not None and viewer is not None:
            self.divider = Divider(viewer, self._screen)
            self.divider.removed.connect(self.end_split)
            self.divider.moved.connect(self.divider_moved.emit)
        elif not wanted:
            self.end_split()
        self.changed.emit()

    def open(self, source: PreviewSource, ask: Callable[[Region | None], None]) -> None:
        """Start the comparison for a recording.

        Parameters
        ----------
        source
            The recording.
        ask
            Called with the region to preview, or None for no preview; give the answer to `show`.
        """
        self.close()
        if (viewer := self._viewer()) is None:
            return
        if source.layer is not None and source.layer not in viewer.layers:
            return
        self._screen = PlaneOnScreen(viewer, source)
        self._ask = ask
        viewer.layers.events.removed.connect(self._on_removed)
        if self._wanted:
            self._begin_preview()
        self.changed.emit()

    def show(self, look: PreviewImage) -> None:
        """Show a denoised plane in the preview layer, if the preview is switched on."""
        if self._preview is not None:
            self._preview.show(look)

    def check_picture(self) -> None:
        """Raise `BadInput` if raw and denoised are not both on screen."""
        denoised_layers(self._viewer(), raw=self.divider and self.divider.layer)

    def save_picture(self, path: Path) -> Path:
        """Save what is on screen, raw beside denoised; see `before_after.save_picture`."""
        return save_picture(self._viewer(), path, raw=self.divider and self.divider.layer)

    def end_run(self) -> None:
        """Remove the preview; keep the divider if a dock is open and the recording is a layer."""
        self._end_preview()
        self._ask = None
        if not len(self.changed):  # the dock is closed
            self.end_split()
        if self._screen is not None and self._screen.layer is None:
            self.close()

    def close(self) -> None:
        """Remove preview and divider."""
        self._end_preview()
        self.end_split()
        if self._screen is not None:
            self._screen.close()
            if (viewer := self._viewer()) is not None:
                viewer.layers.events.removed.disconnect(self._on_removed)
        self._screen = self._ask = None
        self.changed.emit()

    def _begin_preview(self) -> None:
        viewer = self._viewer()
        if self._preview or self._ask is None or self._screen is None or viewer is None:
            return
        self._preview = PreviewLayer(viewer, self._screen, self._ask)
        self._preview.removed.connect(self._switch_off_preview)

    def _switch_off_preview(self) -> None:
        """Switch the preview off, because the user removed its layer."""
        self.preview = False

    def _end_preview(self) -> None:
        if self._preview is not None:
            self._preview.close()
            self._preview = None

    def end_split(self) -> None:
        """Remove the divider."""
        if self.divider is not None:
            self.divider.close()
            self.divider = None
            self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        if self._screen is not None and event.value is self._screen.layer:
            self.close()
