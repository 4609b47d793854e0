"""How far along, on a terminal as a bar and elsewhere as plain lines; always on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

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
