"""Take the screenshots of the docks for the documentation, in a real napari window.

Usage: python docs/screenshots.py [--all DIR] [--minutes 1]; on a machine without a screen, under
xvfb-run -s "-screen 0 1920x1080x24". Writes the images of the pages into docs/images; with --all,
also every dock in every state, light and dark, on a small and a large screen, into DIR.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification
from PIL import Image
from qtpy.QtWidgets import QApplication

PLUGIN = "napari-n2n"
IMAGES = Path(__file__).with_name("images")
SHOWN = {
    "simulate_after",
    "train_before",
    "train_findings",
    "train_during",
    "train_after",
    "denoise_before",
    "denoise_during",
    "denoise_after",
    "noise_after",
}
THEMES = ("dark", "light")
SMALL, LARGE = (1366, 768), (1920, 1080)
COLOURS = 256  # a palette of one byte per pixel: smaller files
# Width in pixels, WebP quality (0 to 100; both smaller: smaller file), and milliseconds per frame.
FILM_WIDTH, FILM_QUALITY, FILM_MS = 820, 55, 500


def wait(until: Callable[[], bool], seconds: float = 600.0) -> None:
    """Process the events of the window until a condition is true or the time is over."""
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def settle(seconds: float = 0.8) -> None:
    """Give the window time to draw."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


@dataclass
class Camera:
    """Take screenshots of a window.

    Attributes
    ----------
    viewer
        The viewer with the window.
    everything
        Folder for images of all states, themes and sizes; None: only the images of the pages.
    film
        Frames of the animation.
    """

    viewer: napari.Viewer
    everything: Path | None
    film: list[Image.Image] = field(default_factory=list)

    def capture(self) -> Image.Image:
        """Return a screenshot of the window."""
        self.viewer.status = ""
        return Image.fromarray(self.viewer.screenshot(canvas_only=False, flash=False)[..., :3])

    def shoot(self, name: str) -> None:
        """Save a state of the window under a name."""
        settle()
        if name in SHOWN:
            save(self.capture(), IMAGES / f"{name}.png")
        if self.everything is None:
            return
        for theme in THEMES:
            self.viewer.theme = theme
            for size in (SMALL, LARGE):
                self.viewer.window.resize(*size)
                settle(0.4)
                save(self.capture(), self.everything / f"{name}_{theme}_{size[0]}x{size[1]}.png")
        self.viewer.theme = THEMES[0]
        self.viewer.window.resize(*SMALL)

    def take_frame(self) -> None:
        """Add a frame to the film."""
        picture = self.capture()
        height = round(picture.height * FILM_WIDTH / picture.width)
        self.film.append(picture.resize((FILM_WIDTH, height), Image.Resampling.LANCZOS))

    def save_film(self, path: Path) -> None:
        """Save the film as an animated WebP that shows its last frame longer."""
        first, *others = self.film
        durations = [FILM_MS] * len(others) + [6 * FILM_MS]
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=durations,
            loop=0,
            quality=FILM_QUALITY,
            method=6,
        )


def save(picture: Image.Image, path: Path) -> None:
    """Save a picture with few colours, for a small file."""
    few = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


@contextmanager
def opened(viewer: napari.Viewer, name: str) -> Iterator[Any]:
    """Open a dock, and remove it at the end."""
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, name)
    settle()
    yield widget
    viewer.window.remove_dock_widget(dock)


def close_notifications(viewer: napari.Viewer) -> None:
    """Close what covers the image."""
    for notification in viewer.window._qt_window.findChildren(NapariQtNotification):
        notification.close()


def shoot_noise(camera: Camera) -> None:
    """Measure a sample pair."""
    viewer = camera.viewer
    viewer.open_sample(PLUGIN, "cells")
    with opened(viewer, "Noise") as noise:
        camera.shoot("noise_before")
        noise.button.click()
        wait(noise.button.isEnabled)
        camera.shoot("noise_after")


def shoot_simulate(camera: Camera) -> None:
    """Make two copies of a clean layer with text over it."""
    viewer = camera.viewer
    viewer.layers.clear()
    (clean,) = viewer.open_sample(PLUGIN, "clean_cells")
    with opened(viewer, "Simulate") as simulate:
        simulate.layer.value = clean
        simulate.noise.value = "text"
        camera.shoot("simulate_before")
        simulate.button.click()
        wait(lambda: simulate.button.isEnabled() and len(viewer.layers) > 2)
        camera.shoot("simulate_after")
    viewer.layers.clear()


def shoot_split(camera: Camera) -> None:
    """Split a movie into even and odd frames."""
    viewer = camera.viewer
    viewer.open_sample(PLUGIN, "long_timelapse")
    with opened(viewer, "Split") as split:
        camera.shoot("split_before")
        split.button.click()
        camera.shoot("split_after")
    viewer.layers.clear()


