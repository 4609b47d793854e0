"""Short work beside the window's thread, the outcome of which is handled on it.

For a plane that is read from a slow disk; what goes on for longer is a job for `worker`.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from threading import Thread
from typing import TypeVar

from qtpy.QtCore import QObject, Qt, Signal, Slot

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
