"""The Train dock: choose recordings and settings, train, watch, and save the model."""

from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput
from napari_n2n.io.image_name import split_image_name
from napari_n2n.recipe import Recipe
from napari_n2n.training.losses import LOSSES
from napari_n2n.widgets.dock import Dock, TextLabel, button, connect_while_alive, notify
from napari_n2n.widgets.forms.findings_panel import FindingsPanel, add_cropped
from napari_n2n.widgets.forms.layer_menu import selected_layers
from napari_n2n.widgets.forms.model_actions import ModelActions
from napari_n2n.widgets.forms.pair_picker import PairPicker
from napari_n2n.widgets.forms.run_panel import RunPanel
from napari_n2n.widgets.forms.settings_form import SettingsForm
from napari_n2n.widgets.forms.spot_panel import SpotPanel
from napari_n2n.widgets.sessions.measuring import Measuring
from napari_n2n.widgets.sessions.session import session_of
from napari_n2n.widgets.sessions.training_session import TrainingSession


class TrainWidget(Dock):
    """Ask for recordings and settings, train, and add the denoised layers.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered and which receives the result.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.session = session_of(napari_viewer, TrainingSession)
        self.measuring = session_of(napari_viewer, Measuring)
        self._build()
        self._restore()
        self._connect()
        self._measure()
        self._show_measured()
        self._show_state()

    # -- parts --------------------------------------------------------------------------------

    def _build(self) -> None:
        self.picker = PairPicker(self.viewer)
        self.source = self.picker.source
        self.layer_a, self.layer_b = self.picker.layer_a, self.picker.layer_b
        self.file_a, self.file_b = self.picker.file_a, self.picker.file_b
        self.findings = FindingsPanel(self.measuring, self.picker.has_other)
        self.loss_words = self.findings.loss_words
        self.form = SettingsForm()
        self.loss, self.minutes, self.device = self.form.loss, self.form.minutes, self.form.device
        self.train_button = button("Train", "Train on these recordings in the background")
        self.chosen = TextLabel()
        self.run_panel = RunPanel(self.viewer, self.session)
        self.stop_button, self.status = self.run_panel.stop_button, self.run_panel.status
        self.model_actions = ModelActions(self.viewer, self.session, self._recipe)
        self.save_button, self.save = self.model_actions.save_button, self.model_actions.save
        measured = (self.findings, self.form.time_words)
        self.choices = (self.picker, *measured, self.train_button, self.form)
        self.spots = SpotPanel(self.viewer, self._recordings_of_result)
        curve = self.run_panel.curve
        after = (self.chosen, self.run_panel, self.model_actions, self.spots, curve)
        self.stack(*self.choices, *after, stretched=curve)
        self.accept_drops(self.picker.choose_paths)

    def _connect(self) -> None:
        session = self.session
        signals = (session.started, session.finished, session.discarded, session.failed)
        slots: list[tuple[Any, Any]] = [(signal, self._show_state) for signal in signals]
        connect_while_alive(self, [*slots, (self.measuring.changed, self._show_measured)])
        for part, answer in ((self.picker, self._measure), (self.form, self._apply_settings)):
            part.changed.connect(self.session.forget_failure)
            part.changed.connect(answer)
        self.findings.fix_requested.connect(self._fix)
        self.train_button.clicked.connect(self.train)
        self.destroyed.connect(self.session.forget_dock)

    # -- choices ------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Show the settings of the last run in this window, and its recordings if they exist.

        Two or more selected layers are chosen instead, except during a run.
        """
        recipe = self.session.recipe
        if recipe is None:
            return
        self.form.choose(recipe.settings, recipe.wanted)
        if len(selected_layers(self.viewer)) > 1 and not self.session.running:
            return
        sources = recipe.recordings.sources
        if all(self._is_there(source) for source in sources):
            self.picker.choose(recipe.recordings)

    def _is_there(self, source: Any) -> bool:
        if isinstance(source, Path):
            return split_image_name(source)[0].exists()
        return source in self.viewer.layers

    def _measure(self) -> None:
        """Measure the chosen recordings."""
        if self.session.running:
            return
        try:
            self.measuring.measure(self.picker.recordings())
        except BadInput as error:
            self.measuring.refuse(error)
        self._apply_settings()

    def _apply_settings(self) -> None:
        settings = self.form.settings()
        self.findings.show_loss(settings.loss)
        self.measuring.time(settings)

    def _show_measured(self) -> None:
        first = self.measuring.first
        self.picker.axes.show_for(self.measuring.problem or first)
        self.form.show_estimate(self.measuring.estimate)
        if not self.session.running:
            self.run_panel.show_welcome(first is None)
        self._show_chosen()

    def _fix(self, name: str) -> None:
        """Apply the `Fix` of this name to the chosen recordings."""
        {
            "split": self.picker.split_instead,
            "other": self.picker.choose_other,
            "swap": self.picker.swap,
            "crop": self._crop,
        }[name]()

    def _crop(self) -> None:
        recordings, measured = self.measuring.recordings, self.measuring.measured
        if recordings is not None and measured is not None:
            self.picker.choose(add_cropped(self.viewer, recordings, measured.pairs[0]))

    # -- running ------------------------------------------------------------------------------

    def _recipe(self) -> Recipe:
        """Return the run that the form describes; raise `BadInput` if something is missing."""
        return Recipe(self.picker.recordings(), self.form.settings(), self.form.wanted.value)

    def train(self) -> None:
        """Start the run that the form describes."""
        try:
            self.session.train(self._recipe())
        except BadInput as error:
            self.status.setText(notify(error))

    def _recordings_of_result(self) -> tuple[list[Any], str | None]:
        """Return recordings and axes of the selected result, or else of the last result."""
        recipe = self.session.recipe
        if recipe is None:
            return [], None
        if recipe.recordings.split:
            raise BadInput(
                "Spots are compared with two recordings of the scene: this model was trained on "
                "frames of one stack",
                "single",
            )
        return recipe.recordings.of_field(self.session.source_of_result()), recipe.recordings.axes

    def _show_state(self) -> None:
        self.spots.setVisible(bool(self.session.results))
        for part in self.choices:
            part.setVisible(not self.session.running)
            part.setEnabled(not self.session.running)
        self._measure()  # layers may have been deleted during the run
        self._show_chosen()

    def _show_chosen(self) -> None:
        """During a run, show a summary instead of the forms."""
        recipe = self.session.recipe
        if not self.session.running or recipe is None:
            self.findings.show_loss(self.form.settings().loss)
            self.chosen.setText("")
            return
        self.findings.show_loss(recipe.settings.loss)
        loss = LOSSES.get(recipe.settings.loss)
        how = "" if loss is None else f" with {loss.title}"
        self.chosen.setText(f"Training on {recipe.recordings.title}{how}\n{self.loss_words.text()}")
