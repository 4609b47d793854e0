"""Run work in the background, and handle its results on the GUI thread.

`start` runs a generator in a napari worker, and passes the values that it yields and returns to
callbacks on the GUI thread. Exceptions do not leave the generator, because napari may lose them and
then seems busy forever: a failure is returned as a value. `read_in_thread` runs one short call,
such as reading a plane from a slow disk. `LatestOnly` runs one job or call at a time; if several
requests arrive during this time, only the latest runs next.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from threading import Event, Thread
from typing import Any, TypeVar
from weakref import ref

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import progress
from qtpy.QtCore import QObject, Qt, QThreadPool, Signal, Slot

from napari_n2n.errors import bug_report, explain
from napari_n2n.widgets.dock import UnexpectedError, in_field_names, notify

Outcome = TypeVar("Outcome")
Job = Generator[Any, None, Any]


class _GuiThread(QObject):
    """Receives functions from other threads and calls them on the GUI thread."""

    sent = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.sent.connect(self._call, Qt.ConnectionType.QueuedConnection)

    @Slot(object)
    def _call(self, handle: Callable[[], None]) -> None:
        handle()


@cache
def _gui_thread() -> _GuiThread:
    return _GuiThread()


def read_in_thread(work: Callable[[], Outcome], then: Callable[[Outcome | None], None]) -> None:
    """Run a short call in another thread, then handle its outcome on the GUI thread.

    Parameters
    ----------
    work
        Called in a thread of its own.
    then
        Called on the GUI thread with the outcome, or with None after an error.

    Notes
    -----
    Call this on the GUI thread.
    """
    gui = _gui_thread()

    def run() -> None:
        outcome = None
        with suppress(Exception):
            outcome = work()
        with suppress(RuntimeError):  # napari was closed meanwhile, which deletes the receiver
            gui.sent.emit(partial(then, outcome))

    Thread(target=run, daemon=True).start()


# Steps of napari's progress bar: 0.1 %, finer than a bar of a few hundred pixels can show.
_PROGRESS_STEPS = 1000

_log = logging.getLogger("napari_n2n")


@dataclass(frozen=True)
class Failure:
    """Return value of a job that failed: the cause in one line."""

    message: str


class _Worker(GeneratorWorker):
    """A worker that calls `on_quit` as soon as napari closes, before the job's next yield."""

    on_quit: Callable[[], None]

    def quit(self) -> None:
        """Ask the job to end; napari calls this when the window closes."""
        self.on_quit()
        super().quit()

    def work(self) -> Any:
        """Run the job; raise the error of a closed window, which superqt would print instead."""
        outcome = super().work()
        if isinstance(outcome, RuntimeError):
            raise outcome
        return outcome

    def run(self) -> None:
        """Run the job; Qt calls this in the background thread."""
        # The job's own errors never get here. When Python exits, Qt may delete the signals before
        # the job ends; an error raised here would then abort the process.
        with suppress(RuntimeError):
            super().run()


