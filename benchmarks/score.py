"""Is the PSNR without a clean image right? Simulated scenes, with good and bad results.

Each result is scored against an acquisition that was not used for it, against the mean of four
such acquisitions, and against the truth. The PSNR that training reports for its held-out blocks
is compared with the truth on these blocks.
Usage: python benchmarks/score.py [--steps 800] [--no-publish]
"""

import argparse
import math
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from advice import scored_blocks
from report import Verdict, judged, machine, publish, table
from scipy import ndimage

from napari_n2n import Denoiser, Pair, TrainingSettings, denoise, train
from napari_n2n.quality.score import score_result
from napari_n2n.simulate.additive import Brown, Camera
from napari_n2n.simulate.corruption import Noise
from napari_n2n.stats.image_quality import psnr

CELLS = Path(__file__).parents[1] / "sample_data" / "make_samples.py"
CAMERA = Camera(gain=2.2, read=1.6, offset=100)
FIELDS = 16
LEARNED = 2  # fields of view: few enough for training to score every held-out block
FEW_STEPS = 60  # clearly too few, for a bad result
WITHIN, ERRORS = 0.2, 3.0  # largest error of an estimate: dB, standard errors


@dataclass(frozen=True)
class Scene:
    """Clean fields of view, (16, 512, 512) in ADU, and the noise of a recording."""

    name: str
    truth: np.ndarray
    noise: Noise


@dataclass(frozen=True)
class Check:
    """A PSNR without a clean image, with its standard error, and the true one; in dB."""

    estimate: float
    error: float
    true: float

    @property
    def off(self) -> float:
        """The estimate minus the truth, in dB."""
        return self.estimate - self.true

    @property
    def off_in_errors(self) -> float:
        """The same in standard errors."""
        return self.off / self.error

    def cells(self) -> list[str]:
        """Format for a table."""
        return [f"{self.estimate:.2f} ± {self.error:.2f}", f"{self.off:+.2f}"]


def scenes() -> Iterator[Scene]:
    """Simulate fluorescent cells, and spots of light."""
    rng = np.random.default_rng(0)
    simulate_cells = runpy.run_path(str(CELLS))["simulate_cells"]
    cells = np.stack([simulate_cells(rng) for _ in range(FIELDS)])
    lights = rng.exponential(300, cells.shape) * (rng.random(cells.shape) > 0.98)
    spots = 2 + ndimage.gaussian_filter(lights, 1.5, axes=(1, 2))
    bright, dim, spotted = (
        CAMERA.offset + CAMERA.gain * electrons for electrons in (cells, cells / 3, spots)
    )
    yield Scene("cells", bright, CAMERA)
    yield Scene("cells, a third of the light", dim, CAMERA)
    yield Scene("spots", spotted, CAMERA)
    yield Scene("cells, correlated noise", bright, Brown(15, 1.0))


def results(a: np.ndarray, good: Denoiser, poor: Denoiser) -> dict[str, np.ndarray]:
    """Return results of very different quality for one acquisition."""
    denoised = denoise(good, a, device="cpu")
    return {
        "raw": a,
        "trained": denoised,
        "trained too little": denoise(poor, a, device="cpu"),
        "trained, then blurred": ndimage.gaussian_filter(denoised, 2, axes=(1, 2)),
        "Gaussian filter": ndimage.gaussian_filter(a, 3, axes=(1, 2)),
    }


def held_out(denoiser: Denoiser, pair: Pair, truth: np.ndarray) -> Check:
    """Compare the PSNR of training with the truth, on the held-out blocks of both acquisitions."""
    record = denoiser.record
    core = scored_blocks(pair, record.settings["seed"])
    images = np.stack([denoise(denoiser, one, device="cpu") for one in pair.acquisitions])
    clean = np.broadcast_to(truth, images.shape)
    (data_range,) = record.data_range  # of the only channel
    true = psnr(clean[..., core], images[..., core], data_range)
    return Check(record.score.psnr, record.score.psnr_se, true)


