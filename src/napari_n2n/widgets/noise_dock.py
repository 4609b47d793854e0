"""The Noise dock: measure the noise of recordings and recommend a loss."""

from html import escape
from typing import Any

from magicgui.widgets import ComboBox
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout

from napari_n2n.errors import BadInput
from napari_n2n.noise.measure import Report
from napari_n2n.noise.panels import panels
from napari_n2n.noise.report import NoiseReport
from napari_n2n.pair.checks import other_scenes
from napari_n2n.pair.recordings import Recordings, first_field
from napari_n2n.widgets.dock import (
    Dock,
    TextLabel,
    button,
    connect_while_alive,
    in_field_names,
    keep_narrow,
    notify,
    open_dock,
)
from napari_n2n.widgets.forms.noise_file import SaveReportButton
from napari_n2n.widgets.forms.pair_picker import PairPicker
from napari_n2n.widgets.layers.bad_pixels_layer import add_bad_pixels
from napari_n2n.widgets.plots import PanelPlot
from napari_n2n.widgets.sessions.measuring import Measured, Measuring
from napari_n2n.widgets.sessions.session import session_of

_WELCOME = (
    "Measures the noise of two recordings of one scene and recommends a loss. "
    "No clean image is needed."
)


class Inspection(Measuring):
    """The measurement of the Noise dock, separate from that of the Train dock."""


