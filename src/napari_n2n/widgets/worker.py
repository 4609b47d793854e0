"""The one way in which this plugin computes in the background.

A generator runs in napari's worker thread; what it yields and returns arrives on the GUI's thread.
No exception leaves the generator: an escaping one may vanish and leave napari busy for good, so
that a failure travels as a value instead.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker
from napari.utils import progress

from napari_n2n.errors import BadInput

_FINE = 1000


@dataclass(frozen=True)
class Failure:
    """What went wrong, in one line."""

    message: str


def start(
    job: Callable[[], Generator[Any, None, Any]],
    title: str,
    *,
    on_yield: Callable[[Any], None],
    on_return: Callable[[Any], None],
    on_failure: Callable[[str], None],
    on_abort: Callable[[], None],
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
        Called instead when napari ends the work, because its window closes.
    """
    running: list[Generator[Any, None, Any]] = []

    def guarded() -> Generator[Any, None, Any]:
        try:
            running.append(job())
            return (yield from running[0])
        except Exception as error:
            return Failure(_one_line(error))

    activity = progress(total=_FINE, desc=title)

    def show(message: Any) -> None:
        share = getattr(message, "progress", None)
        if share is not None:
            activity.update(round(_FINE * share) - activity.n)
        on_yield(message)

    def finish(result: Any) -> None:
        activity.close()
        if isinstance(result, Failure):
            on_failure(result.message)
        else:
            on_return(result)

    def abandon() -> None:
        activity.close()
        for generator in running:
            generator.close()  # napari only drops it: let it tidy up what it began
        on_abort()

    worker = create_worker(guarded, _start_thread=False)
    worker.yielded.connect(show)
    worker.returned.connect(finish)
    worker.aborted.connect(abandon)
    worker.start()
    return worker


def _one_line(error: Exception) -> str:
    if isinstance(error, BadInput):
        return str(error)
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
