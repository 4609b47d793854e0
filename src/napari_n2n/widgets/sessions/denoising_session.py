"""The denoising session of one viewer: it applies a model and knows what is left unfinished.

Denoising behind a window: it says first what it will make, and may be stopped anywhere.
"""

import math
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from psygnal import Signal

from napari_n2n.denoising.denoise import DenoisingStep, denoise_by_shards
from napari_n2n.denoising.folder import Series, SeriesStep, denoise_in_turn
from napari_n2n.denoising.plan import plan
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.crash_safe import journal_path
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import use_threads
from napari_n2n.widgets.layers.growing_layer import Canvas
from napari_n2n.widgets.layers.result_layer import contrast_limits, scratch_folder
from napari_n2n.widgets.preferences import preferences
from napari_n2n.widgets.sessions.session import Session

Step = TypeVar("Step")


class Stopped(Exception):
    """The person does not want the rest."""


def denoised(
    denoiser: Denoiser,
    sources: list[Any],
    out: Path,
    stop: threading.Event,
    *,
    axes: str | None = None,
    turns: bool = False,
    **options: Any,
) -> Generator[Canvas | DenoisingStep, None, Path | None]:
    """Denoise into a file.

    Parameters
    ----------
    denoiser, sources, axes, turns
        As `napari_n2n.denoising.plan.plan` takes them.
    out
        Where the result goes.
    stop
        Set it, and the work ends within one layer of the network; what is done stays to be resumed.
    options
        As `denoise_by_shards` takes them.

    Returns
    -------
    pathlib.Path or None
        Where the result is; None if it was stopped.
    """
    use_threads(preferences().threads)
    opened = [Acquisition.open(source, axes=axes) for source in sources]
    work = plan(denoiser, *opened, turns=turns)
    limits = contrast_limits(opened[0].sample_plane())
    yield Canvas(out, work.header, opened[0].order, limits, work.warnings, sources[0])
    run = denoise_by_shards(denoiser, work, out, **options)
    return out if (yield from _to_end(run, denoiser, stop)) else None


def denoised_in_turn(
    denoiser: Denoiser, series: Series, stop: threading.Event, **options: Any
) -> Generator[SeriesStep, None, Path | None]:
    """Denoise a folder of recordings; returns that of the results, or None if it was stopped.

    Parameters
    ----------
    denoiser, series, options
        As `denoise_in_turn` takes them.
    stop
        As in `denoised`.
    """
    use_threads(preferences().threads)
    run = denoise_in_turn(denoiser, series, **options)
    return series.folder if (yield from _to_end(run, denoiser, stop)) else None


def _to_end(
    run: Generator[Step, None, Any], denoiser: Denoiser, stop: threading.Event
) -> Generator[Step, None, bool]:
    """Pass on the steps of a run; returns whether it came to its end."""
    try:
        with closing(run), interrupted_by(stop, denoiser):
            for step in run:
                yield step
                if stop.is_set():
                    return False
    except Stopped:
        return False
    return True


@contextmanager
def interrupted_by(stop: threading.Event, denoiser: Denoiser) -> Iterator[None]:
    """Let every layer of the networks look first whether it is still wanted.

    A shard of a volume may take minutes, and a window that closes waits for the step under way.
    """

    def look(*_: Any) -> None:
        if stop.is_set():
            raise Stopped

    hooks = [
        module.register_forward_pre_hook(look)
        for network in denoiser.ready
        for module in network.modules()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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

        A plan or a folder; a `Series` says by itself what it is made of.
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
