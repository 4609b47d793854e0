"""Draw the figures of theory.md and write its tables. Usage: python docs/theory.py."""

from functools import partial
from pathlib import Path

import numpy as np
import tifffile
import torch
from matplotlib.figure import Figure
from scipy import ndimage

from napari_n2n import Pair, measure_noise
from napari_n2n.simulate.registry import parse
from napari_n2n.simulate.samples import sample
from napari_n2n.training.likelihood import MeasuredNoise, most_likely
from napari_n2n.training.losses import LOSSES, power

IMAGES = Path(__file__).with_name("images")
PAGE = Path(__file__).with_name("theory.md")
COLOURS = {"l2": "#c2410c", "l1": "#1d4ed8", "l0": "#15803d"}


def three_minima() -> None:
    """Plot the mean loss against the guess, for values that are 150 nine times in ten, else 0."""
    values = torch.tensor([150.0] * 9 + [0.0])
    guesses = np.linspace(-10, 190, 801)
    figure = Figure(figsize=(9, 3.2), dpi=110, layout="constrained")
    for axes, (name, title) in zip(
        figure.subplots(1, 3),
        (("l2", "L2: the mean"), ("l1", "L1: the median"), ("l0", "L0: the most common value")),
        strict=True,
    ):
        loss = (lambda f, y: power(f, y, 0.3)) if name == "l0" else LOSSES[name].held_out
        means = [float(loss(torch.full_like(values, guess), values).mean()) for guess in guesses]
        best = guesses[int(np.argmin(means))]
        axes.plot(guesses, means, color=COLOURS[name])
        axes.axvline(best, color="0.6", linestyle=":")
        axes.set_title(f"{title}, {best:.0f}")
        axes.set_xlabel("guess")
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(IMAGES / "three_minima.png")


def corner() -> np.ndarray:
    """Return a part of the sample scene, scaled to 0 to 1."""
    truth = tifffile.imread(sample("cells", "truth"))[180:308, 260:388].astype(np.float64)
    return (truth - truth.min()) / np.ptp(truth)


def statistics_as_images(draws: int = 301) -> None:
    """Show what each loss finds in many noisy recordings, for four noises."""
    rng = np.random.default_rng(0)
    clean = corner()

    def hit(share: float) -> np.ndarray:
        noisy = clean + rng.normal(0, 0.02, (draws, *clean.shape))
        return np.where(rng.random(noisy.shape) < share, rng.random(noisy.shape), noisy)

    rows = {
        "photon noise,\n2 photons at most": rng.poisson(2 * clean, (draws, *clean.shape)) / 2,
        "outliers on 30 %\nof the pixels": hit(0.3),
        "outliers on 70 %\nof the pixels": hit(0.7),
        "cut off at 0.1\nand at 0.5": np.clip(
            clean + rng.normal(0, 0.1, (draws, *clean.shape)), 0.1, 0.5
        ),
    }
    losses = ("mean (L2)", "median (L1)", "most common (L0)", "likelihood")
    titles = ("one recording", *losses, "the scene")
    figure = Figure(figsize=(13.2, 9), dpi=100, layout="constrained")
    grid = figure.subplots(len(rows), len(titles))
    for axes_row, (label, noisy) in zip(grid, rows.items(), strict=True):
        mean, median = noisy.mean(axis=0), np.median(noisy, axis=0)
        images = (noisy[0], mean, median, mode(noisy), by_likelihood(noisy), clean)
        for axes, image in zip(axes_row, images, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=0.8)
            axes.set_xticks([])
            axes.set_yticks([])
        axes_row[0].set_ylabel(label, fontsize=11)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=12)
    figure.savefig(IMAGES / "statistics.png")