class _Inbox:
    """Handles messages one after the other, in the order of their arrival.

    Drawing napari's progress bar processes Qt events. Without this queue, a message that arrives
    meanwhile would be handled before the previous one is finished.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False

    def take(self, handle: Callable[[], None]) -> None:
        """Handle a message now, or after the messages that arrived before it."""
        self._waiting.append(handle)
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                self._waiting.popleft()()
        finally:
            self._busy = False


def _ignore(_message: Any = None) -> None:
    """Ignore a message."""


def _is_closed(viewer: Any) -> bool:
    """Return whether the window of a viewer is closed: no layer can be added to it any more."""
    try:
        viewer.window.geometry()
    except (AttributeError, RuntimeError):  # napari, or Qt, has deleted the window
        return True
    return False


def start(
    job: Callable[[], Job],
    title: str,
    viewer: Any,
    *,
    on_yield: Callable[[Any], None] = _ignore,
    on_return: Callable[[Any], None],
    on_failure: Callable[[str], None],
    on_abort: Callable[[], None] = _ignore,
    on_quit: Callable[[], None] = _ignore,
) -> None:
    """Run a job in the background.

    Parameters
    ----------
    job
        Called in the background thread; yields plain values and returns the result. It is never
        killed: a job that can end early checks an event.
    title
        Shown in napari's activity panel, with the share done if yielded values have the attribute
        `progress`, 0 to 1.
    viewer
        Weak reference to the viewer of the job. napari asks a job to end when the window closes
        that was active when the job began, except if the last message of the job is already on its
        way.
    on_yield, on_return, on_failure
        Called on the GUI thread; `on_failure` with the cause in one line. on_abort
        Called instead of `on_return` and `on_failure` if napari's window was closed.
    on_quit
        Called when the window closes; sets the event that the job checks.
    """
    running: list[Job] = []
    returned: list[Any] = []
    inbox = _Inbox()

    def guarded() -> Job:
        try:
            running.append(job())
            return (yield from running[0])
        except Exception as error:
            return Failure(one_line(error))

    guarded.__qualname__ = title  # napari shows this name when it asks whether to close the window
    # Qt's pool has one thread per core, for short jobs. If a run of hours counted as one of them,
    # napari and a second window would wait for it.
    pool = QThreadPool.globalInstance()
    pool.releaseThread()
    activity = progress(total=_PROGRESS_STEPS, desc=title)

    def aborted() -> bool:
        if not worker.abort_requested and _is_closed(viewer()):
            worker.quit()
        return bool(worker.abort_requested)

    def show(message: Any) -> None:
        share = getattr(message, "progress", None)
        if share is not None and not aborted():
            activity.update(round(_PROGRESS_STEPS * share) - activity.n)
        if not aborted():  # the window may be closed while the bar is drawn
            on_yield(message)

    def end() -> None:
        pool.reserveThread()
        activity.close()
        for generator in running:
            generator.close()  # napari only drops the generator: let it clean up
        if not returned or aborted():
            on_abort()
        elif isinstance(returned[0], Failure):
            on_failure(returned[0].message)
        else:
            try:
                on_return(returned[0])
            except Exception as error:  # a result that cannot be shown is a failure
                on_failure(one_line(error))

    worker = create_worker(guarded, _start_thread=False, _worker_class=_Worker)
    worker.on_quit = on_quit
    worker.yielded.connect(lambda message: inbox.take(lambda: show(message)))
    worker.returned.connect(lambda result: returned.append(result))
    worker.finished.connect(lambda: inbox.take(end))
    worker.start()


class LatestOnly:
    """Runs one request at a time; if several arrive during this time, only the latest runs next.

    Parameters
    ----------
    viewer
        The viewer of the requests.

    Attributes
    ----------
    busy
        Whether a request is running.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = ref(viewer)
        self._running: Event | None = None  # set: its answer is no longer wanted
        self._waiting: Callable[[Event], None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is running."""
        return self._running is not None

    def cancel(self) -> None:
        """Cancel the waiting request, and ignore the answer to the running request."""
        self._waiting = None
        if self._running is not None:
            self._running.set()

    def cancelled(self) -> bool:
        """Return whether the running request was cancelled; a job checks this to end early."""
        return self._running is not None and self._running.is_set()

    def run(
        self,
        job: Callable[[], Job],
        title: str,
        *,
        on_yield: Callable[[Any], None] = _ignore,
        on_return: Callable[[Any], None] = _ignore,
        on_failure: Callable[[str], None],
    ) -> None:
        """Request a job; parameters as in `start`."""

        def failed(words: str) -> None:
            if isinstance(words, UnexpectedError):
                notify(words)  # other errors are shown only where the answer would be
            on_failure(words)

        def begin(cancelled: Event) -> None:
            start(
                job,
                title,
                self._viewer,
                on_yield=lambda message: None if cancelled.is_set() else on_yield(message),
                on_return=lambda result: self._end(cancelled, partial(on_return, result)),
                on_failure=lambda words: self._end(cancelled, partial(failed, words)),
                on_abort=lambda: self._end(cancelled, _ignore),
                on_quit=self.cancel,
            )

        self._request(begin)

    def read(self, work: Callable[[], Outcome], then: Callable[[Outcome | None], None]) -> None:
        """Request a short call; parameters as in `read_in_thread`."""

        def begin(cancelled: Event) -> None:
            read_in_thread(work, lambda outcome: self._end(cancelled, partial(then, outcome)))

        self._request(begin)

    def _request(self, begin: Callable[[Event], None]) -> None:
        self._waiting = begin
        self._begin_next()

    def _begin_next(self) -> None:
        if self._running is None and self._waiting is not None:
            begin, self._waiting = self._waiting, None
            self._running = cancelled = Event()
            begin(cancelled)

    def _end(self, cancelled: Event, answer: Callable[[], None]) -> None:
        if self._running is cancelled:
            self._running = None
        try:
            if not cancelled.is_set():
                answer()
        finally:
            self._begin_next()


def one_line(error: Exception) -> str:
    """Return one line with the cause and, if known, the fix; log unexpected errors in full.

    The line about an unexpected error is an `UnexpectedError`.
    """
    line = explain(error)
    if line is not None:
        return in_field_names(line)
    _log.error("unexpected error", exc_info=error)
    first = next(iter(str(error).strip().splitlines()), "")
    cause = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return UnexpectedError(f"Unexpected error, probably a bug: {cause}", bug_report(error))
