"""Save a picture of the screen: raw on the left, denoised on the right."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import write_atomically
from napari_n2n.io.output_path import output_path
from napari_n2n.widgets.layers.plane_on_screen import is_temporary
from napari_n2n.widgets.layers.result_layer import is_result

_GAP = 6  # white pixels between the halves


def save_picture(viewer: Any, path: Path, *, raw: Any = None) -> Path:
    """Save the canvas twice side by side, without and with the denoised layers, as PNG.

    Parameters
    ----------
    viewer
        The viewer; contrast, colours, zoom and scale bar are those on screen.
    path
        The file; .png is added if it is missing.
    raw
        The temporary layer of a divider, which is hidden in both halves.

    Raises
    ------
    BadInput
        See `denoised_layers`.
    """
    denoised = denoised_layers(viewer, raw=raw)
    hidden = [] if raw is None else [raw]
    before, after = (_canvas(viewer, [*hidden, *more]) for more in (denoised, []))
    rows, columns = _used(np.maximum(before, after))
    halves = [one[rows, columns] for one in (before, after)]
    gap = np.full((halves[0].shape[0], _GAP, 3), 255, np.uint8)
    content = io.BytesIO()
    PillowImage.fromarray(np.concatenate([halves[0], gap, halves[1]], axis=1)).save(content, "PNG")
    path = output_path(
        path if path.suffix.lower() == ".png" else path.with_name(f"{path.name}.png")
    )
    return write_atomically(path, content.getvalue())


def denoised_layers(viewer: Any, *, raw: Any = None) -> list[Any]:
    """Return the visible results and previews; see `save_picture` for the arguments.

    Raises
    ------
    BadInput
        If no result or preview is visible, or nothing is visible below it.
    """
    shown = [one for one in viewer.layers if one.visible and one != raw]
    denoised = [one for one in shown if is_result(one) or is_temporary(one)]
    if not denoised or len(denoised) == len(shown):
        which = "the recording" if denoised else "a denoised image or a preview"
        raise BadInput(
            f"no picture: {which} is not visible: show it in the list of layers", "not_chosen"
        )
    return denoised


def _canvas(viewer: Any, hidden: list[Any]) -> np.ndarray:
    """Return the canvas without some layers, RGB."""
    shown = [one for one in hidden if one.visible]
    try:
        for one in shown:
            one.visible = False
        return np.asarray(viewer.screenshot(canvas_only=True, flash=False))[..., :3]
    finally:
        for one in shown:
            one.visible = True


def _used(canvas: np.ndarray) -> tuple[slice, slice]:
    """Return rows and columns of the part that differs from the background in the corner."""
    differs = (canvas != canvas[0, 0]).any(axis=-1)
    if not differs.any():
        return slice(None), slice(None)
    rows, columns = (np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
