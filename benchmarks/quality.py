"""How good is the result of one pair of real acquisitions, and how soon? PSNR against time.

FMD: train on capture_1 and capture_2 of each scene, all with the same settings, and compare with
the mean of 50 captures, during training and at the end, also for captures that were not used.
sCMOS: train on two frames and compare with the mean of the 18 others.
Usage: python benchmarks/quality.py --data DIR [--minutes 2] [--only fmd scmos] [--no-publish]
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from report import Verdict, judged, machine, publish, table
from stopwatch import timed

from napari_n2n import Denoiser, Pair, TrainingSettings, TrainingStep, denoise
from napari_n2n.stats.affine import Affine
from napari_n2n.stats.image_quality import psnr

PUBLISHED = {  # Zhang et al. CVPR 2019: trained on 19 fields of 12 samples with 50 captures each
    "Confocal_FISH": 33.20,
    "Confocal_BPAE_G": 33.14,
    "TwoPhoton_MICE": 34.39,
    "TwoPhoton_BPAE_R": 38.12,
    "WideField_BPAE_R": 35.65,
}
FINALS = [
    "scene",
    "raw 1",
    "raw 2",
    "capture 1",
    "capture 2",
    "mean of 1 and 2",
    "turns",
    "both averaged",
    "published N2N",
    "without truth",
    "steps",
    "s",
]
MARKS = (5, 10, 20, 40, 80)  # seconds


@dataclass(frozen=True)
class Trained:
    """The result of a run, and what `look` returned at the marks."""

    denoiser: Denoiser
    looks: list[float]
    seconds: float


def trained(pair: Pair, settings: TrainingSettings, look: Callable[[Denoiser], float]) -> Trained:
    """Train, and call `look` with the network at the marks."""
    looks: list[float] = []

    def mark(step: TrainingStep, seconds: float) -> None:
        if len(looks) < len(MARKS) and seconds >= MARKS[len(looks)]:
            denoiser = step.denoiser()
            if denoiser is not None:
                looks.append(look(denoiser))

    denoiser, seconds = timed(pair, settings, mark)
    return Trained(denoiser, looks, seconds)


def own_gain(truth: np.ndarray, capture: np.ndarray) -> Affine:
    """Fit the map from the truth's intensities to a capture's, by least squares."""
    gain, offset = np.polyfit(truth.ravel(), capture.astype(np.float64).ravel(), 1)
    return Affine(float(gain), float(offset))


def scenes(data: Path, minutes: float, device: str) -> tuple[str, list[Verdict]]:
    """Train on the first two captures of every scene."""
    settings = TrainingSettings(preset="thorough", minutes=minutes, device=device)
    curves, finals, unseen = [], [], []
    for name, published in PUBLISHED.items():
        files = [data / "fmd" / name / f"capture_{number}.tif" for number in (1, 2, 3, 4)]
        captures = [tifffile.imread(path) for path in files]
        truth = tifffile.imread(data / "fmd" / name / "truth.tif").astype(np.float64)
        scores = _Scores(truth, captures, device)
        run = trained(Pair.open(*files[:2]), settings, lambda one, all=scores: all.alone(one))
        each = [scores.one(run.denoiser, k) for k in range(4)]
        matched = [scores.one(run.denoiser, k, own=True) for k in range(4)]
        noisy = [scores.raw(k) for k in range(4)]
        both = psnr(truth, denoise(run.denoiser, *files[:2], device=device), 255)
        score = run.denoiser.record.score
        estimate = "-" if score.psnr is None else f"{score.psnr:.2f} ± {score.psnr_se:.2f}"
        raw = [psnr(truth, capture, 255) for capture in captures[:2]]
        turned = float(np.mean([scores.one(run.denoiser, k, turns=True) for k in (0, 1)]))
        alone = float(np.mean(each[:2]))
        steps, seconds = run.denoiser.record.steps, run.seconds
        finals.append(
            [name, *raw, *each[:2], alone, turned, both, published, estimate, steps, seconds]
        )
        curves.append((name, run.looks, alone))
        more = [float(np.mean(them[2:]) - np.mean(them[:2])) for them in (noisy, matched)]
        unseen.append([name, *noisy, *matched, *more])
        print(finals[-1], curves[-1], unseen[-1], flush=True)
    alone, both, published = (_column(finals, at) for at in (5, 7, 8))
    apart, worst = _column(unseen, 10), min(row[10] for row in unseen)
    verdicts = [
        (alone >= published, f"one capture alone: {alone:.2f} dB, published {published:.2f}"),
        (both >= alone + 1, f"both averaged: {both - alone:+.2f} dB"),
        (
            apart >= -0.15,
            f"captures not used for training, in their own gain: {apart:+.2f} dB on average, "
            f"{worst:+.2f} dB at worst",
        ),
    ]
    count = max(len(looks) for _, looks, _ in curves)
    marks = [f"{mark} s" for mark in MARKS[:count]]
    rows = [[name, *looks, *(count + 1 - len(looks)) * [alone]] for name, looks, alone in curves]
    text = "\n\n".join(
        (
            f"PSNR in dB (range 255) after {minutes:g} minutes per scene (preset thorough). The "
            "truth is the mean of 50 captures; all images are compared in its gain. 'Turns' is "
            "test-time augmentation (`--turns`), for captures 1 and 2. 'Without truth' is the "
            "reference-free estimate for one capture on held-out blocks. 's' includes measuring "
            "the noise.",
            _shown(FINALS, finals),
            "During training, mean of captures 1 and 2, each denoised alone; for a run that ended "
            "earlier, its last value:",
            _shown(["scene", *marks, "end"], rows),
            "Each capture compared in its own gain, raw and denoised; 3 and 4 were not used for "
            "training. Last columns: the mean of 3 and 4 minus the mean of 1 and 2, raw and "
            "denoised.",
            _shown(
                [
                    "scene",
                    *(f"raw {k}" for k in "1234"),
                    *"1234",
                    "raw, difference",
                    "denoised, difference",
                ],
                unseen,
            ),
        )
    )
    return text, verdicts


@dataclass(frozen=True)
class _Scores:
    truth: np.ndarray
    captures: Sequence[np.ndarray]
    device: str

    def one(
        self, denoiser: Denoiser, number: int, *, own: bool = False, turns: bool = False
    ) -> float:
        """PSNR of one capture denoised, as it is or mapped from its own gain to the truth's."""
        capture = self.captures[number]
        image = denoise(denoiser, capture, turns=turns, device=self.device)
        if own:
            image = own_gain(self.truth, capture).inverse(image)
        return psnr(self.truth, image, 255)

    def raw(self, number: int) -> float:
        """PSNR of one capture as it was taken, mapped from its own gain to the truth's."""
        capture = self.captures[number]
        return psnr(self.truth, own_gain(self.truth, capture).inverse(capture), 255)

    def alone(self, denoiser: Denoiser) -> float:
        """Mean PSNR of the two captures that were trained on, each denoised alone."""
        return float(np.mean([self.one(denoiser, number) for number in (0, 1)]))