def by_likelihood(noisy: np.ndarray) -> np.ndarray:
    """Return the values that maximise the likelihood; the noise is measured on two recordings."""
    pair = Pair.open(*noisy[:2].astype(np.float32))
    model, targets = measure_noise(pair).noise_model, torch.from_numpy(noisy)
    noise = MeasuredNoise.of(model, float(noisy.std()), torch.device("cpu"))
    censored = (targets >= pair.first.saturation).float() - (targets <= noise.lower_limit).float()
    return most_likely(noise, targets, censored).numpy()


def mode(noisy: np.ndarray) -> np.ndarray:
    """Return the most common value along the first axis: the peak of a smoothed histogram."""
    levels = 64  # bins: finer than the noise of 0.02, coarse enough for 301 draws
    bins = (noisy * (levels - 1)).round().astype(int).clip(0, levels - 1)
    counts = np.stack([(bins == level).sum(axis=0) for level in range(levels)]).astype(float)
    return ndimage.gaussian_filter1d(counts, 1.5, axis=0).argmax(axis=0) / (levels - 1)


def losses_table() -> str:
    """Return the table of losses, with the titles and sentences of the interface."""
    lines = ["| loss | right when | wrong when |", "| --- | --- | --- |"]
    lines += [f"| {one.title} | {one.right_when} | {one.wrong_when} |" for one in LOSSES.values()]
    return "\n".join(lines)


KINDS = (
    ("Gaussian, sigma 10", "gaussian:10", 0),
    ("brown Gaussian, sigma 10, width 1.5 px", "brown:10:1.5", 0),
    ("photons, 20 in the brightest spot", "poisson:20", 0),
    ("camera, 2.2 ADU per electron, read noise 1.6 electrons", "camera:2.2:1.6:100", 0),
    ("outliers on 1 %", "impulse:0.01", 2),
    ("outliers on 8 %", "impulse:0.08", 2),
    ("outliers on 30 %", "impulse:0.3", 2),
    ("outliers on 70 %", "impulse:0.7", 2),
    ("outliers on 90 %", "impulse:0.9", 2),
    ("text on 10 %", "text:0.1", 2),
    ("text on 25 %", "text:0.25", 2),
    ("5 % of the pixels missing", "bernoulli:0.05", 2),
    ("half of the pixels missing", "bernoulli:0.5", 2),
)


def advice_table() -> str:
    """Simulate each kind of noise on the sample scene, and return the recommended losses.

    Noise that replaces pixels is added to Gaussian noise with the given sigma.
    """
    truth = tifffile.imread(sample("cells", "truth")).astype(np.float32)
    rng = np.random.default_rng(1)
    lines = ["| simulated noise | loss | what inspect says |", "| --- | --- | --- |"]

    def record(words: str, sigma: float) -> np.ndarray:
        scene = truth - 100 if words.startswith("poisson") else truth
        noise = rng.normal(0, sigma, truth.shape) if sigma else 0.0
        return parse(words).apply((scene + noise).astype(np.float32), rng)

    def cut_off() -> np.ndarray:
        return np.clip(truth - truth.min() + rng.normal(0, 20, truth.shape), 0, None)

    kinds = {name: partial(record, words, sigma) for name, words, sigma in KINDS}
    kinds["Gaussian, sigma 20, cut off at zero"] = cut_off
    for name, shot in kinds.items():
        report = measure_noise(Pair.open(shot(), shot()))
        lines.append(f"| {name} | {report.loss.upper()} | {report.reason} |")
    return "\n".join(lines)


def main() -> None:
    """Draw the figures, and write the tables between their markers in theory.md."""
    IMAGES.mkdir(exist_ok=True)
    three_minima()
    statistics_as_images()
    page = PAGE.read_text()
    for name, table in (("losses", losses_table()), ("advice", advice_table())):
        print(table)
        before, rest = page.split(f"<!-- {name} -->", 1)
        after = rest.split(f"<!-- end of {name} -->", 1)[1]
        page = f"{before}<!-- {name} -->\n{table}\n<!-- end of {name} -->{after}"
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
