"""Which loss restores a scene best? Simulated defects and real pairs, each with a known truth.

Pairs of 256x256 pixels. Each is trained with every loss that is considered for its noise, with the
same settings and number of steps; the result is the mean of both denoised acquisitions.
Usage: python benchmarks/losses.py --data DIR [--only WORD ...] [--steps 200] [--no-publish]
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from report import Verdict, judged, machine, publish, table
from skimage import color, io

from napari_n2n import Pair, TrainingSettings, denoise, measure_noise, train
from napari_n2n.simulate.registry import parse

SIDE = 256
# Patches per step: a quarter of the default, so that the table takes half an hour on one core.
BATCH = 4
# Loss of PSNR against the best loss, in dB, that the recommended one may have.
ALLOWED = 0.1

Draw = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Case:
    """A scene under one kind of noise.

    Attributes
    ----------
    name
        Kind of noise.
    truth, draw
        The clean image in ADU, and a function that draws an acquisition of it.
    losses
        The losses to compare.
    parts
        Names of parts of the image, and the range of the truth in ADU of each; they are scored
        separately.
    """

    name: str
    truth: np.ndarray
    draw: Draw
    losses: tuple[str, ...]
    parts: tuple[tuple[str, float, float], ...] = (("", -np.inf, np.inf),)


def photograph(data: Path, name: str) -> np.ndarray:
    """Return the middle of a photograph as grey values, 0 to 255."""
    image = 255 * color.rgb2gray(io.imread(data / "kodak" / f"{name}.png"))
    return np.asarray(image[128 : 128 + SIDE, 256 : 256 + SIDE])


def impulses(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Replace a share of the pixels by values from 0 to 255."""
    return np.where(rng.random(image.shape) < share, rng.uniform(0, 255, image.shape), image)


def simulated(data: Path) -> Iterator[Case]:
    """Yield the simulated cases."""
    parrots, bikes = photograph(data, "kodim23"), photograph(data, "kodim05")
    lit, dim = 1.15 * parrots + 20, 20 + 60 * bikes / 255

    def saturated(rng: np.random.Generator) -> np.ndarray:
        return np.clip(np.round(2 * rng.poisson(lit / 2)), 0, 255).astype(np.uint8)

    parts = ((": values of 240-255", 240, 255), (": values above 255", 255, np.inf))
    yield Case("8 bit, saturated", lit, saturated, ("l2", "likelihood"), parts)
    for share in (0.3, 0.75):
        yield Case(
            f"impulses on {share:.0%}",
            parrots,
            lambda rng, share=share: impulses(parrots, share, rng),
            ("l1", "l0", "likelihood"),
        )
    for share in (0.15, 0.4):
        yield Case(
            f"noise of 20 ADU over 20-80 ADU, outliers of 0-255 ADU on {share:.0%}",
            dim,
            lambda rng, share=share: impulses(dim + rng.normal(0, 20, dim.shape), share, rng),
            ("l1", "l0", "likelihood"),
        )
    scene = 100 + 0.3 * bikes

    def hot(rng: np.random.Generator) -> np.ndarray:
        noisy = 2.2 * rng.poisson((scene - 100) / 2.2) + 100 + rng.normal(0, 4, scene.shape)
        sizes = np.exp(rng.uniform(np.log(100), np.log(3000), scene.shape))
        return np.round(noisy + (rng.random(scene.shape) < 0.02) * sizes).clip(0).astype(np.uint16)

    yield Case("camera, bright outliers on 2 %", scene, hot, ("l1", "likelihood"))

    def extremes(rng: np.random.Generator) -> np.ndarray:
        noisy = np.clip(np.round(parrots + rng.normal(0, 10, parrots.shape)), 0, 255)
        which = rng.random(parrots.shape)
        return np.where(which < 0.1, 0, np.where(which > 0.9, 255, noisy)).astype(np.uint8)

    yield Case("8 bit, 0 or 255 on 20 %", parrots, extremes, ("l2", "l1", "likelihood"))

    def cut_off(rng: np.random.Generator) -> np.ndarray:
        return np.maximum(0.3 * bikes - 10 + rng.normal(0, 15, bikes.shape), 0)

    yield Case("noise cut off at 0", 0.3 * bikes - 10, cut_off, ("l2", "l1", "likelihood"))
    rng = np.random.default_rng(5)
    cells, (y, x) = 103 + 20 * bikes / 255, np.mgrid[:SIDE, :SIDE]
    places = rng.uniform(20, SIDE - 20, (8, 2))
    spots = sum(np.exp(-((y - row) ** 2 + (x - column) ** 2) / 12.5) for row, column in places)
    beads = cells + 15_000 * spots

    def bright(rng: np.random.Generator) -> np.ndarray:
        noisy = rng.poisson(beads - 100) + 100 + rng.normal(0, 1.5, beads.shape)
        return np.round(noisy).clip(0).astype(np.uint16)

    parts = ((": cells of 3-23 electrons", -np.inf, 125), (": beads", 1100, np.inf))
    yield Case("eight beads of 15,000 electrons", beads, bright, ("l2", "likelihood"), parts)
    for share in (0.1, 0.35):
        text = parse(f"text:{share}")
        yield Case(
            f"text on {share:.0%}",
            parrots,
            lambda rng, text=text: text.apply(parrots.astype(np.float32), rng),
            ("l1", "likelihood"),
        )