def shoot_train(camera: Camera, minutes: float) -> None:
    """Train on a sample pair, with preview and split view."""
    viewer = camera.viewer
    viewer.open_sample(PLUGIN, "timelapse")
    with opened(viewer, "Train") as train:
        session = train.session
        wait(lambda: train.measuring.estimate is not None)
        camera.shoot("train_before")
        train.minutes.value = minutes
        train.run_panel.preview.setChecked(True)
        train.train_button.click()
        seen, half = 0, False
        while session.running:
            wait(lambda seen=seen: len(session.curve) > seen or not session.running)
            seen = len(session.curve) + 1
            camera.take_frame()
            if not half and session.curve and session.curve[-1].progress > 0.5:
                half = True
                train.run_panel.split.setChecked(True)
                camera.shoot("train_during")
                train.run_panel.pause_button.click()
                camera.shoot("train_paused")
                train.run_panel.pause_button.click()
        settle()
        camera.take_frame()
        camera.shoot("train_after")
        train.run_panel.comparison.save_picture(IMAGES / "before_after.png")
        close_notifications(viewer)
    camera.save_film(IMAGES / "training.webp")


def shoot_choices(camera: Camera) -> None:
    """Show the Train dock with a displaced pair, its advanced settings, and an error."""
    viewer = camera.viewer
    viewer.open_sample(PLUGIN, "cells")
    second = viewer.layers[1]
    second.data = np.roll(second.data, (9, -6), (-2, -1))
    with opened(viewer, "Train") as train:
        wait(lambda: train.measuring.estimate is not None)
        camera.shoot("train_findings")
        train.form.section.toggleButton().click()
        camera.shoot("train_advanced")
        train.form.dims.value = 3
        train.train_button.click()
        wait(lambda: not train.session.running)
        camera.shoot("train_failed")
    close_notifications(viewer)
    viewer.layers.clear()


def shoot_preferences(camera: Camera) -> None:
    """Open the plugin's page in napari's preferences."""
    if camera.everything is None:
        return
    dialog = camera.viewer.window._open_preferences_dialog()
    pages = dialog._list
    for row in range(pages.count()):
        if pages.item(row).text() == PLUGIN:
            pages.setCurrentRow(row)
    settle()
    dialog.grab().save(str(camera.everything / "preferences.png"))
    dialog.close()


def shoot_denoise(camera: Camera) -> None:
    """Apply the model to a similar recording, and to one that gets a warning."""
    viewer = camera.viewer
    viewer.layers.clear()
    viewer.open_sample(PLUGIN, "long_timelapse")
    recording = viewer.layers[0]
    with opened(viewer, "Denoise") as denoise:
        wait(lambda: not denoise.comparing.busy)
        camera.shoot("denoise_before")
        denoise.button.click()
        wait(lambda: not denoise.session.running)
        viewer.dims.set_current_step(0, 40)
        camera.shoot("denoise_after")
        frames = np.asarray(recording.data[:432]).reshape(48, 9, *recording.data.shape[1:])
        display = {name: getattr(recording, name) for name in ("scale", "units", "contrast_limits")}
        viewer.add_image(frames.mean(1), name="averaged", axis_labels=("t", "y", "x"), **display)
        denoise.picker.layer_a.value = viewer.layers["averaged"]
        wait(lambda: not denoise.comparing.busy)
        camera.shoot("denoise_warning")


def shoot_filling(camera: Camera, minutes: float) -> None:
    """Apply a model for planes to a large image, and show where four shards meet."""
    viewer = camera.viewer
    viewer.layers.clear()
    viewer.open_sample(PLUGIN, "cells")
    with opened(viewer, "Train") as train:
        train.minutes.value = minutes
        train.train_button.click()
        wait(lambda: not train.session.running)
    cells = viewer.layers["cells_a"]
    display = {name: getattr(cells, name) for name in ("scale", "units", "contrast_limits")}
    pixels = np.pad(cells.data, ((150, 7530), (150, 5482)), mode="reflect")
    viewer.layers.clear()
    viewer.add_image(pixels, name="large field", **display)
    with opened(viewer, "Denoise") as denoise:
        wait(lambda: not denoise.comparing.busy)
        denoise.button.click()
        step = float(display["scale"][-1])
        viewer.camera.center, viewer.camera.zoom = (0, 2048 * step, 2048 * step), 0.8 / step
        wait(lambda: denoise.status.text().startswith("4 of"))
        camera.shoot("denoise_during")
        denoise.session.stop()
        wait(lambda: not denoise.session.running)


def open_viewer() -> napari.Viewer:
    """Open a new napari window of the size and theme of the docs."""
    viewer = napari.Viewer()
    viewer.theme = THEMES[0]
    viewer.window.resize(*SMALL)
    return viewer


def main() -> None:
    """Take the screenshots of all docks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, help="folder for every state, theme and size")
    parser.add_argument("--minutes", type=float, default=1.0, help="training time")
    given = parser.parse_args()
    for folder in filter(None, (IMAGES, given.all)):
        folder.mkdir(parents=True, exist_ok=True)
    camera = Camera(open_viewer(), given.all)
    shoot_noise(camera)
    shoot_simulate(camera)
    shoot_split(camera)
    shoot_preferences(camera)
    shoot_train(camera, given.minutes)
    shoot_denoise(camera)
    shoot_filling(camera, given.minutes)
    camera.viewer.close()
    untrained = Camera(open_viewer(), given.all)
    shoot_choices(untrained)
    untrained.viewer.close()


if __name__ == "__main__":
    main()
