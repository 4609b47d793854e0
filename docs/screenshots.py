"""Take the pictures of the docks in a real napari window.

Usage: python docs/screenshots.py [-o DIR] [--theme dark|light]; on a machine without a screen,
under xvfb-run.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from PIL import Image
from qtpy.QtWidgets import QApplication

Shoot = Callable[[str], None]


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


def shoot_train(viewer: napari.Viewer, shoot: Shoot) -> None:
    """Train on the sample pair and take the Train dock before, during and after."""
    viewer.open_sample("napari-n2n", "cells")
    dock, train = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    shoot("train_before")
    train.minutes.value = 0.75
    train.train_button.click()
    wait(lambda: len(train.session.curve) > 1 and train.session.curve[-1].progress > 0.5)
    shoot("train_during")
    wait(lambda: not train.session.running)
    shoot("train_after")
    viewer.window.remove_dock_widget(dock)


def shoot_denoise(viewer: napari.Viewer, shoot: Shoot) -> None:
    """Apply the model just trained to a larger recording; take the result while it fills.

    Beside it the recording, both where the corners of four parts meet.
    """
    recording = viewer.layers[0]
    looks = {name: getattr(recording, name) for name in ("scale", "units", "contrast_limits")}
    pixels = np.pad(np.asarray(recording.data), ((150, 3434), (150, 5482)), mode="reflect")
    viewer.layers.clear()
    dock, denoise = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    viewer.add_image(pixels, name="large field", **looks)
    viewer.canvas.grid.enabled = True
    shoot("denoise_before")
    denoise.button.click()
    wait(lambda: "1 of" in denoise.words.text())
    step = float(looks["scale"][-1])
    viewer.camera.center, viewer.camera.zoom = (0, 2048 * step, 2048 * step), 0.8 / step
    wait(lambda: "4 of" in denoise.words.text())
    shoot("denoise_during")
    wait(lambda: not denoise.session.running)
    shoot("denoise_after")
    viewer.window.remove_dock_widget(dock)


def main() -> None:
    """Take the pictures of all docks."""
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
        viewer.status = ""
        picture = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)[..., :3])
        few = picture.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(given.output / f"{name}_{given.theme}.png", optimize=True)

    shoot_train(viewer, shoot)
    shoot_denoise(viewer, shoot)
    viewer.close()


if __name__ == "__main__":
    main()
