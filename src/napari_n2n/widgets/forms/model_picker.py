"""Form rows that ask for a model (the last trained one, or a file), and show its record."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FileEdit
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QFormLayout, QLabel

from napari_n2n.errors import BadInput
from napari_n2n.model.denoiser import Denoiser, load
from napari_n2n.model.record import ModelRecord
from napari_n2n.training.losses import LOSSES
from napari_n2n.widgets.dock import (
    connect_while_alive,
    counted,
    in_field_names,
    keep_narrow,
    with_line_breaks,
)
from napari_n2n.widgets.sessions.session import session_of
from napari_n2n.widgets.sessions.training_session import TrainingSession

_MAX_NAMES = 4  # acquisitions named on the card: about three lines of a narrow dock


class ModelCard(QLabel):
    """A table with the record of a model, or a line that says why there is no model."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def show_model(self, denoiser: Denoiser) -> None:
        """Show the record of a model."""
        rows = (
            f"<tr><td style='padding-right: 8px'>{name}</td>"
            f"<td>{escape(with_line_breaks(words))}</td></tr>"
            for name, words in provenance(denoiser.record)
        )
        self.setText(f"<table cellspacing='0'>{''.join(rows)}</table>")
        self._fit()

    def show_words(self, words: str) -> None:
        """Show one line of text."""
        self.setText(escape(with_line_breaks(words)))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Adapt the height to the wrapped text, which a form layout does not do."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setFixedHeight(self.heightForWidth(self.width()))


def provenance(record: ModelRecord) -> Iterator[tuple[str, str]]:
    """Yield the known entries of a model's record as (name, text).

    Parameters
    ----------
    record
        See `Denoiser.record`.
    """
    names = list(dict.fromkeys(one.name for one in record.acquisitions))
    if names:
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        yield "trained on", ", ".join(names[:_MAX_NAMES]) + more
    if record.values:
        yield "values", ", ".join(f"{low:.4g} to {high:.4g}" for low, high in record.values)
    if record.noise:
        yield "noise", ", ".join(map(_noise, record.noise))
    if (loss := LOSSES.get(record.loss)) is not None:
        yield "loss", loss.title
    if score := _score(record):
        yield "score", score
    for words in record.error_lines():
        yield "error", words
    if record.date is not None:
        stopped = ", stopped" if record.stopped else ""
        yield "training", f"{counted(record.steps, 'step')} in {record.seconds:.0f} s{stopped}"
        yield "date", record.date[:10]
    versions = record.versions
    made_with = [f"{name} {versions[name]}" for name in ("napari-n2n", "torch") if name in versions]
    if made_with:
        yield "made with", ", ".join(made_with)


def _noise(noise: Mapping[str, Any]) -> str:
    level = noise["noise_a"]
    return "not determined" if level is None else f"{level:.3g} ADU"


def _score(record: ModelRecord) -> str:
    """Return the score on held-out blocks, for each channel that has its own network."""
    scores = [part.score for part in record.of_channels or [record]]
    words = [
        f"{score.psnr:.1f} ± {score.psnr_se:.1f}"
        for score in scores
        if score is not None and score.psnr is not None
    ]
    if words:
        return f"PSNR {', '.join(words)} dB on held-out blocks"
    return record.score_reason or ""


_TRAINED, _FILE = "just trained", "file"


class ModelPicker(QObject):
    """Ask for a model and show its record.

    Parameters
    ----------
    viewer
        The viewer whose last trained model is offered first.
    rows
        The form; the rows are inserted at its top.

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
        self._loaded: Denoiser | BadInput = BadInput("", "not_chosen")
        tip = "The last model trained in this window, or a saved one"
        self.which = ComboBox(label="Model", choices=self._choices, tooltip=tip)
        tip = "Model saved in the Train dock (.n2n)"
        self.file = FileEdit(label="Model file", filter="napari-n2n model (*.n2n)", tooltip=tip)
        keep_narrow(self.which, self.file)
        self.card = ModelCard()
        rows.insertRow(0, self.which.label, self.which.native)
        rows.insertRow(1, self.file.label, self.file.native)
        rows.insertRow(2, self.card)
        self._load()
        self._offer_trained()
        connect_while_alive(self, [(self._session.finished, self._offer_trained)])
        self.which.changed.connect(self._show)
        self.file.changed.connect(self._load)

    def _choices(self, _menu: Any = None) -> list[str]:
        return [_TRAINED, _FILE] if self._session.denoiser is not None else [_FILE]

    def _offer_trained(self, _outcome: Any = None) -> None:
        """Offer the model that was just trained, and select it unless a file is chosen."""
        self.which.reset_choices()
        if self._session.denoiser is not None and self.file.value == Path():
            self.which.value = _TRAINED
        self._show()

    def _load(self) -> None:
        try:
            path = Path(str(self.file.value))
            if path == Path():
                raise BadInput("Choose a model file first, or train a model", "not_chosen")
            self._loaded = load(path)
        except BadInput as error:
            self._loaded = error
        self._show()

    def _show(self) -> None:
        self._rows.setRowVisible(self.file.native, self.which.value == _FILE)
        try:
            self.card.show_model(self.chosen())
        except BadInput as error:
            self.card.show_words(in_field_names(error))
        self.changed.emit()

    def choose(self, path: Path) -> None:
        """Choose a model file."""
        self.file.value = path
        self.which.value = _FILE

    def choose_trained(self) -> None:
        """Choose the last model trained in this window."""
        if _TRAINED in self.which.choices:
            self.which.value = _TRAINED

    def chosen(self) -> Denoiser:
        """Return the chosen model.

        Raises
        ------
        BadInput
            If none is chosen, or its file cannot be read.
        """
        trained = self._session.denoiser
        if self.which.value == _TRAINED and trained is not None:
            return trained
        if isinstance(self._loaded, BadInput):
            raise self._loaded
        return self._loaded
