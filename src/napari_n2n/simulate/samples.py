"""Sample scenes for trying the plugin, most with two acquisitions.

Some are read from files; others add noise with a fixed seed to the truth from a file; one is a long
movie whose frames are simulated when they are read.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.simulate.additive import Camera, Gaussian
from napari_n2n.simulate.corruption import Noise
from napari_n2n.simulate.replacement import Impulse, Text


def sample(scene: str, view: str) -> Path:
    """Return the file of a sample scene; `view` is "a", "b" or "truth".

    The files are at the top of the repository in a checkout, and inside the package in a wheel.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "sample_data", package.parents[1] / "sample_data"):
        path = folder / f"{scene}_{view}.tif"
        if path.exists():
            return path
    raise BadInput(
        f"sample '{scene}_{view}.tif': not installed: install napari-n2n again", "not_found"
    )


_VIEWS = ("a", "b")
_LONG = 480  # frames, 25 MB in total; more: a longer run, fewer: a shorter wait
_QUIET = Gaussian(5)  # ADU: weak, so that text or impulses dominate
_CAMERA = Camera(gain=2.2, read=1.6, offset=100)  # the camera of make_samples.py


def recordings(scene: str) -> list[Acquisition]:
    """Return the acquisitions of a scene.

    Parameters
    ----------
    scene
        A key of `SCENES`.
    """
    return SCENES[scene]()


def _stored(scene: str) -> list[Acquisition]:
    opened = [Acquisition.open(sample(scene, view)) for view in _VIEWS]
    return [_with_pixels(one, one.read((slice(None),) * len(one.axes)), one.name) for one in opened]


def _clean_cells() -> list[Acquisition]:
    truth = Acquisition.open(sample("cells", "truth"))
    return [_with_pixels(truth, truth.plane(0), "cells_clean")]


def _with_pixels(like: Acquisition, pixels: np.ndarray | da.Array, name: str) -> Acquisition:
    """Return an acquisition with new pixels and the axes and pixel sizes of `like`."""
    window = tuple(slice(0, length) for length in pixels.shape)
    order = tuple(range(pixels.ndim))
    return replace(like, source=pixels, window=window, order=order, name=name)


def _spoiled(name: str, damage: Noise) -> list[Acquisition]:
    """Return two acquisitions of the cells: the truth with weak noise and a corruption."""
    (truth,), views = _clean_cells(), []
    for seed, view in enumerate(_VIEWS):
        rng = np.random.default_rng(seed)
        pixels = damage.apply(_QUIET.apply(truth.source, rng), rng)
        views.append(_with_pixels(truth, pixels, f"{name}_{view}"))
    return views


def _long_timelapse() -> list[Acquisition]:
    """Repeat the time-lapse forwards and backwards, with new noise of the same camera."""
    truth = Acquisition.open(sample("timelapse", "truth"))
    frames = truth.read((slice(None),) * 3)
    turn = 2 * len(frames) - 2

    def taken(block_info: dict) -> np.ndarray:
        number = block_info[None]["chunk-location"][0]
        clean = frames[len(frames) - 1 - abs(number % turn - len(frames) + 1)]
        noisy = _CAMERA.apply(clean, np.random.default_rng((number, 3)))
        return np.rint(noisy).clip(0).astype(np.uint16)[None]

    chunks = ((1,) * _LONG, *((length,) for length in truth.plane_shape))
    movie = da.map_blocks(taken, chunks=chunks, dtype=np.uint16, meta=np.empty((0, 0, 0), "u2"))
    return [_with_pixels(truth, movie, "long_timelapse")]


SCENES: dict[str, Callable[[], list[Acquisition]]] = {
    "cells": lambda: _stored("cells"),
    "timelapse": lambda: _stored("timelapse"),
    "volume": lambda: _stored("volume"),
    "lettering": lambda: _spoiled("lettering", Text(0.25)),
    "impulses": lambda: _spoiled("impulses", Impulse(0.5)),
    "clean_cells": _clean_cells,
    "long_timelapse": _long_timelapse,
}
"""The acquisitions of every scene, by name."""
