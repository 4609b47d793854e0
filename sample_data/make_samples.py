"""Simulate the sample acquisitions: fluorescent cells, each scene recorded twice by a noisy camera.

A scene has bundled fibres, nuclei with chromatin, and vesicles that move along the fibres. The
optics blur it and add out-of-focus haze, which gives the expected photo-electrons of every pixel.
The camera draws from this expectation twice, so the two acquisitions differ only in their noise,
and the truth is known in the same units.
"""

from __future__ import annotations

import argparse
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import expit

PIXEL_SIZE = 0.1  # um
FRAME_INTERVAL = 1.0  # s
SLICE_DISTANCE = 0.3  # um
TRUTH_STEP = 1 / 16  # ADU: rounding makes the file smaller; the step is far below the noise
# Lengths in the scenes are in pixels. Brightness is relative; the optics scale it to electrons.


@dataclass(frozen=True)
class Camera:
    """A camera with photon noise, read noise, gain, offset and an analogue-digital converter."""

    gain: float = 2.2  # ADU per electron
    offset: float = 100.0  # ADU
    read_noise: float = 1.6  # electrons, standard deviation
    bits: int = 16

    def expect(self, electrons: np.ndarray) -> np.ndarray:
        """Return the noise-free reading in ADU, rounded to `TRUTH_STEP`."""
        adu = self.gain * electrons + self.offset
        return (np.rint(adu / TRUTH_STEP) * TRUTH_STEP).astype(np.float32)

    def expose(self, truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return one acquisition of a scene whose noise-free reading, in ADU, is `truth`."""
        electrons = rng.poisson((truth.astype(float) - self.offset) / self.gain)
        adu = self.gain * (electrons + rng.normal(0, self.read_noise, truth.shape)) + self.offset
        return np.clip(np.rint(adu), 0, 2**self.bits - 1).astype(np.uint16)


@dataclass(frozen=True)
class Outline:
    """A closed curve: a circle whose radius varies with the angle."""

    centre: np.ndarray  # (y, x), pixels
    radius: float  # pixels
    waves: np.ndarray  # complex amplitudes of 2, 3, 4 and 5 periods per turn

    @classmethod
    def random(
        cls, centre: np.ndarray, radius: float, waviness: float, rng: np.random.Generator
    ) -> Outline:
        """Return a random outline; waves with more periods are smaller."""
        size = waviness * rng.uniform(0.5, 1, 4) / np.array([1, 2, 3, 4])
        return cls(centre, radius, size * np.exp(2j * np.pi * rng.random(4)))

    def level(self, points: np.ndarray) -> np.ndarray:
        """Return 0 at the centre and 1 on the curve, for points of shape (..., 2) in (y, x)."""
        y, x = np.moveaxis(points - self.centre, -1, 0)
        turns = np.exp(1j * np.arctan2(y, x)[..., None] * np.arange(2, 6))
        return np.hypot(y, x) / (self.radius * (1 + (turns * self.waves).real.sum(-1)))


def grow_fibres(
    outline: Outline, core: np.ndarray, bundles: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Grow bundles of curved fibres from around the core of a cell to its outline.

    The fibres of a bundle share their curvature, an autoregressive random walk, so they run side by
    side and separate slowly. Near the outline they turn along it and soon end.

    Returns
    -------
    points : ndarray, shape (step, fibre, 2)
        Paths of one-pixel steps, as (y, x).
    weights : ndarray, shape (step, fibre)
        Brightness along the paths; it falls to zero where a fibre ends.
    """
    steps, per_bundle = int(1.9 * outline.radius), 4
    number = bundles * per_bundle
    angle = rng.uniform(-np.pi, np.pi, bundles)
    away = np.column_stack([np.sin(angle), np.cos(angle)])
    start = core + outline.radius * rng.uniform(0.27, 0.5, (bundles, 1)) * away
    here = np.repeat(start, per_bundle, axis=0) + rng.normal(0, 1.5, (number, 2))
    heading = np.repeat(angle + rng.normal(0, 0.7, bundles), per_bundle)
    heading += rng.normal(0, 0.05, number)

    points = np.empty((steps, number, 2))
    curvature = np.zeros(bundles)
    for step in range(steps):
        points[step] = here
        curvature = 0.97 * curvature + rng.normal(0, 0.0025, bundles)
        heading += np.repeat(curvature, per_bundle) + rng.normal(0, 0.01, number)
        from_normal = heading - np.arctan2(*(here - outline.centre).T)
        too_close = np.clip(outline.level(here) - 0.75, 0, 1) * np.clip(np.cos(from_normal), 0, 1)
        heading += 0.5 * too_close * np.sign(np.sin(from_normal))
        here = here + np.column_stack([np.sin(heading), np.cos(heading)])

    age = np.arange(steps)[:, None]
    length = rng.uniform(0.15, 1, number) * steps
    along_outline = np.cumsum(np.clip(outline.level(points) - 0.85, 0, 0.2), axis=0)
    ends = expit((age - 12) / 4) * expit((length - age) / 4) * np.exp(-along_outline / 1.2)
    return points, ends * rng.lognormal(0, 0.45, number)


def paint_body(
    outline: Outline, nucleus: Outline, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Return an image of a nucleus with chromatin and nucleoli, in a faint cytoplasm."""
    grid = np.moveaxis(np.indices(shape, dtype=float), 0, -1)
    image = np.sqrt(np.clip(1.3 * (1 - nucleus.level(grid) ** 2), 0, 1))
    for size, contrast in ((1.6, 0.22), (4.0, 0.28)):
        texture = gaussian_filter(rng.normal(size=shape), size)
        image *= np.exp(contrast * texture / texture.std())
    for _ in range(rng.integers(2, 5)):
        place = nucleus.centre + rng.uniform(-0.5, 0.5, 2) * nucleus.radius
        width = nucleus.radius * rng.uniform(0.08, 0.15)
        image *= 1 - 0.75 * np.exp(-((grid - place) ** 2).sum(-1) / (2 * width**2))
    return 0.7 * image + 0.15 * np.clip(1 - outline.level(grid) ** 2, 0, 1)


def add_points(image: np.ndarray, points: np.ndarray, weights: np.ndarray) -> None:
    """Add points of shape (..., 2) to an image in place, each shared among four pixels."""
    low = np.floor(points).astype(int)
    part = points - low
    for corner in np.ndindex(2, 2):
        share = weights * np.abs(1 - np.array(corner) - part).prod(-1)
        pixel = low + corner
        seen = ((pixel >= 0) & (pixel < image.shape)).all(-1)
        np.add.at(image, tuple(pixel[seen].T), share[seen])


class Cell:
    """A cell: a fixed body, fibres that sway, and vesicles that move along them."""

    def __init__(
        self, centre: np.ndarray, radius: float, shape: tuple[int, int], rng: np.random.Generator
    ) -> None:
        outline = Outline.random(centre, radius, 0.3, rng)
        core = centre + rng.normal(0, 0.08 * radius, 2)
        nucleus = Outline.random(core, 0.34 * radius, 0.16, rng)
        self.body = paint_body(outline, nucleus, shape, rng)
        self.points, self.weights = grow_fibres(outline, core, 64, rng)

        count = 70
        self.fibre = rng.integers(self.weights.shape[1], size=count)
        self.reach = 1 + (self.weights[:, self.fibre] > 0.2).sum(0)
        self.start = 2 * self.reach * rng.random(count)
        self.speed = rng.uniform(2, 6, count) * (rng.random(count) < 0.75)  # pixels per frame
        self.brightness = 6 * rng.lognormal(0, 0.6, count)

    def light(self, frame: int = 0) -> np.ndarray:
        """Return the light emitted by the cell in one frame, before the optics."""
        points = self.points + 0.35 * frame * np.sin(self.points[..., ::-1] / 23)
        # A vesicle reverses at the end of its fibre.
        along = np.abs((self.start + self.speed * frame) % (2 * self.reach) - self.reach)
        where = [along, self.fibre]
        vesicles = np.stack([map_coordinates(points[..., i], where, order=1) for i in (0, 1)], -1)
        image = self.body.copy()
        add_points(image, points, 0.34 * self.weights)
        add_points(image, vesicles, self.brightness)
        return image


def through_optics(focus: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Blur a scene like a microscope; return the expected electrons of every pixel.

    Parameters
    ----------
    focus, behind : ndarray, shape (Y, X)
        Light from the plane in focus, and from structures above and below it.
    """
    sharp = 0.85 * gaussian_filter(focus, 1.15) + 0.15 * gaussian_filter(focus, 3.5)
    haze = 0.12 * gaussian_filter(focus, 16) + 0.4 * gaussian_filter(behind, 9)
    return 1 + 13 * (sharp + haze)


def simulate_cells(rng: np.random.Generator) -> np.ndarray:
    """Return the expected electrons of a field of view with many cells, shape (Y, X)."""
    shape = (512, 512)
    focus, behind = np.zeros((2, *shape))
    for layer, corner in ((focus, (85, 40)), (behind, (150, -30))):
        for row, column in np.ndindex(3, 3):
            grid_point = np.add(corner, (172 * row, 180 * column + 70 * (row % 2)))
            place = rng.normal(grid_point, 16)
            layer += Cell(place, rng.uniform(95, 116), shape, rng).light()
    return through_optics(focus, behind)


def simulate_timelapse(rng: np.random.Generator) -> np.ndarray:
    """Return the expected electrons of one living cell, shape (T, Y, X)."""
    shape = (160, 160)
    cell = Cell(np.array([84.0, 74.0]), 88, shape, rng)
    behind = Cell(np.array([20.0, 150.0]), 80, shape, rng)
    return np.stack([through_optics(cell.light(t), behind.light(t)) for t in range(12)])


def simulate_volume(rng: np.random.Generator) -> np.ndarray:
    """Return the expected electrons of a rounded cell in slices, shape (Z, Y, X).

    The fibres of a flat cell are projected onto a dome, its body is extended to an ellipsoid with
    its own texture, and the optics blur more along Z than along X and Y.
    """
    shape = (20, 112, 112)
    middle, thickness = shape[0] / 2, 7.5
    cell = Cell(np.array([55.0, 57.0]), 62, shape[1:], rng)
    distance = np.linalg.norm(cell.points - (55, 57), axis=-1) / 62
    side = rng.choice([-1.0, 1.0], cell.weights.shape[1])
    height = side * rng.uniform(0.4, 1, cell.weights.shape[1])
    height = middle + thickness * height * np.sqrt(np.clip(1 - distance**2, 0, 1))
    z = np.arange(shape[0])[:, None, None]
    from_middle = np.abs(z - middle) / thickness
    texture = gaussian_filter(rng.normal(size=shape), 1.8)
    body = np.clip(cell.body - 0.1, 0, None) * np.exp(0.35 * texture / texture.std())
    light = body * np.sqrt(np.clip(1 - from_middle**2, 0, 1))
    for slice_, image in enumerate(light):
        near = np.clip(1 - np.abs(height - slice_), 0, 1)
        add_points(image, cell.points, 1.8 * near * cell.weights)
    sharp = gaussian_filter(light, (1.3, 1.1, 1.1))
    haze = gaussian_filter(light, (5, 7, 7))
    return 1 + 18 * (sharp + 0.25 * haze)


def write(path: Path, image: np.ndarray, axes: str) -> None:
    """Write an OME-TIFF whose bytes depend only on the image, its axes and its name."""
    metadata = {
        "axes": axes,
        "Name": path.stem,
        **{f"PhysicalSize{axis}": PIXEL_SIZE for axis in "XY"},
        **{f"PhysicalSize{axis}Unit": "µm" for axis in "XY"},
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, path.name)),
        "Creator": Path(__file__).name,
    }
    if "T" in axes:
        metadata |= {"TimeIncrement": FRAME_INTERVAL, "TimeIncrementUnit": "s"}
    if "Z" in axes:
        metadata |= {"PhysicalSizeZ": SLICE_DISTANCE, "PhysicalSizeZUnit": "µm"}
    tifffile.imwrite(
        path,
        image,
        ome=True,
        photometric="minisblack",
        compression="zlib",
        compressionargs={"level": 9},
        resolution=(1e4 / PIXEL_SIZE, 1e4 / PIXEL_SIZE),
        resolutionunit="CENTIMETER",
        software=False,
        metadata=metadata,
    )


SCENES = {
    "cells": (simulate_cells, "YX"),
    "timelapse": (simulate_timelapse, "TYX"),
    "volume": (simulate_volume, "ZYX"),
}


def main() -> None:
    """Simulate every scene, and write its truth and two acquisitions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    camera = Camera()
    for name, (simulate, axes) in SCENES.items():
        scene_rng, *shot_rngs = np.random.default_rng(options.seed).spawn(3)
        truth = camera.expect(simulate(scene_rng))
        write(options.output / f"{name}_truth.tif", truth, axes)
        for letter, rng in zip("ab", shot_rngs, strict=True):
            write(options.output / f"{name}_{letter}.tif", camera.expose(truth, rng), axes)


if __name__ == "__main__":
    main()
