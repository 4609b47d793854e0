"""Handle signals: the first one ends a run cleanly, the second one at once.

SIGTERM, which the scheduler of a cluster sends before it kills a job, is handled like Ctrl-C. The
exit status is 128 plus the number of the signal: 130 for Ctrl-C, 143 for SIGTERM. SIGUSR1
saves a checkpoint, and the run continues (not on Windows).
"""

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

# SIGBREAK is Ctrl-Break on Windows, SIGHUP a closed terminal elsewhere.
_ENDING = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
]
# Seconds in which the same signal counts once: a program that starts this one may forward the
# signal that the terminal has already sent. A second key press takes longer.
_ECHO_SECONDS = 0.2


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread by the first signal."""


class Signals:
    """The signals that this process has received.

    Attributes
    ----------
    received
        Number of the first signal that asks the program to end; 0 if there was none.
    stop
        Set by the first signal once `stop_gently` was called.
    save
        Set by SIGUSR1; training clears it when it has saved a checkpoint. Other commands need none:
        denoising keeps every finished part.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.received, self._when = 0, 0.0
        self.stop, self.save = threading.Event(), threading.Event()
        self._on_stop: Callable[[], None] | None = None
        self._earned: int | None = None

    @property
    def status(self) -> int:
        """Exit status of a program that a signal has ended."""
        return 128 + self.received

    @property
    def raised(self) -> bool:
        """Whether a signal has interrupted the run, rather than asked it to stop."""
        return self.received != 0 and not self.stop.is_set()

    def handle(self) -> None:
        """Handle the signals of this process from now on; for the main thread only."""
        self._reset()
        handlers: dict[int, Any] = dict.fromkeys(_ENDING, self._end)
        if hasattr(signal, "SIGUSR1"):
            handlers[signal.SIGUSR1] = lambda *_: self.save.set()
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            del handlers[signal.SIGHUP]  # nohup: the run continues without its terminal
        for number, handler in handlers.items():
            signal.signal(number, handler)
        atexit.register(_ignore)  # the first one that is registered runs last

    def end_with(self, status: int) -> None:
        """From now on, a signal ends the process at once, with the exit status of the finished run.

        At exit, Python waits for the threads that still read or compute. If an exception ended this
        wait, Python would shut down while they run, and torch would abort the process.
        """
        self._earned = status

    def stop_gently(self, on_stop: Callable[[], None]) -> None:
        """From now on, the first signal sets `stop` and calls a function instead of raising."""
        self._on_stop = on_stop

    def check(self) -> None:
        """Raise again if the exception of the first signal was lost, for example in a finaliser.

        Raises
        ------
        Interrupted
            If a signal has interrupted the run.
        """
        if self.raised:
            raise Interrupted

    def _end(self, number: int, _frame: Any) -> None:
        if self._earned is not None:
            os._exit(self._earned)
        if self.received:
            if number != self.received or time.monotonic() - self._when > _ECHO_SECONDS:
                os._exit(128 + number)  # a clean end would wait for the parts in progress
            return
        self.received, self._when = number, time.monotonic()
        if self._on_stop is None:
            raise Interrupted
        self.stop.set()
        with suppress(RuntimeError):  # the signal came while the main thread was printing
            self._on_stop()


def _ignore() -> None:
    """Ignore signals while Python frees its modules: it no longer calls handlers then."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


SIGNALS = Signals()
"""The signals of this process."""
