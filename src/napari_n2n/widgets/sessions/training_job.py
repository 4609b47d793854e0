"""The training job: open, measure, train with a preview, denoise; it yields messages."""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_n2n.denoising.denoise import DenoisingStep
from napari_n2n.denoising.plan import Quantity
from napari_n2n.denoising.predictor import Cancelled
from napari_n2n.denoising.preview import Pace, Preview, PreviewImage
from napari_n2n.generators import Steps
from napari_n2n.io.acquisition import Acquisition, Region
from napari_n2n.io.crash_safe import discard_unfinished, remove
from napari_n2n.io.run_lock import locked
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import choose_device, use_threads
from napari_n2n.pair.recordings import Recordings
from napari_n2n.recipe import Recipe
from napari_n2n.training.fit import TrainingStep, fit
from napari_n2n.widgets.background import one_line
from napari_n2n.widgets.layers.growing_layer import ResultStarted
from napari_n2n.widgets.layers.plane_on_screen import PreviewSource
from napari_n2n.widgets.layers.result_layer import contrast_limits, scratch_folder
from napari_n2n.widgets.preferences import free_path, preferences
from napari_n2n.widgets.sessions.denoising_session import denoise_recording
from napari_n2n.widgets.sessions.measuring import Measured


@dataclass(frozen=True)
class StatusLine:
    """One line about the run, shown to the user."""

    text: str


@dataclass(frozen=True)
class ModelTrained:
    """Announces the model when training has ended."""

    denoiser: Denoiser


@dataclass(frozen=True)
class Outcome:
    """The results of a run.

    Attributes
    ----------
    count
        Number of results, including one that is unfinished.
    complete
        False if the last one was stopped.
    folder
        Where they are kept; None if they are deleted when napari closes.
    """

    count: int
    complete: bool
    folder: Path | None


Message = (
    Measured
    | TrainingStep
    | PreviewImage
    | PreviewSource
    | ModelTrained
    | ResultStarted
    | DenoisingStep
    | StatusLine
)


class RunControl:
    """Controls a run: the GUI thread changes it at any time, the run checks it after every step.

    Attributes
    ----------
    stop, stop_denoising, discard
        Events that end the training, end the denoising after it, and discard the results of both.
    paused
        Whether the run is paused.
    region
        Part of a plane to preview, a slice for each axis of the first acquisition; None for none.
    """

    def __init__(self) -> None:
        self.stop, self.stop_denoising = threading.Event(), threading.Event()
        self.discard = threading.Event()
        self.paused = False
        self.region: Region | None = None
        self._changed = threading.Event()

    def pause(self, paused: bool) -> None:
        """Pause the run, or resume it."""
        self.paused = paused
        self._changed.set()

    def look_at(self, region: Region | None) -> None:
        """Request previews of a region while training continues; None for no previews."""
        self.region = region
        self._changed.set()

    def end(self, *, discard: bool = False) -> None:
        """End training and denoising after the current step."""
        if discard:
            self.discard.set()
        self.stop.set()
        self.stop_denoising.set()
        self.pause(False)

    def wait(self) -> None:
        """Sleep until the pause ends or another region is requested."""
        self._changed.wait()
        self._changed.clear()


def train_and_denoise(
    recipe: Recipe, known: Measured | None, control: RunControl
) -> Generator[Message, None, Outcome | None]:
    """Train on recordings, then denoise them.

    Parameters
    ----------
    recipe
        Recordings, settings and the results that are wanted.
    known
        The measurement of the recordings; measured here if None.
    control
        Stops or pauses the run and requests previews.

    Returns
    -------
    Outcome or None
        None if the run was discarded.
    """
    use_threads(preferences().threads)
    recordings, settings = recipe.recordings, recipe.settings
    if known is None:
        yield StatusLine("Measuring the noise ...")
        known = Measured.of(recordings.pairs(), recordings.noise)
        yield known
    yield StatusLine("Starting the training ...")
    source = recordings.fields[0][0]
    first = Acquisition.open(source, axes=recordings.axes)
    yield PreviewSource(first, source, contrast_limits(first.sample_plane()))
    device, cancelled = choose_device(settings.device), control.stop.is_set
    preview = Preview(first, device, settings.memory, cancelled=cancelled)
    run = fit(known.pairs, settings, reports=known.reports, stop=control.stop)
    denoiser = yield from _with_preview(run, preview, control)
    if denoiser is None:
        return None
    yield ModelTrained(denoiser)
    return (yield from _denoise_results(recipe, denoiser, control))


