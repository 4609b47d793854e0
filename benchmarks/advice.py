"""Is the recommended loss the better one? Train real pairs with L2 and L1, all else equal.

Both networks start from random weights and without pixel swap, because the pretrained weights were
trained with L2, and pixel swap is for L2 only. Two judges: a truth that was not used for training,
and the reference-free error on held-out blocks, which needs no truth.
Usage: python benchmarks/advice.py --data DIR [--only NAME ...] [--steps 1000] [--no-publish]
"""

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
from report import Verdict, judged, machine, publish, table
from scipy import ndimage

from napari_n2n import NoiseReport, Pair, TrainingSettings, denoise, measure_noise, train
from napari_n2n.stats.image_quality import psnr, reference_free_error
from napari_n2n.stats.statistics import Measurement, mean_over_blocks
from napari_n2n.training.held_out import HeldOutMask

LOSSES = ("l2", "l1")
# Pixels at the edge of a held-out block that are not scored: correlated noise reaches about 1.5
# pixels, so these may share noise with pixels that were trained on.
RIM = 2
# A pixel is unstable if its variance is this many times the median of its neighbours'. In 18
# frames, Gaussian noise alone reaches that in fewer than one pixel in a million.
UNSTABLE = 4.0


@dataclass(frozen=True)
class Trial:
    """A pair, denoised by networks that differ only in their loss.

    Attributes
    ----------
    report
        The noise of the pair, and the recommended loss.
    images
        Both acquisitions, raw and denoised alone by the network of each loss, in their own
        intensities; (2, Y, X).
    held_out
        By loss: reference-free mean squared error on the held-out blocks of both.
    gain
        The advantage of L1, in dB. The noise of the targets is in both errors, so most of it
        cancels: the standard error is far smaller than that of either.
    """

    report: NoiseReport
    images: dict[str, np.ndarray]
    held_out: dict[str, float]
    gain: Measurement

    def verdict(self, about: str, gain: float) -> Verdict:
        """Check that truth (`gain` dB for L1) and held-out blocks prefer the recommended loss."""
        sign = {"l2": -1, "l1": 1}[self.report.loss]
        truth, held_out = sign * gain, sign * self.gain.value
        return min(truth, held_out) > 0, (
            f"{about}: the recommended {self.report.loss.upper()} better, by {truth:.2f} dB "
            f"against the truth and by {held_out:.2f} ± {self.gain.error:.2f} dB on held-out blocks"
        )


def scored_blocks(pair: Pair, seed: int) -> np.ndarray:
    """Return the mask of the held-out pixels that are scored, (Y, X): blocks without edges."""
    shape = pair.first.plane_shape
    held_out = HeldOutMask(shape, seed).mask(*(slice(0, length) for length in shape))
    return ndimage.binary_erosion(held_out, iterations=RIM)


def trained(pair: Pair, settings: TrainingSettings) -> Trial:
    """Train on a pair with each loss."""
    report = measure_noise(pair)
    together = replace(report, noise_correlation=(1.0, 1.0))  # prevents pixel swap
    raw = np.stack([one.plane(0).astype(np.float64) for one in pair.acquisitions])
    targets = np.stack([pair.match(1 - k, k)(raw[1 - k]) for k in range(2)])
    weight = np.broadcast_to(scored_blocks(pair, settings.seed), raw.shape)
    images, held_out = {"raw": raw}, {}
    for loss in LOSSES:
        denoiser = train(pair, settings.model_copy(update={"loss": loss}), reports=[together])
        clean = [denoise(denoiser, one, device=settings.device) for one in pair.acquisitions]
        images[loss] = np.stack(clean)
        held_out[loss] = reference_free_error(images[loss], raw, targets, weight).value
    squares = [(images[loss] - targets) ** 2 for loss in LOSSES]
    scatter = mean_over_blocks([((squares[1] - squares[0]) * weight, weight)]).error
    gain = Measurement(
        10 * math.log10(held_out["l2"] / held_out["l1"]),
        10 / math.log(10) * scatter / min(held_out.values()),
    )
    return Trial(report, images, held_out, gain)


