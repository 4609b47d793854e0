"""The denoising session of a viewer, and its job: apply a model to a recording or to folders."""

import math
import threading
from collections.abc import Generator
from contextlib import closing
from functools import partial, singledispatchmethod
from pathlib import Path
from typing import Any, TypeVar

from psygnal import Signal

from napari_n2n.denoising.denoise import DenoisingStep, denoise_by_shards
from napari_n2n.denoising.folder import FolderJob, FolderStep, denoise_fields_of_view
from napari_n2n.denoising.plan import Quantity, make_plan
from napari_n2n.denoising.predictor import Cancelled
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.crash_safe import journal_path
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import use_threads
from napari_n2n.widgets.layers.growing_layer import ResultStarted
from napari_n2n.widgets.layers.result_layer import contrast_limits, scratch_folder
from napari_n2n.widgets.preferences import preferences
from napari_n2n.widgets.sessions.result_session import ResultSession

Step = TypeVar("Step")


def denoise_recording(
    denoiser: Denoiser,
    sources: list[Any],
    out: Path,
    stop: threading.Event,
    *,
    axes: str | None = None,
    turns: bool = False,
    quantity: Quantity = "result",
    **options: Any,
) -> Generator[ResultStarted | DenoisingStep, None, Path | None]:
    """Denoise into a file; a generator that announces the result before its first shard.

    Parameters
    ----------
    denoiser, sources, axes, turns, quantity
        As in `napari_n2n.denoising.plan.make_plan`.
    out
        Path of the result.
    stop
        Set it to end the run within one layer of the network; the run can be resumed.
    options
        As in `denoise_by_shards`.

    Returns
    -------
    pathlib.Path or None
        Path of the result; None if stopped.
    """
    use_threads(preferences().threads)
    opened = [Acquisition.open(source, axes=axes) for source in sources]
    plan = make_plan(denoiser, *opened, turns=turns, quantity=quantity)
    sample = opened[0].sample_plane()
    limits, look = contrast_limits(sample), {}
    if quantity == "error" and (error := denoiser.record.error_of(0)) is not None:
        limits = 0.0, contrast_limits(error.expected(sample))[1]
        look = {"contrast_limits": limits, "gamma": 1.0, "colormap": "magma"}
    first = opened[0].order, limits, plan.warnings, sources[0]
    yield ResultStarted(out, plan.header, *first, look, quantity)
    run = denoise_by_shards(denoiser, plan, out, cancelled=stop.is_set, sources=sources, **options)
    return out if (yield from _until_stopped(run, stop)) else None


def denoise_folders(
    denoiser: Denoiser, job: FolderJob, stop: threading.Event, **options: Any
) -> Generator[FolderStep, None, Path | None]:
    """Denoise all recordings in folders; return the folder of the results, or None if stopped.

    Parameters
    ----------
    denoiser, job, options
        As in `denoise_fields_of_view`.
    stop
        As in `denoise_recording`.
    """
    use_threads(preferences().threads)
    run = denoise_fields_of_view(denoiser, job, cancelled=stop.is_set, **options)
    return job.folder if (yield from _until_stopped(run, stop)) else None


def _until_stopped(
    run: Generator[Step, None, Any], stop: threading.Event
) -> Generator[Step, None, bool]:
    """Yield the steps of a run; return whether it is complete."""
    try:
        with closing(run):
            for step in run:
                yield step
                if stop.is_set():
                    return False
    except Cancelled:
        return False
    return True


