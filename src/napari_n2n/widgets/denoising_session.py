"""The denoising session of one viewer: it applies a model and knows what is left unfinished."""

import math
import threading
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_n2n.denoising import DenoisingStep, journal_path
from napari_n2n.model import Denoiser
from napari_n2n.widgets.denoising_job import Canvas, denoised
from napari_n2n.widgets.result_layer import scratch_folder
from napari_n2n.widgets.session import Session


class DenoisingSession(Session):
    """One denoising run at a time.

    Attributes
    ----------
    unsaved
        An unfinished result that nobody gave a name; None if there is none.
    warnings
        What the person should know about the run.
    """

    stepped = Signal(DenoisingStep)
    finished = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._stop = threading.Event()
        self._out = Path()
        self._named = False
        self.unsaved: Path | None = None
        self.warnings: tuple[str, ...] = ()

    def denoise(
        self, denoiser: Denoiser, sources: list[Any], out: Path | None, **options: Any
    ) -> None:
        """Denoise in the background, into a scratch folder if no `out` is given.

        See `napari_n2n.widgets.denoising_job.denoised`.
        """
        self.refuse_a_second()
        path = out or self.unsaved or scratch_folder() / "denoised.ome.zarr"
        self._out, self._named = path, out is not None
        self._stop = stop = threading.Event()
        self.remaining, self.warnings = math.inf, ()
        self._run(
            lambda: denoised(denoiser, sources, path, stop, **options),
            "napari-n2n: denoising",
            stop.set,
        )

    def stop(self) -> None:
        """End the run; what is done of the result stays on the disk."""
        self._stop.set()
        if self.running:
            self._say("Stopping ...")

    def forget(self) -> None:
        """Let go of what the last run said and left, as something else is asked for now."""
        self.words, self.warnings, self.unsaved = "", (), None

    def _receive(self, message: Canvas | DenoisingStep) -> None:
        self._grow(message)
        if isinstance(message, Canvas):
            self.warnings = message.warnings
            return
        if not self._stop.is_set():
            self._say(f"{message.done} of {message.total} parts are done")
        self.stepped.emit(message)

    def _finish(self, path: Path | None) -> None:
        self._settle(whole=path is not None)
        if path is None:
            kept = journal_path(self._out).exists()
            words = "Stopped. " + (_RESUME if kept else "Nothing was done yet.")
        else:
            words = f"Saved as {path}" if self._named else _SCRATCH
        self._end()
        self._say(words)
        self.finished.emit()

    def _end(self) -> None:
        super()._end()
        unfinished = not self._named and journal_path(self._out).exists()
        self.unsaved = self._out if unfinished else None


_RESUME = "What is done is kept: Resume goes on with it."
_SCRATCH = "Done. The result is gone when napari closes: save the layer to keep it."
