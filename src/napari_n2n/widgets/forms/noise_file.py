"""The field for a noise report, and the button that saves one."""

from pathlib import Path

from magicgui.widgets import FileEdit
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_n2n.errors import BadInput
from napari_n2n.io.description import Description
from napari_n2n.io.output_path import check_keeps_inputs, output_file
from napari_n2n.io.sources import open_source
from napari_n2n.noise.report_file import write_noise_report
from napari_n2n.pair.checks import other_scenes
from napari_n2n.pair.recordings import Recordings
from napari_n2n.widgets.background import one_line, read_in_thread
from napari_n2n.widgets.dock import keep_narrow, notify
from napari_n2n.widgets.sessions.measuring import Measured

_ENDING = ".json"


class NoiseFile(FileEdit):
    """Ask for the noise report of the microscope; None: the noise is measured."""

    def __init__(self) -> None:
        super().__init__(
            label="Noise",
            filter=f"*{_ENDING}",
            nullable=True,
            tooltip="Report measured on two recordings of this microscope (Noise dock)",
        )
        self.line_edit.native.setPlaceholderText("measured on this recording")
        keep_narrow(self)

    @property
    def path(self) -> Path | None:
        """The chosen file, if any."""
        return self.value if isinstance(self.value, Path) else None


class SaveReportButton(QPushButton):
    """Ask for a file, and save the measured noise, for training on one recording."""

    def __init__(self) -> None:
        super().__init__("Save report ...")
        self.setToolTip("Save this noise: for one recording with the same settings")
        self._recordings: Recordings | None = None
        self._measured: Measured | None = None
        self.clicked.connect(self.ask)
        self.hide()

    def show_for(self, recordings: Recordings | None, measured: Measured | None) -> None:
        """Offer to save the noise of these recordings, if it could be determined."""
        self._recordings, self._measured = recordings, measured
        reports = measured.reports if measured else []
        known = (report.noise_a and not other_scenes(report.warnings) for report in reports)
        self.setVisible(bool(reports) and all(known))

    def ask(self) -> None:
        """Ask for a file, and save the noise there."""
        path, _ = QFileDialog.getSaveFileName(
            self, "Save noise report", f"noise{_ENDING}", f"noise report (*{_ENDING})"
        )
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Save the noise, in the background; only a file of exactly this name is replaced."""
        recordings, measured = self._recordings, self._measured
        if recordings is None or measured is None:
            return
        complete = path.suffix.lower() == _ENDING
        path = path if complete else path.with_name(path.name + _ENDING)
        try:
            check_keeps_inputs(output_file(path), recordings.inputs)
            if path.exists() and not complete:
                raise BadInput(f"{path}: already exists: choose another name", "exists")
        except BadInput as error:
            notify(error)
            return

        def write() -> str | None:
            try:
                sources = (open_source(one, recordings.axes) for one in recordings.fields[0])
                described = list(map(Description.of, sources))
                write_noise_report(path, measured.reports, measured.curves, described)
            except Exception as error:
                return one_line(error)
            return None

        def show(problem: str | None) -> None:
            show_info(f"Saved {path}") if problem is None else notify(problem)

        read_in_thread(write, show)
