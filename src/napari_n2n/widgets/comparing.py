"""Whether a recording suits a model, found out in the background while a person still chooses."""

from collections.abc import Generator
from typing import Any

from psygnal import Signal

from napari_n2n.model import Denoiser
from napari_n2n.plan import plan
from napari_n2n.widgets import worker

_Question = tuple[Denoiser, list[Any], str | None]


class Comparing:
    """Answers the question that was asked last; the answers to others are dropped.

    Attributes
    ----------
    busy
        Whether a comparison is under way.
    found
        Emitted with sentences for the person: how the recordings differ from what the model learned
        from, or why they cannot be denoised with it.
    """

    found = Signal(tuple)

    def __init__(self) -> None:
        self._question: _Question | None = None
        self.busy = False

    def ask(self, denoiser: Denoiser, sources: list[Any], axes: str | None) -> None:
        """Compare what `napari_n2n.plan.plan` takes; one comparison at a time."""
        self._question = denoiser, sources, axes
        self._next()

    def forget(self) -> None:
        """Answer nothing any more."""
        self._question = None

    def _next(self) -> None:
        question = self._question
        if self.busy or question is None:
            return
        self.busy = True

        def end(words: tuple[str, ...]) -> None:
            self.busy = False
            if self._question is question:
                self._question = None
                self.found.emit(words)
            self._next()

        worker.start(
            lambda: _compared(question),
            "napari-n2n: comparing with the model",
            on_yield=lambda _nothing: None,
            on_return=end,
            on_failure=lambda words: end((words,)),
        )


def _compared(question: _Question) -> Generator[None, None, tuple[str, ...]]:
    denoiser, sources, axes = question
    yield
    return plan(denoiser, *sources, axes=axes).warnings