class NoiseWidget(Dock):
    """Ask for recordings, and show the recommended loss, the figures and the plots.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.measuring = session_of(napari_viewer, Inspection)
        self._train_measuring = session_of(napari_viewer, Measuring)
        self._measured: Measured | None = None
        self._waiting = self._live = False
        self._build()
        self._connect()
        self._clear(_WELCOME)
        self._show_known()

    def _build(self) -> None:
        self.picker = PairPicker(self.viewer)
        self.channel = ComboBox(
            label="Channel",
            choices=[],
            tooltip="Channel to show; each channel has its own noise",
        )
        keep_narrow(self.channel)
        self.picker.rows.addRow(self.channel.label, self.channel.native)
        tip = "Measure the noise of these recordings, and of recordings chosen later"
        self.button = button("Measure", tip)
        self.cancel_button = button("Cancel", "Stop measuring")
        tip = "Open the Train dock with these recordings and their measurement"
        self.train_button = button("Train with these", tip)
        buttons = QHBoxLayout()
        for made in (self.button, self.cancel_button, self.train_button):
            buttons.addWidget(made, 1)
        self.cancel_button.hide()
        tip = "Add a layer of points at the hot and dead pixels of the detector"
        self.hot_button = button("Show hot pixels", tip)
        self.hot_button.hide()
        self.save_button = SaveReportButton()
        found = QHBoxLayout()
        for made in (self.save_button, self.hot_button):
            found.addWidget(made, 1)
        self.loss, self.status, self.warnings, self.figures = (TextLabel() for _ in range(4))
        self.figures.setTextFormat(Qt.TextFormat.RichText)
        self.loss.setStyleSheet("font-size: 16pt; font-weight: bold")
        self.plots: list[PanelPlot] = []
        texts = (self.loss, self.status, self.warnings, found, self.figures)
        self._column = self.stack(self.picker, buttons, *texts)
        self.accept_drops(self.picker.choose_paths)

    def _connect(self) -> None:
        slots = [
            (self.viewer.events.theme, self._use_theme),
            (self.measuring.changed, self._show_measured),
        ]
        connect_while_alive(self, slots)
        self.picker.changed.connect(self._show_known)
        self.channel.changed.connect(self._show_channel)
        self.button.clicked.connect(self.measure)
        self.cancel_button.clicked.connect(self.cancel)
        self.train_button.clicked.connect(self.train)
        self.hot_button.clicked.connect(self.show_hot_pixels)

    # -- measuring ----------------------------------------------------------------------------

    def _show_known(self) -> None:
        """Show the measurement of the chosen recordings if it already exists."""
        self._clear(_WELCOME)
        try:
            recordings = self.picker.recordings()
        except BadInput as error:
            self.picker.axes.show_for(error)
            if error.code == "not_found":  # a chosen layer was deleted
                self._clear(str(error))
            return
        known = self._train_measuring.known(recordings) or self.measuring.known(recordings)
        if known is not None:
            self._show(known)
        elif self.measuring.busy and self.measuring.recordings == recordings:
            self._show_waiting()
        elif self._live:
            self._begin(recordings)

    def measure(self) -> None:
        """Measure the chosen recordings, and recordings that are chosen later."""
        try:
            recordings = self.picker.recordings()
        except BadInput as error:
            self._clear(notify(error))
            return
        self._live = True
        self._begin(recordings)

    def cancel(self) -> None:
        """Stop measuring until the user asks for it again."""
        self._live = False
        self._set_waiting(False)
        self.measuring.measure(None)
        self._clear(_WELCOME)

    def _begin(self, recordings: Recordings) -> None:
        self._show_waiting()
        self.measuring.measure(recordings, again=True)

    def _show_waiting(self) -> None:
        self._clear("Measuring ...")
        self._set_waiting(True)

    def _show_measured(self) -> None:
        known = self.measuring
        if known.busy or not (self._waiting or self._measured is not None):
            return  # still measuring, or the measured recordings are no longer chosen
        self._set_waiting(False)
        self.picker.axes.show_for(known.problem or known.first)
        if known.problem is not None:
            self._clear(notify(known.problem.message))
        elif known.measured is not None:
            self._show(known.measured)

    def _set_waiting(self, waiting: bool) -> None:
        self._waiting = waiting
        self.button.setEnabled(not waiting)
        self.button.setVisible(not waiting)
        self.cancel_button.setVisible(waiting)
        self.picker.setEnabled(not waiting)

    def train(self) -> None:
        """Open the Train dock with the chosen recordings and their measurement."""
        try:
            recordings = self.picker.recordings()
        except BadInput as error:
            self._clear(notify(error))
            return
        open_dock(self.viewer, "Train").picker.choose(recordings)
        if self._measured is not None:
            self._train_measuring.adopt(recordings, self._measured)

    def show_hot_pixels(self) -> None:
        """Add a layer that marks the hot and dead pixels of the channel on display."""
        if self._measured is not None:
            pair = first_field(self._measured.pairs)[self.channel.value]
            source = self.picker.recordings().fields[0][0]
            add_bad_pixels(self.viewer, source, pair.first, pair.pattern)

    # -- display ------------------------------------------------------------------------------

    def _show(self, measured: Measured) -> None:
        self._measured = measured
        self.save_button.show_for(self.picker.recordings(), measured)
        names = [pair.first.name for pair in first_field(measured.pairs)]
        with self.channel.changed.blocked():
            self.channel.choices = [(name, number) for number, name in enumerate(names)]
        self.picker.rows.setRowVisible(self.channel.native, len(names) > 1)
        self._show_channel()

    def _show_channel(self) -> None:
        if self._measured is None:
            return
        self._remove_plots()
        report = self._measured.reports[self.channel.value]
        curves = self._measured.curves[self.channel.value]
        found = (*report.warnings, *self._measured.elsewhere)
        others = other_scenes(report.warnings)
        self.loss.setText("" if others else f"Train with {report.loss.upper()}")
        self.status.setText("" if others else report.reason)
        warnings = (f"⚠ {in_field_names(warning.message)}" for warning in others or found)
        self.warnings.setText("\n\n".join(warnings))
        self.figures.setText("" if others else _table(report))
        self.hot_button.hide()
        self.plots = []
        if isinstance(report, NoiseReport) and curves is not None and not others:
            self.hot_button.setVisible(report.hot_pixels + report.dead_pixels > 0)
            self.plots = [PanelPlot(panel) for panel in panels(report, curves)]
        for plot in self.plots:
            self._column.insertWidget(self._column.count() - 1, plot)
        self._use_theme()

    def _clear(self, words: str) -> None:
        """Show only a line of text."""
        self._measured = None
        self.save_button.show_for(None, None)
        self.hot_button.hide()
        self.status.setText(words)
        for label in (self.loss, self.warnings, self.figures):
            label.setText("")
        self.picker.rows.setRowVisible(self.channel.native, False)
        self._remove_plots()

    def _remove_plots(self) -> None:
        for plot in self.plots:
            self._column.removeWidget(plot)
            plot.deleteLater()
        self.plots = []

    def _use_theme(self, _event: Any = None) -> None:
        for plot in self.plots:
            plot.use_theme(get_theme(self.viewer.theme))


def _table(report: Report) -> str:
    rows = (
        f"<tr><td style='padding-right: 8px'>{escape(name)}</td><td>{escape(words)}</td></tr>"
        for name, words in report.rows()
    )
    return f"<table cellspacing='0'>{''.join(rows)}</table>"
