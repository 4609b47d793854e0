"""The saving session of a viewer: it copies a result to a file in the background."""

import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.notifications import show_info
from psygnal import Signal

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.writers import copy
from napari_n2n.io.written_by import read_provenance
from napari_n2n.widgets.sessions.session import Session


@dataclass(frozen=True)
class Share:
    """The share of an image that is saved, 0 to 1."""

    progress: float


class SavingSession(Session):
    """Saves one image at a time."""

    progressed = Signal(float)
    finished = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._path = Path()

    def save(
        self, result: Path, path: Path, dtype: np.dtype | None = None, *, overwrite: bool = False
    ) -> None:
        """Copy a result with its pixel sizes, units and channels.

        Parameters
        ----------
        result
            A complete result.
        path
            The new file; its ending says which format.
        dtype
            Pixel type of the file; None: that of the result.
        overwrite
            Replace an existing file.

        Raises
        ------
        BadInput
            If another run is in progress in this viewer.
        """
        stop = threading.Event()
        self.refuse_a_second()
        self._path = path
        self._run(
            lambda: _copied(result, path, dtype, overwrite, stop), "napari-n2n: saving", stop.set
        )

    def _receive(self, share: Share) -> None:
        self.progressed.emit(share.progress)

    def _finish(self, _result: None) -> None:
        self._end()
        self._say("")
        show_info(f"Saved {self._path}")
        self.finished.emit()


def _copied(
    result: Path, path: Path, dtype: np.dtype | None, overwrite: bool, stop: threading.Event
) -> Generator[Share, None, None]:
    whole, note = Acquisition.open(result), read_provenance(result)
    parts = [(whole, path)]
    with closing(copy(whole, parts, overwrite=overwrite, dtype=dtype, note=note)) as run:
        for share in run:
            yield Share(share)
            if stop.is_set():
                return
