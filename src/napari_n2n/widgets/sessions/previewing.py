"""The plane on screen as a model would clean it, before anybody waits for a whole result.

Whether a recording suits a model, found out in the background while a person still chooses.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from psygnal import Signal

from napari_n2n.denoising.plan import plan
from napari_n2n.denoising.preview import Look, Preview
from napari_n2n.io.acquisition import Acquisition, Region
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import choose_device, use_threads
from napari_n2n.widgets import background
from napari_n2n.widgets.dock import on_other_pixels
from napari_n2n.widgets.layers.comparison import Stage
from napari_n2n.widgets.layers.result_layer import contrast_limits
from napari_n2n.widgets.preferences import preferences
from napari_n2n.widgets.sessions.training_job import Opened

_Question = tuple[Denoiser, list[Any], str | None]


class Comparing:
    """Answers the question that was asked last; the answers to others are dropped.

    Attributes
    ----------
    busy
        Whether a comparison is under way.
    found
        Emitted with sentences for the person: how the recordings differ from what the model learned
        from, or why they cannot be denoised with it.
    """

    found = Signal(tuple)

    def __init__(self) -> None:
        self._question: _Question | None = None
        self.busy = False

    def ask(self, denoiser: Denoiser, sources: list[Any], axes: str | None) -> None:
        """Compare what `napari_n2n.denoising.plan.plan` takes; one comparison at a time."""
        self._question = denoiser, sources, axes
        self._next()

    def forget(self) -> None:
        """Answer nothing any more."""
        self._question = None

    def _next(self) -> None:
        question = self._question
        if self.busy or question is None:
            return
        self.busy = True

        def end(words: tuple[str, ...]) -> None:
            self.busy = False
            if self._question is question:
                self._question = None
                self.found.emit(words)
            self._next()

        background.start(
            lambda: _compared(question),
            "napari-n2n: comparing with the model",
            on_yield=lambda _nothing: None,
            on_return=end,
            on_failure=lambda words: end((words,)),
        )


def _compared(question: _Question) -> Generator[None, None, tuple[str, ...]]:
    denoiser, sources, axes = question
    yield
    return plan(denoiser, *sources, axes=axes).warnings


@dataclass(frozen=True, eq=False)
class Subject:
    """What a preview is of.

    Attributes
    ----------
    denoiser, sources, axes, turns
        As `plan` takes them; the plane on screen is one of the first source.
    device, memory
        Where to compute, and the limit in bytes.
    """

    denoiser: Denoiser
    sources: list[Any]
    axes: str | None
    turns: bool
    device: str
    memory: int

    def is_like(self, other: "Subject | None") -> bool:
        """Tell whether another preview would show the same."""
        if other is None or len(self.sources) != len(other.sources):
            return False
        pairs = zip(self.sources, other.sources, strict=True)
        settings = [(one.axes, one.turns, one.device, one.memory) for one in (self, other)]
        return (
            self.denoiser is other.denoiser
            and all(mine is its or mine == its for mine, its in pairs)
            and settings[0] == settings[1]
        )


class Previewing:
    """A stage on which a plane is shown as soon as one is wanted and there is something to show.

    One plane at a time is denoised in the background; the answer to what is no longer asked is
    dropped.

    Parameters
    ----------
    viewer
        The viewer in which it is shown.

    Attributes
    ----------
    stage
        Its `preview` says whether a preview is wanted.
    failed
        Emitted with a line for the person. What cannot be opened may be mended by another choice; a
        plane that cannot be computed ends the preview.
    """

    failed = Signal(str)

    def __init__(self, viewer: Any) -> None:
        self.stage = Stage(viewer, preview=False)
        self._subject: Subject | None = None
        self._busy = False
        self._forget(None)
        self.stage.changed.connect(self._follow)

    def choose(self, subject: Subject | None) -> None:
        """Say what a preview would be of; None if that cannot be told."""
        if subject is None or not subject.is_like(self._subject):
            self._subject = subject
            self._follow()

    def end(self) -> None:
        """Show nothing any more."""
        if self.stage.preview:
            self.stage.preview = False

    def _forget(self, shown: Subject | None) -> None:
        self._shown = shown
        self._preview: Preview | None = None
        self._region: Region | None = None
        self._seen: Region | None = None

    def _follow(self) -> None:
        """Begin or end, as what is wanted and what there is to show may have changed."""
        wanted = self._subject if self.stage.preview else None
        if wanted is not self._shown:
            for shown, verb in ((self._shown, "disconnect"), (wanted, "connect")):
                for source in shown.sources if shown is not None else ():
                    on_other_pixels(source, verb, self._begin_anew)
            self._begin(wanted)

    def _begin_anew(self, _event: Any = None) -> None:
        self._begin(self._shown)

    def _begin(self, subject: Subject | None) -> None:
        self._forget(subject)
        self.stage.close()
        self._next()

    def _ask(self, region: Region | None) -> None:
        self._region = region
        self._next()

    def _next(self) -> None:
        """Do what is to be done now, if nothing else is under way."""
        subject, preview, region = self._shown, self._preview, self._region
        if self._busy or subject is None:
            return
        if preview is None:
            self._start(subject, lambda: _open(subject))
        elif region is not None and region != self._seen:
            self._start(subject, lambda: _look(preview, subject, region))

    def _start(self, subject: Subject, job: Callable[[], Generator[None, None, Any]]) -> None:
        self._busy = True

        opened = self._preview

        def end(take: Callable[[], None]) -> None:
            self._busy = False
            if subject is self._shown and opened is self._preview:
                take()
            self._next()

        def give_up(words: str) -> None:
            if opened is None:
                self._shown = None  # another choice may do
            else:
                self.end()
            self.failed.emit(words)

        background.start(
            job,
            "napari-n2n: preview",
            on_yield=lambda _nothing: None,
            on_return=lambda answer: end(lambda: self._take(*answer)),
            on_failure=lambda words: end(lambda: give_up(words)),
        )

    def _take(self, asked: Preview | Region, answer: Opened | Look | None) -> None:
        if isinstance(asked, Preview) and isinstance(answer, Opened):
            self._preview = asked
            self.stage.open(answer, self._ask)
        elif not isinstance(asked, Preview):
            self._seen = asked
            if isinstance(answer, Look):
                self.stage.show(answer)


def _open(subject: Subject) -> Generator[None, None, tuple[Preview, Opened]]:
    use_threads(preferences().threads)
    yield
    seen = [Acquisition.open(source, axes=subject.axes) for source in subject.sources]
    work = plan(subject.denoiser, *seen, turns=subject.turns)
    preview = Preview(seen[0], choose_device(subject.device), subject.memory, work)
    limits = contrast_limits(seen[0].sample_plane())
    return preview, Opened(seen[0], subject.sources[0], limits)


def _look(
    preview: Preview, subject: Subject, region: Region
) -> Generator[None, None, tuple[Region, Look | None]]:
    use_threads(preferences().threads)
    yield
    return region, preview.look(subject.denoiser, region)
