"""Buttons after a run: save model or image, apply the model, or copy the run as a script."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QFileDialog, QGridLayout, QWidget

from napari_n2n.errors import BadInput
from napari_n2n.io.output_path import check_keeps_inputs
from napari_n2n.model.bioimage_package import SUFFIX, export_bioimage
from napari_n2n.recipe import Recipe
from napari_n2n.widgets.background import one_line, read_in_thread
from napari_n2n.widgets.dock import button, connect_while_alive, notify, open_dock
from napari_n2n.widgets.forms.save_image import SaveImageButton
from napari_n2n.widgets.sessions.training_session import TrainingSession


class ModelActions(QWidget):
    """Buttons for the results and the recipe of the last run, or else the recipe in the form.

    Parameters
    ----------
    viewer
        The viewer in which the Denoise dock opens.
    session
        Holds the last run.
    recipe
        Returns the recipe in the form; raises `BadInput` if something is missing.
    """

    def __init__(self, viewer: Any, session: TrainingSession, recipe: Callable[[], Recipe]) -> None:
        super().__init__()
        self._viewer, self._session, self._recipe = viewer, session, recipe
        self.save_button = button("Save model ...", "Save the model for similar recordings")
        self.export_button = button(
            "Export model ...", "For Fiji, ilastik and others: a package of the BioImage Model Zoo"
        )
        self.image_button = SaveImageButton(viewer, session)
        self.apply_button = button(
            "Apply to another ...", "Denoise another layer or file with this model (Denoise dock)"
        )
        self.python_button = button("Copy as Python", "Copy a Python script that repeats this run")
        self.command_button = button(
            "Copy as command", "Copy the terminal commands that repeat this run"
        )
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self.save_button, 0, 0)
        grid.addWidget(self.export_button, 0, 1)
        grid.addWidget(self.image_button, 1, 0)
        grid.addWidget(self.apply_button, 1, 1)
        grid.addWidget(self.python_button, 2, 0)
        grid.addWidget(self.command_button, 2, 1)
        signals = (session.started, session.finished, session.discarded, session.failed)
        connect_while_alive(self, [(signal, self._show_state) for signal in signals])
        self.save_button.clicked.connect(self._ask_where_to_save)
        self.export_button.clicked.connect(self._ask_where_to_export)
        self.apply_button.clicked.connect(self.apply)
        self.python_button.clicked.connect(self.copy_python)
        self.command_button.clicked.connect(self.copy_command)
        self._show_state()

    def _show_state(self) -> None:
        trained = not self._session.running and self._session.denoiser is not None
        self.save_button.setEnabled(trained)
        self.export_button.setEnabled(trained)
        self.apply_button.setEnabled(trained)

    def _ask_where_to_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save model", "model.n2n", "napari-n2n model (*.n2n)"
        )
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Save the model of the last run."""
        if self._session.denoiser is None:
            return
        recipe = self._session.recipe
        try:
            check_keeps_inputs(path, recipe.recordings.inputs if recipe else ())
            saved = self._session.denoiser.save(path)
        except BadInput as error:
            notify(error)
            return
        except OSError as error:
            notify(f"{path}: cannot be written ({error.strerror}): choose another folder")
            return
        show_info(f"Saved {saved}")

    def _ask_where_to_export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Export model", "model.zip", f"package of the BioImage Model Zoo (*{SUFFIX})"
        )
        if path:
            self.export(Path(path))

    def export(self, path: Path) -> None:
        """Export the model of the last run, in the background; replace an existing package."""
        denoiser, replaced = self._session.denoiser, path.suffix.lower() == SUFFIX
        if denoiser is None:
            return
        package = path if replaced else path.with_name(path.name + SUFFIX)

        def export() -> Path | str:
            try:
                return export_bioimage(denoiser, package, overwrite=replaced)
            except Exception as error:
                return one_line(error)

        def show(outcome: Path | str | None) -> None:
            if isinstance(outcome, Path):
                show_info(f"Saved {outcome}")
            elif outcome is not None:
                notify(outcome)

        show_info("Exporting the model ...")
        read_in_thread(export, show)

    def apply(self) -> None:
        """Open the Denoise dock with the model of the last run."""
        open_dock(self._viewer, "Denoise").model.choose_trained()

    def copy_python(self) -> None:
        """Copy a Python script that repeats the run."""
        self._copy(Recipe.as_python)

    def copy_command(self) -> None:
        """Copy terminal commands that repeat the run."""
        self._copy(Recipe.as_command)

    def _copy(self, text_of: Callable[[Recipe], str]) -> None:
        try:
            text = text_of(self._session.recipe or self._recipe())
        except BadInput as error:
            notify(error)
            return
        QGuiApplication.clipboard().setText(text)
        remark = ": read its first lines before you run it" if text.startswith("#") else ""
        show_info(f"Copied to the clipboard{remark}")