class DenoisingSession(ResultSession):
    """Runs one denoising job at a time.

    Attributes
    ----------
    unsaved
        Path of an unfinished result in the scratch folder, which can be resumed; else None.
    warnings
        Warnings about the recordings of the run, as sentences.
    """

    progressed = Signal(float)
    finished = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._stop = threading.Event()
        self._out = Path()
        self._named = False
        self._folder_job: FolderJob | None = None
        self._all_warnings: dict[str, None] = {}  # in the order of arrival
        self.unsaved: Path | None = None
        self.warnings: tuple[str, ...] = ()
        self._sources: list[Any] = []

    @property
    def inputs(self) -> list[Any]:
        """The recordings of the run."""
        return self._sources

    def denoise(
        self, denoiser: Denoiser, sources: list[Any], out: Path | FolderJob | None, **options: Any
    ) -> None:
        """Denoise in the background.

        Parameters
        ----------
        denoiser
            The model.
        sources
            The acquisitions of one scene; ignored for a `FolderJob`, which has its own.
        out
            Path of the result, or the folders; None for a scratch folder.
        options
            As in `napari_n2n.denoise`.
        """
        self.refuse_a_second()
        self._stop = stop = threading.Event()
        self.remaining, self.warnings, self._first = math.inf, (), None
        self._all_warnings, self._sources, self.results = {}, sources, []
        run: partial[Any]
        if isinstance(out, FolderJob):
            self._out, self._named, self._growing, self._folder_job = out.folder, True, None, out
            run = partial(denoise_folders, denoiser, out, stop, **options)
        else:
            path = out or self.unsaved or scratch_folder() / "denoised.ome.zarr"
            self._out, self._named, self._folder_job = path, out is not None, None
            run = partial(denoise_recording, denoiser, sources, path, stop, **options)
        self._run(run, "napari-n2n: denoising", stop.set)

    def stop(self) -> None:
        """Stop the run; the finished part stays on disk, and the run can be resumed."""
        self._stop.set()
        if self.running:
            self._say("Stopping ...")

    def forget(self) -> None:
        """Clear message, warnings and unfinished result of the last run."""
        self.message, self.warnings, self.unsaved = "", (), None

    @singledispatchmethod
    def _receive(self, message: Any) -> None:
        raise TypeError(f"unknown message: {message!r}")

    @_receive.register
    def _show_result(self, message: ResultStarted) -> None:
        self._begin_result(message)
        self.warnings = message.warnings

    @_receive.register
    def _show_step(self, message: DenoisingStep) -> None:
        self._grow(message)
        self._report(f"{message.done} of {message.total} parts are done", message.progress)

    @_receive.register
    def _show_file(self, message: FolderStep) -> None:
        self._estimate(message.progress)
        self._all_warnings.update(dict.fromkeys(message.warnings))
        self.warnings = _shortened(list(self._all_warnings))
        self._report(message.text, message.progress)

    def _report(self, text: str, progress: float) -> None:
        if not self._stop.is_set():
            self._say(text)
        self.progressed.emit(progress)

    def _finish(self, path: Path | None) -> None:
        if path is not None and self._growing is not None:
            self.results.append(self._growing)
        self._end_result(complete=path is not None)
        if path is None:
            message = _RESUME if self._unfinished() else "Stopped before the first part was done."
        else:
            message = f"Saved as {path}" if self._named else _UNSAVED
        self._end()
        self._say(message)
        self.finished.emit()

    def _end(self) -> None:
        super()._end()
        self.unsaved = self._out if not self._named and self._unfinished() else None

    def _unfinished(self) -> bool:
        if self._folder_job is not None:
            return self._folder_job.journal.exists()
        return journal_path(self._out).exists()


# Warnings of a folder run shown at a time: more would push the fields out of the dock.
_MOST_WARNINGS = 4


def _shortened(warnings: list[str]) -> tuple[str, ...]:
    """Return the first warnings, and a sentence with the number of the others."""
    if len(warnings) <= _MOST_WARNINGS:
        return tuple(warnings)
    more = len(warnings) - _MOST_WARNINGS + 1
    return *warnings[: _MOST_WARNINGS - 1], f"{more} more recordings have warnings like these"


_RESUME = "Stopped. The finished part is kept: Resume continues the run."
_UNSAVED = "Done. The result is deleted when napari closes: save the image to keep it."
