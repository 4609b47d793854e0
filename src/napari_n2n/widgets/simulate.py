"""The Simulate dock: put noise on a clean image, twice, and get a pair whose truth is known."""

import threading
from collections.abc import Generator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, SpinBox
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.compat import isalive
from qtpy.QtWidgets import QHBoxLayout, QProgressBar

from napari_n2n import ngff
from napari_n2n.acquisition import Acquisition
from napari_n2n.errors import BadInput
from napari_n2n.simulate import NOISES, Noise, SimulationStep, simulate_by_planes
from napari_n2n.widgets import worker
from napari_n2n.widgets.dock import Dock, Words, button, keep_narrow, plainly
from napari_n2n.widgets.form import axes_field, axes_in, form, layer_menu
from napari_n2n.widgets.level import LevelField
from napari_n2n.widgets.result_layer import layer_arguments, scratch_folder

_WELCOME = "Makes two noisy copies of a clean image: a pair to learn from, with a known truth."


class SimulateWidget(Dock):
    """Choose a clean image and a noise; two noisy layers come out.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are offered and which receives the results.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self._stop = threading.Event()
        self._build()
        self._connect()
        self._show_noise()
        self._ask_for_axes()

    def _build(self) -> None:
        tip = "Image that counts as the truth"
        self.layer = layer_menu(self.viewer, "Clean image", tip)
        self.axes = axes_field("image")
        noises = [(noise.title, noise.name) for noise in NOISES.values()]
        self.noise = ComboBox(label="Noise", choices=noises, tooltip="What spoils the image")
        keep_narrow(self.noise)
        self.noise_words, self.words = Words(), Words(_WELCOME)
        self.numbers = {name: _fields(noise()) for name, noise in NOISES.items()}
        tip = "Another number gives other noise of the same kind"
        self.seed = SpinBox(label="Seed", max=2**31 - 1, tooltip=tip)
        tip = "Adds two layers with independent noise, in the background"
        self.button = button("Make two noisy copies", tip)
        self.cancel_button = button("Cancel", "Stop now and throw away what is done")
        self.cancel_button.hide()
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.progress.hide()
        numbers = chain(*self.numbers.values())
        self._rows = form(self.layer, self.axes, self.noise, *numbers, self.seed)
        self._rows.insertRow(3, self.noise_words)
        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 1)
        buttons.addWidget(self.cancel_button)
        self.stack(self._rows, buttons, self.progress, self.words)

    def _connect(self) -> None:
        self.layer.changed.connect(self._ask_for_axes)
        self.noise.changed.connect(self._show_noise)
        self.button.clicked.connect(self.simulate)
        self.cancel_button.clicked.connect(self.cancel)

    def _ask_for_axes(self, _layer: Any = None) -> None:
        """Show the field for the axes where nobody names them."""
        try:
            unnamed = self.layer.value is not None and self._clean().axes_in_doubt
        except BadInput as error:
            unnamed = error.code == "axes"
        self._rows.setRowVisible(self.axes.native, unnamed or axes_in(self.axes) is not None)

    def _clean(self) -> Acquisition:
        return Acquisition.open(self.layer.value, axes=axes_in(self.axes))

    def _show_noise(self) -> None:
        self.noise_words.setText(NOISES[self.noise.value].words)
        for name, fields in self.numbers.items():
            for field in fields:
                self._rows.setRowVisible(field.native, name == self.noise.value)

    def chosen_noise(self) -> Noise:
        """Return the noise that the form describes; raises `BadInput` where there is none such."""
        return NOISES[self.noise.value](*(one.value for one in self.numbers[self.noise.value]))

    def simulate(self) -> None:
        """Make two noisy copies of the chosen layer."""
        source, seed = self.layer.value, self.seed.value
        if source is None:
            return self._fail("Open a clean image first")
        try:
            clean, noise = self._clean(), self.chosen_noise()
        except BadInput as error:
            return self._fail(plainly(error))
        self._stop = stop = threading.Event()
        self.progress.reset()
        self._show("Simulating ...", ready=False)
        worker.start(
            lambda: _job(clean, noise, seed, stop),
            "napari-n2n: simulating",
            on_yield=self._show_step,
            on_return=lambda paths: self._finish(paths, source, clean),
            on_failure=self._fail,
            on_quit=stop.set,
        )

    def cancel(self) -> None:
        """Stop as soon as can be, and throw away what is done."""
        self._stop.set()
        self.words.setText("Cancelling ...")

    def _show_step(self, step: SimulationStep) -> None:
        if not self._stop.is_set():
            self._show(f"{step.done} of {step.total} planes", ready=False)
        if isalive(self):
            self.progress.setValue(round(1000 * step.progress))

    def _finish(self, paths: list[Path], source: Image, clean: Acquisition) -> None:
        for path in paths:
            self.viewer.add_image(**layer_arguments(*ngff.read(path), source, clean.order))
        words = f"Made two noisy copies of '{source.name}'." if paths else "Cancelled."
        self._show(words, ready=True)

    def _fail(self, message: str) -> None:
        self._show(message, ready=True)
        show_error(message)

    def _show(self, words: str, ready: bool) -> None:
        if isalive(self):  # the dock may be closed while the copies are made
            self.words.setText(words)
            self.button.setEnabled(ready)
            self.cancel_button.setVisible(not ready)
            self.progress.setVisible(not ready)


def _fields(noise: Noise) -> list[LevelField]:
    return [LevelField(one, getattr(noise, name)) for name, one in noise.parameters().items()]


def _job(
    clean: Acquisition, noise: Noise, seed: int, stop: threading.Event
) -> Generator[SimulationStep, None, list[Path]]:
    """Write two noisy copies; none if it was stopped."""
    folder = scratch_folder()
    run = simulate_by_planes(
        clean, noise, [folder / f"{view}.ome.zarr" for view in "ab"], seed=seed
    )
    with closing(run):
        while not stop.is_set():
            try:
                yield next(run)
            except StopIteration as finished:
                return [] if stop.is_set() else finished.value
    return []
