"""Repeat the experiments of the Noise2Noise paper on a small budget.

Lehtinen et al. 2018 trained on 50 000 images for days. Here each run has 200 images and some
thousand steps, so the order of the runs and the gaps between them can be compared, but not the
PSNR. All runs ("arms") of an experiment have the same network, number of steps, patches and seed;
the averaged weights are tested on the Kodak images. One arm is trained on each core.
Usage: python benchmarks/paper.py --data DIR [--only NAME ...] [--quick] [--scale X]
"""

import argparse
import copy
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
import torch
from matplotlib.figure import Figure
from PIL import Image
from report import PAGE, Verdict, judged, machine, publish, table
from scipy import stats
from torch import Tensor

from napari_n2n import Pair, TrainingSettings, denoise, train
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.model.device import computes_in_bfloat16
from napari_n2n.model.network import CompactUNet
from napari_n2n.simulate.additive import Brown, Gaussian, Poisson
from napari_n2n.simulate.corruption import Noise, Replacement
from napari_n2n.simulate.replacement import Bernoulli, Impulse, Text
from napari_n2n.stats.image_quality import psnr
from napari_n2n.stats.statistics import Measurement, mean_over_blocks
from napari_n2n.training.likelihood import MeasuredNoise, squared
from napari_n2n.training.losses import LOSSES, PixelLoss, masked_mean
from napari_n2n.training.schedule import learning_rate
from napari_n2n.training.state import update_average

STEPS = 2500
IMPULSE_STEPS = 7000  # more, because half of the targets carry no information
FEW_STEPS = 1500  # of the comparison with the likelihood
ROUNDING = 1 / 12  # variance of 8-bit values, the only noise beside outliers, in ADU^2
CAPTURE_STEPS = 2000
CAPTURES = (2, 4, 8, 16)
TESTS_DURING_TRAINING = 15  # points of a curve
MOST_TIMES_LONGER = 4.0  # the largest factor that the advice predicts for correlated noise
RECIPE = TrainingSettings(learning_rate=2e-3, batch=32)  # for many images and few steps
RANGE = (0.0, 255.0)
GREY = 127.5
BLOCK = 16
COLOURS = {"clean targets": "black", "L2": "tab:red", "L1": "tab:orange", "L0": "tab:blue"}
COLOURS["likelihood"] = "tab:green"
COLOURS["noisy targets"] = COLOURS["L0"]
COLOURS["clean targets, L0"] = "tab:gray"


@dataclass(frozen=True)
class Arm:
    """One training run of an experiment.

    Attributes
    ----------
    name
        Label within a panel of the figure.
    noise
        Noise of the training inputs, and of noisy targets.
    tests
        Noises that the network is tested on; the first one also during training.
    loss
        Its name in `LOSSES`.
    clean
        True for clean targets.
    one_level
        True if input and target share one noise level; otherwise each draws its own.
    panel
        Of the figure.
    paper
        PSNR in the paper's experiment on the first test, in dB.
    """

    name: str
    noise: Noise
    tests: tuple[Noise, ...]
    loss: str = "l2"
    clean: bool = False
    one_level: bool = False
    panel: str = ""
    paper: str = "-"

    @property
    def task(self) -> tuple:
        """Everything that the result depends on: with clean targets there is no level to share."""
        return self.noise, self.tests, self.loss, self.clean, self.one_level and not self.clean


@dataclass(frozen=True)
class Score:
    """Scores of a network on the test images with one noise.

    Attributes
    ----------
    noisy, psnr
        PSNR of input and output in dB, range 255, mean over the images.
    pull
        Slope of the error on the distance to mid grey, over the means of blocks of 16x16 pixels
        (for text: over covered pixels): 0 is none, 1 turns everything grey.
    dark, bright
        Mean error in blocks darker than a quarter and brighter than three quarters, in % of the
        range.
    mean
        Error of the mean intensity in %.
    mean_of_medians
        For photon noise: error of the mean intensity in % if every pixel read the median of its
        counts.
    curve
        PSNR in dB of the middles of a third of the images against steps, for the first test;
        empty for others.
    """

    noisy: float
    psnr: float
    pull: float
    dark: float
    bright: float
    mean: float
    mean_of_medians: float
    curve: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Run:
    """A trained and tested arm: scores by test, seconds in total and for drawing examples."""

    arm: Arm
    scores: dict[str, Score]
    seconds: float
    drawing: float


Scores = dict[tuple[str, str], dict[str, Score]]

