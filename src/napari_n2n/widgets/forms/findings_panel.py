"""What the measurement of a pair says, and ways out of what is wrong with it, a click each.

Layers with the part of a scene that all recordings of it show, which lie on each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.noise.advice import advised_loss
from napari_n2n.noise.report import NoiseReport
from napari_n2n.pair.pair import Finding, Pair
from napari_n2n.pair.recordings import Recordings
from napari_n2n.training.losses import LOSSES
from napari_n2n.widgets.dock import Words, button, connect_while_alive, plainly
from napari_n2n.widgets.layers.result_layer import layer_arguments, translation_at
from napari_n2n.widgets.sessions.measuring import Measuring


@dataclass(frozen=True)
class Way:
    """A way out: what it is called, what it does, and for which findings it is one."""

    name: str
    title: str
    tip: str
    codes: frozenset[str]


WAYS = {
    way.name: way
    for way in (
        Way(
            "split",
            "Split A instead",
            "Take the even and the odd frames of A for two recordings",
            frozenset({"duplicate", "shape", "motion", "single"}),
        ),
        Way(
            "other",
            "Choose another B",
            "Choose another recording of the scene as B",
            frozenset({"duplicate", "shape"}),
        ),
        Way(
            "crop",
            "Crop to what all show",
            "Add layers with the part of the scene that all recordings show, and take these",
            frozenset({"shift"}),
        ),
        Way(
            "swap",
            "Swap A and B",
            "Let A and B change places: results are as bright as A",
            frozenset({"gain"}),
        ),
    )
}


class FindingsPanel(QWidget):
    """The noise in a line, the loss and why, what to mind, and buttons that mend it.

    Parameters
    ----------
    measuring
        What is known.

    Attributes
    ----------
    wanted
        Emitted with the name of the way that was chosen.
    """

    wanted = Signal(str)

    def __init__(self, measuring: Measuring) -> None:
        super().__init__()
        self._measuring = measuring
        self._loss = "auto"
        self.noise_words, self.loss_words = Words(), Words()
        self.buttons = {way.name: button(way.title, way.tip) for way in WAYS.values()}
        column, grid = QVBoxLayout(self), QGridLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.noise_words)
        column.addWidget(self.loss_words)
        for number, (name, made) in enumerate(self.buttons.items()):
            made.clicked.connect(lambda _checked=False, name=name: self.wanted.emit(name))
            grid.addWidget(made, *divmod(number, 2))
        column.addLayout(grid)
        connect_while_alive(self, [(measuring.changed, self.show_findings)])
        self.show_findings()

    def show_loss(self, name: str) -> None:
        """Say whether the noise calls for the loss that is chosen; "auto" is the one it calls for.

        Parameters
        ----------
        name
            Of the loss.
        """
        self._loss = name
        self.show_findings()

    def show_findings(self) -> None:
        """Show what is known now."""
        known = self._measuring
        reports = known.measured.reports if known.measured else []
        findings = [known.problem] if known.problem else _distinct(reports)
        findings += known.measured.elsewhere if known.measured else []
        self.noise_words.setText("Looking at the recordings ..." if known.busy else _noise(reports))
        words = [*_reason(self._loss, reports), *(f"⚠ {plainly(one.message)}" for one in findings)]
        self.loss_words.setText("\n".join(words))
        codes = {one.code for one in findings}
        for name, made in self.buttons.items():
            made.setVisible(bool(codes & WAYS[name].codes) and self._possible(name))

    def _possible(self, way: str) -> bool:
        known = self._measuring
        first, recordings = known.first, known.recordings
        several = recordings is None or len(recordings.sources) > 1
        if way == "split":
            return first is not None and bool(first.frames) and several
        if way == "crop":
            measured = known.measured
            return (
                recordings is not None
                and measured is not None
                and can_crop(recordings, measured.pairs[0])
            )
        return several


def _reason(name: str, reports: list[NoiseReport]) -> Iterator[str]:
    """Say what a loss is for, and what the noise calls for."""
    loss = LOSSES.get(name)
    if loss is not None:
        yield loss.right_when
    elif not reports:
        yield "The measured noise decides."
    if reports:
        advised = advised_loss(reports)
        report = next(one for one in reports if one.loss == advised)
        if loss is None:
            yield report.reason
        elif loss.name != advised:
            yield f"But the measured noise calls for {advised.upper()}. {report.reason}"


def _noise(reports: list[NoiseReport]) -> str:
    if len(reports) == 1:
        return reports[0].line()
    return "\n".join(f"Channel {number}: {one.line()}" for number, one in enumerate(reports))


def _distinct(reports: list[NoiseReport]) -> list[Finding]:
    found: dict[Any, Finding] = {}
    for number, report in enumerate(reports):
        for one in report.warnings:
            place = f"Channel {number}: " if len(reports) > 1 else ""
            found.setdefault(one.message, Finding(one.code, place + one.message))
    return list(found.values())


def can_crop(recordings: Recordings, pair: Pair) -> bool:
    """Tell whether recordings, a layer or a file each, do not all show the same part."""
    files = sum(isinstance(source, str | Path) for source in recordings.sources)
    alike = files in (0, len(recordings.sources)) and not recordings.in_folders
    alone = len(recordings.sources) == len(pair.offsets)
    return alike and alone and len(set(pair.offsets)) > 1


def add_cropped(viewer: Any, recordings: Recordings, pair: Pair) -> Recordings:
    """Add, without copying, a layer for each recording, cropped to what all of them show.

    Parameters
    ----------
    viewer
        Receives the layers.
    recordings, pair
        For which `can_crop` holds; of several channels, the pair of the first.

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
    return Recordings(tuple(added), None if layer is None else recordings.axes)
