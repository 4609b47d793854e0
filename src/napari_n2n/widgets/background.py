"""The one way in which this plugin computes in the background.

A generator runs in napari's worker thread; what it yields and returns arrives on the GUI's thread.
No exception leaves the generator: an escaping one may vanish and leave napari busy for good, so
that a failure travels as a value instead.

Short work beside the window's thread, the outcome of which is handled on it.

For a plane that is read from a slow disk; what goes on for longer is a job for `worker`.
"""

import errno
import logging
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from threading import Thread
from typing import Any, TypeVar

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import progress
from qtpy.QtCore import QObject, Qt, QThreadPool, Signal, Slot

from napari_n2n.errors import BadInput
from napari_n2n.widgets.dock import plainly

Outcome = TypeVar("Outcome")


class _Window(QObject):
    """Lives in the window's thread: what it is sent from another one is called in its own."""

    sent = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.sent.connect(self._call, Qt.ConnectionType.QueuedConnection)

    @Slot(object)
    def _call(self, handle: Callable[[], None]) -> None:
        handle()


@cache
def _window() -> _Window:
    return _Window()


def aside(work: Callable[[], Outcome], then: Callable[[Outcome | None], None]) -> None:
    """Work in another thread, then handle the outcome in the window's.

    Parameters
    ----------
    work
        Called in a thread of its own.
    then
        Called in the thread that this is called in, which is the window's, with the outcome; None
        if there was an error.
    """
    window = _window()

    def run() -> None:
        outcome = None
        with suppress(Exception):
            outcome = work()
        with suppress(RuntimeError):  # napari has just been closed: nobody is there to be told
            window.sent.emit(partial(then, outcome))

    Thread(target=run, daemon=True).start()


_FINE = 1000
_NO_MEMORY = "can't allocate memory"  # torch, on the CPU

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """What went wrong, in one line."""

    message: str


class _Worker(GeneratorWorker):
    """A worker whose job hears that napari wants it to end, long before it next yields."""

    on_quit: Callable[[], None]

    def quit(self) -> None:
        """End the job; napari calls this when the window really closes."""
        self.on_quit()
        super().quit()


class _Inbox:
    """Handles what arrives one after the other.

    Drawing napari's progress bar lets further messages in: they would be handled before the one
    that is being handled, the last one first.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False

    def take(self, handle: Callable[[], None]) -> None:
        """Handle something, now or when its turn comes."""
        self._waiting.append(handle)
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                self._waiting.popleft()()
        finally:
            self._busy = False


def start(
    job: Callable[[], Generator[Any, None, Any]],
    title: str,
    *,
    on_yield: Callable[[Any], None],
    on_return: Callable[[Any], None],
    on_failure: Callable[[str], None],
    on_abort: Callable[[], None] = lambda: None,
    on_quit: Callable[[], None] = lambda: None,
) -> Any:
    """Run a job in the background.

    Parameters
    ----------
    job
        Called in the thread; yields plain values and returns the result. It ends early by its own
        means (an event that it looks at), never by being killed.
    title
        For napari's activity panel; what is yielded may say its share as `progress`, 0 to 1.
    on_yield, on_return, on_failure
        Called on the GUI's thread; the last one with one line for the person.
    on_abort
        Called instead when napari has ended the work, because its window closes.
    on_quit
        Called when napari begins to end the work: set here the event that the job looks at.
    """
    running: list[Generator[Any, None, Any]] = []
    returned: list[Any] = []
    inbox = _Inbox()

    def guarded() -> Generator[Any, None, Any]:
        try:
            running.append(job())
            return (yield from running[0])
        except Exception as error:
            return Failure(one_line(error))

    guarded.__qualname__ = title  # napari asks with this name whether to close the window
    # A run takes hours: it does not count among the threads that short works share, one for each
    # core, so that neither napari nor a second window waits for it.
    pool = QThreadPool.globalInstance()
    pool.releaseThread()
    activity = progress(total=_FINE, desc=title)

    def show(message: Any) -> None:
        share = getattr(message, "progress", None)
        if share is not None:
            activity.update(round(_FINE * share) - activity.n)
        on_yield(message)

    def end() -> None:
        pool.reserveThread()
        activity.close()
        for generator in running:
            generator.close()  # napari only drops it: let it tidy up what it began
        if not returned:
            on_abort()
        elif isinstance(returned[0], Failure):
            on_failure(returned[0].message)
        else:
            try:
                on_return(returned[0])
            except Exception as error:  # a result that cannot be shown leaves nothing running
                on_failure(one_line(error))

    worker = create_worker(guarded, _start_thread=False, _worker_class=_Worker)
    worker.on_quit = on_quit
    worker.yielded.connect(lambda message: inbox.take(lambda: show(message)))
    worker.returned.connect(lambda result: returned.append(result))
    worker.finished.connect(lambda: inbox.take(end))
    worker.start()
    return worker


def one_line(error: Exception) -> str:
    """Say what went wrong in one line, and the way out if there is one; log what nobody foresaw."""
    if isinstance(error, BadInput):
        return plainly(error)
    lines = str(error).strip().splitlines()
    first = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{first}: free some space, or let the result go to another disk"
    if isinstance(error, PermissionError):
        return f"{first}: choose a folder that you may write into"
    if isinstance(error, MemoryError) or _NO_MEMORY in str(error):
        return f"{first}: choose less Memory, a smaller Patch or Batch, or close other programs"
    _log.error("unforeseen", exc_info=error)
    return first
