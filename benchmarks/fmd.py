"""How good is one pair of real acquisitions? PSNR on the FMD scenes against the published N2N.

Trains on capture_1 and capture_2 of each scene alone, by one recipe, and compares with the mean of
50 captures. Usage: python benchmarks/fmd.py --data DIR [--minutes 2] [--match]
[--no-publish]
"""

import argparse
from pathlib import Path

import numpy as np
import tifffile
from report import machine, publish, table

from napari_n2n import Pair, TrainingSettings, denoise, train
from napari_n2n.quality import psnr

PUBLISHED = {  # Zhang et al. CVPR 2019: trained on 19 fields of 12 samples with 50 captures each
    "Confocal_FISH": 33.20,
    "Confocal_BPAE_G": 33.14,
    "TwoPhoton_MICE": 34.39,
    "TwoPhoton_BPAE_R": 38.12,
    "WideField_BPAE_R": 35.65,
}
HEADER = [
    "scene",
    "raw 1",
    "raw 2",
    "capture 1",
    "capture 2",
    "mean of 1 and 2",
    "both averaged",
    "without truth",
    "published N2N",
    "steps",
]


def in_gain_of(path: Path, truth: np.ndarray) -> np.ndarray:
    """Return the truth in the gain and offset of a capture."""
    return Pair.open(path, truth).matches[1].inverse(truth)


def measure(folder: Path, minutes: float, device: str, match: bool) -> list[float]:
    """Train on a scene's first two captures; returns the figures of its row.

    With `match`, the truth is brought to the gain of each capture, and to the mean of both for what
    is made of both.
    """
    files = [folder / f"capture_{number}.tif" for number in (1, 2)]
    truth = tifffile.imread(folder / "truth.tif").astype(np.float64)
    denoiser = train(Pair.open(*files), TrainingSettings(minutes=minutes, device=device))
    single = [denoise(denoiser, path, device=device) for path in files]
    both = denoise(denoiser, *files, device=device)
    truths = [in_gain_of(path, truth) if match else truth for path in files]
    raw = [psnr(true, tifffile.imread(path), 255) for true, path in zip(truths, files, strict=True)]
    clean = [psnr(true, image, 255) for true, image in zip(truths, single, strict=True)]
    score = denoiser.record["score"]
    estimate = "-" if score["psnr"] is None else f"{score['psnr']:.2f} ± {score['psnr_se']:.2f}"
    return [
        *raw,
        *clean,
        float(np.mean(clean)),
        psnr(np.mean(truths, axis=0), both, 255),
        estimate,
        PUBLISHED[folder.name],
        denoiser.record["steps"],
    ]


def main() -> None:
    """Measure all scenes and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds fmd/")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--match", action="store_true", help="compare in the gain of each capture")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    rows = []
    for name in PUBLISHED:
        figures = measure(given.data / "fmd" / name, given.minutes, given.device, given.match)
        print(name, figures, flush=True)
        rows.append([name, *figures])
    means = [
        float(np.mean([row[column] for row in rows])) if column not in (7, 9) else ""
        for column in range(1, len(HEADER))
    ]
    shown = [
        [f"{cell:.2f}" if isinstance(cell, float) else cell for cell in row]
        for row in [*rows, ["mean", *means]]
    ]
    text = (
        f"PSNR in dB (range 255) after {given.minutes:g} minutes a scene. Each capture is compared "
        f"{'with the truth in its gain and offset' if given.match else 'in its own gain'}; the "
        "truth is the mean of 50 captures. 'Without truth' is the reference-"
        "free estimate for one capture on held-out blocks.\n\n"
        f"{table(HEADER, shown)}\n\n{machine(given.device)}"
    )
    print(text) if given.no_publish else publish("fmd-matched" if given.match else "fmd", text)


if __name__ == "__main__":
    main()
