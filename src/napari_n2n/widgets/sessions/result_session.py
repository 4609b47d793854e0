"""A session whose result is a layer that fills while the result is written."""

import math
import time
from typing import Any

from psygnal import Signal

from napari_n2n.denoising.denoise import DenoisingStep
from napari_n2n.widgets.layers.growing_layer import GrowingLayer, ResultStarted
from napari_n2n.widgets.sessions.session import Session


class ResultSession(Session):
    """Runs one job at a time, and shows its result as a layer.

    Attributes
    ----------
    remaining
        Seconds until the result is complete, estimated; inf while this cannot be estimated.
    results
        The complete results of the run.
    """

    discarded = Signal()
    finished: Any  # a signal

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._growing: GrowingLayer | None = None
        self._first: tuple[float, float] | None = None  # time and progress at the first step
        self.remaining = math.inf
        self.results: list[GrowingLayer] = []

    @property
    def inputs(self) -> list[Any]:
        """The recordings of the run."""
        raise NotImplementedError

    def source_of_result(self) -> Any:
        """Return the first recording of the selected result, or else of the last result."""
        viewer = self._viewer()
        active = None if viewer is None else viewer.layers.selection.active
        shown = [one for one in self.results if active in one.layers] or self.results
        return shown[-1].result.source if shown else None

    def _begin_result(self, result: ResultStarted) -> None:
        """Show a new result, or continue in the existing layer of a result that is resumed."""
        self._first, self.remaining = None, math.inf
        viewer, growing = self._viewer(), self._growing
        if viewer is not None and not (growing and growing.shows(result)):
            self._growing = GrowingLayer(viewer, result)

    def _grow(self, step: DenoisingStep) -> None:
        """Show the shards that are complete, and estimate the time left."""
        self._estimate(step.progress)
        if self._growing is not None:
            self._growing.follow(step)

    def _estimate(self, progress: float) -> None:
        now = time.monotonic()
        began, before = self._first = self._first or (now, progress)
        if progress > before:
            self.remaining = (now - began) * (1 - progress) / (progress - before)

    def _end_result(self, *, complete: bool) -> None:
        """Show the complete result, or the finished part of a stopped run."""
        if self._growing is None:
            return
        if complete:
            self._growing.finish()
            self._growing = None
        else:
            self._growing.stop()

    def _fail(self, error: str) -> None:
        self._end_result(complete=False)
        super()._fail(error)
