"""The Denoise dock: apply a model to recordings; the result is shown while it is computed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magicgui.widgets import CheckBox, ComboBox
from qtpy.QtWidgets import QHBoxLayout

from napari_n2n.errors import BadInput
from napari_n2n.model.denoiser import SUFFIX
from napari_n2n.widgets.dock import (
    Dock,
    ProgressBar,
    TextLabel,
    button,
    connect_while_alive,
    notify,
)
from napari_n2n.widgets.forms.comparison_controls import ComparisonControls
from napari_n2n.widgets.forms.fields import AxesField, device_menu, memory_field
from napari_n2n.widgets.forms.image_picker import ImagePicker
from napari_n2n.widgets.forms.model_picker import ModelPicker
from napari_n2n.widgets.forms.output import OutputPicker
from napari_n2n.widgets.forms.save_image import SaveImageButton
from napari_n2n.widgets.forms.spot_panel import SpotPanel
from napari_n2n.widgets.sessions.denoising_session import DenoisingSession
from napari_n2n.widgets.sessions.previewing import Previewing, Subject, SuitabilityCheck
from napari_n2n.widgets.sessions.session import session_of
from napari_n2n.widgets.sessions.training_session import TrainingSession

_WELCOME = "Denoises a recording with a model that was trained on similar recordings."


class DenoiseWidget(Dock):
    """Ask for a model and a recording, and add the denoised layer.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered and which receives the result.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.session = session_of(napari_viewer, DenoisingSession)
        self.comparing = SuitabilityCheck(self.viewer)
        self.previewing = session_of(napari_viewer, Previewing)
        self._build()
        self._connect()
        self._suggest_output()
        self._show_state()
        self._compare()

    # -- parts --------------------------------------------------------------------------------

    def _build(self) -> None:
        self.picker = ImagePicker(self.viewer)
        self.model = ModelPicker(self.viewer, self.picker.rows)
        self.axes = AxesField("recording")
        self.output = OutputPicker()
        self.out = self.output.field
        self.memory, self.device = memory_field(), device_menu()
        self.turns = CheckBox(
            label="",
            text="Test-time augmentation",
            tooltip="Average over 8 rotations and flips: slightly better, 8x slower",
        )
        self.quantity = ComboBox(
            label="Compute",
            choices=[("denoised image", "result"), ("error map", "error")],
            tooltip="Error map: how far each pixel may be from the clean image",
        )
        fields = self.axes, self.quantity, self.out, self.memory, self.device, self.turns
        for field in fields:
            self.picker.rows.addRow(field.label, field.native)
        self.axes.hide_unless_needed(self.picker.rows)
        self.comparison = ComparisonControls(
            self.previewing.comparison,
            "Show the plane on screen denoised, before the whole run",
        )
        self.preview, self.split = self.comparison.preview, self.comparison.split
        self.button = button("Denoise", "Denoise the whole recording in the background")
        self.cancel_button = button("Cancel", "Stop now; Resume continues later")
        self.overwrite_button = button("Overwrite", "Delete the existing output and start again")
        self.progress = ProgressBar()
        self.status, self.warnings = TextLabel(_WELCOME), TextLabel()
        self.image_button = SaveImageButton(self.viewer, self.session)

        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 2)
        buttons.addWidget(self.overwrite_button, 1)
        buttons.addWidget(self.cancel_button, 1)
        self.spots = SpotPanel(
            self.viewer, lambda: (self.output.first(self.picker.chosen()), self.axes.letters)
        )
        self.stack(
            *(self.picker, self.comparison, buttons, self.progress, self.status, self.warnings),
            *(self.image_button, self.spots),
        )
        self.accept_drops(self.choose_paths)

    def _connect(self) -> None:
        slots: list[tuple[Any, Any]] = [
            (self.session.started, self._show_state),
            (self.session.progressed, self._show_progress),
            (self.session.message_changed, self.status.setText),
            (self.session.finished, self._show_state),
            (self.session.failed, self._show_state),
            (self.comparing.found, self._show_warnings),
            (self.comparing.opened, self.axes.show_for),
            (self.session.finished, self._update),
            (self.session.failed, self._update),
            (self.previewing.failed, self.status.setText),
            (session_of(self.viewer, TrainingSession).started, self.previewing.end),
        ]
        connect_while_alive(self, slots)
        self.model.changed.connect(self._choice_changed)
        self.picker.changed.connect(self._choice_changed)
        for field in (self.axes, self.out, self.quantity):
            field.changed.connect(self._choice_changed)
        for changed in (self.turns.changed, self.device.changed, self.memory.changed):
            changed.connect(self._compare)
        self.destroyed.connect(self.previewing.end)
        self.button.clicked.connect(self.denoise)
        self.overwrite_button.clicked.connect(self.overwrite)
        self.cancel_button.clicked.connect(self.session.stop)

    def choose_paths(self, paths: list[Path]) -> None:
        """Choose dropped files: a model, recordings, or both."""
        models = [path for path in paths if path.suffix == SUFFIX]
        recordings = [path for path in paths if path not in models]
        if models and self.picker.isEnabled():
            self.model.choose(models[0])
        if recordings:
            self.picker.choose_paths(recordings)

    def _choice_changed(self) -> None:
        """Clear the messages of the last run, because they concern another choice."""
        if not self.session.running:
            self.session.forget()
            self._suggest_output()
            self._show_state()
            self._compare()

    def _deleted(self) -> str:
        """Return a line about a chosen layer that was deleted, if there is one."""
        try:
            self.picker.chosen()
        except BadInput as error:
            return str(error) if error.code == "not_found" else ""
        return ""

    def _suggest_output(self) -> None:
        """Suggest a file name for the result if the preferences name a folder."""
        try:
            sources = self.picker.chosen()
        except BadInput:
            sources = []
        ending = "error" if self.quantity.value == "error" else "denoised"
        self.output.suggest(sources, self.axes.letters, ending)

    def _update(self, _message: Any = None) -> None:
        """After a run, suggest an output and check the model: the choices may have changed."""
        self._suggest_output()
        self._compare()

    def _compare(self, _value: Any = None) -> None:
        """Check whether the model suits the recording, and update the preview."""
        self._offer_error_map()
        self.comparing.forget()
        if self.session.running:
            return
        try:
            denoiser, sources = self.model.chosen(), self.output.first(self.picker.chosen())
        except BadInput:
            self.axes.show_for(None)
            self.previewing.choose(None)
            return  # model or recording is not chosen yet
        axes, computing = self.axes.letters, (self.device.value, self.memory.bytes)
        subject = Subject(denoiser, sources, axes, self.turns.value, *computing)
        # Starting work lets napari handle pending events; one of them may delete this dock.
        self.comparing.ask(denoiser, sources, axes)
        self.previewing.choose(subject)

    def _offer_error_map(self) -> None:
        """Offer the error map if the model has learned its error."""
        try:
            known = any(one is not None for one in self.model.chosen().record.error)
        except BadInput:
            known = False
        if not known:
            self.quantity.value = "result"
        self.picker.rows.setRowVisible(self.quantity.native, known)

    # -- running ------------------------------------------------------------------------------

    def denoise(self) -> None:
        """Denoise the chosen recording; resume an unfinished result."""
        _, unfinished, _ = self.output.existing(self.session.unsaved)
        self._start(resume=unfinished)

    def overwrite(self) -> None:
        """Denoise the chosen recording and overwrite the existing output."""
        self._start(overwrite=True)

    def _start(self, *, resume: bool = False, overwrite: bool = False) -> None:
        flags = {"resume": resume, "overwrite": overwrite}
        try:
            denoiser, sources = self.model.chosen(), self.picker.chosen()
            out = self.output.chosen(sources, **flags)
            self.session.refuse_a_second()
        except BadInput as error:
            self.status.setText(notify(error))
            return
        self.progress.reset()
        self.comparing.forget()
        self.previewing.end()
        self.session.denoise(
            denoiser,
            sources,
            out,
            axes=self.axes.letters,
            turns=self.turns.value,
            quantity=self.quantity.value,
            memory=self.memory.bytes,
            device=self.device.value,
            **flags,
        )

    def _show_state(self) -> None:
        running = self.session.running
        exists, unfinished, hint = self.output.existing(self.session.unsaved)
        for part in (self.picker, self.comparison):
            part.setEnabled(not running)
        self.button.setEnabled(not running)
        self.button.setText("Resume" if unfinished else "Denoise")
        self.overwrite_button.setVisible((unfinished or exists) and not running)
        self.cancel_button.setVisible(running)
        self.progress.setVisible(running)
        self.status.setText(self.session.message or self._deleted() or hint or _WELCOME)
        self._show_warnings(self.session.warnings)

    def _show_progress(self, share: float) -> None:
        self.progress.show_share(share, self.session.remaining)
        self._show_warnings(self.session.warnings)

    def _show_warnings(self, warnings: Sequence[str]) -> None:
        self.warnings.setText("\n".join(f"⚠ {words}" for words in warnings))
