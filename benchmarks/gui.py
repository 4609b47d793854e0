"""Does napari stay responsive? Gaps of a 10 ms timer during training and denoising.

Usage: python benchmarks/gui.py [--seconds 30] [--threads 2] [--no-publish]; on a machine without a
screen, under xvfb-run. A gap is the time between two ticks of the timer: the delay that a user
feels who moves a slider in that moment. Gaps are measured from the first step of a training, and
from the moment in which the layer of a result appears.
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
TICK_MS = 10
# 95 % of the gaps must be below the first (20 images per second), all below the second (a delay
# that is clearly felt).
SMOOTH_MS, FROZEN_MS = 50, 250
OPENS_S, CLOSES_S, STARTS_MS = 1.0, 1.0, 50  # limits for opening, closing, and napari's start
REPEATS = 7
TILES = 16  # copies of the sample along each side: takes longer to denoise than is measured


@dataclass(frozen=True)
class Gaps:
    """Times between ticks of the timer, in ms."""

    name: str
    values: np.ndarray

    def row(self) -> list[object]:
        """Return the line of the table."""
        median, most = np.percentile(self.values, (50, 95))
        figures = (median, most, self.values.max())
        return [self.name, len(self.values), *(f"{figure:.0f}" for figure in figures)]

    def verdict(self) -> Verdict:
        """Check that a user would not notice the gaps."""
        most, longest = float(np.percentile(self.values, 95)), float(self.values.max())
        ok = most < SMOOTH_MS and longest < FROZEN_MS
        return (
            ok,
            f"{self.name}: 95% of the gaps within {most:.0f} ms, the longest {longest:.0f} ms",
        )


def gaps_until(until: Callable[[], bool], seconds: float) -> np.ndarray:
    """Process events until a condition holds, or for a time; return the gaps in ms."""
    loop, ticks = QEventLoop(), [time.perf_counter()]
    end = ticks[0] + seconds

    def tick() -> None:
        ticks.append(time.perf_counter())
        if until() or ticks[-1] > end:
            loop.quit()

    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.setInterval(TICK_MS)
    timer.timeout.connect(tick)
    timer.start()
    loop.exec()
    timer.stop()
    return 1000 * np.diff(ticks)


def wait(until: Callable[[], bool]) -> None:
    """Process events until a condition holds."""
    gaps_until(until, 600)
    if not until():
        raise RuntimeError("the expected event did not happen within ten minutes")


def start_training(viewer: napari.Viewer, *, preview: bool) -> Any:
    """Train on the layers of the viewer; return the dock after the first step."""
    _, train = viewer.window.add_plugin_dock_widget(PLUGIN, "Train")
    wait(lambda: not train.measuring.busy)
    train.watch.preview.setChecked(preview)
    train.train_button.click()
    wait(lambda: bool(train.session.curve) or not train.session.running)
    return train


def training_gaps(viewer: napari.Viewer, seconds: float, *, preview: bool) -> Gaps:
    """Train on the layers of the viewer, with or without the live preview."""
    train = start_training(viewer, preview=preview)
    words = "with" if preview else "without"
    gaps = Gaps(
        f"training, {words} preview", gaps_until(lambda: not train.session.running, seconds)
    )
    train.session.stop()
    wait(lambda: not train.session.running)
    return gaps


def denoising_gaps(viewer: napari.Viewer, seconds: float) -> Gaps:
    """Apply the latest model to a large movie while its result layer fills."""
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
    gaps = Gaps("denoising", gaps_until(lambda: not denoise.session.running, seconds))
    denoise.session.stop()
    wait(lambda: not denoise.session.running)
    return gaps


def idle_gaps(seconds: float) -> Gaps:
    """Do nothing, for comparison."""
    return Gaps("nothing runs", gaps_until(lambda: False, seconds))


def opening_time(viewer: napari.Viewer) -> float:
    """Return the seconds that the Train dock needs to open, with its code already imported."""
    import napari_n2n.widgets.train_dock  # noqa: F401

    began = time.perf_counter()
    viewer.window.add_plugin_dock_widget(PLUGIN, "Train")
    gaps_until(lambda: True, 1)
    return time.perf_counter() - began


def closing_time(viewer: napari.Viewer) -> float:
    """Return the seconds from closing napari during training to the end of all its work."""
    session = start_training(viewer, preview=True).session
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
    """Return the modules of the plugin that napari imports at start."""
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
        (
            closing < CLOSES_S,
            f"closing napari during training ends all work within {closing:.2f} s",
        ),
        (
            cost < STARTS_MS and not modules,
            f"the plugin delays the start of napari by {cost:.0f} ms, which imports "
            f"{', '.join(modules) or 'nothing'} of it",
        ),
    ]
    header = ["while", "ticks", "median, ms", "95%, ms", "longest, ms"]
    text = (
        f"Gaps between the ticks of a {TICK_MS} ms timer in a napari window, for "
        f"{given.seconds:g} s each: training on the sample time-lapse, denoising a field of view "
        f"{TILES}x{TILES} times as large.\n\n"
        f"{table(header, [one.row() for one in gaps])}\n\n{judged(verdicts)}\n\n"
        f"{machine()}, napari {napari.__version__}, {os.environ.get('QT_API', 'PyQt6')}"
    )
    if given.no_publish:
        print(text)
    else:
        publish("gui", text)


if __name__ == "__main__":
    main()
