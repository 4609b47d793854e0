"""Is the expected error right? Real acquisitions, with the mean of many as the truth.

A model is trained on two acquisitions with `error_map="on"`, which sees no clean image. Then one
acquisition alone, and the average of both, are denoised, with their error maps. The mean of many
acquisitions has noise itself: its variance is added to the expected squared error before the two
are compared. If this mean contains the acquisitions that were denoised, part of its noise is in the
result, too: how much is measured by adding random signs to an acquisition (Ramani, Blu & Unser
2008), and left out.
Usage: python benchmarks/error_map.py --data DIR [--steps 300] [--only WORD ...] [--no-publish]
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import tifffile
from report import judged, machine, publish, table
from scipy import ndimage

from napari_n2n import Denoiser, Pair, TrainingSettings, denoise, train
from napari_n2n.model.error_model import noise_variance

matplotlib.use("Agg")
# Coverage of one and of two expected errors that is aimed at, and how far it may be off.
ONE, TWO = (0.68, 0.05), (0.95, 0.03)
# Largest standard error of the PSNR in dB, and its largest distance from the truth in standard
# errors.
CERTAIN, ERRORS = 0.3, 2.0
AVERAGED = 50  # acquisitions in the truth of the fluorescence scenes
PICTURE = Path(__file__).with_name("figures") / "error_map.png"
SIDE = 160  # pixels of the part that the picture shows


@dataclass(frozen=True)
class Scene:
    """Two acquisitions, a mean of many, how many these are, and whether the two are among them."""

    name: str
    a: np.ndarray
    b: np.ndarray
    truth: np.ndarray
    averaged: int
    contained: bool


@dataclass(frozen=True)
class Row:
    """What was found for one result; PSNR in dB.

    Attributes
    ----------
    scene, what
        Name of the scene, and which result.
    one, two
        Share of the pixels whose truth is within one and within two expected errors.
    correlation
        Correlation of the expected with the true squared error, both averaged over 9x9 pixels.
    psnr, error
        PSNR without a clean image, and its standard error.
    against_mean, true
        PSNR against the mean of many acquisitions; and without the noise of that mean.
    """

    scene: str
    what: str
    one: float
    two: float
    correlation: float
    psnr: float
    error: float
    against_mean: float
    true: float


def scenes(data: Path) -> Iterator[Scene]:
    """Yield the scenes in the data folder."""
    for folder in sorted((data / "fmd").iterdir()):
        a, b, truth = (
            tifffile.imread(folder / f"{name}.tif") for name in ("capture_1", "capture_2", "truth")
        )
        yield Scene(folder.name, a, b, truth.astype(np.float64), AVERAGED, True)
    frames = tifffile.imread(data / "scmos" / "filaments_20frames.tif")
    yield Scene("sCMOS", frames[0], frames[1], frames[2:].mean(axis=0), len(frames) - 2, False)


def on_scale_of(acquisition: np.ndarray, scene: Scene) -> np.ndarray:
    """Return the truth on the intensity scale of an acquisition: these differ in brightness.

    The noise of the truth would make the slope of the regression too small; if the acquisition is
    in the truth, it is in their covariance as well, and cancels.
    """
    truth = scene.truth
    covariance = np.cov(acquisition.ravel(), truth.ravel())
    spread = covariance[1, 1]
    if not scene.contained:
        spread -= np.var(scene.a.astype(np.float64) - scene.b) / 2 / scene.averaged
    slope = covariance[0, 1] / spread
    return np.asarray(slope * (truth - truth.mean()) + acquisition.mean())


def passed_on(model: Denoiser, given: list[np.ndarray], result: np.ndarray) -> float:
    """Return how much of the noise of a pixel is in its result, on average, summed over inputs."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], result.shape)
    total = 0.0
    for number in range(len(given)):
        moved = [one + signs if k == number else one for k, one in enumerate(given)]
        change = np.asarray(denoise(model, *moved), np.float64) - result
        total += float((signs * change).mean())
    return total


