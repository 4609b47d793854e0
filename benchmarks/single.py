"""How good is the result of one recording, and is the advice about it right.

FMD: train on capture_1 alone, and on captures 1 and 2 as a pair, with the same number of steps, and
compare capture 1 denoised with the mean of 50 captures, over the four quarters as published. Beside
it: the pretrained network without training, the best Gaussian filter (chosen with the truth), and
non-local means calibrated without the truth (J-invariance, Batson & Royer 2019; scikit-image).
With --peers, other software denoises the same recordings (see scripts/peers).
sCMOS: train on one frame, and compare it with the mean of 18 others.
Advice: simulated recordings with independent and with correlated noise of several kinds.
Usage: python benchmarks/single.py [--data DIR] [--peers ENVIRONMENT] [--steps 1000]
       [--only WORD ...] [--no-publish]
"""

import argparse
import io
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image
from quality import own_gain, scmos_frames
from report import Verdict, judged, machine, publish, table
from scipy.ndimage import gaussian_filter, uniform_filter1d, zoom
from skimage.restoration import calibrate_denoiser, denoise_nl_means
from speed import Curve, peer, reached
from stopwatch import scored, timed

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
CAMERA_GOAL = 1.60  # ADU, for an sCMOS frame; trained on a pair of frames it is 1.49
PEERS = {"n2v": "CAREamics N2V", "n2v2": "CAREamics N2V2", "bm3d": "BM3D"}
# dB that are aimed at above the best of CAREamics, and above BM3D; and the part of the time after
# which CAREamics has its best.
AHEAD, ABOVE_BM3D, PART = 1.0, 0.5, 1 / 15
FIRST = 2.0  # seconds until an image can be used
QUARTER = 256  # pixels: the published PSNR is the mean over the quarters of 512x512
SIDE = 320  # pixels of the simulated recordings
TRIALS = 8  # recordings of each kind

Score = Callable[[np.ndarray], float]
"""Scores an image: the higher, the better."""


def published_psnr(truth: np.ndarray, image: np.ndarray) -> float:
    """Return the mean PSNR over the quarters, range 255."""
    corners = [(y, x) for y in (0, QUARTER) for x in (0, QUARTER)]
    parts = [np.s_[y : y + QUARTER, x : x + QUARTER] for y, x in corners]
    return float(np.mean([psnr(truth[part], image[part], 255) for part in parts]))


@dataclass(frozen=True)
class Run:
    """A model trained on one recording, the seconds this took, and its score by seconds."""

    denoiser: Denoiser
    seconds: float
    curve: Curve


def alone(recording: Any, settings: TrainingSettings, score: Score) -> Run:
    """Train on one recording, and score its result at about 40 times, and at the end.

    The first time is that of the pretrained network, before the first step.
    """
    pair = Pair.single(recording)
    denoiser, seconds, curve = scored(pair, settings, lambda one: score(denoise(one, recording)))
    return Run(denoiser, seconds, curve)


def scenes(given: argparse.Namespace) -> Iterator[tuple[list[object], list[object], list[Verdict]]]:
    """Yield the row of each scene, that of other software, and whether they are as aimed at."""
    settings = TrainingSettings(steps=given.steps)
    for name, goal in GOALS.items():
        if not any(word in name for word in given.only):
            continue
        files = [given.data / "fmd" / name / f"capture_{number}.tif" for number in (1, 2)]
        truth = tifffile.imread(files[0].with_name("truth.tif")).astype(np.float64)
        noisy = tifffile.imread(files[0]).astype(np.float64)
        score = partial(published_psnr, truth)
        run = alone(files[0], settings, score)
        pair, _ = timed(Pair.open(*files), settings, lambda step, seconds: None)
        ours, model = denoise(run.denoiser, files[0]), run.denoiser
        one = score(ours)
        first = min(run.curve)
        verdicts = [
            (one >= goal, f"{name}: {one:.2f} dB, aimed at {goal:.2f} dB"),
            (first <= FIRST, f"{name}: first image, {run.curve[first]:.2f} dB, at {first:.1f} s"),
        ]
        cells, more = versus(run, others(given, files[0], score))
        yield (
            [
                *(name, str(model.record.noise[0]["method"]), score(noisy)),
                *(best_gaussian(truth, noisy), score(non_local_means(noisy)), run.curve[first]),
                *(one, score(denoise(model, files[0], turns=True))),
                score(own_gain(truth, noisy).inverse(ours)),
                *(score(denoise(pair, files[0])), run.seconds),
            ],
            [name, one, *cells],
            [*verdicts, *((ok, f"{name}: {words}") for ok, words in more)],
        )


def others(given: argparse.Namespace, file: Path, score: Score) -> dict[str, Curve]:
    """Denoise a file with other software; return the scores by seconds of each."""
    options = ("--seconds", str(given.seconds), "--threads", str(torch.get_num_threads()))
    curves = {}
    for method in PEERS if given.peers else ():
        images = peer(method, given.peers, [file], *options)
        if "end" in images:
            images[str(given.seconds)] = images.pop("end")
        curves[method] = {float(when): score(image) for when, image in images.items()}
    return curves


