"""Generators that report progress and keep their result."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

Step = TypeVar("Step")
Result = TypeVar("Result")
Given = ParamSpec("Given")


class Steps(Generator[Step, None, Result], Generic[Step, Result]):
    """A run in progress: iterate over its steps, then read `result`.

    It can be paused after every step, and ended early by `close`. Other generators can use
    ``result = yield from run``.

    Parameters
    ----------
    generator
        Yields the steps and returns the result.
    """

    def __init__(self, generator: Generator[Step, None, Result]) -> None:
        self._generator = generator
        self._results: list[Result] = []

    @property
    def result(self) -> Result:
        """The value that the generator returned.

        Raises
        ------
        RuntimeError
            If the run has not finished.
        """
        if not self._results:
            raise RuntimeError("no result yet: iterate over the run to its end first")
        return self._results[0]

    def finish(self, on_step: Callable[[Step], None] | None = None) -> Result:
        """Run to the end, call `on_step` with every step, and return the result."""
        for step in self:
            if on_step is not None:
                on_step(step)
        return self.result

    def send(self, value: None) -> Step:
        """Return the next step."""
        try:
            return self._generator.send(value)
        except StopIteration as end:
            if not self._results:
                self._results.append(end.value)
            raise

    def throw(self, *error: Any) -> Step:
        """Raise an exception at the point where the run is paused."""
        return self._generator.throw(*error)

    def close(self) -> None:
        """End the run early; it then has no result."""
        self._generator.close()


def as_steps(
    function: Callable[Given, Generator[Step, None, Result]],
) -> Callable[Given, Steps[Step, Result]]:
    """Decorate a generator function to return `Steps`."""

    @wraps(function)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Steps[Step, Result]:
        return Steps(function(*args, **kwargs))

    return run


def each_step_in(
    context: Callable[[], AbstractContextManager[None]], run: Generator[Step, None, Result]
) -> Generator[Step, None, Result]:
    """Run a generator with every step inside a new context, which does not affect the caller."""
    with closing(run):
        while True:
            with context():
                try:
                    step = next(run)
                except StopIteration as end:
                    return end.value
            yield step