PerPixel = Callable[[Tensor, Tensor, float], Tensor]

Found = tuple[str, list[Verdict], Figure]
"""Text, verdicts and figure of an experiment."""


@dataclass(frozen=True)
class Experiment:
    """Arms to compare, the columns to show, and the expected results."""

    about: str
    arms: tuple[Arm, ...]
    judge: Callable[[Scores], Iterator[Verdict]]
    columns: dict[str, str] = field(default_factory=dict)
    steps: int = STEPS


# -- what the paper found ------------------------------------------------------------------------


def _near_clean(noisy: Score, clean: Score, within: float, what: str = "noisy targets") -> Verdict:
    gap = clean.psnr - noisy.psnr
    return gap <= within, f"{what} within {within:g} dB of clean targets: {gap:+.2f} dB below"


def judge_gaussian(scores: Scores) -> Iterator[Verdict]:
    noisy, clean = (
        scores["", f"{target} targets"][str(Gaussian(25))] for target in ("noisy", "clean")
    )
    yield _near_clean(noisy, clean, 0.3)
    gain = noisy.psnr - noisy.noisy
    yield gain >= 7, f"noisy targets at least 7 dB above the input: {gain:.2f} dB"
    gaps = [ours - theirs for (_, ours), (_, theirs) in zip(clean.curve, noisy.curve, strict=True)]
    third = len(gaps) // 3
    first, last = (float(np.mean(part)) for part in (gaps[:third], gaps[-third:]))
    yield (
        abs(last) < max(abs(first), 0.05),
        f"the gap shrinks along the curve: noisy targets {first:+.2f} dB below in its first third, "
        f"{last:+.2f} in its last",
    )


def judge_brown(scores: Scores) -> Iterator[Verdict]:
    for width in BROWN_WIDTHS:
        noisy, clean = (
            scores[f"width {width:g} px", f"{target} targets"][str(Brown(25, width))]
            for target in ("noisy", "clean")
        )
        yield _near_clean(noisy, clean, 0.3, f"width {width:g} px: noisy targets")
        longer = _times_longer(noisy, clean)
        yield (
            longer <= MOST_TIMES_LONGER,
            f"width {width:g} px: at most {MOST_TIMES_LONGER:g} times as many steps as with clean "
            f"targets, the largest factor that is ever predicted: {longer:.2f} times",
        )

    slowness = [_steps_to_most(scores[f"width {width:g} px", NOISY]) for width in BROWN_WIDTHS]
    words = ", ".join(f"{steps}" for steps in slowness)
    yield (
        slowness == sorted(slowness) and slowness[0] < slowness[-1],
        f"the wider, the slower: steps to 90 % of the gain, by width: {words}",
    )


def _times_longer(noisy: Score, clean: Score) -> float:
    """Return by what factor clean targets reach the final PSNR of noisy ones sooner."""
    steps, end = noisy.curve[-1]
    return steps / next((count for count, decibels in clean.curve if decibels >= end), steps)


def _steps_to_most(scores: dict[str, Score]) -> int:
    """Return the steps until an arm has nine tenths of its final gain over the input, in dB."""
    (score,) = scores.values()
    middles = score.curve[-1][1] - 0.1 * (score.psnr - score.noisy)
    reached = (steps for steps, decibels in score.curve if decibels >= middles)
    return next(reached, score.curve[-1][0])


def judge_text(scores: Scores) -> Iterator[Verdict]:
    l2, l1, clean = (scores["", name][str(Text(0.25))] for name in ("L2", "L1", "clean targets"))
    gaps = [clean.psnr - one.psnr for one in (l1, l2)]
    yield (
        gaps[0] < gaps[1] / 2,
        "L1's distance to clean targets under half of L2's: "
        f"{gaps[0]:.2f} against {gaps[1]:.2f} dB",
    )
    yield from _pulled_less(l1.pull, l2.pull, clean.pull, "L1", "L2")


