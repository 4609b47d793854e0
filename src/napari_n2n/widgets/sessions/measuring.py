"""Measure the noise of the chosen recordings, and time a few training steps, in the background."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.model.device import use_threads
from napari_n2n.noise.measure import NoiseCurves, Report, measure_noise, measure_with_curves
from napari_n2n.noise.report_file import read_noise_report
from napari_n2n.pair.pair import Finding, Pair
from napari_n2n.pair.recordings import Recordings, first_field
from napari_n2n.training.estimate import TimeEstimate, estimate_time
from napari_n2n.training.settings import TrainingSettings
from napari_n2n.widgets.background import LatestOnly
from napari_n2n.widgets.dock import in_field_names, on_pixels_changed
from napari_n2n.widgets.preferences import preferences

# The settings on which the duration of one step depends.
_STEP_SETTINGS = {"device", "dims", "channels", "patch", "batch", "memory", "start"}


@dataclass(frozen=True, eq=False)
class Measured:
    """Pairs of all fields of view, and for each channel its noise report and curves."""

    pairs: list[Pair]
    reports: list[Report]
    curves: list[NoiseCurves | None]

    @classmethod
    def of(cls, pairs: list[Pair], noise: Path | None = None) -> "Measured":
        """Measure the pairs of the first field of view, one for each channel.

        There are no curves of a single recording. Its noise is read from a report if the user gave
        one.
        """
        if noise is not None:
            reports = read_noise_report(noise, pairs)
            return cls(pairs, [*reports], [None] * len(reports))
        found: list[tuple[Report, NoiseCurves | None]] = [
            (measure_noise(pair), None) if pair.is_single else measure_with_curves(pair)
            for pair in first_field(pairs)
        ]
        return cls(pairs, [report for report, _ in found], [curves for _, curves in found])

    @property
    def elsewhere(self) -> list[Finding]:
        """The first finding of each kind in fields of view other than the first."""
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
        The viewer it belongs to; `session_of` returns the one that training uses.

    Attributes
    ----------
    recordings
        The chosen recordings; None before any are chosen.
    first
        The first acquisition, once it is open.
    measured
        The result; None until the measurement is complete.
    problem
        Why the recordings cannot be used; None if they can.
    estimate
        How long a run would take, or one line that says why this could not be determined.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        self.recordings: Recordings | None = None
        self._settings: TrainingSettings | None = None
        self._training = False
        self._requests = LatestOnly(viewer)
        self._reset()

    def _reset(self) -> None:
        self._requests.cancel()
        self.first: Acquisition | None = None
        self.measured: Measured | None = None
        self.problem: Finding | None = None
        self.estimate: TimeEstimate | str | None = None

    @property
    def busy(self) -> bool:
        """Whether a measurement is running or waiting."""
        return self.recordings is not None and self.measured is None and self.problem is None

    def measure(self, recordings: Recordings | None, *, again: bool = False) -> None:
        """Measure recordings; None stops measuring.

        Recordings that were measured before are measured again only if `again` is True.
        """
        if recordings == self.recordings and not again:
            return
        self._follow_layers(self.recordings, "disconnect")
        self.recordings = recordings
        self._follow_layers(recordings, "connect")
        self._restart()

    def refuse(self, error: BadInput) -> None:
        """Stop measuring, and report why the chosen recordings cannot be opened."""
        self.measure(None)
        self.problem = None if error.code == "not_chosen" else Finding(error.code, str(error))
        self.changed.emit()

    def time(self, settings: TrainingSettings) -> None:
        """Estimate how long a run with these settings takes, once the recordings are measured."""
        before, self._settings = self._settings, settings
        if before is None or _step_settings(settings) != _step_settings(before):
            self._time_steps()

    def hold(self, training: bool) -> None:
        """Stop timing steps while `training` is True, because the run uses the device."""
        self._training = training
        if training and self.measured is not None:
            self._requests.cancel()
        elif self.estimate is None:
            self._time_steps()

    def known(self, recordings: Recordings) -> Measured | None:
        """Return the measurement of these recordings; None if they are not measured."""
        return self.measured if recordings == self.recordings else None

    def adopt(self, recordings: Recordings, measured: Measured) -> None:
        """Use a measurement of these recordings that was made elsewhere."""
        if recordings == self.recordings and self.measured is None:
            self._requests.cancel()
            self.first, self.problem = measured.pairs[0].first, None
            self._receive(measured)

    def _follow_layers(self, recordings: Recordings | None, verb: str) -> None:
        for source in chain(*recordings.fields) if recordings else ():
            on_pixels_changed(source, verb, self._restart)

    def _restart(self, _event: Any = None) -> None:
        self._reset()
        self.changed.emit()
        recordings = self.recordings
        if recordings is not None:
            self._requests.run(
                lambda: _measure(recordings, self._requests.cancelled),
                "napari-n2n: measuring the noise",
                on_yield=self._receive,
                on_failure=lambda message: self._receive(Finding("", message)),
            )

    def _time_steps(self) -> None:
        measured, settings = self.measured, self._settings
        if measured is None:
            return
        self._requests.cancel()
        self.estimate = None
        if settings is not None and not self._training:
            self._requests.run(
                lambda: _time(measured, settings, self._requests.cancelled),
                "napari-n2n: timing a few steps",
                on_yield=self._receive,
                on_failure=self._receive,
            )

    def _receive(self, answer: Acquisition | Measured | Finding | TimeEstimate | str) -> None:
        if isinstance(answer, Acquisition):
            self.first = answer
        elif isinstance(answer, Measured):
            self.measured = answer
        elif isinstance(answer, Finding):
            self.problem = answer
        else:
            self.estimate = answer
        self.changed.emit()
        if isinstance(answer, Measured):
            self._time_steps()


def _step_settings(settings: TrainingSettings) -> dict[str, Any]:
    return settings.model_dump(include=_STEP_SETTINGS)


def _measure(
    recordings: Recordings, cancelled: Callable[[], bool]
) -> Generator[Acquisition | Measured | Finding, None, None]:
    try:
        yield Acquisition.open(recordings.fields[0][0], axes=recordings.axes)
        pairs: list[Pair] = []
        for field in recordings.opened():
            pairs += field
            if cancelled():
                return
        yield Measured.of(pairs, recordings.noise)
    except BadInput as error:
        yield Finding(error.code, str(error))


def _time(
    measured: Measured, settings: TrainingSettings, cancelled: Callable[[], bool]
) -> Generator[TimeEstimate | str, None, None]:
    use_threads(preferences().threads)
    try:
        yield estimate_time(measured.pairs, settings, measured.reports, cancelled)
    except BadInput as error:
        yield in_field_names(error)
