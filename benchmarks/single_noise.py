"""Is the noise of one recording right within its standard error, or said to be unknown.

Simulated: six scenes, four kinds of white noise, three sizes; the true noise is the root mean
square of its standard deviation. Real: capture 1 of each FMD scene against captures 1 and 2.
Usage: python benchmarks/single_noise.py [--data DIR] [--no-publish]
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from report import judged, machine, publish, table
from scipy.ndimage import gaussian_filter

from napari_n2n import Pair, measure_noise
from napari_n2n.noise.single_noise import measure_single

SIZES = (64, 128, 256)  # pixels
NOISES = {  # photon gain in ADU per electron, and read noise in ADU
    "Gaussian 3": (0.0, 3.0),
    "Gaussian 15": (0.0, 15.0),
    "photons, gain 2": (2.0, 0.0),
    "camera": (1.0, 3.0),
}
WITHIN, SHARE = 2.0, 0.9  # aim: this many standard errors, in this share of the known figures


def scaled(image: np.ndarray) -> np.ndarray:
    """Scale an image to 20 to 220 ADU."""
    return 20 + 200 * (image - image.min()) / np.ptp(image)


def points(side: int, rng: np.random.Generator, share: float, width: float) -> np.ndarray:
    """Spread blurred points over a share of the pixels."""
    return gaussian_filter((rng.random((side, side)) > 1 - share).astype(float), width)


def cells(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw soft cells with granules."""
    body, granules = points(side, rng, 5e-4, 12), points(side, rng, 2e-3, 1.2)
    inside = body > 0.2 * body.max()
    return body / body.max() + 0.7 * granules / granules.max() * inside


def discs(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw discs with sharp edges on top of each other."""
    y, x = np.mgrid[:side, :side]
    image = np.zeros((side, side))
    for _ in range(side // 4):
        (top, left), radius = rng.uniform(0, side, 2), rng.uniform(3, side / 8)
        image[(y - top) ** 2 + (x - left) ** 2 < radius**2] = rng.random()
    return image


def fibres(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw straight fibres, 3 pixels wide, that fill the field."""
    y, x = np.mgrid[:side, :side] - side / 2
    image = np.zeros((side, side))
    for _ in range(side // 4):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.7, 0.7) * side
        away = x * np.cos(angle) + y * np.sin(angle) - offset
        image += np.exp(-(away**2) / (2 * 1.3**2))
    return image


def texture(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a texture of all sizes, blurred a little by the optics."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(side, side))) / frequency**1.3
    return gaussian_filter(np.fft.ifft2(spectrum).real, 0.8)


SCENES = {
    "soft blobs": lambda side, rng: points(side, rng, 1e-3, 6),
    "cells": cells,
    "dense spots": lambda side, rng: points(side, rng, 0.03, 1.2),
    "sharp discs": discs,
    "fibres": fibres,
    "texture": texture,
}


def simulated() -> Iterator[tuple[list[object], float | None]]:
    """Yield a row for each case, and the deviation in standard errors, None if unknown."""
    for name, draw in SCENES.items():
        for side in SIZES:
            image = scaled(draw(side, np.random.default_rng(1)))
            for noise, (gain, read) in NOISES.items():
                rng = np.random.default_rng(7)
                light = rng.poisson(image / gain) * gain if gain else image
                seen = light + read * rng.standard_normal(image.shape)
                true = float(np.sqrt(gain * image.mean() + read**2))
                yield judge(f"{name}, {side}x{side}", noise, true, seen.astype(np.float32))


def real(data: Path) -> Iterator[tuple[list[object], float | None]]:
    """Yield the same for the real scenes."""
    for folder in sorted((data / "fmd").iterdir()):
        files = [folder / f"capture_{number}.tif" for number in (1, 2)]
        of_pair = measure_noise(Pair.open(*files))
        yield judge(folder.name, "real; the pair's", of_pair.noise_a, files[0])


def judge(
    scene: str, noise: str, true: float, recording: np.ndarray | Path
) -> tuple[list[object], float | None]:
    """Measure one recording and compare it with its true noise."""
    report = measure_single(Pair.single(recording))
    if report.noise_a is None:
        return [scene, noise, f"{true:.2f}", "not determined", ""], None
    error = report.errors["noise_a"]
    deviation = (report.noise_a - true) / error
    words = f"{report.noise_a:.2f} ± {error:.2f}"
    return [scene, noise, f"{true:.2f}", words, f"{deviation:+.1f}"], deviation


def main() -> None:
    """Measure all cases and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    cases = [*simulated(), *(real(given.data) if given.data else ())]
    known = [abs(one) for _, one in cases if one is not None]
    right = sum(one <= WITHIN for one in known)
    verdict = (
        right >= SHARE * len(known),
        f"{right} of {len(known)} known figures within {WITHIN:.0f} standard errors; "
        f"{len(cases) - len(known)} of {len(cases)} not determined",
    )
    header = ["scene", "noise", "true ADU", "measured ADU", "deviation in standard errors"]
    text = "\n\n".join((table(header, [row for row, _ in cases]), judged([verdict]), machine()))
    print(text) if given.no_publish else publish("single-noise", text)


if __name__ == "__main__":
    main()
