"""The button that saves a result as a file, with metadata that napari does not save."""

from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.output_path import check_keeps_inputs
from napari_n2n.io.writers import ENDINGS, can_store
from napari_n2n.widgets.dock import connect_while_alive, notify
from napari_n2n.widgets.layers.growing_layer import GrowingLayer
from napari_n2n.widgets.preferences import file_name
from napari_n2n.widgets.sessions.result_session import ResultSession
from napari_n2n.widgets.sessions.saving_session import SavingSession
from napari_n2n.widgets.sessions.session import session_of

_FORMATS = {"OME-TIFF": ".ome.tif", "OME-Zarr": ".ome.zarr"}
_TITLE = "Save image ..."
_FLOAT = np.dtype(np.float32)  # pixel type of results


class SaveImageButton(QPushButton):
    """Ask for a file, and save a result of the last run with pixel size, units and channels.

    If there are several results, the selected one is saved, or else the last that is no error map.

    Parameters
    ----------
    viewer
        The viewer that shows the results.
    session
        Holds the results.
    """

    def __init__(self, viewer: Any, session: ResultSession) -> None:
        super().__init__(_TITLE)
        self.setToolTip("Save the denoised image with pixel size, units and channel names")
        self._viewer, self._session = viewer, session
        self._saving = session_of(viewer, SavingSession)
        slots: list[tuple[Any, Any]] = [
            (signal, self._show_state)
            for one in (session, self._saving)
            for signal in (one.started, one.finished, one.failed)
        ]
        slots += [
            (session.discarded, self._show_state),
            (self._saving.progressed, self._show_progress),
        ]
        connect_while_alive(self, slots)
        self.clicked.connect(self.ask)
        self._show_state()

    def ask(self) -> None:
        """Ask for a file and its format, and save a result there."""
        result = self._chosen()
        if result is None:
            return
        name = result.result.header.name if result.layer is None else result.layer.name
        formats = self.formats(result)
        suggested = file_name(name) + ".ome.tif"
        given, chosen = QFileDialog.getSaveFileName(
            self, f"Save {name}", suggested, ";;".join(formats)
        )
        if given:
            ending, dtype = formats.get(chosen, next(iter(formats.values())))
            self.save(Path(given), ending, dtype, overwrite=True)

    def formats(self, result: GrowingLayer) -> dict[str, tuple[str, np.dtype]]:
        """Return the choices of the dialog: ending and pixel type by name."""
        try:
            recorded = Acquisition.open(result.result.source).source_dtype
        except BadInput:  # the file was moved
            recorded = _FLOAT
        types = {_FLOAT: "float32", recorded: f"{recorded} like the recording"}
        return {
            f"{kind}, {words} (*{ending})": (ending, dtype)
            for dtype, words in types.items()
            for kind, ending in _FORMATS.items()
            if can_store(Path(ending), dtype)
        }

    def save(
        self,
        path: Path,
        ending: str = ".ome.tif",
        dtype: np.dtype | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Save a result in the background.

        Parameters
        ----------
        path
            The file.
        ending
            Added to a name without a known ending.
        dtype
            Pixel type; None: float32.
        overwrite
            Replace a file of exactly this name.
        """
        result = self._chosen()
        if result is None:
            return
        complete = path.name.lower().endswith(ENDINGS)
        path = path if complete else path.with_name(path.name + ending)
        try:
            check_keeps_inputs(path, self._session.inputs)
            replaced = overwrite and complete and path.is_file()
            if path.exists() and not replaced:
                raise BadInput(f"{path}: already exists: choose another name", "exists")
            self._saving.save(result.result.out, path, dtype, overwrite=replaced)
        except BadInput as error:
            notify(error)

    def _chosen(self) -> GrowingLayer | None:
        results = self._session.results
        selected = self._viewer.layers.selection
        chosen = [one for one in results if any(layer in selected for layer in one.layers)]
        images = [one for one in results if one.result.quantity == "result"]
        return next(reversed(chosen or images), None)

    def _show_state(self, _message: Any = None) -> None:
        idle = not self._session.running and not self._saving.running
        self.setEnabled(idle and bool(self._session.results))
        self.setText(_TITLE)

    def _show_progress(self, share: float) -> None:
        self.setText(f"Saving {share:.0%}")