def judge(scene: Scene, steps: int) -> tuple[list[Row], list[np.ndarray]]:
    """Train, denoise, and compare; also return what the picture shows."""
    settings = TrainingSettings(steps=steps, error_map="on")
    model = train(Pair.open(scene.a, scene.b), settings)
    error = model.record.error_of(0)
    assert error is not None, model.record.error_reason
    rows = []
    data_range = model.record.data_range[0]
    for what, given, psnr, scatter in (
        ("one", [scene.a], error.psnr, error.psnr_se),
        ("both", [scene.a, scene.b], error.psnr_mean, error.psnr_mean_se),
    ):
        result = np.asarray(denoise(model, *given), np.float64)
        expected = np.asarray(denoise(model, *given, quantity="error"), np.float64)
        truth = on_scale_of(np.mean(given, axis=0), scene)
        shown = [scene.a, result, np.abs(result - truth), expected]
        known = np.isfinite(expected)
        noise = noise_variance(truth, error.levels, error.variances) / scene.averaged
        if scene.contained:
            noise = noise * (1 - 2 * passed_on(model, given, result))
        squares = np.where(known, (result - truth) ** 2, 0.0)
        predicted = np.where(known, expected**2 + noise, 1.0)
        ratio = np.sqrt(squares / predicted)[known]
        smooth = [ndimage.uniform_filter(one, 9)[known] for one in (squares, predicted)]
        mse = float(squares[known].mean())
        assert psnr is not None and scatter is not None, model.record.error_reason
        rows.append(
            Row(
                scene=scene.name,
                what=what,
                one=float((ratio <= 1).mean()),
                two=float((ratio <= 2).mean()),
                correlation=float(np.corrcoef(*smooth)[0, 1]),
                psnr=psnr,
                error=scatter,
                against_mean=decibel(data_range, mse),
                true=decibel(data_range, mse - float(noise[known].mean())),
            )
        )
    return rows, shown


def decibel(data_range: float, mse: float) -> float:
    """Return the PSNR in dB."""
    return float(10 * np.log10(data_range**2 / max(mse, 1e-12)))


def draw(shown: list[np.ndarray], name: str) -> None:
    """Draw the acquisition, the result, its true and its expected error."""
    figure, panels = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
    middle = tuple(slice((n - SIDE) // 2, (n + SIDE) // 2) for n in shown[0].shape)
    titles = "one of two acquisitions", "result", "distance from the truth", "expected error"
    top = float(np.nanquantile(shown[1], 0.999))
    most = float(np.nanquantile(shown[3][middle], 0.999)) * 2
    limits = top, top, most, most
    for panel, title, image, limit in zip(panels, titles, shown, limits, strict=True):
        look = "gray" if limit is top else "magma"
        drawn = panel.imshow(image[middle], cmap=look, vmin=0, vmax=limit)
        panel.set_title(title, fontsize=9)
        panel.axis("off")
        figure.colorbar(drawn, ax=panel, location="bottom", shrink=0.8, label="ADU")
    figure.suptitle(name, fontsize=9)
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Measure all scenes, draw one, and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", nargs="+", default=[""], help="words in the scenes' names")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    rows: list[Row] = []
    for scene in scenes(given.data):
        if not any(word in scene.name for word in given.only):
            continue
        found, shown = judge(scene, given.steps)
        rows += found
        print(*found, sep="\n", flush=True)
        if scene.name == "Confocal_FISH":
            draw(shown, scene.name)
    verdicts = []
    for row in rows:
        name = f"{row.scene}, {row.what}"
        off = abs(row.psnr - row.true) / row.error
        verdicts += [
            (
                abs(row.one - ONE[0]) <= ONE[1] and abs(row.two - TWO[0]) <= TWO[1],
                f"{name}: truth within one expected error in {row.one:.1%}, two in {row.two:.1%}",
            ),
            (
                row.error <= CERTAIN and off <= ERRORS,
                f"{name}: PSNR {row.psnr:.2f} ± {row.error:.2f} dB, {off:.1f} standard errors off",
            ),
        ]
    header = [
        *("scene", "denoised", "within 1", "within 2", "correlation", "PSNR without a clean image"),
        *("against the mean", "against the truth"),
    ]
    cells: list[list[object]] = [
        [
            *(row.scene, row.what, f"{row.one:.1%}", f"{row.two:.1%}", f"{row.correlation:.2f}"),
            *(f"{row.psnr:.2f} ± {row.error:.2f}", f"{row.against_mean:.2f}", f"{row.true:.2f}"),
        ]
        for row in rows
    ]
    text = (
        f"{given.steps} steps for each of the three networks; shares of pixels whose truth is "
        "within one and two expected errors (68 % and 95 % would be right); correlation of the "
        "expected with the true squared error over 9x9 pixels; PSNR in dB.\n\n"
        f"{table(header, cells)}\n\n{judged(verdicts)}\n\n{machine()}"
    )
    print(text) if given.no_publish else publish("error_map", text)


if __name__ == "__main__":
    main()
