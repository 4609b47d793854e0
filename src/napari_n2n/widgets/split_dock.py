"""The Split dock: even and odd frames of a stack as two layers, which are a pair to train on."""

from typing import Any

import numpy as np
from napari.layers import Image

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.widgets.dock import Dock, Words, button, notify, plainly
from napari_n2n.widgets.forms.fields import (
    axes_field,
    axes_in,
    axis_menu,
    form,
    frame_choices,
    layer_menu,
)
from napari_n2n.widgets.layers.result_layer import layer_arguments, translation_at

_WELCOME = (
    "Frames 0, 2, 4 ... and 1, 3, 5 ... of a movie that hardly moves are two recordings of one "
    "scene: a pair to train on. Nothing is copied."
)


class SplitWidget(Dock):
    """Choose a stack and an axis; two layers come out.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered and which receives the two.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self._build()
        self._connect()
        self._offer_axes()

    def _build(self) -> None:
        tip = "Stack of which neighbouring frames show the same"
        self.layer = layer_menu(self.viewer, "Stack", tip)
        self.axes = axes_field("layer")
        self.axis = axis_menu()
        self.button = button("Split", "Add even and odd frames as two layers")
        self.words = Words(_WELCOME)
        self.stack(form(self.layer, self.axes, self.axis), self.button, self.words)

    def _connect(self) -> None:
        self.layer.changed.connect(self._offer_axes)
        self.axes.changed.connect(self._offer_axes)
        self.button.clicked.connect(self.split)

    def _opened(self) -> Acquisition:
        if self.layer.value is None:
            raise BadInput("Open a stack first", "not_chosen")
        return Acquisition.open(self.layer.value, axes=axes_in(self.axes))

    def _offer_axes(self) -> None:
        """Offer the axes along which there is more than one frame."""
        try:
            stack, words = self._opened(), _WELCOME
        except BadInput as error:
            self.axis.choices = []
            self.words.setText(plainly(error) if self.layer.value is not None else _WELCOME)
            return
        self.axis.choices = frame_choices(stack)
        self.words.setText(words if self.axis.choices else f"{stack.name}: is a single frame")

    def split(self) -> None:
        """Add the even and the odd frames as layers."""
        try:
            stack = self._opened()
            if self.axis.value is None:
                raise BadInput(f"{stack.name}: is a single frame: choose a stack", "single")
            halves = stack.split(self.axis.value)
        except BadInput as error:
            self.words.setText(notify(error))
            return
        source, dimension = self.layer.value, stack.order[stack.axes.index(self.axis.value)]
        for first, half in enumerate(halves):
            looks = layer_arguments(half.data, half.header, source, half.order)
            self.viewer.add_image(**looks | _every_other(source, dimension, first))
        self.words.setText(f"{halves[0].name} and {halves[1].name}: train on these two.")


def _every_other(source: Image, dimension: int, first: int) -> dict[str, Any]:
    """Return size and place of a layer that has every other frame of another one."""
    start, step = np.zeros(source.ndim), np.ones(source.ndim)
    start[dimension], step[dimension] = first, 2
    return {"scale": source.scale * step, "translate": translation_at(source, start)}