def _denoise_results(
    recipe: Recipe, denoiser: Denoiser, control: RunControl
) -> Generator[Message, None, Outcome | None]:
    recordings, settings = recipe.recordings, recipe.settings
    if recipe.wanted != "none":
        yield StatusLine("Denoising ...")
    scratch, folder = scratch_folder(), preferences().folder
    results, complete = [], True
    for sources, quantity in _wanted(recipe, denoiser):
        title = replace(recordings, sources=sources, listed=()).title
        ending = "denoised" if quantity == "result" else "error"
        results.append(free_path(folder or scratch, f"{title} {ending}"))
        result = yield from denoise_recording(
            denoiser,
            [_with_folder_name(one, recordings) for one in sources],
            results[-1],
            control.stop_denoising,
            axes=None if recordings.in_folders else recordings.axes,
            quantity=quantity,
            device=settings.device,
            memory=settings.memory,
        )
        if control.discard.is_set():
            for path in results:
                _remove(path)
            return None
        complete = result is not None
        if not complete:
            break
    return Outcome(len(results), complete, folder)


def _wanted(recipe: Recipe, denoiser: Denoiser) -> Iterator[tuple[tuple[Any, ...], Quantity]]:
    """Yield the sources of every result, and of its error map if the model has learned it."""
    errors = denoiser.record.error
    knows_error = bool(errors) and all(one is not None for one in errors)
    for sources in recipe.results():
        yield sources, "result"
        if knows_error:
            yield sources, "error"


def _with_folder_name(source: Any, recordings: Recordings) -> Any:
    """Return the name of a file with its folder: files in other folders may have the same name."""
    if not recordings.in_folders:
        return source
    opened = Acquisition.open(source, axes=recordings.axes)
    return replace(opened, name=f"{source.parent.name} {opened.name}")


def _remove(result: Path) -> None:
    """Delete a result, whether complete or unfinished."""
    with locked(result):
        remove(result)
        discard_unfinished(result)


def _with_preview(
    run: Steps[TrainingStep, Denoiser], preview: Preview, control: RunControl
) -> Generator[TrainingStep | PreviewImage | StatusLine, None, Denoiser | None]:
    """Train, preview after each step, wait while paused; return the model, None if discarded."""
    pace = Pace()
    with closing(run):
        began = time.monotonic()
        for step in run:
            pace.earn(time.monotonic() - began)
            yield replace(step, denoiser=lambda: None)  # only this thread uses the network
            yield from _preview_plane(step, preview, pace, control)
            while control.paused:
                control.wait()
                yield from _preview_plane(step, preview, pace, control)
            if control.discard.is_set():
                return None
            began = time.monotonic()
    return run.result


def _preview_plane(
    step: TrainingStep, preview: Preview, pace: Pace, control: RunControl
) -> Iterator[PreviewImage | StatusLine]:
    region, idle = control.region, control.paused
    if region is None or control.stop.is_set() or not pace.allows(region, idle=idle):
        return
    began, look = time.monotonic(), None
    try:
        if (denoiser := step.denoiser()) is not None:
            look = preview.denoise(denoiser, region)
    except Cancelled:
        return
    except Exception as error:  # a plane that cannot be shown must not end a long run
        yield StatusLine(f"No preview of this plane: {one_line(error)}")
    pace.spend(time.monotonic() - began, region, idle=idle)
    if look is not None:
        yield look
