"""The sessions of one viewer: what runs, where it stands, what came out; no widget knows more.

Docks come and go; a session stays with the viewer, so that a dock that is closed and opened again
finds its run.
"""

import math
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

from psygnal import Signal

from napari_n2n.denoising.denoise import DenoisingStep
from napari_n2n.errors import BadInput
from napari_n2n.widgets import background
from napari_n2n.widgets.dock import notify
from napari_n2n.widgets.layers.growing_layer import Canvas, GrowingLayer


class Session:
    """One job at a time in the background of a viewer, and the layer in which its result grows.

    Parameters
    ----------
    viewer
        Receives the result as a new layer.

    Attributes
    ----------
    running
        True from start to the end of the background work.
    words
        The latest line for the person.
    remaining
        Seconds that the result under way may still take; inf where nobody knows.
    """

    started = Signal()
    said = Signal(str)
    failed = Signal(str)

    def __init__(self, viewer: Any) -> None:
        self._viewer = ref(viewer)
        self._growing: GrowingLayer | None = None
        self._first: tuple[float, float] | None = None
        self.remaining = math.inf
        self.running = self._failed = False
        self.words = ""

    def refuse_a_second(self) -> None:
        """Raise `BadInput` if a run of whatever kind is under way in this viewer."""
        viewer = self._viewer()
        here = [] if viewer is None else _sessions.get(viewer, {}).values()
        if self.running or any(isinstance(one, Session) and one.running for one in here):
            raise BadInput(_BUSY, "busy")

    def _run(
        self,
        job: Callable[[], Generator[Any, None, Any]],
        title: str,
        on_quit: Callable[[], None],
    ) -> None:
        """Start a job, which `on_quit` ends when the window closes."""
        self.refuse_a_second()
        self.running, self._failed = True, False
        self._say("Looking at the acquisitions ...")
        background.start(
            job,
            title,
            on_yield=self._receive,
            on_return=self._finish,
            on_failure=self._fail,
            on_abort=self._end,
            on_quit=on_quit,
        )
        self.started.emit()

    def _receive(self, message: Any) -> None:
        raise NotImplementedError

    def _finish(self, result: Any) -> None:
        raise NotImplementedError

    def _grow(self, message: Canvas | DenoisingStep) -> None:
        """Show the result as far as it is, and tell how long it still takes."""
        viewer, growing = self._viewer(), self._growing
        if isinstance(message, DenoisingStep):
            self._time(message.progress)
            if growing is not None:
                growing.follow(message)
            return
        self._first, self.remaining = None, math.inf
        if viewer is not None and not (growing and growing.goes_on_with(message)):
            self._growing = GrowingLayer(viewer, message)

    def _time(self, progress: float) -> None:
        now = time.monotonic()
        began, before = self._first = self._first or (now, progress)
        if progress > before:
            self.remaining = (now - began) * (1 - progress) / (progress - before)

    def _settle(self, *, whole: bool) -> None:
        """Show the whole result, or keep of a stopped one what may be gone on with."""
        if self._growing is None:
            return
        if whole:
            self._growing.finish()
            self._growing = None
        else:
            self._growing.stop()

    def forget_failure(self) -> None:
        """Say no more why the last run failed, as something else is asked for now."""
        if self._failed and not self.running:
            self._failed = False
            self._say("")

    def _fail(self, message: str) -> None:
        self._end()
        self._failed = True
        self._settle(whole=False)
        self._say(notify(message))
        self.failed.emit(message)

    def _end(self) -> None:
        self.running = False

    def _say(self, text: str) -> None:
        self.words = text
        self.said.emit(text)


_BUSY = "A run is under way in this window: wait for its end or stop it, or open another window"

Kind = TypeVar("Kind")

_sessions: WeakKeyDictionary[Any, dict[type, Any]] = WeakKeyDictionary()


def session_of(viewer: Any, kind: type[Kind]) -> Kind:
    """Return what a viewer has of a kind of session, made with the viewer on first use."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    sessions = _sessions.setdefault(viewer, {})
    if kind not in sessions:
        sessions[kind] = kind(viewer)  # type: ignore[call-arg]
    return sessions[kind]
