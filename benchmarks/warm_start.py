"""Compare pretrained weights (warm) with random ones (cold), also where nothing is to be seen.

Train both on real pairs and on simulated ones, whose scenes are unlike those of the pretraining, or
empty. They are compared after the same numbers of steps, so a busy machine does not matter.

Usage: python benchmarks/warm_start.py --data DIR [--steps 800]
"""

import argparse
import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from report import Verdict, judged, machine, publish, table
from stopwatch import advance

from napari_n2n import Denoiser, Pair, TrainingSettings, denoise
from napari_n2n.noise.measure import measure_channels
from napari_n2n.simulate.registry import parse
from napari_n2n.training.prepare import prepare

MARKS = (0, 50, 100, 200, 400, 800)
FLAT, SIDE = 120.0, 384


@dataclass(frozen=True)
class Case:
    """A pair and its truth.

    Attributes
    ----------
    name
        Name of the scene.
    pair
        Two acquisitions.
    truth
        The scene without noise, or nearly so.
    own
        Variance of the remaining noise of the truth.
    real
        True for recordings, whose gain may differ from that of the truth.
    """

    name: str
    pair: tuple[np.ndarray, ...]
    truth: np.ndarray
    own: float = 0.0
    real: bool = True

    @property
    def empty(self) -> bool:
        """True if the scene is flat: any structure in the result is invented."""
        return float(np.ptp(self.truth)) == 0

    def error(self, images: Sequence[np.ndarray]) -> float:
        """Return the root-mean-square error of denoised acquisitions, in the truth's gain."""
        squares = []
        for image, acquisition in zip(images, self.pair, strict=True):
            gain, offset = 1.0, 0.0
            if self.real:
                gain, offset = np.polyfit(self.truth.ravel(), acquisition.ravel().astype(float), 1)
            squares.append(np.mean(((image - offset) / gain - self.truth) ** 2) - self.own)
        return math.sqrt(max(float(np.mean(squares)), 0.0))


def cases(data: Path) -> Iterator[Case]:
    """Yield real pairs, then simulated ones."""
    for folder in sorted((data / "fmd").iterdir()):
        captures = [tifffile.imread(folder / f"capture_{number}.tif") for number in (1, 2)]
        truth = tifffile.imread(folder / "truth.tif").astype(np.float64)
        yield Case(folder.name, tuple(captures), truth)
    stack = tifffile.imread(data / "scmos" / "filaments_20frames.tif")
    unused = stack[2:].astype(np.float64)
    own = float(unused.var(axis=0, ddof=1).mean()) / len(unused)
    yield Case("scmos", (stack[0], stack[1]), unused.mean(axis=0), own)
    photograph = np.asarray(Image.open(data / "kodak" / "kodim19.png").convert("L"), np.float32)
    stripes = FLAT + 80 * np.sign(np.sin(np.arange(SIDE) * 2 * np.pi / 7))[None] * np.ones(
        (SIDE, 1)
    )
    flat = np.full((SIDE, SIDE), FLAT)
    for title, clean, noises in (
        ("photograph", photograph[:SIDE, :SIDE], ("poisson:20", "brown:25:3")),
        ("hard stripes, 7 px", stripes, ("poisson:10",)),
        ("nothing", flat, ("gaussian:25", "brown:25:1.5")),
    ):
        for words in noises:
            noise = parse(words)
            pair = tuple(
                noise.apply(clean.astype(np.float32), np.random.default_rng(seed)).astype(
                    np.float32
                )
                for seed in (1, 2)
            )
            yield Case(f"{title}, {words}", pair, clean.astype(np.float64), real=False)


def errors(case: Case, start: str, steps: int) -> list[float]:
    """Return the errors at the marks: root mean square over both acquisitions."""
    settings = TrainingSettings(loss="l2", steps=steps, device="cpu", start=start)
    pairs = [Pair.open(*case.pair)]
    run = prepare(pairs, settings, measure_channels(pairs), 2)
    found = []
    for step in range(steps + 1):
        if step in MARKS:
            scales = tuple(one.scale for one in run.normalisations)
            average = copy.deepcopy(run.state.average)
            found.append(_error(case, Denoiser((average,), run.architecture, scales)))
        if step < steps:
            advance(run, run.schedule.progress(run.state.history))
    run.cache.close()
    return found


def _error(case: Case, denoiser: Denoiser) -> float:
    return case.error([denoise(denoiser, one, device="cpu") for one in case.pair])


def main() -> None:
    """Compare and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds fmd/, scmos/ and kodak/")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    marks = [mark for mark in MARKS if mark <= given.steps]
    rows: list[list[object]] = []
    verdicts: list[Verdict] = []
    for case in cases(given.data):
        raw = case.error(case.pair)
        warm, cold = (errors(case, start, given.steps) for start in ("warm", "cold"))
        for start, found in (("warm", warm), ("cold", cold)):
            rows.append([case.name, start, f"{raw:.2f}", *(f"{one:.2f}" for one in found)])
            print(rows[-1], flush=True)
        worst = max(20 * math.log10(w / c) for w, c in zip(warm[1:], cold[1:], strict=True))
        words = f"{case.name}: warm is never worse than cold by 0.05 dB: {worst:+.2f} dB at worst"
        if not case.empty:
            verdicts.append((worst <= 0.05, words))
        else:
            words = (
                f"{case.name}: nothing invented, error under a tenth of the noise: {warm[-1]:.2f}"
            )
            verdicts.append((warm[-1] < raw / 10, words))
    text = (
        "Root-mean-square error of one acquisition denoised, in ADU or grey levels, with the "
        "averaged weights after each number of steps.\n\n"
        + table(["scene", "start", "raw", *(f"{mark} steps" for mark in marks)], rows)
    )
    page = "\n\n".join((text, judged(verdicts), machine("cpu")))
    print(page) if given.no_publish else publish("warm-start", page)


if __name__ == "__main__":
    main()
