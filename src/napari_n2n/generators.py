"""Running a generator that reports as it goes, for those who only want its result."""

from collections.abc import Callable, Generator
from typing import TypeVar

Step = TypeVar("Step")
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
