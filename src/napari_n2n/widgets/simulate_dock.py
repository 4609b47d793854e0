"""The Simulate dock: add noise to a clean image twice, for a pair with a known truth."""

from itertools import chain
from typing import Any

from magicgui.widgets import ComboBox, SpinBox
from qtpy.QtWidgets import QHBoxLayout

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.simulate.corruption import Noise
from napari_n2n.simulate.registry import NOISES
from napari_n2n.simulate.write import SimulationStep
from napari_n2n.widgets.dock import (
    Dock,
    ProgressBar,
    TextLabel,
    button,
    connect_while_alive,
    keep_narrow,
    notify,
)
from napari_n2n.widgets.forms.fields import AxesField, ParameterField, form_layout
from napari_n2n.widgets.forms.layer_menu import single_layer_menu
from napari_n2n.widgets.sessions.session import session_of
from napari_n2n.widgets.sessions.simulation_session import SimulationSession

_WELCOME = "Makes two noisy copies of a clean image: a training pair with a known truth."


class SimulateWidget(Dock):
    """Ask for a clean image and a kind of noise, and add two noisy layers.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered and which receives the results.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.session = session_of(napari_viewer, SimulationSession)
        self._build()
        self._connect()
        self._show_noise()
        self._show_axes()
        self._show_state()

    def _build(self) -> None:
        tip = "Image to add noise to; it is the known truth"
        self.layer = single_layer_menu(self.viewer, "Clean image", tip)
        self.axes = AxesField("image")
        noises = [(noise.title, noise.name) for noise in NOISES.values()]
        self.noise = ComboBox(label="Noise", choices=noises, tooltip="Kind of noise to add")
        keep_narrow(self.noise)
        self.noise_words, self.status = TextLabel(), TextLabel()
        self.numbers = {name: _fields(noise()) for name, noise in NOISES.items()}
        tip = "Random seed; another number gives other noise of the same kind"
        self.seed = SpinBox(label="Seed", max=2**31 - 1, tooltip=tip)
        tip = "Add two layers with independent noise, in the background"
        self.button = button("Make two noisy copies", tip)
        self.cancel_button = button("Cancel", "Stop now and discard the copies")
        self.progress = ProgressBar()
        numbers = chain(*self.numbers.values())
        self._rows = form_layout(self.layer, self.axes, self.noise, *numbers, self.seed)
        self._rows.insertRow(3, self.noise_words)
        self.axes.hide_unless_needed(self._rows)
        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 1)
        buttons.addWidget(self.cancel_button)
        self.stack(self._rows, buttons, self.progress, self.status)

    def _connect(self) -> None:
        slots: list[tuple[Any, Any]] = [
            (self.session.started, self._show_state),
            (self.session.stepped, self._show_step),
            (self.session.message_changed, self.status.setText),
            (self.session.finished, self._show_state),
            (self.session.failed, self._show_state),
        ]
        connect_while_alive(self, slots)
        self.layer.changed.connect(self._show_axes)
        self.noise.changed.connect(self._show_noise)
        self.button.clicked.connect(self.simulate)
        self.cancel_button.clicked.connect(self.session.stop)

    def _show_axes(self, _layer: Any = None) -> None:
        try:
            self.layer.check()
            self.axes.show_for(None if self.layer.value is None else self._clean())
        except BadInput as error:
            self.axes.show_for(error)
            if error.code == "not_found":
                self.status.setText(str(error))

    def _clean(self) -> Acquisition:
        return Acquisition.open(self.layer.value, axes=self.axes.letters)

    def _show_noise(self) -> None:
        self.noise_words.setText(NOISES[self.noise.value].description)
        for name, fields in self.numbers.items():
            for field in fields:
                self._rows.setRowVisible(field.native, name == self.noise.value)

    def chosen_noise(self) -> Noise:
        """Return the noise in the form; raise `BadInput` if its numbers are not valid."""
        return NOISES[self.noise.value](*(one.value for one in self.numbers[self.noise.value]))

    def simulate(self) -> None:
        """Make two noisy copies of the chosen layer."""
        source, seed = self.layer.value, self.seed.value
        try:
            self.layer.check()
            if source is None:
                raise BadInput("Open a clean image first", "not_chosen")
            self.session.simulate(source, self._clean(), self.chosen_noise(), seed)
        except BadInput as error:
            self.status.setText(notify(error))

    def _show_state(self) -> None:
        running = self.session.running
        self.button.setEnabled(not running)
        self.cancel_button.setVisible(running)
        self.progress.setVisible(running)
        if not running:
            self.progress.reset()
        self.status.setText(self.session.message or _WELCOME)

    def _show_step(self, step: SimulationStep) -> None:
        self.progress.show_share(step.progress)


def _fields(noise: Noise) -> list[ParameterField]:
    return [ParameterField(one, getattr(noise, name)) for name, one in noise.parameters().items()]
