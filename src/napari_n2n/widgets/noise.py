"""The Noise dock: what the noise of two acquisitions is, and which loss it calls for."""

from collections.abc import Generator
from html import escape
from typing import Any

from napari.utils.notifications import show_error
from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtCore import Qt

from napari_n2n.errors import BadInput
from napari_n2n.noise.report import NoiseCurves, NoiseReport, measure_with_curves
from napari_n2n.pair import Pair
from napari_n2n.plot import panels
from napari_n2n.widgets import worker
from napari_n2n.widgets.dock import Dock, Words, button, connect_while_alive
from napari_n2n.widgets.panel_plot import PanelPlot
from napari_n2n.widgets.pick_pair import PairPicker

_WELCOME = (
    "Measures the noise of two recordings of one scene, without a clean image, and says which loss "
    "to train with."
)


class NoiseWidget(Dock):
    """Choose two acquisitions; advice, figures and plots come out.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.picker = PairPicker(napari_viewer)
        tip = "Measure the noise on a few planes of both, in the background"
        self.button = button("Measure", tip)
        self.loss, self.words, self.warnings, self.figures = (Words() for _ in range(4))
        self.figures.setTextFormat(Qt.TextFormat.RichText)
        self.loss.setStyleSheet("font-size: 16pt; font-weight: bold")
        self.plots: list[PanelPlot] = []
        labels = (self.loss, self.words, self.warnings, self.figures)
        self._column = self.stack(self.picker, self.button, *labels)
        self._connect()
        self._clear(_WELCOME)

    def _connect(self) -> None:
        connect_while_alive(self, [(self.viewer.events.theme, self._use_theme)])
        self.picker.changed.connect(lambda: self._clear(_WELCOME))
        self.button.clicked.connect(self.measure)

    def measure(self) -> None:
        """Measure the noise of what is chosen."""
        try:
            sources = self.picker.chosen()
        except BadInput as error:
            self._fail(str(error))
            return
        self._set_ready(False)
        self._clear("Measuring ...")
        worker.start(
            lambda: _job(sources),
            "napari-n2n: measuring noise",
            on_yield=lambda _words: None,
            on_return=self._show,
            on_failure=self._fail,
            on_abort=lambda: None,
        )

    def _show(self, measured: tuple[NoiseReport, NoiseCurves]) -> None:
        if not isalive(self):  # the dock may be closed while it measures
            return
        self._set_ready(True)
        report, curves = measured
        self.loss.setText(f"Train with {report.loss.upper()}")
        self.words.setText(report.reason)
        self.warnings.setText("\n\n".join(f"⚠ {warning.message}" for warning in report.warnings))
        self.figures.setText(_table(report))
        self.plots = [PanelPlot(panel) for panel in panels(report, curves)]
        for plot in self.plots:
            self._column.insertWidget(self._column.count() - 1, plot)
        self._use_theme()

    def _fail(self, message: str) -> None:
        if isalive(self):
            self._set_ready(True)
            self._clear(message)
        show_error(message)

    def _clear(self, words: str) -> None:
        """Show nothing but a line of words."""
        self.words.setText(words)
        for label in (self.loss, self.warnings, self.figures):
            label.setText("")
        for plot in self.plots:
            self._column.removeWidget(plot)
            plot.deleteLater()
        self.plots = []

    def _set_ready(self, ready: bool) -> None:
        self.button.setEnabled(ready)
        self.picker.setEnabled(ready)

    def _use_theme(self, _event: Any = None) -> None:
        for plot in self.plots:
            plot.use_theme(get_theme(self.viewer.theme))


def _table(report: NoiseReport) -> str:
    rows = (
        f"<tr><td style='padding-right: 8px'>{escape(name)}</td><td>{escape(words)}</td></tr>"
        for name, words in report.figures()
    )
    return f"<table cellspacing='0'>{''.join(rows)}</table>"


def _job(
    sources: list[Any],
) -> Generator[str, None, tuple[NoiseReport, NoiseCurves]]:
    pair = Pair.open(*sources)
    yield "the pair is fine"
    return measure_with_curves(pair)
