"""Go the longest ways through the docks in a real napari window, and take a picture of each end.

Usage: python docs/ways.py [WAY ...], such as first_pair; on a machine without a screen, under
xvfb-run -s "-screen 0 1920x1080x24". Writes the images of docs/ways.md into docs/images.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import napari
import numpy as np
import tifffile
from scipy import ndimage
from screenshots import IMAGES, Camera, open_viewer, opened, save, settle, wait

SIDE = 256  # pixels: trains within seconds
STEPS = 60  # enough for pictures that show what happens, not for a good result


def scene(seed: int) -> np.ndarray:
    """Return a clean scene of round cells, in ADU."""
    rng = np.random.default_rng(seed)
    points = np.zeros((SIDE, SIDE))
    points[tuple(rng.integers(0, SIDE, (2, 90)))] = rng.uniform(0.3, 1.0, 90)
    fine, coarse = (ndimage.gaussian_filter(points, width) * width**2 for width in (3, 9))
    return 100 + 2500 * fine + 3000 * coarse


def recorded(clean: np.ndarray, seed: int) -> np.ndarray:
    """Return a noisy recording of a scene."""
    rng = np.random.default_rng(seed)
    return (rng.poisson(clean / 8) * 8 + rng.normal(0, 8, clean.shape)).astype(np.float32)


def write_pair(folder: Path, name: str, clean: np.ndarray, **options: Any) -> list[Path]:
    """Write two recordings of a scene as TIFF, in two folders."""
    paths = []
    for seed, place in enumerate("ab"):
        (folder / place).mkdir(parents=True, exist_ok=True)
        paths.append(folder / place / f"{name}.tif")
        tifffile.imwrite(paths[-1], recorded(clean, seed), **options)
    return paths


def train(widget: Any) -> None:
    """Press Train, and wait for the result."""
    wait(lambda: widget.measuring.estimate is not None)
    widget.form.steps.value = STEPS
    widget.train_button.click()
    wait(lambda: not widget.session.running)


def first_pair(viewer: napari.Viewer, folder: Path) -> None:
    """Open two files, press Train, and compare the result."""
    viewer.open(write_pair(folder, "cells", scene(0)))
    with opened(viewer, "Train") as widget:
        train(widget)
        shoot(viewer, "first_pair")


def whole_folder(viewer: napari.Viewer, folder: Path) -> None:
    """Drop two folders onto the Train dock."""
    for number in range(3):
        write_pair(folder, f"cell{number}", scene(number))
    with opened(viewer, "Train") as widget:
        widget.picker.choose_paths([folder / "a", folder / "b"])
        train(widget)
        shoot(viewer, "folder")


def resume(viewer: napari.Viewer, folder: Path) -> None:
    """Continue in a new window what an ended napari left unfinished."""
    clean = np.stack([scene(0)] * 40)
    a, _ = write_pair(folder, "movie", clean, metadata={"axes": "TYX"}, imagej=True)
    out = folder / "movie denoised.ome.zarr"
    with opened(viewer, "Train") as widget:
        widget.picker.choose_paths(write_pair(folder, "cells", scene(0)))
        widget.form.wanted.value = "none"
        train(widget)
        model = widget.session.denoiser.save(folder / "cells.n2n")
    for again in (False, True):
        window = open_viewer()
        with opened(window, "Denoise") as widget:
            widget.model.file.value = model
            widget.picker.choose_paths([a])
            widget.memory.value = 0.1  # GB: small parts
            widget.out.value = out
            wait(lambda widget=widget: not widget.comparing.busy)
            if again:
                shoot(window, "resume")
            widget.button.click()
            wait(lambda widget=widget: widget.status.text()[:1] in set("123456789"))
            widget.session.stop()
            wait(lambda widget=widget: not widget.session.running)
        window.close()


def unrelated(viewer: napari.Viewer, folder: Path) -> None:
    """Choose two layers that do not show the same scene."""
    for number in range(2):
        viewer.open(write_pair(folder, f"scene {number}", scene(number))[number])
    with opened(viewer, "Train") as widget:
        wait(lambda: not widget.measuring.busy)
        shoot(viewer, "unrelated")


def odd_units(viewer: napari.Viewer, folder: Path) -> None:
    """Train on files whose unit is written as some programs escape it."""
    options = {"imagej": True, "resolution": (5, 5), "metadata": {"unit": "\\u00B5m"}}
    paths = write_pair(folder, "odd units", scene(0), **options)
    with opened(viewer, "Train") as widget:
        widget.picker.choose_paths(paths)
        train(widget)
        viewer.canvas.overlays.scale_bar.visible = True
        shoot(viewer, "odd_units")


def shoot(viewer: napari.Viewer, name: str) -> None:
    """Save a picture of the window."""
    settle()
    save(Camera(viewer, None).capture(), IMAGES / f"way_{name}.png")


WAYS = (first_pair, whole_folder, resume, unrelated, odd_units)


def main() -> None:
    """Go all ways, each in a window and a folder of its own."""
    for way in [one for one in WAYS if one.__name__ in sys.argv] or WAYS:
        viewer = open_viewer()
        with tempfile.TemporaryDirectory() as folder:
            way(viewer, Path(folder))
        viewer.close()


if __name__ == "__main__":
    main()
