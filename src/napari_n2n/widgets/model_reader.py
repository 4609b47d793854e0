"""A model file that is dropped onto napari, or opened, opens the Denoise dock with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from napari.utils.notifications import show_error

from napari_n2n.errors import BadInput
from napari_n2n.model import load
from napari_n2n.widgets.dock import open_dock, plainly

NO_LAYER: list[tuple[None]] = [(None,)]
"""What a reader returns that has done its work without a layer."""


def reader(path: str | list[str]) -> Callable[[Any], list[tuple[None]]]:
    """Return the function that takes a model file, or of several the first."""
    return _read


def _read(path: str | list[str]) -> list[tuple[None]]:
    first = Path(path if isinstance(path, str) else path[0])
    viewer = napari.current_viewer()
    try:
        if viewer is None:
            raise BadInput(
                f"{first}: a model opens in a napari window; in a script, use napari_n2n.load"
            )
        load(first)  # a file that cannot be read opens nothing
    except BadInput as error:
        show_error(plainly(error))
        return NO_LAYER
    open_dock(viewer, "Denoise").model.choose(first)
    return NO_LAYER
