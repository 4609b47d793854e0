"""The denoising session of one viewer: it applies a model and knows what is left unfinished."""

import math
import threading
from functools import partial
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_n2n.denoising import DenoisingStep, journal_path
from napari_n2n.model import Denoiser
from napari_n2n.series import Series, SeriesStep
from napari_n2n.widgets.denoising_job import Canvas, denoised, denoised_in_turn
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

    progressed = Signal(float)
    finished = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._stop = threading.Event()
        self._out = Path()
        self._named = False
        self._series: Series | None = None
        self._unlike: dict[str, None] = {}
        self.unsaved: Path | None = None
        self.warnings: tuple[str, ...] = ()

    def denoise(
        self, denoiser: Denoiser, sources: list[Any], out: Path | Series | None, **options: Any
    ) -> None:
        """Denoise in the background, into a scratch folder if no `out` is given.

        See `napari_n2n.widgets.denoising_job`; a `Series` says by itself what it is made of.
        """
        self.refuse_a_second()
        self._stop = stop = threading.Event()
        self.remaining, self.warnings, self._first = math.inf, (), None
        self._unlike = {}
        run: partial[Any]
        if isinstance(out, Series):
            self._out, self._named, self._growing, self._series = out.folder, True, None, out
            run = partial(denoised_in_turn, denoiser, out, stop, **options)
        else:
            path = out or self.unsaved or scratch_folder() / "denoised.ome.zarr"
            self._out, self._named, self._series = path, out is not None, None
            run = partial(denoised, denoiser, sources, path, stop, **options)
        self._run(run, "napari-n2n: denoising", stop.set)

    def stop(self) -> None:
        """End the run; what is done of the result stays on the disk."""
        self._stop.set()
        if self.running:
            self._say("Stopping ...")

    def forget(self) -> None:
        """Let go of what the last run said and left, as something else is asked for now."""
        self.words, self.warnings, self.unsaved = "", (), None

    def _receive(self, message: Canvas | DenoisingStep | SeriesStep) -> None:
        if isinstance(message, SeriesStep):
            self._time(message.progress)
            self._unlike.update(dict.fromkeys(message.warnings))
            self.warnings = _few(list(self._unlike))
            self._tell(f"{message.name}: {message.done + 1} of {message.total}", message.progress)
            return
        self._grow(message)
        if isinstance(message, Canvas):
            self.warnings = message.warnings
            return
        self._tell(f"{message.done} of {message.total} parts are done", message.progress)

    def _tell(self, words: str, progress: float) -> None:
        if not self._stop.is_set():
            self._say(words)
        self.progressed.emit(progress)

    def _finish(self, path: Path | None) -> None:
        self._settle(whole=path is not None)
        if path is None:
            kept = self._unfinished()
            words = "Stopped. " + (_RESUME if kept else "Nothing was done yet.")
        else:
            words = f"Saved as {path}" if self._named else _SCRATCH
        self._end()
        self._say(words)
        self.finished.emit()

    def _end(self) -> None:
        super()._end()
        self.unsaved = self._out if not self._named and self._unfinished() else None

    def _unfinished(self) -> bool:
        if self._series is not None:
            return self._series.journal.exists()
        return journal_path(self._out).exists()


_MOST_WARNINGS = 4


def _few(warnings: list[str]) -> tuple[str, ...]:
    """Return so many warnings as have room, and say how many there are besides."""
    if len(warnings) <= _MOST_WARNINGS:
        return tuple(warnings)
    more = len(warnings) - _MOST_WARNINGS + 1
    return *warnings[: _MOST_WARNINGS - 1], f"{more} more recordings are unlike the training, too"


_RESUME = "What is done is kept: Resume goes on with it."
_SCRATCH = "Done. The result is gone when napari closes: save the layer to keep it."
