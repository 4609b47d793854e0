"""Take the pictures of the docks in a real napari window.

Usage: python docs/screenshots.py [-o DIR] [--theme dark|light]; on a machine without a screen,
under xvfb-run.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication


def wait(until: Callable[[], bool], seconds: float = 180.0) -> None:
    """Keep the window alive until a condition holds."""
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.02)


def settle(seconds: float = 1.5) -> None:
    """Let the window draw."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def main() -> None:
    """Train on the sample pair and take the Train dock before, during and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_name("images"))
    parser.add_argument("--theme", default="dark")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer()
    viewer.theme = given.theme
    viewer.window.resize(1400, 900)

    def shoot(name: str) -> None:
        settle()
        path = given.output / f"{name}_{given.theme}.png"
        viewer.screenshot(path, canvas_only=False, flash=False)

    viewer.open_sample("napari-n2n", "cells")
    _, train = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    shoot("train_before")
    train.minutes.value = 0.75
    train.train_button.click()
    wait(lambda: len(train.session.curve) > 1 and train.session.curve[-1].progress > 0.5)
    shoot("train_during")
    wait(lambda: not train.session.running)
    shoot("train_after")
    viewer.close()


if __name__ == "__main__":
    main()
