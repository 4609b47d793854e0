"""Check whether a model suits recordings, and preview the denoised plane, before a long run."""

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from psygnal import Signal

from napari_n2n.denoising.plan import make_plan
from napari_n2n.denoising.predictor import Cancelled
from napari_n2n.denoising.preview import Preview, PreviewImage
from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition, Region
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import choose_device, use_threads
from napari_n2n.widgets.background import LatestOnly
from napari_n2n.widgets.dock import on_pixels_changed
from napari_n2n.widgets.layers.comparison import Comparison
from napari_n2n.widgets.layers.plane_on_screen import PreviewSource
from napari_n2n.widgets.layers.result_layer import contrast_limits
from napari_n2n.widgets.preferences import preferences


class SuitabilityCheck:
    """Checks whether recordings suit a model; only the latest request is answered.

    Parameters
    ----------
    viewer
        The viewer of the recordings.

    Attributes
    ----------
    busy
        Whether a check is running.
    found
        Emitted with sentences about differences between the recordings and the training data, or
        about why the model cannot denoise them.
    opened
        Emitted with the opened recording, or with the error that prevents using it.
    """

    found = Signal(tuple)
    opened = Signal(object)

    def __init__(self, viewer: Any) -> None:
        self._requests = LatestOnly(viewer)

    @property
    def busy(self) -> bool:
        """Whether a check is running."""
        return self._requests.busy

    def ask(self, denoiser: Denoiser, sources: list[Any], axes: str | None) -> None:
        """Check recordings; parameters as in `napari_n2n.denoising.plan.make_plan`."""
        self.forget()
        self._requests.run(
            lambda: _warnings(denoiser, sources, axes),
            "napari-n2n: comparing with the model",
            on_yield=self.opened.emit,
            on_return=self.found.emit,
            on_failure=lambda words: self.found.emit((words,)),
        )

    def forget(self) -> None:
        """Cancel all requests made so far."""
        self._requests.cancel()


def _warnings(
    denoiser: Denoiser, sources: list[Any], axes: str | None
) -> Generator[Acquisition | BadInput, None, tuple[str, ...]]:
    try:
        yield Acquisition.open(sources[0], axes=axes)
        return make_plan(denoiser, *sources, axes=axes).warnings
    except BadInput as error:
        yield error
        raise


@dataclass(frozen=True, eq=False)
class Subject:
    """The model, the recordings and the options of a preview.

    Attributes
    ----------
    denoiser, sources, axes, turns
        As in `make_plan`; the plane on screen is one of the first source.
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
        """Return whether another preview would show the same pixels."""
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
    """Denoises the plane on screen, in the background, while the preview is switched on.

    Parameters
    ----------
    viewer
        The viewer in which it is shown.

    Attributes
    ----------
    comparison
        The preview and the divider in the viewer; its `preview` says whether a preview is wanted.
    failed Emitted with the cause in one line. If a recording cannot be opened, the
        preview stays switched on for the next choice; if a plane cannot be computed, it is switched
        off.
    """

    failed = Signal(str)

    def __init__(self, viewer: Any) -> None:
        self.comparison = Comparison(viewer, preview=False)
        self._requests = LatestOnly(viewer)
        self._subject: Subject | None = None
        self._shown: Subject | None = None
        self._region: Region | None = None
        self.comparison.changed.connect(self._follow)

    def choose(self, subject: Subject | None) -> None:
        """Set the subject of the preview; None for no preview."""
        if subject is None or not subject.is_like(self._subject):
            self._subject = subject
            self._follow()

    def end(self) -> None:
        """Switch the preview off."""
        if self.comparison.preview:
            self.comparison.preview = False

    def _follow(self) -> None:
        """Open or close the preview if the wanted subject has changed."""
        wanted = self._subject if self.comparison.preview else None
        if wanted is not self._shown:
            self._set_shown(wanted)
            self._reopen()

    def _set_shown(self, subject: Subject | None) -> None:
        for one, verb in ((self._shown, "disconnect"), (subject, "connect")):
            for source in one.sources if one is not None else ():
                on_pixels_changed(source, verb, self._reopen)
        self._shown = subject

    def _reopen(self, _event: Any = None) -> None:
        self._requests.cancel()
        self._region = None
        self.comparison.close()
        if (subject := self._shown) is not None:
            cancelled = self._requests.cancelled
            self._run(lambda: _open(subject, cancelled), self._take, self._refuse)

    def _take(self, opened: tuple[Preview, PreviewSource]) -> None:
        preview, source = opened
        self.comparison.open(source, partial(self._ask, preview))

    def _refuse(self, words: str) -> None:
        self._set_shown(None)  # so that the next choice is opened
        self.failed.emit(words)

    def _ask(self, preview: Preview, region: Region | None) -> None:
        subject = self._shown
        if subject is None or region is None or region == self._region:
            return
        self._region = region
        self._run(lambda: _look(preview, subject, region), self._show, self._give_up)

    def _show(self, look: PreviewImage | None) -> None:
        if look is not None:
            self.comparison.show(look)

    def _give_up(self, words: str) -> None:
        self.end()
        self.failed.emit(words)

    def _run(
        self,
        job: Callable[[], Generator[None, None, Any]],
        on_return: Callable[[Any], None],
        on_failure: Callable[[str], None],
    ) -> None:
        title = "napari-n2n: preview"
        self._requests.run(job, title, on_return=on_return, on_failure=on_failure)


def _open(
    subject: Subject, cancelled: Callable[[], bool]
) -> Generator[None, None, tuple[Preview, PreviewSource]]:
    use_threads(preferences().threads)
    yield
    opened = [Acquisition.open(source, axes=subject.axes) for source in subject.sources]
    plan = make_plan(subject.denoiser, *opened, turns=subject.turns)
    device = choose_device(subject.device)
    preview = Preview(opened[0], device, subject.memory, plan, cancelled)
    limits = contrast_limits(opened[0].sample_plane())
    return preview, PreviewSource(opened[0], subject.sources[0], limits)


def _look(
    preview: Preview, subject: Subject, region: Region
) -> Generator[None, None, PreviewImage | None]:
    use_threads(preferences().threads)
    yield
    with suppress(Cancelled):
        return preview.denoise(subject.denoiser, region)
    return None
