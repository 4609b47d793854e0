"""The panel of findings: the noise of a pair, its problems, and buttons that correct them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.noise.measure import Report
from napari_n2n.pair.checks import Finding, other_scenes
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.recordings import Recordings
from napari_n2n.training.losses import LOSSES
from napari_n2n.widgets.dock import TextLabel, button, connect_while_alive, in_field_names
from napari_n2n.widgets.layers.result_layer import layer_arguments, translation_at
from napari_n2n.widgets.sessions.measuring import Measuring


@dataclass(frozen=True)
class Fix:
    """A correction: its name, title and tooltip, and the codes of the findings it corrects."""

    name: str
    title: str
    tip: str
    codes: frozenset[str]


FIXES = {
    fix.name: fix
    for fix in (
        Fix(
            "split",
            "Split A instead",
            "Use the even and the odd frames of A as the pair",
            frozenset({"duplicate", "shape", "motion", "single"}),
        ),
        Fix(
            "other",
            "Choose another B",
            "Choose another recording of the scene as B",
            frozenset({"duplicate", "shape", "other_scene"}),
        ),
        Fix(
            "crop",
            "Crop to overlap",
            "Add layers cropped to the area that all recordings show, and use them",
            frozenset({"shift"}),
        ),
        Fix(
            "swap",
            "Swap A and B",
            "The result then has the brightness of B",
            frozenset({"gain"}),
        ),
    )
}


class FindingsPanel(QWidget):
    """Show the noise, the reason for the loss, the findings, and buttons that correct them.

    Parameters
    ----------
    measuring
        The measurement to show.
    has_other
        Returns whether another recording could be chosen as B.

    Attributes
    ----------
    fix_requested
        Emitted with the name of the `Fix` whose button was clicked.
    """

    fix_requested = Signal(str)

    def __init__(self, measuring: Measuring, has_other: Callable[[], bool]) -> None:
        super().__init__()
        self._measuring, self._has_other = measuring, has_other
        self._loss = "auto"
        self.noise_words, self.loss_words = TextLabel(), TextLabel()
        self.buttons = {fix.name: button(fix.title, fix.tip) for fix in FIXES.values()}
        column, grid = QVBoxLayout(self), QGridLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.noise_words)
        column.addWidget(self.loss_words)
        for number, (name, made) in enumerate(self.buttons.items()):
            made.clicked.connect(lambda _checked=False, name=name: self.fix_requested.emit(name))
            grid.addWidget(made, *divmod(number, 2))
        column.addLayout(grid)
        connect_while_alive(self, [(measuring.changed, self.show_findings)])
        self.show_findings()

    def show_loss(self, name: str) -> None:
        """Show whether the chosen loss, a name or "auto", suits the noise."""
        self._loss = name
        self.show_findings()

    def show_findings(self) -> None:
        """Show the current state of the measurement."""
        known = self._measuring
        reports = known.measured.reports if known.measured else []
        findings = [known.problem] if known.problem else _distinct(reports)
        findings += known.measured.elsewhere if known.measured else []
        if others := other_scenes(findings):
            reports, findings = [], others
        self.noise_words.setText("Measuring the noise ..." if known.busy else _noise(reports))
        usable = known.recordings is not None and not (known.problem or others)
        words = [
            *(_reason(self._loss, reports) if usable else ()),
            *(f"⚠ {in_field_names(one.message)}" for one in findings),
        ]
        self.loss_words.setText("\n".join(words))
        codes = {one.code for one in findings}
        for name, made in self.buttons.items():
            made.setVisible(bool(codes & FIXES[name].codes) and self._is_possible(name))

    def _is_possible(self, name: str) -> bool:
        known = self._measuring
        first, recordings = known.first, known.recordings
        several = recordings is None or len(recordings.sources) > 1
        if name == "split":
            return first is not None and bool(first.frames) and several
        if name == "crop":
            measured = known.measured
            return (
                recordings is not None
                and measured is not None
                and can_crop(recordings, measured.pairs[0])
            )
        return several and (name != "other" or self._has_other())


def _reason(name: str, reports: list[Report]) -> Iterator[str]:
    """Yield when the chosen loss is right, and the loss that the measured noise requires."""
    loss = LOSSES.get(name)
    if loss is not None:
        yield loss.right_when
    elif not reports:
        yield "The measured noise decides."
    several = len({report.loss for report in reports}) > 1
    for number, report in enumerate(reports if several else reports[:1]):
        channel = f"Channel {number}: " if several else ""
        if loss is None:
            yield channel + report.reason
        elif loss.name != report.loss:
            yield f"{channel}The measured noise calls for {report.loss.upper()}. {report.reason}"


def _noise(reports: list[Report]) -> str:
    if len(reports) == 1:
        return reports[0].line()
    return "\n".join(f"Channel {number}: {one.line()}" for number, one in enumerate(reports))


def _distinct(reports: list[Report]) -> list[Finding]:
    found: dict[Any, Finding] = {}
    for number, report in enumerate(reports):
        for one in report.warnings:
            place = f"Channel {number}: " if len(reports) > 1 else ""
            found.setdefault(one.message, Finding(one.code, place + one.message))
    return list(found.values())


def can_crop(recordings: Recordings, pair: Pair) -> bool:
    """Return whether recordings are displaced, and are all layers or all single files."""
    files = sum(isinstance(source, str | Path) for source in recordings.sources)
    alike = files in (0, len(recordings.sources)) and not recordings.in_folders
    alone = len(recordings.fields) == 1 and len(recordings.sources) == len(pair.offsets)
    return alike and alone and len(set(pair.offsets)) > 1


def add_cropped(viewer: Any, recordings: Recordings, pair: Pair) -> Recordings:
    """Add a layer per recording, cropped to the area that all of them show, without copying data.

    Parameters
    ----------
    viewer
        Receives the layers.
    recordings, pair
        As in `can_crop`; with several channels, the pair of the first channel.

    Returns
    -------
    Recordings
        The new layers.
    """
    rows, columns = pair.first.plane_shape
    added, place = [], None
    for source, (top, left) in zip(recordings.sources, pair.offsets, strict=True):
        whole = Acquisition.open(source, axes=recordings.axes)
        part = whole.cropped(slice(top, top + rows), slice(left, left + columns))
        looks: dict[str, Any] = {"name": f"{whole.name} cropped"}
        layer = None if isinstance(source, str | Path) else source
        if layer is not None:
            if place is None:
                start = np.zeros(layer.ndim)
                start[list(whole.order[-2:])] = top, left
                place = translation_at(layer, start)
            looks["translate"] = place
        arguments = layer_arguments(part.data, part.header, layer, part.order)
        added.append(viewer.add_image(**(arguments | looks)))
    axes = None if layer is None else recordings.axes
    return Recordings(tuple(added), axes, dark=recordings.dark)