def judge_impulse(scores: Scores) -> Iterator[Verdict]:
    test = str(Impulse(0.7))
    l2, l1, l0, clean, same_loss = (
        scores[APART, name][test]
        for name in ("L2", "L1", "L0", "clean targets", "clean targets, L0")
    )
    yield _near_clean(l0, clean, 0.5, f"{APART}: L0")
    gap = same_loss.psnr - l0.psnr
    yield gap <= 0.5, f"{APART}: the same against clean targets with L0: {gap:+.2f} dB below"
    yield l0.psnr > l1.psnr, f"{APART}: L0 above L1: {l0.psnr:.2f} against {l1.psnr:.2f} dB"
    gap = l0.psnr - l2.psnr
    yield gap >= 2, f"{APART}: L2 far (2 dB or more) below L0: {gap:.2f} dB"
    words = f"{APART}: L0"
    yield from _pulled_less(l0.pull, l1.pull, clean.pull, words, "L1")
    for place, mine, theirs, own in (
        ("dark", l0.dark, l1.dark, clean.dark),
        ("bright", -l0.bright, -l1.bright, -clean.bright),
    ):
        yield _third(mine - own, theirs - own, f"{words} in {place} areas", "L1")
    l2, l1, l0 = (scores[SHARED, name][test] for name in ("L2", "L1", "L0"))
    order = " > ".join(f"{one.psnr:.2f}" for one in (l0, l1, l2))
    yield l0.psnr > l1.psnr > l2.psnr, f"{SHARED}: L0 above L1 above L2: {order} dB"
    yield abs(l2.pull - 0.7) < 0.05, f"{SHARED}: L2 pulled by the share, 0.7: {l2.pull:.3f}"
    yield _near_clean(l0, clean, 0.5, f"{SHARED}: L0")
    few, many = str(Impulse(0.3)), str(Impulse(0.9))
    l1, clean = scores[SHARED, "L1"][few], scores[APART, "clean targets"][few]
    yield _near_clean(l1, clean, 0.5, f"{SHARED}, 30 % hit: L1 suffices,")
    l1, l0 = (scores[SHARED, name][many] for name in ("L1", "L0"))
    yield (
        l0.psnr > l1.psnr + 1,
        f"{SHARED}, 90 % hit: only L0 is left, over 1 dB above L1: {l0.psnr:.2f} against "
        f"{l1.psnr:.2f} dB",
    )
    yield _near_clean(l0, scores[APART, "clean targets"][many], 0.5, f"{SHARED}, 90 % hit: L0")


def _pulled_less(
    one: float, other: float, clean: float, name: str, other_name: str
) -> Iterator[Verdict]:
    yield _third(one - clean, other - clean, name, other_name)
    ratio = abs(one / other)
    yield ratio <= 1 / 3, f"{name}: the same, what clean targets are pulled included: {ratio:.2f}"


def _third(one: float, other: float, name: str, other_name: str) -> Verdict:
    words = f"{name} pulled to grey, beyond clean targets, at most a third as much as {other_name}"
    return abs(one) <= other / 3, f"{words}: {one:+.3f} against {other:+.3f}"


def judge_poisson(scores: Scores) -> Iterator[Verdict]:
    for photons in PHOTONS:
        panel, test = photon_panel(photons), str(Poisson(photons))
        l2, l1 = (scores[panel, name][test] for name in ("L2", "L1"))
        yield abs(l2.mean) <= 1, f"{panel}: mean of L2 right within 1 %: {l2.mean:+.2f} %"
        yield (
            l1.mean <= l1.mean_of_medians / 2,
            f"{panel}: mean of L1 low by at least half as much as the medians: {l1.mean:+.2f} % "
            f"(medians {l1.mean_of_medians:+.2f} %)",
        )


def photon_panel(photons: int) -> str:
    return f"{photons} photon{'s' if photons > 1 else ''} at white"


def judge_bernoulli(scores: Scores) -> Iterator[Verdict]:
    noisy, clean = (
        scores["", f"{target} targets"][str(Bernoulli(0.5))] for target in ("noisy", "clean")
    )
    yield _near_clean(noisy, clean, 0.3)


