"""The rows of a form that ask for a model: the one just trained in this window, or one on disk."""

from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FileEdit
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFormLayout

from napari_n2n.errors import BadInput
from napari_n2n.model import Denoiser, load
from napari_n2n.widgets.dock import connect_while_alive, keep_narrow, plainly
from napari_n2n.widgets.model_card import ModelCard
from napari_n2n.widgets.session import session_of
from napari_n2n.widgets.training_session import TrainingSession

_TRAINED, _FILE = "just trained", "file"


class ModelPicker(QObject):
    """Choose a model, and see where it comes from.

    Parameters
    ----------
    viewer
        The viewer whose last trained model is offered first.
    rows
        The form, on top of which the rows go.

    Attributes
    ----------
    changed
        Emitted when another model is chosen.
    """

    changed = Signal()

    def __init__(self, viewer: Any, rows: QFormLayout) -> None:
        super().__init__(rows)
        self._rows = rows
        self._session = session_of(viewer, TrainingSession)
        self._of_file: Denoiser | BadInput = BadInput("")
        tip = "The model that was trained last in this window, or one that was saved"
        self.which = ComboBox(label="Model", choices=self._choices, tooltip=tip)
        tip = "A model that 'Save model' in the Train dock wrote (.n2n)"
        self.file = FileEdit(label="Model file", filter="napari-n2n model (*.n2n)", tooltip=tip)
        keep_narrow(self.which, self.file)
        self.card = ModelCard()
        rows.insertRow(0, self.which.label, self.which.native)
        rows.insertRow(1, self.file.label, self.file.native)
        rows.insertRow(2, self.card)
        self._load()
        self._offer()
        connect_while_alive(self, [(self._session.finished, self._offer)])
        self.which.changed.connect(self._show)
        self.file.changed.connect(self._load)

    def _choices(self, _menu: Any = None) -> list[str]:
        return [_TRAINED, _FILE] if self._session.denoiser is not None else [_FILE]

    def _offer(self, _outcome: Any = None) -> None:
        """Offer the model that was just trained, first unless a file was chosen."""
        self.which.reset_choices()
        if self._session.denoiser is not None and self.file.value == Path():
            self.which.value = _TRAINED
        self._show()

    def _load(self) -> None:
        try:
            path = Path(str(self.file.value))
            if path == Path():
                raise BadInput("Choose a model file first, or train a model")
            self._of_file = load(path)
        except BadInput as error:
            self._of_file = error
        self._show()

    def _show(self) -> None:
        self._rows.setRowVisible(self.file.native, self.which.value == _FILE)
        try:
            self.card.show_model(self.chosen())
        except BadInput as error:
            self.card.show_words(plainly(error))
        self.changed.emit()

    def choose(self, path: Path) -> None:
        """Take a model file."""
        self.file.value = path
        self.which.value = _FILE

    def choose_trained(self) -> None:
        """Choose the model that was trained last in this window."""
        if _TRAINED in self.which.choices:
            self.which.value = _TRAINED

    def chosen(self) -> Denoiser:
        """Return the model.

        Raises
        ------
        BadInput
            If there is none, or its file cannot be read.
        """
        trained = self._session.denoiser
        if self.which.value == _TRAINED and trained is not None:
            return trained
        if isinstance(self._of_file, BadInput):
            raise self._of_file
        return self._of_file