def real(data: Path) -> Iterator[Case]:
    """Yield the real scenes: captures 1 and 2, and the mean of 50 as truth."""
    for folder in sorted((data / "fmd").iterdir()):
        captures = iter([tifffile.imread(folder / f"capture_{k}.tif") for k in (1, 2)])
        truth = tifffile.imread(folder / "truth.tif").squeeze()[:SIDE, :SIDE].astype(np.float64)
        yield Case(
            folder.name.replace("_", " "),
            truth,
            lambda rng, captures=captures: next(captures).squeeze()[:SIDE, :SIDE],
            ("l2", "likelihood"),
        )


def compared(case: Case, steps: int) -> tuple[list[list[object]], list[Verdict]]:
    """Train with each loss; return a row for each, and whether the recommended one is best."""
    rng = np.random.default_rng(3)
    a, b = case.draw(rng), case.draw(rng)
    pair = Pair.open(a, b)
    report = measure_noise(pair)
    results = {}
    for loss in case.losses:
        settings = TrainingSettings(loss=loss, steps=steps, batch=BATCH, device="cpu")
        began = time.perf_counter()
        result = denoise(train(pair, settings, reports=[report]), a, b)
        results[loss] = np.asarray(result).squeeze(), time.perf_counter() - began
    rows: list[list[object]] = []
    verdicts: list[Verdict] = []
    for words, low, high in case.parts:
        counted = (case.truth >= low) & (case.truth < high)
        scores: dict[str, float] = {}
        for loss, (result, seconds) in results.items():
            level = case.truth[counted]
            off = result[counted] - level
            scores[loss] = float(10 * np.log10(255**2 / np.mean(off**2)))
            chosen = " (recommended)" if loss == report.loss else ""
            slope = np.polyfit(level, level + off, 1)[0]
            figures = (
                f"{scores[loss]:.2f}",
                f"{off.mean():+.1f}",
                f"{slope:.2f}",
                f"{seconds:.0f}",
            )
            rows.append([case.name + words, loss.upper() + chosen, *figures])
            print(" | ".join(map(str, rows[-1])), flush=True)
        behind = max(scores.values()) - scores.get(report.loss, -np.inf)
        names = ", ".join(loss.upper() for loss in case.losses)
        sentence = f"{report.loss.upper()} is {behind:.2f} dB behind the best of {names}"
        verdicts.append((behind < ALLOWED, f"{case.name}{words}: {sentence}"))
    return rows, verdicts


def main() -> None:
    """Train on all cases, and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=[""], help="words in the names of cases")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    rows: list[list[object]] = []
    verdicts: list[Verdict] = []
    for case in (*simulated(given.data), *real(given.data)):
        if any(word in case.name for word in given.only):
            found, judgements = compared(case, given.steps)
            rows += found
            verdicts += judgements
    header = ["noise", "loss", "PSNR, dB", "bias, ADU", "slope", "s"]
    text = (
        f"Pairs of {SIDE}x{SIDE} pixels, {given.steps} steps of {BATCH} patches, seed 0. PSNR "
        "with a range of 255; slope of the result against the truth: 1 if no contrast is lost.\n\n"
        f"{table(header, rows)}\n\n{judged(verdicts)}\n\n{machine()}"
    )
    print(text) if given.no_publish else publish("losses", text)


if __name__ == "__main__":
    main()
