"""The menu of a viewer's image layers; a layer that is deleted leaves an empty choice."""

import re
from collections.abc import Callable
from typing import Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Layer

from napari_n2n.errors import BadInput
from napari_n2n.pair.paired_names import paired_names
from napari_n2n.widgets.dock import connect_while_alive, keep_narrow
from napari_n2n.widgets.layers.plane_on_screen import is_temporary
from napari_n2n.widgets.layers.result_layer import is_result

_SPLIT = re.compile(r"(.+) layer \d+")  # names that napari gives to the parts of a split stack
_EMPTY = "choose a layer"  # text of the empty choice


def image_layers(viewer: Any) -> list[Image]:
    """Return the image layers of a viewer, without those of previews, in the viewer's order."""
    return [one for one in viewer.layers if isinstance(one, Image) and not is_temporary(one)]


def selected_layers(viewer: Any) -> list[Image]:
    """Return the selected image layers in the viewer's order."""
    return [layer for layer in image_layers(viewer) if layer in viewer.layers.selection]


def suggested_layers(viewer: Any, count: int) -> list[Image]:
    """Return the layers to offer when a dock opens, without the results of runs.

    Parameters
    ----------
    viewer
        The viewer.
    count
        Number of layers that the dock needs: if as many layers are selected, they come first.
    """
    layers = [layer for layer in image_layers(viewer) if not is_result(layer)]
    selected = [layer for layer in layers if layer in viewer.layers.selection]
    if len(selected) < count:
        return layers
    return [*selected, *(layer for layer in layers if layer not in selected)]


def of_one_file(one: Image, other: Image) -> bool:
    """Return whether two layers were read from one file, or split from one stack by napari.

    Such layers are most often channels, which show different structures.
    """
    stacks = [_SPLIT.fullmatch(layer.name) for layer in (one, other)]
    if all(stacks):
        return len({stack[1] for stack in stacks if stack}) == 1
    path = one.source.path
    return path is not None and path == other.source.path


def layer_pairs(viewer: Any) -> list[tuple[Image, Image]]:
    """Return the layers that form pairs by their names, without the results of runs."""
    layers = [layer for layer in image_layers(viewer) if not is_result(layer)]
    found = paired_names([layer.name for layer in layers])
    return [(layers[one], layers[other]) for one, other in found]


class LayerMenu(ComboBox):
    """A menu of a viewer's layers that follows the list of layers.

    Parameters
    ----------
    viewer
        The viewer whose layers are offered.
    label, tooltip
        Texts of the field.
    optional
        Text of the choice of no layer, such as "none"; empty if a layer is needed.
    layers
        Returns the layers of a viewer that are offered.

    Attributes
    ----------
    deleted
        Name of the chosen layer that the user has deleted; None if no chosen layer was deleted, and
        after another choice. Another layer is never chosen in its place.
    """

    def __init__(
        self,
        viewer: Any,
        label: str,
        tooltip: str,
        *,
        optional: str = "",
        layers: Callable[[Any], list[Any]] = image_layers,
    ) -> None:
        self._viewer, self._optional, self._layers = viewer, optional, layers
        self._empty = True  # whether the empty choice is in the menu, as the first
        self._name = ""
        self.deleted: str | None = None
        super().__init__(label=label, choices=self._named_layers, tooltip=tooltip)
        keep_narrow(self)
        events = viewer.layers.events
        signals = (events.inserted, events.removed, events.reordered, events.renamed)
        connect_while_alive(self.native, [(signal, self._follow) for signal in signals])
        self.changed.connect(self._remember)
        self._follow()

    @property
    def is_free(self) -> bool:
        """Whether no layer is chosen, because none was available yet."""
        return self.value is None and self.deleted is None

    def offer(self, layer: Layer | None) -> None:
        """Choose a layer; None leaves the choice to the user."""
        if layer is not None:
            self.value = layer
        elif self.value is not None or len(self.choices):
            self._fill(None)

    def check(self) -> None:
        """Raise `BadInput` if the chosen layer was deleted."""
        if self.deleted is not None and not self._optional:
            raise BadInput(
                f"{self.label}: the layer '{self.deleted}' was deleted: choose another layer",
                "not_found",
            )

    def _named_layers(self, _menu: Any = None) -> list[tuple[str, Layer | None]]:
        empty = [(self._optional or _EMPTY, None)] if self._empty else []
        return [*empty, *((layer.name, layer) for layer in self._layers(self._viewer))]

    def _follow(self, _event: Any = None) -> None:
        """Offer the layers of the viewer, and keep the choice."""
        before, layers = self.value, self._layers(self._viewer)
        if before is not None and before not in layers:
            self.deleted = self._name
        if not layers:
            self.deleted = None
        self._fill(before if before in layers else None)

    def _fill(self, chosen: Layer | None) -> None:
        before = self.value
        self._empty = bool(self._optional or (chosen is None and self._layers(self._viewer)))
        with self.changed.blocked():  # magicgui drops a choice whose name has changed
            self.reset_choices()
            if chosen is not None or self._empty:
                self.value = chosen
        self._name = "" if chosen is None else chosen.name
        if chosen != before:  # `is` does not work for the proxies that napari gives to plugins
            self.changed.emit(chosen)

    def _remember(self, chosen: Layer | None) -> None:
        """Forget the deleted layer when another one is chosen."""
        if chosen is not None:
            self.deleted, self._name = None, chosen.name
            if self._empty and not self._optional:
                self._fill(chosen)


def single_layer_menu(viewer: Any, label: str, tooltip: str) -> LayerMenu:
    """Return a menu for the only layer of a dock; at first the selected or the first layer."""
    menu = LayerMenu(viewer, label, tooltip)

    def offer(_event: Any = None) -> None:
        if menu.is_free:
            menu.offer(next(iter(suggested_layers(viewer, 1)), None))

    connect_while_alive(menu.native, [(viewer.layers.events.inserted, offer)])
    offer()
    return menu
