"""Generators that report as they go and return a result: run to their end, and wrapped."""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

Step = TypeVar("Step")
Changed = TypeVar("Changed")
Result = TypeVar("Result")


def run_to_end(
    run: Generator[Step, None, Result], on_step: Callable[[Step], None] | None = None
) -> Result:
    """Exhaust a generator and return its return value; `on_step` sees all that it yields."""
    while True:
        try:
            step = next(run)
        except StopIteration as finished:
            return finished.value
        if on_step is not None:
            on_step(step)


def mapped(
    run: Generator[Step, None, Result], change: Callable[[Step], Changed]
) -> Generator[Changed, None, Result]:
    """Pass on what a generator yields, changed, and return what it returns.

    Closing this one closes the other.
    """
    with closing(run):
        while True:
            try:
                step = next(run)
            except StopIteration as finished:
                return finished.value
            yield change(step)
