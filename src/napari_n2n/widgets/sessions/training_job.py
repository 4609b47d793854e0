"""Training behind a window: open, measure, train, denoise, and say at each turn what is done."""

import shutil
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_n2n.denoising.denoise import DenoisingStep
from napari_n2n.denoising.preview import Look, Pace, Preview
from napari_n2n.generators import Steps
from napari_n2n.io.acquisition import Acquisition, Region
from napari_n2n.io.crash_safe import journal_path, partial_path
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import choose_device, use_threads
from napari_n2n.pair.recordings import Recordings
from napari_n2n.recipe import Recipe
from napari_n2n.training.fit import TrainingStep, fit
from napari_n2n.widgets.background import one_line
from napari_n2n.widgets.layers.growing_layer import Canvas
from napari_n2n.widgets.layers.result_layer import contrast_limits, scratch_folder
from napari_n2n.widgets.preferences import free_place, preferences
from napari_n2n.widgets.sessions.denoising_session import Stopped, denoised, interrupted_by
from napari_n2n.widgets.sessions.measuring import Measured


@dataclass(frozen=True)
class Words:
    """A line for the person about what goes on."""

    text: str


@dataclass(frozen=True)
class Opened:
    """What may be looked at while the network learns.

    Attributes
    ----------
    acquisition, source
        The first one, and the layer or path that it was opened from.
    limits
        Contrast limits that suit it.
    """

    acquisition: Acquisition
    source: Any
    limits: tuple[float, float]


@dataclass(frozen=True)
class Learned:
    """The model, before anything is done with it."""

    denoiser: Denoiser


@dataclass(frozen=True)
class Outcome:
    """What became of a run's results.

    Attributes
    ----------
    made
        How many there are.
    whole
        Whether all are there; else the last one was stopped.
    kept
        Where they are kept; None if they go when napari closes.
    """

    made: int
    whole: bool
    kept: Path | None


Message = Measured | TrainingStep | Look | Opened | Learned | Canvas | DenoisingStep | Words


class Orders:
    """What a window wants of a run: said there at any time, heard here between two steps.

    Attributes
    ----------
    stop, stop_denoising, discard
        End the training, or the denoising after it; keep nothing of either.
    paused
        Whether the run shall wait.
    region
        What is looked at: a slice for each axis of the first acquisition; None for nothing.
    """

    def __init__(self) -> None:
        self.stop, self.stop_denoising = threading.Event(), threading.Event()
        self.discard = threading.Event()
        self.paused = False
        self.region: Region | None = None
        self._news = threading.Event()

    def pause(self, paused: bool) -> None:
        """Let the run wait, or go on."""
        self.paused = paused
        self._news.set()

    def look_at(self, region: Region | None) -> None:
        """Ask for a preview of a region, again and again; None for no more."""
        self.region = region
        self._news.set()

    def end(self, *, discard: bool = False) -> None:
        """End everything as soon as can be."""
        if discard:
            self.discard.set()
        self.stop.set()
        self.stop_denoising.set()
        self.pause(False)

    def wait(self) -> None:
        """Sleep until something is said."""
        self._news.wait()
        self._news.clear()


def trained(
    recipe: Recipe, known: Measured | None, orders: Orders
) -> Generator[Message, None, Outcome | None]:
    """Train, and denoise what was learned from.

    Parameters
    ----------
    recipe
        From what, and how.
    known
        What is known of the recordings; measured here if it is not given.
    orders
        What the window wants while the run is under way.

    Returns
    -------
    Outcome or None
        None if all shall be forgotten.
    """
    use_threads(preferences().threads)
    recordings, settings = recipe.recordings, recipe.settings
    if known is None:
        yield Words("Measuring the noise ...")
        known = Measured.of(recordings.pairs())
        yield known
    yield Words("Starting the training ...")
    source = recordings.fields[0][0]
    seen = Acquisition.open(source, axes=recordings.axes)
    yield Opened(seen, source, contrast_limits(seen.sample_plane()))
    preview = Preview(seen, choose_device(settings.device), settings.memory)
    run = fit(known.pairs, settings, reports=known.reports, stop=orders.stop)
    denoiser = yield from _watched(run, preview, orders)
    if denoiser is None:
        return None
    yield Learned(denoiser)
    if recipe.wanted != "none":
        yield Words("Denoising ...")
    folder, kept = scratch_folder(), preferences().folder
    made, whole = [], True
    for sources in recipe.results():
        title = replace(recordings, sources=sources).title
        made.append(free_place(kept or folder, f"{title} denoised"))
        result = yield from denoised(
            denoiser,
            [_told_apart(one, recordings) for one in sources],
            made[-1],
            orders.stop_denoising,
            axes=None if recordings.in_folders else recordings.axes,
            device=settings.device,
            memory=settings.memory,
        )
        if orders.discard.is_set():
            for place in made:
                _remove(place)
            return None
        whole = result is not None
        if not whole:
            break
    return Outcome(len(made), whole, kept)


def _told_apart(source: Any, recordings: Recordings) -> Any:
    """Name a file of a folder by both: its counterparts in the others have the same name."""
    if not recordings.in_folders:
        return source
    opened = Acquisition.open(source, axes=recordings.axes)
    return replace(opened, name=f"{source.parent.name} {opened.name}")


def _remove(place: Path) -> None:
    """Take away what a run has made at a place that was free when it came."""
    for path in (place, partial_path(place), journal_path(place)):
        shutil.rmtree(path, ignore_errors=True)
        if path.is_file():
            path.unlink()


def _watched(
    run: Steps[TrainingStep, Denoiser], preview: Preview, orders: Orders
) -> Generator[TrainingStep | Look | Words, None, Denoiser | None]:
    """Train, wait while that is wanted, and show between two steps what is looked at."""
    pace = Pace()
    with closing(run):
        began = time.monotonic()
        for step in run:
            pace.earn(time.monotonic() - began)
            yield replace(step, denoiser=lambda: None)  # the network stays in this thread
            yield from _looks(step, preview, pace, orders)
            while orders.paused:
                orders.wait()
                yield from _looks(step, preview, pace, orders)
            if orders.discard.is_set():
                return None
            began = time.monotonic()
    return run.result


def _looks(
    step: TrainingStep, preview: Preview, pace: Pace, orders: Orders
) -> Iterator[Look | Words]:
    region, idle = orders.region, orders.paused
    if region is None or orders.stop.is_set() or not pace.allows(region, idle=idle):
        return
    began, look = time.monotonic(), None
    try:
        if (denoiser := step.denoiser()) is not None:
            with interrupted_by(orders.stop, denoiser):
                look = preview.look(denoiser, region)
    except Stopped:
        return
    except Exception as error:  # a plane that cannot be shown is no reason to end a long run
        yield Words(f"No preview of this plane: {one_line(error)}")
    pace.spend(time.monotonic() - began, region, idle=idle)
    if look is not None:
        yield look
