"""The Simulate dock: put noise on a clean image, twice, and get a pair whose truth is known."""

from collections.abc import Generator
from itertools import chain
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FloatSpinBox, SpinBox
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.compat import isalive

from napari_n2n import ngff
from napari_n2n.acquisition import Acquisition
from napari_n2n.errors import BadInput
from napari_n2n.simulate import NOISES, Noise, SimulationStep, simulate_by_planes
from napari_n2n.widgets import worker
from napari_n2n.widgets.dock import Dock, Words, button, keep_narrow
from napari_n2n.widgets.form import form, layer_menu
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
        self._build()
        self._connect()
        self._show_noise()

    def _build(self) -> None:
        tip = "Image that counts as the truth"
        self.layer = layer_menu(self.viewer, "Clean image", tip)
        noises = [(noise.title, noise.name) for noise in NOISES.values()]
        self.noise = ComboBox(label="Noise", choices=noises, tooltip="What spoils the image")
        keep_narrow(self.noise)
        self.noise_words, self.words = Words(), Words(_WELCOME)
        self.numbers = {name: _fields(noise()) for name, noise in NOISES.items()}
        tip = "Another number gives other noise of the same kind"
        self.seed = SpinBox(label="Seed", max=2**31 - 1, tooltip=tip)
        tip = "Adds two layers with independent noise, in the background"
        self.button = button("Make two noisy copies", tip)
        self._rows = form(self.layer, self.noise, *chain(*self.numbers.values()), self.seed)
        self._rows.insertRow(2, "", self.noise_words)
        self.stack(self._rows, self.button, self.words)

    def _connect(self) -> None:
        self.noise.changed.connect(self._show_noise)
        self.button.clicked.connect(self.simulate)

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
            noise = self.chosen_noise()
        except BadInput as error:
            return self._fail(str(error))
        self._show("Simulating ...", ready=False)
        worker.start(
            lambda: _job(source, noise, seed),
            "napari-n2n: simulating",
            on_yield=lambda step: self._show(f"{step.done} of {step.total} planes", ready=False),
            on_return=lambda paths: self._finish(paths, source),
            on_failure=self._fail,
        )

    def _finish(self, paths: list[Path], source: Image) -> None:
        order = Acquisition.open(source).order
        for path in paths:
            self.viewer.add_image(**layer_arguments(*ngff.read(path), source, order))
        self._show(f"Made two noisy copies of '{source.name}'.", ready=True)

    def _fail(self, message: str) -> None:
        self._show(message, ready=True)
        show_error(message)

    def _show(self, words: str, ready: bool) -> None:
        if isalive(self):  # the dock may be closed while the copies are made
            self.words.setText(words)
            self.button.setEnabled(ready)


def _fields(noise: Noise) -> list[FloatSpinBox]:
    return [
        FloatSpinBox(
            label=number.label,
            tooltip=number.tip,
            value=getattr(noise, name),
            min=number.low,
            max=number.high,
            step=number.step,
        )
        for name, number in noise.parameters().items()
    ]


def _job(source: Image, noise: Noise, seed: int) -> Generator[SimulationStep, None, list[Path]]:
    folder = scratch_folder()
    out = [folder / f"{view}.ome.zarr" for view in "ab"]
    return (yield from simulate_by_planes(Acquisition.open(source), noise, out, seed=seed))