def scmos_frames(data: Path) -> tuple[np.ndarray, Callable[[np.ndarray], float]]:
    """Return 20 sCMOS frames, and a function for the error of the first two, denoised.

    The error is the root mean square in ADU against the mean of the 18 others, corrected for the
    noise of that mean.
    """
    stack = tifffile.imread(data / "scmos" / "filaments_20frames.tif")
    unused = stack[2:].astype(np.float64)
    truth, own = unused.mean(axis=0), float(unused.var(axis=0, ddof=1).mean()) / len(unused)

    def error(image: np.ndarray) -> float:
        return math.sqrt(float(((image - truth) ** 2).mean()) - own)

    return stack, error


def frames(data: Path, minutes: float, device: str) -> tuple[str, list[Verdict]]:
    """Train on two sCMOS frames; compare with the mean of the frames that were not used."""
    stack, error = scmos_frames(data)

    def alone(denoiser: Denoiser, turns: bool = False) -> float:
        images = (denoise(denoiser, one, turns=turns, device=device) for one in stack[:2])
        return float(np.mean([error(image) for image in images]))

    settings = TrainingSettings(preset="thorough", minutes=minutes, device=device)
    run = trained(Pair.open(stack[0], stack[1]), settings, alone)
    single = alone(run.denoiser)
    both = error(denoise(run.denoiser, stack[0], stack[1], device=device))
    turned = alone(run.denoiser, turns=True)
    all_turned = error(denoise(run.denoiser, stack[0], stack[1], turns=True, device=device))
    raw = float(np.mean([error(one) for one in stack[:2]]))
    steps = run.denoiser.record.steps
    row = [raw, *run.looks, single, both, turned, all_turned, steps]
    marks = [f"{mark} s" for mark in MARKS[: len(run.looks)]]
    text = (
        f"Root-mean-square error in ADU after {minutes:g} minutes on two frames, against the mean "
        "of the 18 others, corrected for the noise of that mean. Mean of two frames, each denoised "
        "alone. 'Turns' is test-time augmentation (`--turns`).\n\n"
        + table(
            ["raw", *marks, "end", "both averaged", "turns", "both, turns", "steps"],
            [[f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row]],
        )
    )
    verdicts = [
        (single < 1.50, f"one frame alone below 1.50 ADU: {single:.3f}"),
        (turned < 1.50, f"the same with turns: {turned:.3f}"),
        (both < 1.40, f"both averaged below 1.40 ADU: {both:.3f}"),
        (all_turned < 1.40, f"the same with turns: {all_turned:.3f}"),
    ]
    return text, verdicts


def _column(rows: list[list], at: int) -> float:
    return float(np.mean([row[at] for row in rows]))


def _shown(header: list[str], rows: list[list]) -> str:
    numbers = [k for k in range(1, len(rows[0])) if not isinstance(rows[0][k], str)]
    last = ["mean", *(_column(rows, k) if k in numbers else "" for k in range(1, len(rows[0])))]
    cells = [
        [f"{cell:.2f}" if isinstance(cell, float) else cell for cell in row]
        for row in [*rows, last]
    ]
    return table(header, cells)


PARTS = {"fmd": scenes, "scmos": frames}


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds fmd/, scmos/")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    for name in given.only:
        text, verdicts = PARTS[name](given.data, given.minutes, given.device)
        page = "\n\n".join((text, judged(verdicts), machine(given.device)))
        print(page) if given.no_publish else publish(name, page)


if __name__ == "__main__":
    main()
