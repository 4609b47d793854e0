"""How long until a volume is good, and how fast is it denoised? Beside CAREamics in 3D.

A simulated volume of cubic voxels is recorded twice (see volumes.py). Both programs train on the
same cores for the same time; the PSNR is that of one recording, denoised.
Usage: python benchmarks/volume_race.py --peers ENVIRONMENT [--seconds 300] [--no-publish]

`scripts/peers ENVIRONMENT` installs the other software. Run this on a machine that does nothing
else.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import tifffile
import torch
from report import Verdict, judged, machine, publish, table
from speed import at, peer, reached
from stopwatch import scored
from volumes import cells, two_of

from napari_n2n import Denoiser, Pair, TrainingSettings, denoise
from napari_n2n.stats.image_quality import psnr

SHAPE = (32, 256, 256)  # voxels; they are cubes
SHOWN = (3, 6, 12, 23, 45, 90, 180, 300)  # seconds
# The other's best is to be reached within so many seconds, and exceeded in the end by so many dB;
# denoising is to be so many times as fast.
WITHIN, AHEAD, FASTER = 15.0, 0.5, 10.0


def seconds_to_denoise(model: Denoiser, volume: np.ndarray) -> float:
    """Return the median time of three runs."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        denoise(model, volume, axes="ZYX")
        took.append(time.monotonic() - began)
    return median(took)


def race(given: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """Return the table of both programs, and whether napari-n2n is as far ahead as aimed at."""
    first, second, truth = two_of(cells(SHAPE, 1.0, 3))
    extent = float(np.ptp(truth))
    threads = ("--threads", str(torch.get_num_threads()))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"volume_{name}.tif" for name in "ab"]
        for file, volume in zip(files, (first, second), strict=True):
            tifffile.imwrite(file, volume)
        settings = TrainingSettings(preset="thorough", minutes=given.seconds / 60, dims=3)
        model, _, mine = scored(
            Pair.open(*files, axes="ZYX"),
            settings,
            lambda one: psnr(truth, denoise(one, first, axes="ZYX"), extent),
        )
        limit = ("--seconds", str(given.seconds), *threads)
        images = peer("careamics-mse", given.peers, files, *limit)
        pace = float(peer("predict", given.peers, files, *threads)["megapixels_per_second"])
    images[str(given.seconds)] = images.pop("end")
    theirs = {float(when): psnr(truth, image, extent) for when, image in images.items()}
    speed = first.size / 1e6 / seconds_to_denoise(model, first)
    best, last = max(theirs.values()), list(mine.values())[-1]
    waited = reached(mine, best)
    rows = [
        [name, *(f"{at(curve, mark):.2f}" for mark in SHOWN), f"{top:.2f}", f"{rate:.2f}"]
        for name, curve, top, rate in (
            ("napari-n2n", mine, last, speed),
            ("CAREamics N2N in 3D, mean squared error", theirs, best, pace),
        )
    ]
    raw = psnr(truth, first, extent)
    text = (
        f"{'x'.join(map(str, SHAPE))} voxels, {given.seconds:g} s each: PSNR in dB of one "
        f"recording, denoised; {raw:.2f} dB before. 'Best' is the highest value at any time for "
        "CAREamics, and that of the returned model for napari-n2n, whose time includes measuring "
        "the noise. One run each.\n\n"
        + table(["", *(f"{mark} s" for mark in SHOWN), "best", "denoising, Mvoxels/s"], rows)
    )
    return text, [
        (waited <= WITHIN, f"best of CAREamics, {best:.2f} dB, reached after {waited:.1f} s"),
        (last - best >= AHEAD, f"in the end {last - best:+.2f} dB against it"),
        (speed / pace >= FASTER, f"denoising {speed / pace:.1f} times as fast, wanted {FASTER:g}"),
    ]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True, help="environment of scripts/peers")
    parser.add_argument("--seconds", type=float, default=300, help="for each program")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    text, verdicts = race(given)
    page = f"{text}\n\n{judged(verdicts)}\n\n{machine('cpu')}"
    print(page) if given.no_publish else publish("volume-race", page)


if __name__ == "__main__":
    main()
