"""The Denoise dock: apply a model to other recordings, and watch the result fill."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magicgui.widgets import CheckBox
from qtpy.QtWidgets import QHBoxLayout, QProgressBar

from napari_n2n.errors import BadInput
from napari_n2n.model.denoiser import SUFFIX
from napari_n2n.widgets.dock import Dock, Words, button, connect_while_alive, notify, time_left
from napari_n2n.widgets.forms.comparison_controls import ComparisonControls
from napari_n2n.widgets.forms.fields import axes_field, axes_in, bytes_in, device_menu, memory_field
from napari_n2n.widgets.forms.model_picker import ModelPicker
from napari_n2n.widgets.forms.output import OutputPicker
from napari_n2n.widgets.forms.recordings_picker import ImagePicker
from napari_n2n.widgets.sessions.denoising_session import DenoisingSession
from napari_n2n.widgets.sessions.previewing import Previewing, Subject, SuitabilityCheck
from napari_n2n.widgets.sessions.session import session_of
from napari_n2n.widgets.sessions.training_session import TrainingSession

_WELCOME = "Cleans a recording with a model that was trained on others like it."


class DenoiseWidget(Dock):
    """Choose a model and a recording; a clean layer fills.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered and which receives the result.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.session = session_of(napari_viewer, DenoisingSession)
        self.comparing = SuitabilityCheck()
        self.previewing = session_of(napari_viewer, Previewing)
        self._build()
        self._connect()
        self._suggest()
        self._show_state()
        self._compare()

    # -- what is on it ------------------------------------------------------------------------

    def _build(self) -> None:
        self.picker = ImagePicker(self.viewer)
        self.model = ModelPicker(self.viewer, self.picker.rows)
        self.axes = axes_field("recording")
        self.output = OutputPicker()
        self.out = self.output.field
        self.memory, self.device = memory_field(), device_menu()
        self.turns = CheckBox(
            label="Turns",
            tooltip="Clean the image also turned and mirrored, and take the mean of all eight: "
            "a little better, and eight times slower",
        )
        self.turns.native.setText("mean of all eight")
        for field in (self.axes, self.out, self.memory, self.device, self.turns):
            self.picker.rows.addRow(field.label, field.native)
        self.comparison = ComparisonControls(
            self.previewing.comparison,
            "Shows the plane on screen as the model cleans it, in a layer on top of the others, "
            "before the long run; follows the sliders, and the part in view of large planes",
        )
        self.preview, self.split = self.comparison.preview, self.comparison.split
        self.button = button("Denoise", "Clean the recording, in the background")
        self.cancel_button = button("Cancel", "Stop now; what is done can be gone on with later")
        self.overwrite_button = button(
            "Overwrite", "Throw away what lies at 'Save to' and begin anew"
        )
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.words, self.warnings = Words(_WELCOME), Words()

        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 2)
        buttons.addWidget(self.overwrite_button, 1)
        buttons.addWidget(self.cancel_button, 1)
        self.stack(self.picker, self.comparison, buttons, self.progress, self.words, self.warnings)
        self.take_drops(self.take)

    def _connect(self) -> None:
        slots: list[tuple[Any, Any]] = [
            (self.session.started, self._show_state),
            (self.session.progressed, self._show_progress),
            (self.session.message_changed, self.words.setText),
            (self.session.finished, self._show_state),
            (self.session.failed, self._show_state),
            (self.comparing.found, self._show_warnings),
            (self.session.finished, self._look_again),
            (self.session.failed, self._look_again),
            (self.previewing.failed, self.words.setText),
            (session_of(self.viewer, TrainingSession).started, self.previewing.end),
        ]
        connect_while_alive(self, slots)
        self.model.changed.connect(self._forget)
        self.picker.changed.connect(self._forget)
        for field in (self.axes, self.out):
            field.changed.connect(self._forget)
        for changed in (self.turns.changed, self.device.changed, self.memory.changed):
            changed.connect(self._compare)
        self.destroyed.connect(self.previewing.end)
        self.button.clicked.connect(self.denoise)
        self.overwrite_button.clicked.connect(self.overwrite)
        self.cancel_button.clicked.connect(self.session.stop)

    def take(self, paths: list[Path]) -> None:
        """Choose what is dropped: a model, recordings, or both."""
        models = [path for path in paths if path.suffix == SUFFIX]
        recordings = [path for path in paths if path not in models]
        if models and self.picker.isEnabled():
            self.model.choose(models[0])
        if recordings:
            self.picker.take(recordings)

    def _forget(self) -> None:
        """Take what the last run said for what it was: about something else."""
        if not self.session.running:
            self.session.forget()
            self._suggest()
            self._show_state()
            self._compare()

    def _suggest(self) -> None:
        """Find a place for a result without a name, where a folder for such is set."""
        try:
            sources = self.picker.chosen()
        except BadInput:
            sources = []  # nothing to suggest a name for
        self.output.suggest(sources, axes_in(self.axes))

    def _look_again(self, _words: Any = None) -> None:
        """Take note of what has been chosen while a run was under way."""
        self._suggest()
        self._compare()

    def _compare(self, _value: Any = None) -> None:
        """Show what the model does to the recording, before anybody waits for the result.

        That is whether it suits, and if that is wanted a preview.
        """
        self.comparing.forget()
        if self.session.running:
            return
        try:
            denoiser, sources = self.model.chosen(), self.output.first(self.picker.chosen())
        except BadInput:
            self.previewing.choose(None)
            return  # nothing to compare yet
        axes, computing = axes_in(self.axes), (self.device.value, bytes_in(self.memory))
        subject = Subject(denoiser, sources, axes, self.turns.value, *computing)
        # napari handles what has happened meanwhile, the end of this dock too, when work begins.
        self.comparing.ask(denoiser, sources, axes)
        self.previewing.choose(subject)

    # -- running ------------------------------------------------------------------------------

    def denoise(self) -> None:
        """Clean the recording that is chosen; go on where an unfinished result lies."""
        _, unfinished, _ = self.output.found(self.session.unsaved)
        self._start(resume=unfinished)

    def overwrite(self) -> None:
        """Clean the recording, and let the result replace what lies there."""
        self._start(overwrite=True)

    def _start(self, *, resume: bool = False, overwrite: bool = False) -> None:
        flags = {"resume": resume, "overwrite": overwrite}
        try:
            denoiser, sources = self.model.chosen(), self.picker.chosen()
            out = self.output.chosen(**flags)
            self.session.refuse_a_second()
        except BadInput as error:
            self.words.setText(notify(error))
            return
        self.progress.reset()
        self.comparing.forget()
        self.previewing.end()
        self.session.denoise(
            denoiser,
            sources,
            out,
            axes=axes_in(self.axes),
            turns=self.turns.value,
            memory=bytes_in(self.memory),
            device=self.device.value,
            **flags,
        )

    def _show_state(self) -> None:
        running = self.session.running
        stands, unfinished, hint = self.output.found(self.session.unsaved)
        for part in (self.picker, self.comparison):
            part.setEnabled(not running)
        self.button.setEnabled(not running)
        self.button.setText("Resume" if unfinished else "Denoise")
        self.overwrite_button.setVisible((unfinished or stands) and not running)
        self.cancel_button.setVisible(running)
        self.progress.setVisible(running)
        self.words.setText(self.session.message or hint or _WELCOME)
        self._show_warnings(self.session.warnings)

    def _show_progress(self, share: float) -> None:
        left = self.session.remaining
        self.progress.setValue(round(1000 * share))
        self.progress.setFormat("%p%  " + (time_left(left) if math.isfinite(left) else ""))
        self._show_warnings(self.session.warnings)

    def _show_warnings(self, warnings: Sequence[str]) -> None:
        self.warnings.setText("\n".join(f"⚠ {words}" for words in warnings))