def scenes(data: Path, settings: TrainingSettings) -> tuple[str, list[Verdict]]:
    """Train on two captures of each FMD scene; the truth is the mean of 50."""
    rows, verdicts = [], []
    for folder in sorted((data / "fmd").iterdir()):
        captures = [folder / f"capture_{number}.tif" for number in (1, 2)]
        truth = tifffile.imread(folder / "truth.tif").astype(np.float64)
        trial = trained(Pair.open(*captures), settings)
        matched = [Pair.open(one, truth).matches[1].inverse(truth) for one in captures]
        decibels, unmatched = (
            {
                name: float(np.mean([psnr(*each, 255) for each in zip(truths, views, strict=True)]))
                for name, views in trial.images.items()
            }
            for truths in (matched, [truth, truth])
        )
        gain, unmatched_gain = (by["l1"] - by["l2"] for by in (decibels, unmatched))
        verdicts.append(trial.verdict(folder.name, gain))
        rows.append(
            [
                folder.name,
                trial.report.reason,
                *(f"{value:.2f}" for value in decibels.values()),
                f"{gain:+.2f}",
                f"{trial.gain.value:+.2f} ± {trial.gain.error:.2f}",
                f"{unmatched_gain:+.2f}",
                *(
                    f"{100 * (trial.images[loss].mean() / np.mean(matched) - 1):+.2f}"
                    for loss in LOSSES
                ),
            ]
        )
        print(rows[-1], flush=True)
    header = ["scene", "recommendation", "raw", "L2", "L1", "L1 - L2", "on held-out blocks"]
    header += ["gain not matched", "mean of L2, %", "mean of L1, %"]
    text = (
        f"Trained on two captures of each scene, {settings.steps} steps from random "
        f"weights, seed {settings.seed}, without pixel swap. "
        "PSNR in dB (range 255) of a capture denoised alone against the mean of 50, mapped to the "
        "capture's gain; the advantage of L1 by that, and by the reference-free error on held-out "
        "blocks. 'Gain not matched': the same against the mean of 50 without mapping, where a loss "
        "that reads low has an advantage on captures that happen to read high. 'Mean': error of "
        "the mean intensity. All values are means over both captures."
        f"\n\n{table(header, rows)}"
    )
    return text, verdicts


def hot_pixels(data: Path, settings: TrainingSettings) -> tuple[str, list[Verdict]]:
    """Train on two of 20 sCMOS frames of a static scene; the truth is the mean of the other 18."""
    frames = tifffile.imread(data / "scmos" / "filaments_20frames.tif")
    unused = frames[2:].astype(np.float64)
    truth, variance = unused.mean(axis=0), unused.var(axis=0, ddof=1)
    unstable = variance > UNSTABLE * ndimage.median_filter(variance, 9)
    trial = trained(Pair.open(*frames[:2]), settings)

    def error(images: np.ndarray, where: np.ndarray) -> float:
        own = variance[where].mean() / len(unused)
        return math.sqrt(((images - truth)[:, where] ** 2).mean() - own)

    everywhere = np.ones_like(unstable)
    errors = {name: error(pair, everywhere) for name, pair in trial.images.items()}
    rows = [
        [
            name if name == "raw" else name.upper(),
            f"{errors[name]:.3f}",
            f"{error(pair, unstable):.3f}",
            f"{error(pair, ~unstable):.3f}",
            f"{math.sqrt(trial.held_out[name]):.3f}" if name in LOSSES else "-",
            f"{pair.mean() - truth.mean():+.3f}",
        ]
        for name, pair in trial.images.items()
    ]
    header = ["frame", "RMSE", "on unstable pixels", "on the others", "on held-out blocks", "mean"]
    text = (
        f"Trained on frames 0 and 1, {settings.steps} steps from random weights, seed "
        f"{settings.seed}, without pixel swap. Recommendation: "
        f"'{trial.report.reason}' Errors in ADU of a frame denoised alone (root mean square over "
        "both): against the mean of the 18 unused frames, corrected for the noise of that mean; on "
        "the "
        f"{unstable.mean():.1%} of the pixels with over {UNSTABLE:g} times the variance of their "
        "neighbours, and on the others; reference-free, on held-out blocks. 'Mean': mean "
        f"intensity minus that of the unused frames.\n\n{table(header, rows)}"
    )
    gain = 20 * math.log10(errors["l2"] / errors["l1"])
    return text, [trial.verdict("sCMOS filaments", gain)]


PARTS = {"fmd": scenes, "scmos": hot_pixels}


def main() -> None:
    """Compare, and publish the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds fmd/, scmos/")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    settings = TrainingSettings(
        steps=given.steps, seed=given.seed, device=given.device, start="cold"
    )
    for name in given.only:
        text, verdicts = PARTS[name](given.data, settings)
        page = f"{text}\n\n{judged(verdicts)}\n\n{machine(given.device)}"
        print(page, flush=True) if given.no_publish else publish(f"advice-{name}", page)


if __name__ == "__main__":
    main()
