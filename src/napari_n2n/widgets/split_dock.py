"""The Split dock: even and odd frames of a stack as two layers, a pair to train on."""

from typing import Any

import numpy as np
from napari.layers import Image

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.widgets.dock import Dock, TextLabel, button, in_field_names, notify
from napari_n2n.widgets.forms.fields import (
    AxesField,
    axis_menu,
    form_layout,
    frame_choices,
)
from napari_n2n.widgets.forms.layer_menu import single_layer_menu
from napari_n2n.widgets.layers.result_layer import (
    layer_arguments,
    select_pair,
    translation_at,
)

_WELCOME = (
    "The even and the odd frames of a movie that hardly moves are two recordings of one scene: "
    "a pair to train on. No data are copied."
)


class SplitWidget(Dock):
    """Ask for a stack and an axis, and add the even and the odd frames as layers.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered and which receives the two new layers.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self._build()
        self._connect()
        self._fill_axis_menu()

    def _build(self) -> None:
        tip = "Stack in which neighbouring frames show the same scene"
        self.layer = single_layer_menu(self.viewer, "Stack", tip)
        self.axes = AxesField("layer")
        self.axis = axis_menu()
        self.button = button("Split", "Add the even and the odd frames as two layers")
        self.status = TextLabel(_WELCOME)
        self.stack(form_layout(self.layer, self.axes, self.axis), self.button, self.status)

    def _connect(self) -> None:
        self.layer.changed.connect(self._fill_axis_menu)
        self.axes.changed.connect(self._fill_axis_menu)
        self.button.clicked.connect(self.split)

    def _opened(self) -> Acquisition:
        self.layer.check()
        if self.layer.value is None:
            raise BadInput("Open a stack first", "not_chosen")
        return Acquisition.open(self.layer.value, axes=self.axes.letters)

    def _fill_axis_menu(self) -> None:
        """Fill the menu with the axes along which there is more than one frame."""
        try:
            stack = self._opened()
        except BadInput as error:
            self.axis.choices = []
            chosen = error.code != "not_chosen"
            self.status.setText(in_field_names(error) if chosen else _WELCOME)
            return
        self.axes.show_for(stack)
        self.axis.choices = frame_choices(stack)
        self.status.setText(_WELCOME if self.axis.choices else _single(stack))

    def split(self) -> None:
        """Add the even and the odd frames as two layers."""
        try:
            stack = self._opened()
            if self.axis.value is None:
                raise BadInput(_single(stack), "single")
            halves = stack.split(self.axis.value)
        except BadInput as error:
            self.status.setText(notify(error))
            return
        source, dimension = self.layer.value, stack.order[stack.axes.index(self.axis.value)]
        added = []
        for first, half in enumerate(halves):
            looks = layer_arguments(half.data, half.header, source, half.order)
            looks |= _every_other(source, dimension, first)
            added.append(self.viewer.add_image(**looks))
        select_pair(self.viewer, added)
        self.status.setText(f"Added {halves[0].name} and {halves[1].name}: train on these two.")


def _single(stack: Acquisition) -> str:
    return f"{stack.name} is a single frame: choose a stack"


def _every_other(source: Image, dimension: int, first: int) -> dict[str, Any]:
    """Return scale and position of a layer with every other frame of `source`."""
    start, step = np.zeros(source.ndim), np.ones(source.ndim)
    start[dimension], step[dimension] = first, 2
    return {"scale": source.scale * step, "translate": translation_at(source, start)}
