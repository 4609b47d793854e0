"""Messages and progress on stderr, JSON on stdout, and the handling of Ctrl-C."""

import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from napari_n2n.training.fit import TrainingStep

# Seconds between two lines of progress in a log file: shorter would fill it within hours.
_LINE_SECONDS = 10.0


def say(line: str) -> None:
    """Print a message for the user on stderr; stdout is for results."""
    print(line, file=sys.stderr, flush=True)


def print_json(result: dict[str, Any]) -> None:
    """Print a JSON object as one line on stdout."""
    print(json.dumps(result, allow_nan=False))


def describe_step(step: "TrainingStep") -> str:
    """Return step, loss and validation score of a training run, for a line of progress."""
    psnr = "" if step.psnr is None else f", PSNR about {step.psnr:.1f} dB"
    return f"step {step.step}, loss {step.loss:.3g}{psnr}"


class _ForwardToLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger("napari_n2n").info("%s: %s", record.name, record.getMessage())


def forward_library_warnings() -> None:
    """Send the warnings of libraries to the log `napari_n2n`, instead of the terminal."""
    logging.captureWarnings(True)
    for name in ("py.warnings", "tifffile"):
        if not logging.getLogger(name).handlers:
            logging.getLogger(name).addHandler(_ForwardToLog())


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Set an event at the first Ctrl-C; the second one raises KeyboardInterrupt."""
    stop = threading.Event()

    def interrupt(signum: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("stopping: the model so far is kept (Ctrl-C again to abort)")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class ShowProgress(Protocol):
    """Show the finished share of a job, 0 to 1, and a short text."""

    def __call__(self, share: float, text: str = "") -> None:
        """Show the share and the text."""


@contextmanager
def progress(title: str) -> Iterator[ShowProgress]:
    """Show the progress of one job: a bar on a terminal, plain lines elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(title, total=1.0, text="")
            yield lambda share, text="": bars.update(task, completed=share, text=text)
        return

    printed = time.monotonic() - _LINE_SECONDS

    def print_line(share: float, text: str = "") -> None:
        nonlocal printed
        if share >= 1.0 or time.monotonic() - printed >= _LINE_SECONDS:
            printed = time.monotonic()
            say(f"{title}: {share:4.0%} {text}".rstrip())

    yield print_line