def compared(scene: Scene, steps: int) -> tuple[list[list[str]], list[list[str]], list[Verdict]]:
    """Train on a scene and score it; return the rows of both tables, and verdicts."""
    rng = np.random.default_rng(1)
    a, b, *spare = (scene.noise.apply(scene.truth, rng) for _ in range(6))
    pair = Pair.open(a[:LEARNED], b[:LEARNED])
    denoisers = [
        train(pair, TrainingSettings(loss="l2", steps=count, device="cpu", start="cold"))
        for count in (steps, FEW_STEPS)
    ]
    against = {"one acquisition": spare[0], "the mean of four": np.mean(spare, axis=0)}
    checks: dict[str, list[Check]] = {judge: [] for judge in against}
    rows = []
    for name, result in results(a, *denoisers).items():
        for judge, other in against.items():
            checks[judge].append(scored(result, other, a, scene.truth))
        one, four = (column[-1] for column in checks.values())
        shown = f"{four.off:+.2f} ± {four.error:.2f}"
        rows.append([scene.name, name, f"{one.true:.2f}", *one.cells(), shown])
    verdicts = [
        (
            all(abs(check.off) <= min(WITHIN, ERRORS * check.error) for check in column),
            f"{scene.name}, against {judge}: within {WITHIN:g} dB and {ERRORS:g} standard errors: "
            f"off by {worst(column, 'off'):.2f} dB or {worst(column, 'off_in_errors'):.1f} at most",
        )
        for judge, column in checks.items()
    ]
    blocks, held_out_rows = [], []
    for count, denoiser in zip((steps, FEW_STEPS), denoisers, strict=True):
        check = held_out(denoiser, pair, scene.truth[:LEARNED])
        blocks.append(check)
        held_out_rows.append([scene.name, count, f"{check.true:.2f}", *check.cells()])
    verdicts.append(
        (
            all(abs(check.off_in_errors) <= ERRORS for check in blocks),
            f"{scene.name}, held-out blocks: within {ERRORS:g} standard errors: "
            f"off by {worst(blocks, 'off_in_errors'):.1f} at most",
        )
    )
    return rows, held_out_rows, verdicts


def scored(result: np.ndarray, against: np.ndarray, source: np.ndarray, truth: np.ndarray) -> Check:
    """Score a result as `napari-n2n score` does; NaN where it gives null."""
    card = score_result(result, against, source=source, truth=truth)
    estimate = card.psnr_reference_free, card.psnr_reference_free_se
    return Check(*(math.nan if value is None else value for value in (*estimate, card.psnr)))


def worst(checks: list[Check], figure: str) -> float:
    return max(abs(getattr(check, figure)) for check in checks)


def main() -> None:
    """Score all scenes and publish the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    rows, blocks, verdicts = [], [], []
    for scene in scenes():
        found = compared(scene, given.steps)
        for whole, part in zip((rows, blocks, verdicts), found, strict=True):
            whole.extend(part)
        print(*found, sep="\n", flush=True)
    figures = ["true PSNR", "without truth", "off"]
    text = (
        f"PSNR in dB of results made from one acquisition, {FIELDS} fields of view of 512x512: "
        "against the truth; without it, against an acquisition that was not used for the result, "
        "± its standard error; and the error of this estimate, also against the mean of four "
        "acquisitions. Trained on two fields of view from random weights for "
        f"{given.steps} steps ('trained too little': {FEW_STEPS}).\n\n"
        f"{table(['scene', 'result', *figures, 'off, the mean of four'], rows)}\n\n"
        "The PSNR that training shows, for its held-out blocks:\n\n"
        f"{table(['scene', 'steps', *figures], blocks)}\n\n"
        f"{judged(verdicts)}\n\n{machine()}"
    )
    print(text) if given.no_publish else publish("score", text)


if __name__ == "__main__":
    main()
