"""Does the window stay alive? Gaps of a 10 ms timer while a network trains and while one denoises.

Usage: python benchmarks/gui.py [--seconds 30] [--threads 2] [--no-publish]; on a machine without a
screen, under xvfb-run. A gap is the time between two beats of the timer: what a person waits for
who moves a slider in that moment. Gaps are counted from the first step of a training, and from the
moment on in which the layer of a result is there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import napari
import npe2
import numpy as np
import torch
from qtpy.QtCore import QEventLoop, Qt, QTimer
from report import Verdict, judged, machine, publish, table

PLUGIN = "napari-n2n"
BEAT_MS = 10
SMOOTH_MS, FROZEN_MS = 50, 250
OPENS_S, CLOSES_S, STARTS_MS = 1.0, 1.0, 50
REPEATS = 7
TILES = 16  # of the sample along each side, for a movie that takes a while


@dataclass(frozen=True)
class Gaps:
    """Times between beats of the timer, in ms."""

    name: str
    values: np.ndarray

    def row(self) -> list[object]:
        """Return the line of the table."""
        median, most = np.percentile(self.values, (50, 95))
        figures = (median, most, self.values.max())
        return [self.name, len(self.values), *(f"{figure:.0f}" for figure in figures)]

    def verdict(self) -> Verdict:
        """Tell whether a person would feel it."""
        most, longest = float(np.percentile(self.values, 95)), float(self.values.max())
        ok = most < SMOOTH_MS and longest < FROZEN_MS
        return (
            ok,
            f"{self.name}: 95% of the gaps within {most:.0f} ms, the longest {longest:.0f} ms",
        )


def alive(until: Callable[[], bool], seconds: float) -> np.ndarray:
    """Run the window until a condition holds, or for a time; return the gaps in ms."""
    loop, beats = QEventLoop(), [time.perf_counter()]
    end = beats[0] + seconds

    def beat() -> None:
        beats.append(time.perf_counter())
        if until() or beats[-1] > end:
            loop.quit()

    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.setInterval(BEAT_MS)
    timer.timeout.connect(beat)
    timer.start()
    loop.exec()
    timer.stop()
    return 1000 * np.diff(beats)


def wait(until: Callable[[], bool]) -> None:
    """Run the window until a condition holds."""
    alive(until, 600)
    if not until():
        raise RuntimeError("what was waited for did not happen within ten minutes")


def begun_training(viewer: napari.Viewer, *, preview: bool) -> Any:
    """Train on what the viewer shows; returns the dock once the first step is taken."""
    _, train = viewer.window.add_plugin_dock_widget(PLUGIN, "Train")
    wait(lambda: not train.measuring.busy)
    train.watch.preview.setChecked(preview)
    train.train_button.click()
    wait(lambda: bool(train.session.curve) or not train.session.running)
    return train


def training_gaps(viewer: napari.Viewer, seconds: float, *, preview: bool) -> Gaps:
    """Train on what the viewer shows, with or without the live preview."""
    train = begun_training(viewer, preview=preview)
    words = "with" if preview else "without"
    gaps = Gaps(f"training, {words} preview", alive(lambda: not train.session.running, seconds))
    train.session.stop()
    wait(lambda: not train.session.running)
    return gaps


def denoising_gaps(viewer: napari.Viewer, seconds: float) -> Gaps:
    """Apply the model that was trained last to a large movie, and watch the result fill."""
    recording = viewer.layers["timelapse_a"]
    large = np.tile(recording.data, (2, TILES, TILES))
    looks = {name: getattr(recording, name) for name in ("scale", "units", "axis_labels")}
    viewer.add_image(large, name="large", contrast_limits=recording.contrast_limits, **looks)
    _, denoise = viewer.window.add_plugin_dock_widget(PLUGIN, "Denoise")
    denoise.picker.layer_a.value = viewer.layers["large"]
    denoise.picker.layer_b.value = None
    wait(lambda: not denoise.comparing.busy)
    before = len(viewer.layers)
    denoise.button.click()
    wait(lambda: len(viewer.layers) > before or not denoise.session.running)
    gaps = Gaps("denoising", alive(lambda: not denoise.session.running, seconds))
    denoise.session.stop()
    wait(lambda: not denoise.session.running)
    return gaps


def idle_gaps(seconds: float) -> Gaps:
    """Do nothing, for comparison."""
    return Gaps("nothing runs", alive(lambda: False, seconds))


def opening_time(viewer: napari.Viewer) -> float:
    """Return the seconds from asking for the Train dock, its code imported, to seeing it."""
    import napari_n2n.widgets.train_dock  # noqa: F401

    began = time.perf_counter()
    viewer.window.add_plugin_dock_widget(PLUGIN, "Train")
    alive(lambda: True, 1)
    return time.perf_counter() - began


def closing_time(viewer: napari.Viewer) -> float:
    """Return the seconds from closing the window amid a training to the end of all its work."""
    session = begun_training(viewer, preview=True).session
    began = time.perf_counter()
    viewer.close()
    wait(lambda: not session.running)
    return time.perf_counter() - began


def startup_cost() -> float:
    """Return the ms that napari takes to read the plugin's manifest and add its menus."""
    manager = npe2.PluginManager.instance()
    took = []
    for _ in range(REPEATS):
        manager.unregister(PLUGIN)
        began = time.perf_counter()
        manager.register(npe2.PluginManifest.from_distribution(PLUGIN))
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def imported_at_start() -> list[str]:
    """Return the modules of the plugin that napari imports before anybody uses it."""
    code = (
        "import json, sys, napari; viewer = napari.Viewer(show=False); "
        "print(json.dumps([one for one in sys.modules if one.startswith('napari_n2n')]))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return json.loads(printed.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="for each kind of work")
    parser.add_argument("--threads", type=int, default=2, help="cores that torch computes with")
    parser.add_argument("--no-publish", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    modules = imported_at_start()
    viewer = napari.Viewer()
    cost = startup_cost()
    viewer.open_sample(PLUGIN, "timelapse")
    opening = opening_time(viewer)
    gaps = [
        idle_gaps(min(given.seconds, 5)),
        training_gaps(viewer, given.seconds, preview=False),
        training_gaps(viewer, given.seconds, preview=True),
        denoising_gaps(viewer, given.seconds),
    ]
    closing = closing_time(viewer)
    verdicts = [one.verdict() for one in gaps[1:]]
    verdicts += [
        (opening < OPENS_S, f"the Train dock opens in {opening:.2f} s"),
        (closing < CLOSES_S, f"closing amid a training ends all within {closing:.2f} s"),
        (
            cost < STARTS_MS and not modules,
            f"napari starts {cost:.0f} ms later for the plugin, of which it imports "
            f"{', '.join(modules) or 'nothing'}",
        ),
    ]
    header = ["while", "beats", "median, ms", "95%, ms", "longest, ms"]
    text = (
        f"Gaps between the beats of a {BEAT_MS} ms timer in a napari window, for "
        f"{given.seconds:g} s each: training on the sample time-lapse, denoising {TILES}x{TILES} "
        f"times as large a field.\n\n"
        f"{table(header, [one.row() for one in gaps])}\n\n{judged(verdicts)}\n\n"
        f"{machine()}, napari {napari.__version__}, {os.environ.get('QT_API', 'PyQt6')}"
    )
    if given.no_publish:
        print(text)
    else:
        publish("gui", text)


if __name__ == "__main__":
    main()
