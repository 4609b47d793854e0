"""What is known of the recordings that are chosen: measured once, in the background.

A job at a time looks at them in the background; its answer is dropped if something else has been
chosen by then.
"""

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from psygnal import Signal

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.model.device import use_threads
from napari_n2n.noise.measure import NoiseCurves, measure_with_curves
from napari_n2n.noise.report import NoiseReport
from napari_n2n.pair.pair import Finding, Pair
from napari_n2n.pair.recordings import Recordings, first_field
from napari_n2n.training.estimate import Estimate, estimate
from napari_n2n.training.settings import TrainingSettings
from napari_n2n.widgets import background
from napari_n2n.widgets.dock import on_other_pixels, plainly
from napari_n2n.widgets.preferences import preferences

_OF_A_STEP = {"device", "dims", "channels", "patch", "batch", "memory"}


@dataclass(frozen=True, eq=False)
class Measured:
    """Pairs of all fields of view, and for each channel its report and the curves behind it."""

    pairs: list[Pair]
    reports: list[NoiseReport]
    curves: list[NoiseCurves]

    @classmethod
    def of(cls, pairs: list[Pair]) -> "Measured":
        """Measure the pairs of the first field of view: a channel each."""
        found = [measure_with_curves(pair) for pair in first_field(pairs)]
        return cls(pairs, [report for report, _ in found], [curves for _, curves in found])

    @property
    def elsewhere(self) -> list[Finding]:
        """What is to be minded in other fields of view than the first: of each kind the first."""
        first, found = first_field(self.pairs), dict[str, Finding]()
        for pair in self.pairs:
            for finding in pair.findings if pair not in first else ():
                message = f"{pair.first.name}: {finding.message}"
                found.setdefault(finding.code, Finding(finding.code, message))
        return list(found.values())


class Measuring:
    """The measurement of the recordings that were chosen last.

    Parameters
    ----------
    viewer
        Whose it is; `session_of` keeps the one of its training.

    Attributes
    ----------
    recordings
        What is looked at; None before anything is.
    first
        The first of them, as soon as it is open.
    measured
        What was found; None until then.
    problem
        Why they cannot be used; None if they can.
    estimate
        How long a run would take, or a line that says why that cannot be told.
    busy
        Whether an answer is still to come.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        self.recordings: Recordings | None = None
        self._settings: TrainingSettings | None = None
        self._busy = self._held = False
        self._stop = threading.Event()
        self._forget()

    def _forget(self) -> None:
        self._stop.set()
        self.first: Acquisition | None = None
        self.measured: Measured | None = None
        self.problem: Finding | None = None
        self.estimate: Estimate | str | None = None

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self.recordings is not None and self.measured is None and self.problem is None

    # -- what is asked ------------------------------------------------------------------------

    def look(self, recordings: Recordings | None, *, again: bool = False) -> None:
        """Measure recordings, unless these are the ones that have been; None for nothing."""
        if recordings == self.recordings and not again:
            return
        self._listen(self.recordings, "disconnect")
        self.recordings = recordings
        self._listen(recordings, "connect")
        self._begin_anew()

    def refuse(self, error: BadInput) -> None:
        """Note why what is chosen cannot be opened; nothing if nothing is chosen yet."""
        self.look(None)
        self.problem = None if error.code == "not_chosen" else Finding(error.code, str(error))
        self.changed.emit()

    def time(self, settings: TrainingSettings) -> None:
        """Tell how long a run with these settings would take, when the recordings are measured."""
        if self._settings is None or _step_of(settings) != _step_of(self._settings):
            self.estimate = None
            if self.measured is not None:
                self._stop.set()  # what is under way times what nobody wants any more
        self._settings = settings
        self._next()

    def hold(self, held: bool) -> None:
        """Time no steps while a run computes."""
        self._held = held
        if held and self.measured is not None:
            self._stop.set()
        self._next()

    def known(self, recordings: Recordings) -> Measured | None:
        """Return what is known of recordings."""
        return self.measured if recordings == self.recordings else None

    def learn(self, recordings: Recordings, measured: Measured) -> None:
        """Take a measurement that somebody else has made."""
        if recordings == self.recordings and self.measured is None:
            self._stop.set()
            self.first, self.measured, self.problem = measured.pairs[0].first, measured, None
            self.changed.emit()
            self._next()

    # -- how it is answered -------------------------------------------------------------------

    def _listen(self, recordings: Recordings | None, verb: str) -> None:
        for source in recordings.sources if recordings else ():
            on_other_pixels(source, verb, self._begin_anew)

    def _begin_anew(self, _event: Any = None) -> None:
        self._forget()
        self.changed.emit()
        self._next()

    def _next(self) -> None:
        """Begin the job that is to be done now, if no other one is under way."""
        recordings, measured, settings = self.recordings, self.measured, self._settings
        if self._busy or recordings is None or self.problem is not None:
            return
        if measured is None:
            self._start(
                lambda stop: _measure(recordings, stop),
                "looking at the recordings",
                lambda message: Finding("", message),
            )
        elif settings is not None and self.estimate is None and not self._held:
            self._start(lambda _stop: _time(measured, settings), "timing a few steps", str)

    def _start(
        self,
        job: Callable[[threading.Event], Generator[Any, None, None]],
        title: str,
        answer_to: Callable[[str], Any],
    ) -> None:
        self._busy = True
        self._stop = stop = threading.Event()

        def receive(answer: Any) -> None:
            if not stop.is_set():
                self._take(answer)

        def fail(message: str) -> None:
            receive(answer_to(message))
            end()

        def end(_result: Any = None) -> None:
            self._busy = False
            self._next()

        def abort() -> None:
            self._busy = False

        background.start(
            lambda: job(stop),
            f"napari-n2n: {title}",
            on_yield=receive,
            on_return=end,
            on_failure=fail,
            on_abort=abort,
            on_quit=stop.set,
        )

    def _take(self, answer: Acquisition | Measured | Finding | Estimate | str) -> None:
        if isinstance(answer, Acquisition):
            self.first = answer
        elif isinstance(answer, Measured):
            self.measured = answer
        elif isinstance(answer, Finding):
            self.problem = answer
        else:
            self.estimate = answer
        self.changed.emit()


def _step_of(settings: TrainingSettings) -> dict[str, Any]:
    return settings.model_dump(include=_OF_A_STEP)


def _measure(
    recordings: Recordings, stop: threading.Event
) -> Generator[Acquisition | Measured | Finding, None, None]:
    try:
        yield Acquisition.open(recordings.fields[0][0], axes=recordings.axes)
        pairs: list[Pair] = []
        for field in recordings.opened():
            pairs += field
            if stop.is_set():
                return
        yield Measured.of(pairs)
    except BadInput as error:
        yield Finding(error.code, str(error))


def _time(measured: Measured, settings: TrainingSettings) -> Generator[Estimate | str, None, None]:
    use_threads(preferences().threads)
    try:
        yield estimate(measured.pairs, settings, measured.reports)
    except BadInput as error:
        yield plainly(error)
