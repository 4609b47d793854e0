"""The sessions of a viewer: the state of its runs, so that docks can be closed and reopened."""

from collections.abc import Callable, Generator
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

from psygnal import Signal

from napari_n2n.errors import BadInput
from napari_n2n.widgets import background
from napari_n2n.widgets.dock import notify


class Session:
    """Runs one job at a time in the background of a viewer.

    Parameters
    ----------
    viewer
        Receives the results as new layers.

    Attributes
    ----------
    running
        True from the start to the end of the job.
    message
        The latest line about the run, for the user.
    """

    started = Signal()
    message_changed = Signal(str)
    failed = Signal(str)

    def __init__(self, viewer: Any) -> None:
        self._viewer = ref(viewer)
        self.running = self._failed = False
        self.message = ""

    def refuse_a_second(self) -> None:
        """Raise `BadInput` if any run is in progress in this viewer."""
        viewer = self._viewer()
        here = [] if viewer is None else _sessions.get(viewer, {}).values()
        if self.running or any(isinstance(one, Session) and one.running for one in here):
            raise BadInput(_BUSY, "busy")

    def forget_failure(self) -> None:
        """Clear the message of a failed run, because the user has changed a field since."""
        if self._failed and not self.running:
            self._failed = False
            self._say("")

    def _run(
        self,
        job: Callable[[], Generator[Any, None, Any]],
        title: str,
        on_quit: Callable[[], None],
    ) -> None:
        """Start a job; `on_quit` ends it when the window closes."""
        self.refuse_a_second()
        self.running, self._failed = True, False
        self._say("Opening the recordings ...")
        background.start(
            job,
            title,
            self._viewer,
            on_yield=self._receive,
            on_return=self._finish,
            on_failure=self._fail,
            on_abort=self._end,
            on_quit=on_quit,
        )
        self.started.emit()

    def _receive(self, message: Any) -> None:
        """Handle a value that the job yields."""
        raise NotImplementedError

    def _finish(self, result: Any) -> None:
        """Handle the value that the job returns."""
        raise NotImplementedError

    def _fail(self, error: str) -> None:
        self._end()
        self._failed = True
        self._say(notify(error))
        self.failed.emit(error)

    def _end(self) -> None:
        self.running = False

    def _say(self, text: str) -> None:
        self.message = text
        self.message_changed.emit(text)


_BUSY = (
    "Another run is in progress in this window: wait until it ends, stop it, or open another window"
)

Kind = TypeVar("Kind")

_sessions: WeakKeyDictionary[Any, dict[type, Any]] = WeakKeyDictionary()


def session_of(viewer: Any, kind: type[Kind]) -> Kind:
    """Return the viewer's session of a kind, created on first use."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    sessions = _sessions.setdefault(viewer, {})
    if kind not in sessions:
        sessions[kind] = kind(viewer)  # type: ignore[call-arg]
    return sessions[kind]