def versus(run: Run, curves: dict[str, Curve]) -> tuple[list[object], list[Verdict]]:
    """Return the cells of other software, and whether the run is as far ahead as aimed at."""
    cells: list[object] = []
    final, best, waits = list(run.curve.values())[-1], {}, []
    for method, curve in curves.items():
        best[method] = max(curve.values())
        when = next(when for when, value in curve.items() if value == best[method])
        wait = reached(run.curve, best[method])
        cells += [best[method], when, wait]
        if method != "bm3d":
            waits.append((best[method], when, wait))
    if not curves:
        return [], []
    level, when, wait = max(waits)
    ahead, above = final - level, final - best["bm3d"]
    return cells, [
        (ahead >= AHEAD, f"{ahead:+.2f} dB against the best of CAREamics"),
        (wait <= PART * when, f"best of CAREamics, at {when:.0f} s, reached after {wait:.1f} s"),
        (above >= ABOVE_BM3D, f"{above:+.2f} dB against BM3D"),
    ]


def camera(given: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """Denoise an sCMOS frame, trained on it alone; return a table of errors, and a verdict."""
    stack, error = scmos_frames(given.data)
    run = alone(stack[0], TrainingSettings(steps=given.steps), lambda image: -error(image))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frame.tif"
        tifffile.imwrite(file, stack[0])
        curves = others(given, file, lambda image: -error(image))
    ours = error(denoise(run.denoiser, stack[0]))
    names = [PEERS[method] for method in curves]
    figures = [error(stack[0]), -run.curve[min(run.curve)], ours]
    figures += [error(denoise(run.denoiser, stack[0], turns=True))]
    figures += [-max(curve.values()) for curve in curves.values()]
    text = (
        "sCMOS, frame 0 alone: root-mean-square error in ADU against the mean of 18 other frames, "
        "corrected for its noise. Of other software the best at any time.\n\n"
        + table(
            ["raw", "pretrained", "one", "with turns", *names], [[f"{one:.3f}" for one in figures]]
        )
    )
    goal = f"sCMOS: one frame alone below {CAMERA_GOAL:.2f} ADU: {ours:.3f}"
    return text, [(ours < CAMERA_GOAL, goal)]


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


def sharpened(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a noisy image after an unsharp mask, as a camera's software applies it."""
    noisy = white(image, rng)
    return noisy + 3 * (noisy - gaussian_filter(noisy, 1))


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
    Kind("sharpened (unsharp mask, weight 0.75)", sharpened, True),
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
            bool(
                {"correlated_noise", "correlation_unknown", "sharpened"}
                & {w.code for w in report.warnings}
            )
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


def shown(row: list[object]) -> list[object]:
    """Format numbers with two decimals; a level that was never reached as such."""
    never = {math.inf: "never"}
    return [never.get(one, f"{one:.2f}") if isinstance(one, float) else one for one in row]


def recordings(given: argparse.Namespace) -> str:
    """Measure the real recordings; return tables and verdicts."""
    rows, races, results = [], [], []
    for row, race, verdicts in scenes(given):
        rows.append(shown(row))
        races.append(shown(race))
        results += verdicts
        print(rows[-1], races[-1], judged(verdicts), sep="\n", flush=True)
    header = [
        *("scene", "method", "raw", "best Gaussian", "non-local means", "pretrained", "one"),
        *("with turns", "in its own gain", "pair", "s"),
    ]
    text = (
        f"PSNR in dB of capture 1, mean over its quarters; {given.steps} steps where trained. "
        "'One' is trained on capture 1 alone, 'with turns' is the same with test-time "
        "augmentation; 'pair' is trained on captures 1 and 2, and denoises capture 1 alone. "
        "'Pretrained' is before the first step. 's' is for 'one'.\n\n"
        f"{table(header, rows)}"
    )
    if given.peers:
        columns = [column for name in PEERS.values() for column in (name, "at, s", "reached, s")]
        text += (
            f"\n\nOther software on the same capture and cores, {given.seconds:g} s for each "
            "training of CAREamics: its best PSNR at any time (chosen with the truth), 'at' which "
            "time, and when napari-n2n 'reached' it, measuring the noise included. BM3D has the "
            f"noise that scikit-image estimates.\n\n{table(['scene', 'one', *columns], races)}"
        )
    text += f"\n\n{judged(results)}"
    if any(word in "sCMOS" for word in given.only):
        frame, verdicts = camera(given)
        print(frame, judged(verdicts), sep="\n\n", flush=True)
        text += f"\n\n{frame}\n\n{judged(verdicts)}"
    return text


def main() -> None:
    """Measure the real scenes and the simulated recordings, and publish the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder that holds fmd/ and scmos/")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--peers", type=Path, help="environment made by scripts/peers")
    parser.add_argument("--seconds", type=float, default=90, help="for each run of CAREamics")
    parser.add_argument("--only", nargs="+", default=[""], help="words in the scenes' names")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    kinds, verdicts = advice()
    print(kinds, judged(verdicts), sep="\n\n", flush=True)
    parts = [recordings(given)] if given.data else []
    parts += [
        f"The advice about {TRIALS} simulated recordings of {SIDE}x{SIDE} pixels of each kind:",
        *(kinds, judged(verdicts), machine()),
    ]
    text = "\n\n".join(parts)
    print(text) if given.no_publish else publish("single", text)


if __name__ == "__main__":
    main()
