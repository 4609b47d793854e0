"""How good is the result of one recording, and is the advice about it right.

FMD: train on capture_1 alone, and on captures 1 and 2 as a pair, with the same number of steps, and
compare capture 1 denoised with the mean of 50 captures, over the four quarters as published. Beside
it: the pretrained network without training, the best Gaussian filter (chosen with the truth), and
non-local means calibrated without the truth (J-invariance, Batson & Royer 2019; scikit-image).
Advice: simulated recordings with independent and with correlated noise of several kinds.
Usage: python benchmarks/single.py [--data DIR] [--steps 1000] [--only WORD ...] [--no-publish]
"""

import argparse
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from quality import own_gain
from report import Verdict, judged, machine, publish, table
from scipy.ndimage import gaussian_filter, uniform_filter1d, zoom
from skimage.restoration import calibrate_denoiser, denoise_nl_means
from stopwatch import timed

from napari_n2n import Denoiser, Pair, TrainingSettings, denoise
from napari_n2n.noise.single_noise import measure_single
from napari_n2n.stats.image_quality import psnr

# PSNR in dB that is aimed at for capture 1, denoised without its second capture.
GOALS = {
    "Confocal_FISH": 33.0,
    "Confocal_BPAE_G": 31.7,
    "TwoPhoton_BPAE_R": 37.9,
    "TwoPhoton_MICE": 33.0,
    "WideField_BPAE_R": 33.5,
}
QUARTER = 256  # pixels: the published PSNR is the mean over the quarters of 512x512
SIDE = 320  # pixels of the simulated recordings
TRIALS = 8  # recordings of each kind


def published_psnr(truth: np.ndarray, image: np.ndarray) -> float:
    """Return the mean PSNR over the quarters, range 255."""
    corners = [(y, x) for y in (0, QUARTER) for x in (0, QUARTER)]
    parts = [np.s_[y : y + QUARTER, x : x + QUARTER] for y, x in corners]
    return float(np.mean([psnr(truth[part], image[part], 255) for part in parts]))


def scenes(data: Path, steps: int, only: list[str]) -> Iterator[tuple[list[object], Verdict]]:
    """Yield the row of each scene, and whether its result is as good as aimed at."""
    settings = TrainingSettings(steps=steps)
    for name, goal in GOALS.items():
        if not any(word in name for word in only):
            continue
        files = [data / "fmd" / name / f"capture_{number}.tif" for number in (1, 2)]
        truth = tifffile.imread(data / "fmd" / name / "truth.tif").astype(np.float64)
        noisy = tifffile.imread(files[0]).astype(np.float64)
        first: list[Denoiser] = []

        def keep(step: object, seconds: float, first: list[Denoiser] = first) -> None:
            if not first:
                first.append(step.denoiser())  # type: ignore[attr-defined]

        alone, seconds = timed(Pair.single(files[0]), settings, keep)
        pair, _ = timed(Pair.open(*files), settings, lambda step, seconds: None)
        ours = denoise(alone, files[0])
        score = published_psnr(truth, ours)
        method = str(alone.record.noise[0]["method"])
        yield (
            [
                *(name, method, published_psnr(truth, noisy), best_gaussian(truth, noisy)),
                *(published_psnr(truth, non_local_means(noisy)), pretrained(truth, files[0])),
                *(score, published_psnr(truth, denoise(alone, files[0], turns=True))),
                published_psnr(truth, own_gain(truth, noisy).inverse(ours)),
                *(published_psnr(truth, denoise(pair, files[0])), seconds),
            ],
            (score >= goal, f"{name}: {score:.2f} dB, aimed at {goal:.2f} dB"),
        )


def pretrained(truth: np.ndarray, file: Path) -> float:
    """PSNR of the pretrained network, before any training."""
    model, _ = timed(Pair.single(file), TrainingSettings(steps=1, learning_rate=1e-12), _ignore)
    return published_psnr(truth, denoise(model, file))


def _ignore(step: object, seconds: float) -> None:
    pass


def best_gaussian(truth: np.ndarray, noisy: np.ndarray) -> float:
    """PSNR of the Gaussian filter that is best for this scene."""
    widths = np.linspace(0.5, 4, 15)
    return max(published_psnr(truth, gaussian_filter(noisy, width)) for width in widths)


def non_local_means(noisy: np.ndarray) -> np.ndarray:
    """Denoise by non-local means, its strength chosen without a clean image."""
    unit = noisy / 255
    choices = {"h": np.linspace(0.02, 0.2, 8), "patch_size": [5], "patch_distance": [6]}
    return np.asarray(calibrate_denoiser(unit, denoise_nl_means, choices)(unit)) * 255


@dataclass(frozen=True)
class Kind:
    """A kind of noise: how a scene is recorded, and whether neighbours share noise."""

    name: str
    record: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    correlated: bool


def scene(seed: int) -> np.ndarray:
    """Simulate soft cells with sharp granules on a dark background, 20 to 220 ADU."""
    rng = np.random.default_rng((seed, 1))
    cells = gaussian_filter((rng.random((SIDE, SIDE)) > 0.9995).astype(float), 12)
    granules = gaussian_filter((rng.random((SIDE, SIDE)) > 0.998).astype(float), 1.2)
    image = cells / cells.max() + 0.7 * granules / granules.max() * (cells > 0.2 * cells.max())
    return 20 + 200 * image / image.max()


