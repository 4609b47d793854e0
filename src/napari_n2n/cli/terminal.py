"""How far along, on a terminal as a bar and elsewhere as plain lines; always on stderr.

What people and programs get back: lines, one JSON object, and an answer to Ctrl-C.
"""

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from napari_n2n.training.fit import TrainingStep


def say(line: str) -> None:
    """Tell people something; programs read what goes to the other stream."""
    print(line, file=sys.stderr, flush=True)


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object on a line."""
    print(json.dumps(result, allow_nan=False))


def step_words(step: "TrainingStep") -> str:
    """Return where a training run stands, for a line of progress."""
    psnr = "" if step.psnr is None else f", PSNR about {step.psnr:.1f} dB"
    return f"step {step.step}, loss {step.loss:.3g}{psnr}"


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a request to stop; the second one interrupts for real."""
    stop = threading.Event()

    def ask(signum: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("stopping: the model so far is kept (Ctrl-C again to abort)")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


_LINE_SECONDS = 10.0


class Report(Protocol):
    """Say how far a job is: the share done, 0 to 1, and a few words."""

    def __call__(self, share: float, words: str = "") -> None:
        """Say it."""


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """Show the progress of one job while the block runs."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(title, total=1.0, words="")
            yield lambda share, words="": bars.update(task, completed=share, words=words)
        return

    printed = time.monotonic() - _LINE_SECONDS

    def line(share: float, words: str = "") -> None:
        nonlocal printed
        if share >= 1.0 or time.monotonic() - printed >= _LINE_SECONDS:
            printed = time.monotonic()
            print(f"{title}: {share:4.0%} {words}".rstrip(), file=sys.stderr, flush=True)

    yield line
