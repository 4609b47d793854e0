"""Many fields of view: time to open them, steps per second, memory, and how many are used.

Usage: python benchmarks/fields.py [--folder DIR] [--counts N ...] [--no-publish]
Fields of 256x256 pixels are simulated in the folder (default: a temporary one) and deleted at the
end. Each row is measured in a process of its own; memory is its peak minus that of an idle process
with torch imported.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from report import judged, machine, publish, table
from scale import ALLOWED, MEMORY, peak

SIDE, STEPS = 256, 200  # pixels, optimiser steps
# Goals: seconds for opening a field, and the time of training in parts of that with one field.
OPENING, SLOWER = 0.020, 1.5


def simulate(folder: Path, count: int) -> None:
    """Write `count` pairs of noisy TIFF files, each with another part of one large scene."""
    from scipy import ndimage

    rng = np.random.default_rng(3)
    scene = ndimage.gaussian_filter(rng.random((4096, 4096), np.float32), 3)
    scene = 20 + 200 * (scene - scene.min()) / np.ptp(scene)
    for view in "ab":
        (folder / view).mkdir(parents=True)
    for number in range(count):
        y, x = rng.integers(0, len(scene) - SIDE, 2)
        electrons = scene[y : y + SIDE, x : x + SIDE]
        for view in "ab":
            values = 2 * rng.poisson(electrons) + rng.normal(100, 4, electrons.shape)
            tifffile.imwrite(folder / view / f"{number:04}.tif", values.round().astype(np.uint16))


def measured(folder: Path) -> dict[str, float]:
    """Open the fields of view in a folder and train on them; return seconds, GB and counts."""
    import torch

    import napari_n2n as n2n
    from napari_n2n.noise.measure import measure_channels

    torch.zeros(1)
    idle, began = peak(), time.perf_counter()
    pairs = n2n.open_pairs(*n2n.fields_of_view([folder / "a", folder / "b"]))
    opening = time.perf_counter() - began
    settings = n2n.TrainingSettings(steps=STEPS, memory=MEMORY, device="cpu", loss="l2")
    reports = measure_channels(pairs)
    began = time.perf_counter()
    record = n2n.train(pairs, settings, reports=reports).record
    return {
        "opening": opening,
        "training": time.perf_counter() - began,
        "peak": peak() - idle,
        "used": record.fields_of_view_used,
    }


def main() -> None:
    """Measure, print and publish."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="for simulated fields; default: temporary")
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 100, 1000])
    parser.add_argument("--no-publish", action="store_true", help="only print")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measured(given.child)))
        return
    rows: list[list[object]] = []
    found: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="napari-n2n-fields-") as name:
        for count in given.counts:
            folder = Path(name) / str(count)
            simulate(folder, count)
            command = [sys.executable, __file__, "--child", str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            one = found[count] = json.loads(done.stdout.splitlines()[-1])
            each = f"{1000 * one['opening'] / count:.1f}"
            rate = f"{STEPS / one['training']:.2f}"
            rows.append([count, f"{one['opening']:.1f}", each, rate, f"{one['training']:.1f}"])
            rows[-1] += [f"{one['peak']:.3f}", f"{one['used'] / count:.0%}"]
            print(rows[-1], flush=True)
    few, many = min(found), max(found)
    each, limit = found[many]["opening"] / many, MEMORY / 1e9 + ALLOWED
    slower = found[many]["training"] / found[few]["training"]
    verdicts = [
        (each <= OPENING, f"{1000 * each:.1f} ms to open a field of {many}"),
        (slower <= SLOWER, f"training on {many} takes {slower:.2f} times as long as on {few}"),
        (all(one["peak"] < limit for one in found.values()), f"all within {limit:g} GB"),
    ]
    header = ["fields", "opening, s", "ms a field", "steps/s", "training, s", "peak, GB", "used"]
    about = (
        f"Pairs of {SIDE}x{SIDE}, uint16; {STEPS} steps with --memory 1GB; steps/s with validation."
    )
    page = f"{about}\n\n{table(header, rows)}\n\n{judged(verdicts)}\n\n{machine()}"
    print(page) if given.no_publish else publish("fields", page)


if __name__ == "__main__":
    main()