def white(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise of 10 ADU."""
    return image + rng.normal(0, 10, image.shape)


def blurred(width: float) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """Return a function that adds noise of 10 ADU, correlated by a Gaussian blur."""

    def record(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = gaussian_filter(rng.normal(size=image.shape), width)
        return image + 10 * noise / noise.std()

    return record


def lines(axis: int) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """Return a function that adds white noise, and as strong offsets of rows or columns."""

    def record(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        shape = [1, 1]
        shape[axis] = image.shape[axis]
        return white(image, rng) + rng.normal(0, 8, shape)

    return record


def compressed(quality: int) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """Return a function that stores a noisy image as JPEG."""

    def record(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        buffer = io.BytesIO()
        pixels = np.clip(np.round(white(image, rng)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(buffer, "jpeg", quality=quality)
        return np.asarray(Image.open(buffer), float)

    return record


KINDS = (
    Kind("photon noise, 2 ADU/electron", lambda s, rng: rng.poisson(s / 2) * 2.0, False),
    Kind("photon noise, 1 to 11 photons", lambda s, rng: rng.poisson(s / 20) * 20.0, False),
    Kind("Gaussian", white, False),
    Kind("camera", lambda s, rng: rng.poisson(s) + rng.normal(100, 3, s.shape), False),
    Kind("Gaussian, 8 bit", lambda s, rng: np.clip(np.round(white(s, rng)), 0, 255), False),
    Kind("EM gain", lambda s, rng: rng.gamma(np.maximum(rng.poisson(s / 5), 1e-9)) * 5.0, False),
    Kind("blurred by 0.7 pixels", blurred(0.7), True),
    Kind("blurred by 1.5 pixels", blurred(1.5), True),
    Kind("blurred by 3 pixels", blurred(3.0), True),
    Kind("offsets of rows", lines(0), True),
    Kind("offsets of columns", lines(1), True),
    Kind("lines averaged over 3 pixels", lambda s, rng: uniform_filter1d(white(s, rng), 3), True),
    Kind("JPEG, quality 50", compressed(50), True),
    Kind("JPEG, quality 90", compressed(90), False),
    Kind("enlarged 2 times", lambda s, rng: zoom(white(s, rng)[::2, ::2], 2, order=1), True),
)


def true_correlation(recorded: np.ndarray, clean: np.ndarray) -> list[float]:
    """Return the correlation of the noise with that of the next row, and of the next column."""
    gain, offset = np.polyfit(clean.ravel(), recorded.ravel(), 1)
    noise = recorded - gain * clean - offset
    ahead = (noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1])
    return [float(np.mean(one * other) / np.mean(noise**2)) for one, other in ahead]


def advice() -> tuple[str, list[Verdict]]:
    """Measure recordings of every kind; return a table, and whether the advice was right."""
    rows: list[list[object]] = []
    verdicts = []
    for kind in KINDS:
        seen = [kind.record(scene(k), np.random.default_rng(k)) for k in range(TRIALS)]
        true = np.median([true_correlation(one, scene(k)) for k, one in enumerate(seen)], axis=0)
        reports = [measure_single(Pair.single(one.astype(np.float32))) for one in seen]
        warned = [
            bool({"correlated_noise", "correlation_unknown"} & {w.code for w in report.warnings})
            for report in reports
        ]
        known = [report.noise_correlation for report in reports if report.noise_correlation]
        found = np.median(known, axis=0) if known else (np.nan, np.nan)
        rows.append(
            [
                *(kind.name, f"{true[0]:.2f}, {true[1]:.2f}", f"{found[0]:.2f}, {found[1]:.2f}"),
                f"{sum(warned)} of {TRIALS}",
            ]
        )
        right = sum(one == kind.correlated for one in warned)
        what = "warned" if kind.correlated else "accepted"
        verdicts.append((right == TRIALS, f"{kind.name}: {what} in {right} of {TRIALS}"))
    header = ["noise", "true correlation (y, x)", "measured", "warned"]
    return table(header, rows), verdicts


def main() -> None:
    """Measure the real scenes and the simulated recordings, and publish the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", nargs="+", default=[""], help="words in the scenes' names")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    kinds, verdicts = advice()
    print(kinds, judged(verdicts), sep="\n\n", flush=True)
    rows, results = [], []
    for row, verdict in scenes(given.data, given.steps, given.only) if given.data else ():
        rows.append([f"{one:.2f}" if isinstance(one, float) else one for one in row])
        results.append(verdict)
        print(rows[-1], flush=True)
    header = [
        *("scene", "method", "raw", "best Gaussian", "non-local means", "pretrained", "one"),
        *("with turns", "in its own gain", "pair", "s"),
    ]
    text = (
        f"PSNR in dB of capture 1, mean over its quarters; {given.steps} steps where trained. "
        "'One' is trained on capture 1 alone, 'with turns' is the same with test-time "
        "augmentation; 'pair' is trained on captures 1 and 2, and denoises capture 1 alone. 's' is "
        "for 'one'.\n\n"
        f"{table(header, rows)}\n\n{judged(results)}\n\n"
        f"The advice about {TRIALS} simulated recordings of {SIDE}x{SIDE} pixels of each kind:\n\n"
        f"{kinds}\n\n{judged(verdicts)}\n\n{machine()}"
    )
    print(text) if given.no_publish else publish("single", text)


if __name__ == "__main__":
    main()
