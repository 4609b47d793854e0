"""The simulation session of a viewer: it adds two noisy copies of a clean layer."""

import shutil
import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.layers import Image
from psygnal import Signal

from napari_n2n.io import ngff_reader
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.simulate.corruption import Noise
from napari_n2n.simulate.write import SimulationStep, simulate_by_planes
from napari_n2n.widgets.layers.result_layer import (
    layer_arguments,
    scratch_folder,
    select_pair,
)
from napari_n2n.widgets.sessions.session import Session


class SimulationSession(Session):
    """Runs one simulation at a time."""

    stepped = Signal(SimulationStep)
    finished = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._stop = threading.Event()
        self._source: Image | None = None
        self._clean: Acquisition | None = None

    def simulate(self, source: Image, clean: Acquisition, noise: Noise, seed: int) -> None:
        """Make two noisy copies in the background.

        Parameters
        ----------
        source, clean
            The layer, and the acquisition opened from it.
        noise
            The noise to add.
        seed
            The same seed gives the same pixels.

        Raises
        ------
        BadInput
            If another run is in progress in this viewer.
        """
        self.refuse_a_second()
        self._source, self._clean = source, clean
        self._stop = stop = threading.Event()
        self._run(lambda: _copies(clean, noise, seed, stop), "napari-n2n: simulating", stop.set)

    def stop(self) -> None:
        """Stop after the current plane and delete both copies."""
        self._stop.set()
        if self.running:
            self._say("Cancelling ...")

    def _receive(self, step: SimulationStep) -> None:
        if not self._stop.is_set():
            self._say(f"{step.done} of {step.total} planes")
        self.stepped.emit(step)

    def _finish(self, paths: list[Path]) -> None:
        viewer, source, clean = self._viewer(), self._source, self._clean
        self._source = self._clean = None
        message = "Cancelled."
        if self._stop.is_set():  # perhaps only after the last plane was written
            for path in paths:
                shutil.rmtree(path, ignore_errors=True)
        elif viewer is not None and source is not None and clean is not None:
            copies = [ngff_reader.read(path) for path in paths]
            looks = [
                layer_arguments(pixels, replace(header, name=header.own_name), source, clean.order)
                for pixels, header in copies
            ]
            select_pair(viewer, [viewer.add_image(**one) for one in looks])
            message = f"Made two noisy copies of '{source.name}'."
        self._end()
        self._say(message)
        self.finished.emit()


def _copies(
    clean: Acquisition, noise: Noise, seed: int, stop: threading.Event
) -> Generator[SimulationStep, None, list[Path]]:
    """Write two noisy copies; return their paths, or an empty list if stopped."""
    folder = scratch_folder()
    out = [folder / f"{letter}.ome.zarr" for letter in "ab"]
    with closing(simulate_by_planes(clean, noise, out, seed=seed)) as run:
        for step in run:
            yield step
            if stop.is_set():
                return []
    return run.result