def judge_likelihood(scores: Scores) -> Iterator[Verdict]:
    for panel, rivals in LIKELIHOOD_PANELS.items():
        mine = scores[panel, "likelihood"]
        for test, score in mine.items():
            best = max(rivals, key=lambda name: scores[panel, name][test].psnr)
            ahead = score.psnr - scores[panel, best][test].psnr
            words = f"{panel}, {test}: likelihood at least as good as {best}"
            yield ahead >= 0, f"{words}: {ahead:+.2f} dB"
        watched = next(iter(mine))
        curves_ = {name: scores[panel, name][watched].curve for name in ("likelihood", *rivals)}
        early = {name: curve[len(curve) // 3][1] for name, curve in curves_.items()}
        best = max(rivals, key=lambda name: early[name])
        ahead = early["likelihood"] - early[best]
        yield (
            ahead >= 0,
            f"{panel}: likelihood at least as good as {best} after a third of the steps: "
            f"{ahead:+.2f} dB",
        )


NOISY = "noisy targets"
BROWN_WIDTHS = (0.7, 1.5, 3.0)
PHOTONS = (30, 1)
APART, SHARED = "separate shares", "one share"
_PULL = {"pull": "pull to grey"}
TEXT = "text"
LIKELIHOOD_PANELS = {TEXT: ("L1",), APART: ("L1", "L0"), SHARED: ("L1", "L0")}
"""Panels of the comparison with the likelihood, and the losses that it is compared with."""

EXPERIMENTS = {
    "gaussian": Experiment(
        "Gaussian noise, sigma in 0-50 (drawn separately for input and target), 25 in the test.",
        (
            Arm("noisy targets", Gaussian((0, 50)), (Gaussian(25),), paper="32.48"),
            Arm("clean targets", Gaussian((0, 50)), (Gaussian(25),), clean=True, paper="32.50"),
        ),
        judge_gaussian,
    ),
    "brown": Experiment(
        "Gaussian noise of sigma 25 that is correlated between neighbours: white noise, blurred by "
        "three widths. In the paper, noisy targets end within 0.1 dB of clean ones.",
        tuple(
            Arm(
                f"{'clean' if clean else 'noisy'} targets",
                Brown(25, width),
                (Brown(25, width),),
                clean=clean,
                panel=f"width {width:g} px",
            )
            for width in BROWN_WIDTHS
            for clean in (False, True)
        ),
        judge_brown,
    ),
    "text": Experiment(
        "Text that covers a share in 0-0.5, 0.25 in the test. The pull to grey is that of covered "
        "pixels.",
        (
            Arm("L2", Text((0, 0.5)), (Text(0.25),), paper="26.89"),
            Arm("L1", Text((0, 0.5)), (Text(0.25),), "l1", paper="35.75"),
            Arm("clean targets", Text((0, 0.5)), (Text(0.25),), clean=True, paper="35.82"),
        ),
        judge_text,
        _PULL,
    ),
    "impulse": Experiment(
        "Random-valued impulses on a share in 0-0.95 of the pixels. If the shares are drawn "
        "separately for input and target, the targets, and so their median, are right at 52 % of "
        "the pixels, whatever the input. The paper's figures (input 8.89 dB, L2 13.02 dB: a pull "
        "of 0.70 at p = 0.7) are for one share for both. Clean targets with L0 show the cost of "
        "predicting the most common value. 'Dark' and 'bright': mean error there in % of the "
        "range.",
        tuple(
            Arm(
                name,
                Impulse((0, 0.95)),
                (Impulse(0.7), Impulse(0.3), Impulse(0.9)),
                loss,
                clean=name.startswith("clean targets"),
                one_level=panel == SHARED,
                panel=panel,
                paper=paper if panel == SHARED or name == "clean targets" else "-",
            )
            for panel in (APART, SHARED)
            for name, loss, paper in (
                ("L2", "l2", "13.02"),
                ("L1", "l1", "16.36"),
                ("L0", "l0", "28.43"),
                ("clean targets", "l2", "28.86"),
                ("clean targets, L0", "l0", "-"),
            )
        ),
        judge_impulse,
        {**_PULL, "dark": "dark, %", "bright": "bright, %"},
        IMPULSE_STEPS,
    ),
    "likelihood": Experiment(
        "The loss `likelihood` beside the losses that are right for outliers, in few steps. Text "
        "covers a share in 0-0.5 of the pixels, random-valued impulses 0-0.95, drawn separately "
        "for input and target, or one share for both. The likelihood is given the mean share, 0.25 "
        "and 0.475, as a measurement would.",
        tuple(
            Arm(
                name,
                Text((0, 0.5)) if panel == TEXT else Impulse((0, 0.95)),
                tuple(map(Text, (0.25, 0.1, 0.4)))
                if panel == TEXT
                else tuple(map(Impulse, (0.7, 0.3, 0.5, 0.9))),
                name.lower(),
                one_level=panel == SHARED,
                panel=panel,
            )
            for panel, rivals in LIKELIHOOD_PANELS.items()
            for name in (*rivals, "likelihood")
        ),
        judge_likelihood,
        _PULL,
        FEW_STEPS,
    ),
    "poisson": Experiment(
        "Photon noise with 30 photons, and with a single one, at white. 'Medians': error of the "
        "mean intensity if each pixel read the median of its counts.",
        tuple(
            Arm(
                name,
                Poisson(photons),
                (Poisson(photons),),
                loss,
                clean=name == "clean targets",
                panel=photon_panel(photons),
                paper=paper if photons == 30 else "-",
            )
            for photons in PHOTONS
            for name, loss, paper in (
                ("L2", "l2", "31.50"),
                ("L1", "l1", "-"),
                ("clean targets", "l2", "31.52"),
            )
        ),
        judge_poisson,
        {"mean": "mean intensity, %", "mean_of_medians": "medians, %"},
    ),
    "bernoulli": Experiment(
        "A share in 0-0.95 of the pixels is missing, 0.5 in the test; missing target pixels are "
        "excluded from the loss.",
        (
            Arm("noisy targets", Bernoulli((0, 0.95)), (Bernoulli(0.5),), paper="33.17"),
            Arm(
                "clean targets",
                Bernoulli((0, 0.95)),
                (Bernoulli(0.5),),
                clean=True,
                paper="33.01",
            ),
        ),
        judge_bernoulli,
    ),
}


# -- training and testing ------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """What all arms have in common.

    Attributes
    ----------
    pictures, kodak
        Images for training and for testing: uint8, (3, Y, X).
    share
        Factor for the number of steps of every experiment.
    seed, device
        Used by every run.
    patches
        Patches of a step.
    """

    pictures: list[np.ndarray]
    kodak: list[np.ndarray]
    share: float
    seed: int
    device: torch.device
    patches: int = RECIPE.batch

    def steps(self, whole: int) -> int:
        """Return the number of steps to take, given that of a full run."""
        return max(1, round(self.share * whole))

    def run(self, arm: Arm, steps: int) -> Run:
        """Train an arm and test it."""
        started, drawing, curve = time.monotonic(), 0.0, []
        torch.manual_seed(self.seed)
        network = CompactUNet(channels=3).to(self.device, memory_format=torch.channels_last)
        average = copy.deepcopy(network).eval().requires_grad_(False)
        optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
        crops = [middle(picture, 256) for picture in self.kodak[::3]]
        per_pixel = self.loss(arm)
        for step in range(steps):
            progress = step / steps
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(RECIPE.learning_rate, step, progress)
            before = time.monotonic()
            noisy, target, weight = self.batch(arm, step)
            drawing += time.monotonic() - before
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(
                self.device.type, torch.bfloat16, enabled=computes_in_bfloat16(self.device)
            ):
                predicted = network(noisy)
            masked_mean(per_pixel(predicted.float(), target, progress), weight).backward()
            optimizer.step()
            update_average(average, network, step + 1, RECIPE.averaging)
            if (step + 1) % max(1, steps // TESTS_DURING_TRAINING) == 0:
                curve.append((step + 1, self.score(average, arm.tests[0], crops).psnr))
        scores = {str(test): self.score(average, test, self.kodak) for test in arm.tests}
        watched = str(arm.tests[0])
        scores[watched] = replace(scores[watched], curve=tuple(curve))
        return Run(arm, scores, time.monotonic() - started, drawing)

    def loss(self, arm: Arm) -> PerPixel:
        """Return the loss of an arm; `likelihood` is given the mean share of the outliers."""
        loss = LOSSES[arm.loss]
        if isinstance(loss, PixelLoss):
            return loss.per_pixel
        share = arm.noise.share  # type: ignore[attr-defined]
        noise = MeasuredNoise(
            levels=torch.tensor([-0.5, 0.5], device=self.device),
            variances=torch.full((2,), ROUNDING / RANGE[1] ** 2, device=self.device),
            share=float(np.mean(share)),
            density=1.0,
            spread=float(np.std(np.concatenate([one.ravel() for one in self.pictures]))) / RANGE[1],
        )

        def likelihood(prediction: Tensor, target: Tensor, progress: float) -> Tensor:
            return squared(noise, prediction, target, torch.zeros_like(target), progress)

        return likelihood

    def batch(self, arm: Arm, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw noisy inputs, targets, and the weight of the target's pixels; (N, 3, Y, X)."""
        place, rng = (np.random.default_rng((self.seed, step, stream)) for stream in range(2))
        examples = []
        for _ in range(self.patches):
            clean = patch(self.pictures[place.integers(len(self.pictures))], place)
            noise = arm.noise.with_drawn_level(rng) if arm.one_level else arm.noise
            noisy = noise.apply(clean, rng, channels=True, data_range=RANGE)
            target, weight = clean, np.ones_like(clean)
            if not arm.clean and isinstance(noise, Bernoulli):
                target, missing = noise.with_mask(clean, rng, channels=True)
                weight = weight * ~missing
            elif not arm.clean:
                target = noise.apply(clean, rng, channels=True, data_range=RANGE)
            examples.append((to_network(noisy), to_network(target), weight))
        return tuple(  # type: ignore[return-value]
            torch.from_numpy(np.stack(images)).to(self.device, memory_format=torch.channels_last)
            for images in zip(*examples, strict=True)
        )

    @torch.inference_mode()
    def score(self, network: torch.nn.Module, noise: Noise, images: list[np.ndarray]) -> Score:
        """Test on images, with the same noise for every network."""
        decibels, means, blocks = [], [], []
        for index, clean in enumerate(images):
            rng = np.random.default_rng((self.seed, index))
            counts = np.ones_like(clean, bool)
            if isinstance(noise, Replacement):
                noisy, hit = noise.with_mask(clean, rng, channels=True, data_range=RANGE)
                counts = counts & hit if isinstance(noise, Text) else counts
            else:
                noisy = noise.apply(clean, rng, channels=True, data_range=RANGE)
            given = torch.from_numpy(to_network(noisy))[None].to(self.device)
            given = given.contiguous(memory_format=torch.channels_last)
            result = (network(given)[0].float().cpu().numpy() + 0.5) * RANGE[1]
            decibels.append([psnr(clean, one, RANGE[1]) for one in (noisy, result)])
            means.append((result.mean(), clean.mean()))
            sums = (
                block_sums(values * counts) for values in (result - clean, clean.astype(float), 1.0)
            )
            blocks.append(np.stack([one.ravel() for one in sums]))
        found, true = np.mean(means, axis=0)
        error, level, weight = np.concatenate(blocks, axis=1)
        error, level = (total / np.maximum(weight, 1) for total in (error, level))
        return Score(
            *(float(one) for one in np.mean(decibels, axis=0)),
            pull=slope(GREY - level, error, weight),
            dark=100 / RANGE[1] * average_of(error, weight * (level < RANGE[1] / 4)),
            bright=100 / RANGE[1] * average_of(error, weight * (level > RANGE[1] * 3 / 4)),
            mean=100 * float(found / true - 1),
            mean_of_medians=mean_of_medians(noise, images),
        )


def patch(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random patch, rotated and flipped at random; float32, (3, Y, X)."""
    side = RECIPE.patch
    y, x = (int(rng.integers(length - side + 1)) for length in picture.shape[1:])
    cut = np.rot90(picture[:, y : y + side, x : x + side], int(rng.integers(4)), (1, 2))
    return np.ascontiguousarray(cut[:, :: int(rng.choice((-1, 1)))], np.float32)


def middle(picture: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of a picture."""
    y, x = ((length - side) // 2 for length in picture.shape[1:])
    return picture[:, y : y + side, x : x + side]


def to_network(image: np.ndarray) -> np.ndarray:
    """Map intensities to the range of the network's input."""
    return (image / np.float32(RANGE[1]) - np.float32(0.5)).astype(np.float32)


def block_sums(values: np.ndarray) -> np.ndarray:
    """Sum up blocks of 16x16 pixels of (3, Y, X)."""
    channels, rows, columns = values.shape
    cut = values[:, : rows // BLOCK * BLOCK, : columns // BLOCK * BLOCK]
    return cut.reshape(channels, rows // BLOCK, BLOCK, columns // BLOCK, BLOCK).sum(axis=(2, 4))


def average_of(values: np.ndarray, weight: np.ndarray) -> float:
    return float((values * weight).sum() / max(weight.sum(), 1))


def slope(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Weighted linear regression of y on x."""
    x, y = (values - average_of(values, weight) for values in (x, y))
    return float((weight * x * y).sum() / (weight * x * x).sum())


def mean_of_medians(noise: Noise, images: list[np.ndarray]) -> float:
    """See `Score`; NaN for other noise than photons."""
    if not isinstance(noise, Poisson):
        return math.nan
    pixels = np.sum([np.bincount(image.ravel(), minlength=256) for image in images], axis=0)
    rates = np.arange(256) * float(noise.photons) / RANGE[1]  # type: ignore[arg-type]
    return 100 * float((pixels @ stats.poisson.median(rates)) / (pixels @ rates) - 1)


# -- capture budget ------------------------------------------------------------------------------


def budget(frames: np.ndarray, count: int, settings: TrainingSettings) -> tuple[np.ndarray, float]:
    """Train on the first `count` frames; return the first frame denoised, and the seconds."""
    named = [
        Acquisition.open(frame, name=f"frame {index}") for index, frame in enumerate(frames[:count])
    ]
    denoiser = train(Pair.open(*named), settings)
    denoised = denoise(denoiser, frames[0], device=settings.device)
    return denoised, denoiser.record.seconds


def squares_of(image: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the squared error against the mean of the unused frames, minus its noise; by pixel."""
    unused = frames[max(CAPTURES) :].astype(np.float64)
    own = float(unused.var(axis=0, ddof=1).mean()) / len(unused)
    return (image - unused.mean(axis=0)) ** 2 - own


def compared_with(first: np.ndarray, squares: np.ndarray) -> Measurement:
    """Return the difference of two root mean square errors over all pixels, in ADU.

    The noise of the unused frames is in both, so most of it cancels.
    """
    larger, error = math.sqrt(squares.mean()), math.sqrt(first.mean())
    scatter = mean_over_blocks([(squares - first, np.ones_like(first))]).error
    return Measurement(larger - error, scatter / (larger + error))


def start_captures(bench: Bench, data: Path, processes: Executor) -> Callable[[], Found]:
    """Start training on 2 to 16 frames of a scene; return a function that waits for the end."""
    frames = tifffile.imread(data / "scmos" / "filaments_20frames.tif")
    settings = TrainingSettings(
        loss="l2", steps=bench.steps(CAPTURE_STEPS), seed=bench.seed, device=str(bench.device)
    )
    return partial(
        captures,
        bench,
        frames,
        {count: processes.submit(budget, frames, count, settings) for count in CAPTURES},
    )


def captures(
    bench: Bench, frames: np.ndarray, runs: dict[int, Future[tuple[np.ndarray, float]]]
) -> Found:
    """Compare one frame, denoised by each run, with the mean of unused frames."""
    steps = bench.steps(CAPTURE_STEPS)
    results = {count: run.result() for count, run in runs.items()}
    squares = {count: squares_of(image, frames) for count, (image, _) in results.items()}
    found = {count: math.sqrt(values.mean()) for count, values in squares.items()}
    against = {count: compared_with(squares[2], values) for count, values in squares.items()}
    raw = math.sqrt(squares_of(frames[0], frames).mean())
    rows = [["none (raw)", "-", f"{raw:.3f}", "-", "-"]]
    for count, (_, seconds) in results.items():
        more = against[count]
        said = f"{more.value:+.3f} ± {more.error:.3f}" if count > 2 else "-"
        rows.append([count, count * (count - 1), f"{found[count]:.3f}", said, f"{seconds:.0f}"])
    text = (
        f"sCMOS frames of filaments, {steps} steps each: error of frame 0, denoised alone, against "
        "the mean of the last four frames, which were not used, corrected for the noise of that "
        "mean. ± is the standard error over pixels, of one run each.\n\n"
        f"{table(['frames', 'ordered pairs', 'RMSE, ADU', 'difference from 2', 's'], rows)}"
    )
    most = against[max(CAPTURES)]
    words = f"{most.value:+.3f} ± {most.error:.3f} ADU"
    verdicts = [
        (most.value < -2 * most.error, f"16 frames better than 2, by two standard errors: {words}"),
        (
            most.value < 2 * most.error,
            f"16 frames not worse than 2, by two standard errors: {words}",
        ),
    ]
    figure = Figure(figsize=(5, 3.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot(list(found), list(found.values()), "o-", color=COLOURS["noisy targets"])
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(found), [str(count) for count in found])
    axes.set_xlabel("frames trained on")
    axes.set_ylabel("RMSE of one frame denoised, ADU")
    axes.grid(alpha=0.3)
    return text, verdicts, figure


# -- tables and figures --------------------------------------------------------------------------


def start(bench: Bench, experiment: Experiment, processes: Executor) -> Callable[[], Found]:
    """Start training the arms of an experiment; return a function that waits and compares."""
    runs: dict[tuple, Future[Run]] = {}
    for arm in experiment.arms:
        if arm.task not in runs:  # the same in two panels
            runs[arm.task] = processes.submit(bench.run, arm, bench.steps(experiment.steps))
    return partial(compared, bench, experiment, runs)


def compared(bench: Bench, experiment: Experiment, started: dict[tuple, Future[Run]]) -> Found:
    """Compare the arms of an experiment."""
    done = {task: run.result() for task, run in started.items()}
    steps = bench.steps(experiment.steps)
    header = ["trained on", "targets", "loss", "tested on", "input", "PSNR"]
    rows = []
    for run in done.values():
        arm = run.arm
        noisy = f"noisy, {arm.panel}" if arm.panel in (APART, SHARED) else "noisy"
        for test, score in run.scores.items():
            figures = [
                f"{getattr(score, name):+.{3 if name == 'pull' else 2}f}"
                for name in experiment.columns
            ]
            first = test == str(arm.tests[0])
            rows.append(
                [
                    arm.noise,
                    "clean" if arm.clean else noisy,
                    arm.loss.upper(),
                    test,
                    f"{score.noisy:.2f}",
                    f"{score.psnr:.2f}",
                    *figures,
                    arm.paper if first else "-",
                    f"{run.seconds:.0f}" if first else "",
                    f"{run.drawing / run.seconds:.0%}" if first else "",
                ]
            )
    header += [*experiment.columns.values(), "paper", "s", "of it drawing noise"]
    text = (
        f"{experiment.about} PSNR in dB after {steps} steps of {bench.patches} patches of "
        f"{RECIPE.patch}x{RECIPE.patch}, seed {bench.seed}, mean over {len(bench.kodak)} Kodak "
        f"images.\n\n{table(header, rows)}"
    )
    runs = [replace(done[arm.task], arm=arm) for arm in experiment.arms]
    scores = {(run.arm.panel, run.arm.name): run.scores for run in runs}
    return text, list(experiment.judge(scores)), curves(runs)


def curves(runs: list[Run]) -> Figure:
    """Draw PSNR against steps, a line for each arm."""
    panels = list(dict.fromkeys(run.arm.panel for run in runs))
    figure = Figure(figsize=(1 + 4 * len(panels), 3.5), dpi=100, layout="constrained")
    lines = {}
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for run in runs:
            if run.arm.panel == panel:
                steps, decibels = zip(*run.scores[str(run.arm.tests[0])].curve, strict=True)
                axes.plot(steps, decibels, "o-", ms=3, color=COLOURS[run.arm.name])
                lines[run.arm.name] = axes.lines[-1]
        axes.set_title(panel or str(runs[0].arm.tests[0]))
        axes.set_xlabel("steps")
        axes.set_ylabel("PSNR, dB")
        axes.grid(alpha=0.3)
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines))
    return figure


def pictures(folder: Path) -> list[np.ndarray]:
    """Read all pictures of a folder; uint8, (3, Y, X)."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
    return [np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1).copy() for path in paths]


def main() -> None:
    """Run the experiments and publish their tables and figures."""
    names = [*EXPERIMENTS, "captures"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="holds bsd300_train/, kodak/ and scmos/"
    )
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--quick", action="store_true", help="few steps and images; only print")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    parser.add_argument("--figures", type=Path, help="folder for figures, if not published")
    parser.add_argument(
        "--processes",
        type=int,
        default=os.cpu_count(),
        help="number of arms trained at the same time on the CPU",
    )
    given = parser.parse_args()
    began = time.monotonic()
    share = given.scale * (0.05 if given.quick else 1.0)
    kodak = pictures(given.data / "kodak")
    bench = Bench(
        pictures=pictures(given.data / "bsd300_train"),
        kodak=[middle(picture, 256) for picture in kodak[::3]] if given.quick else kodak,
        share=share,
        seed=given.seed,
        device=torch.device(given.device),
    )
    publishing = not (given.quick or given.no_publish)
    folder = PAGE.parent / "figures" if publishing else given.figures
    torch.set_num_threads(1)
    with ProcessPoolExecutor(
        given.processes if bench.device.type == "cpu" else 1,
        multiprocessing.get_context("spawn"),
        torch.set_num_threads,
        (1,),
    ) as processes:
        started = {
            name: start_captures(bench, given.data, processes)
            if name == "captures"
            else start(bench, EXPERIMENTS[name], processes)
            for name in given.only
        }
        for name, found in started.items():
            text, verdicts, figure = found()
            section = f"paper-{name}"
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                figure.savefig(folder / f"{section}.png")
            picture = f"![{name}](figures/{section}.png)"
            page = "\n\n".join([text, judged(verdicts), picture, machine(given.device)])
            publish(section, page) if publishing else print(page, flush=True)
    print(f"all in {(time.monotonic() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
