"""The menu of the layers inside which to train: labels, or shapes drawn on the recording."""

from typing import Any

import numpy as np
from napari.layers import Labels, Layer, Shapes
from qtpy.QtCore import QTimer

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.widgets.forms.layer_menu import LayerMenu

# Time in ms after the last brush stroke until a drawn mask is used: otherwise measuring would start
# again after every stroke.
_UNTIL_DRAWN = 700
_DRAWN = ("data", "paint")  # events of a layer that is drawn on


def mask_layers(viewer: Any) -> list[Layer]:
    """Return the layers of labels and shapes of a viewer."""
    return [one for one in viewer.layers if isinstance(one, Labels | Shapes)]


class MaskMenu(LayerMenu):
    """Ask for a layer inside which to measure and train; `changed` is emitted after drawing, too.

    Parameters
    ----------
    viewer
        The viewer whose layers are offered.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__(
            viewer,
            "Inside",
            "Labels or shapes inside which to measure and train, on one plane or each",
            optional="everywhere",
            layers=mask_layers,
        )
        self._followed: Layer | None = None
        self._known: Acquisition | None = None
        self._timer = QTimer(self.native)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_UNTIL_DRAWN)
        self._timer.timeout.connect(self._use_drawn)
        self.changed.connect(self._follow_drawing)

    def _follow_drawing(self, layer: Layer | None) -> None:
        for one, verb in ((self._followed, "disconnect"), (layer, "connect")):
            for name in _DRAWN:
                event = getattr(getattr(one, "events", None), name, None)
                if event is not None:
                    getattr(event, verb)(self._wait)
        self._followed, self._known = layer, None

    def _wait(self, _event: Any = None) -> None:
        self._timer.start()

    def _use_drawn(self) -> None:
        self._known = None
        self.changed.emit(self.value)

    def choose_named(self, name: str | None) -> None:
        """Choose the layer of a name; None, or a name without a layer: no mask."""
        named = {layer.name: layer for layer in mask_layers(self._viewer)}
        self.value = named.get(name or "")

    def image(self, recording: Any, axes: str | None) -> Acquisition | None:
        """Return a copy of the drawn mask, the same until the drawing changes; None: no mask.

        Parameters
        ----------
        recording, axes
            The recording on which the mask is drawn, and the letters of its axes.

        Raises
        ------
        BadInput
            If the recording cannot be opened, or its pixels have another size than the shapes.
        """
        if self.value is None:
            return None
        if self._known is None:
            self._known = _drawn(self.value, recording, axes)
        return self._known


def _drawn(layer: Any, recording: Any, axes: str | None) -> Acquisition:
    if isinstance(layer, Labels):
        data = layer.data[0] if layer.multiscale else layer.data
        return Acquisition.open((np.asarray(data) != 0).astype(np.uint8), name=layer.name)
    if isinstance(recording, Layer) and not np.allclose(layer.scale[-2:], recording.scale[-2:]):
        raise BadInput(
            f"{layer.name}: the shapes have another pixel size than '{recording.name}': draw them "
            "in a shapes layer that is added while the recording is open",
            "shape",
        )
    shape = Acquisition.open(recording, axes=axes).plane_shape
    corners = [vertices[:, -2:] for vertices in layer.data]
    inside = np.zeros(shape, np.uint8)
    if corners:
        flat = Shapes(corners, shape_type=layer.shape_type)
        inside = (flat.to_labels(shape) != 0).astype(np.uint8)
    return Acquisition.open(inside, name=layer.name)
