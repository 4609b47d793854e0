"""Repeat the main experiment of HQ-SSL: what a blind spot and the noise model give together.

A blind-spot network predicts the colours of a pixel from all pixels but itself, as a normal
distribution (the prior). With the distribution of the noise, the noisy pixel gives the posterior
mean (Laine, Karras, Lehtinen & Aila, NeurIPS 2019). Both are compared with noisy targets, trained
with the same number of patches.

The four half-plane networks, whose receptive field ends above a pixel, are one network that sees
the image in four rotations. Noise: Gaussian, photons, and random-valued impulses.
Usage: python benchmarks/blind_spot.py --data DIR [--steps 2500] [--only NOISE ...] [--no-publish]
"""

import argparse
import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paper
import torch
from paper import RANGE, Arm, Bench, middle, patch, pictures, psnr, to_network
from report import Verdict, judged, machine, publish, table
from torch import Tensor, nn
from torch.nn import functional

from napari_n2n.model.device import computes_in_bfloat16
from napari_n2n.simulate.additive import Gaussian, Poisson
from napari_n2n.simulate.corruption import Noise
from napari_n2n.simulate.replacement import Impulse
from napari_n2n.training.schedule import learning_rate
from napari_n2n.training.state import update_average

BATCH = 8  # patches of a step
RATE = 1e-3  # learning rate of the blind-spot network
WIDTH = 16  # features at full resolution; twice as many below
SIGMA, PHOTONS, SHARE = 25, 30, 0.5  # as in the paper
DARKEST = 1e-2  # smallest signal for the variance of photon noise, as a part of white
FLOOR = 5e-3  # smallest standard deviation of a prior, as a part of white: two grey levels
ROTATIONS = 4
GAP = 0.3  # dB: largest distance of the posterior mean from noisy targets, on Gaussian noise


class HalfPlane(nn.Module):
    """A U-Net whose output at a pixel depends on the rows above it only; (N, C, Y, X)."""

    def __init__(self) -> None:
        super().__init__()
        wide = 2 * WIDTH
        self.first = nn.Sequential(_up_to_here(3, WIDTH), _up_to_here(WIDTH, WIDTH))
        self.down = nn.ModuleList(_up_to_here(n, wide) for n in (WIDTH, wide, wide))
        self.up = nn.ModuleList(
            nn.Sequential(_up_to_here(wide + skipped, outputs), _up_to_here(outputs, outputs))
            for skipped, outputs in ((wide, wide), (wide, wide), (WIDTH, WIDTH))
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the features of every pixel; Y and X are multiples of 8."""
        values, seen = self.first(image), []
        for block in self.down:
            seen.append(values)
            values = block(functional.max_pool2d(_one_row_lower(values), 2))
        for block in self.up:
            values = functional.interpolate(values, scale_factor=2.0)
            values = block(torch.cat([values, seen.pop()], 1))
        return _one_row_lower(values)


def _up_to_here(inputs: int, outputs: int) -> nn.Sequential:
    """Return a 3x3 convolution of a pixel's row and the two above it."""
    above = nn.ZeroPad2d((1, 1, 2, 0))
    return nn.Sequential(above, nn.Conv2d(inputs, outputs, 3), nn.LeakyReLU(0.1))


def _one_row_lower(values: Tensor) -> Tensor:
    return functional.pad(values, (0, 0, 1, 0))[:, :, :-1]


class BlindSpotNetwork(nn.Module):
    """Predict mean and covariance of a pixel's colours from all pixels but itself."""

    def __init__(self) -> None:
        super().__init__()
        self.above = HalfPlane()
        features = ROTATIONS * WIDTH
        self.head = nn.Sequential(
            *(nn.Conv2d(features, features, 1), nn.LeakyReLU(0.1)),
            *(nn.Conv2d(features, features, 1), nn.LeakyReLU(0.1)),
            nn.Conv2d(features, 9, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the means and the lower triangle of a root of the covariance; (N, 9, Y, X)."""
        views = (torch.rot90(image, k, (2, 3)).contiguous() for k in range(ROTATIONS))
        features = [torch.rot90(self.above(v), -k, (2, 3)) for k, v in enumerate(views)]
        return self.head(torch.cat(features, 1))


def predicted(network: nn.Module, noisy: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (N, 3, Y, X) and covariance (N, 3, 3, Y, X) of the signal at each pixel."""
    with torch.autocast("cpu", torch.bfloat16, enabled=computes_in_bfloat16(noisy.device)):
        found = network(noisy)
    mean, triangle = found.float().split((3, 6), 1)
    a, b, c, d, e, f = triangle.unbind(1)
    zero = torch.zeros_like(a)
    rows = ((a, zero, zero), (b, c, zero), (d, e, f))
    root = torch.stack([torch.stack(row, 1) for row in rows], 1)
    return mean, torch.einsum("nikyx,njkyx->nijyx", root, root)


@dataclass(frozen=True)
class Observed:
    """A kind of noise: how it is simulated, and what a noisy pixel says about the signal.

    Attributes
    ----------
    noise, loss
        The noise, and the loss that is right for noisy targets with it.
    paper
        PSNR of noisy targets, of the prior and of the posterior mean in the paper, in dB; "-" if
        the paper does not give it.
    loss_of, posterior
        From noisy colours, predicted means and covariances: the negative log-likelihood, shape
        (N, Y, X), and the posterior mean, shape (N, 3, Y, X).
    """

    noise: Noise
    loss: str
    paper: tuple[str, str, str]
    loss_of: Callable[[Tensor, Tensor, Tensor], Tensor]
    posterior: Callable[[Tensor, Tensor, Tensor], Tensor]


def normal(difference: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the negative log-density of differences, and the inverse covariance times them.

    Parameters
    ----------
    difference, covariance
        Shape (N, 3, Y, X) and (N, 3, 3, Y, X).
    """
    (a, b, c), (_, d, e), (_, _, f) = (row.unbind(1) for row in covariance.unbind(1))
    cofactors = (
        (d * f - e * e, c * e - b * f, b * e - c * d),
        (c * e - b * f, a * f - c * c, b * c - a * e),
        (b * e - c * d, b * c - a * e, a * d - b * b),
    )
    determinant = a * cofactors[0][0] + b * cofactors[0][1] + c * cofactors[0][2]
    parts = difference.unbind(1)
    solved = torch.stack(
        [sum(m * x for m, x in zip(row, parts, strict=True)) / determinant for row in cofactors], 1
    )
    squares = (difference * solved).sum(1)
    return 0.5 * (squares + torch.log(determinant) + 3 * math.log(2 * math.pi)), solved


def added(covariance: Tensor, variance: Tensor | float) -> Tensor:
    """Add the variance of independent noise, per colour or one for all, to covariances."""
    eye = torch.eye(3)[None, :, :, None, None]
    return covariance + eye * (variance[:, :, None] if isinstance(variance, Tensor) else variance)


def gaussian_loss(variance_at: Callable[[Tensor], Tensor | float]) -> Callable[..., Tensor]:
    """Return the loss for Gaussian noise of a variance that may depend on the signal."""

    def loss(noisy: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
        return normal(noisy - mean, added(covariance, variance_at(mean)))[0]

    return loss


def gaussian_posterior(variance_at: Callable[[Tensor], Tensor | float]) -> Callable[..., Tensor]:
    """Return the posterior mean for Gaussian noise."""

    def posterior(noisy: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
        solved = normal(noisy - mean, added(covariance, variance_at(mean)))[1]
        return mean + torch.einsum("nijyx,njyx->niyx", covariance, solved)

    return posterior


def of_photons(mean: Tensor) -> Tensor:
    """Return the variance of photon noise; the signal is between -0.5 and 0.5."""
    return (mean + 0.5).clamp(min=DARKEST) / PHOTONS


def impulse_logs(noisy: Tensor, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log of both densities times their shares: of true values, and of impulses."""
    true = -normal(noisy - mean, added(covariance, FLOOR**2))[0] + math.log(1 - SHARE)
    return true, torch.full_like(true, math.log(SHARE))


def impulse_loss(noisy: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return the loss for impulses that replace all colours by values anywhere in the range."""
    return -torch.logaddexp(*impulse_logs(noisy, mean, covariance))


def impulse_posterior(noisy: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return the posterior mean: the noisy value as far as it is probably none of the impulses."""
    true, impulse = impulse_logs(noisy, mean, covariance)
    weight = torch.sigmoid(true - impulse)[:, None]
    return weight * noisy + (1 - weight) * mean


def of_gaussian(mean: Tensor) -> float:
    """Return the variance of the Gaussian noise."""
    return (SIGMA / RANGE[1]) ** 2


KINDS = {
    "gaussian": Observed(
        Gaussian(SIGMA),
        "l2",
        ("32.48", "31.9", "32.4 to 32.5"),
        gaussian_loss(of_gaussian),
        gaussian_posterior(of_gaussian),
    ),
    "poisson": Observed(
        Poisson(PHOTONS),
        "l2",
        ("-", "-", "-"),
        gaussian_loss(of_photons),
        gaussian_posterior(of_photons),
    ),
    "impulse": Observed(
        Impulse(SHARE), "likelihood", ("-", "-", "-"), impulse_loss, impulse_posterior
    ),
}


def train(kind: Observed, bench: Bench, steps: int) -> nn.Module:
    """Train a blind-spot network on noisy patches alone; return its averaged weights."""
    torch.manual_seed(bench.seed)
    network = BlindSpotNetwork()
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    for step in range(steps):
        place, rng = (np.random.default_rng((bench.seed, step, stream)) for stream in range(2))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(RATE, step, step / steps)
        chosen = place.integers(len(bench.pictures), size=BATCH)
        noisy = torch.from_numpy(
            np.stack([noisy_copy(kind.noise, patch(bench.pictures[k], place), rng) for k in chosen])
        )
        optimizer.zero_grad(set_to_none=True)
        kind.loss_of(noisy, *predicted(network, noisy)).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        update_average(average, network, step + 1, paper.RECIPE.averaging)
    return average


def noisy_copy(noise: Noise, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a noisy picture in the range of the network's input; (3, Y, X)."""
    return to_network(noise.apply(clean, rng, channels=True, data_range=RANGE))


@torch.inference_mode()
def score(kind: Observed, network: nn.Module, bench: Bench) -> tuple[float, float]:
    """Return the PSNR of the prior and of the posterior mean, on the noise of `Bench.score`."""
    found = []
    for index, clean in enumerate(bench.kodak):
        rng = np.random.default_rng((bench.seed, index))
        noisy = torch.from_numpy(noisy_copy(kind.noise, clean, rng))[None]
        mean, covariance = predicted(network, noisy)
        results = mean, kind.posterior(noisy, mean, covariance)
        found.append([psnr(clean, (r[0].numpy() + 0.5) * RANGE[1], RANGE[1]) for r in results])
    prior, posterior = np.mean(found, axis=0)
    return float(prior), float(posterior)


def row(name: str, bench: Bench, steps: int) -> tuple[list[object], list[Verdict]]:
    """Compare prior and posterior with noisy targets, for one kind of noise."""
    kind = KINDS[name]
    pair = bench.run(Arm(paper.NOISY, kind.noise, (kind.noise,), kind.loss), steps)
    (targets,) = pair.scores.values()
    started = time.monotonic()
    network = train(kind, bench, steps)
    seconds = time.monotonic() - started
    prior, posterior = score(kind, network, bench)
    verdicts = [(posterior > prior, f"{name}: the posterior gains {posterior - prior:+.2f} dB")]
    if name == "gaussian":
        below = targets.psnr - posterior
        verdicts.append((below <= GAP, f"{name}: {below:+.2f} dB below noisy targets"))
    figures = (targets.noisy, targets.psnr, prior, posterior)
    return [
        *(str(kind.noise), *(f"{one:.2f}" for one in figures), *kind.paper),
        *(f"{pair.seconds:.0f}", f"{seconds:.0f}"),
    ], verdicts


def main() -> None:
    """Train and test for each noise, and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds bsd300_train/ and kodak/")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--images", type=int, default=24, help="of Kodak, of their middle")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    kodak = pictures(given.data / "kodak")[: given.images]
    bench = Bench(
        pictures=pictures(given.data / "bsd300_train"),
        kodak=[middle(one, 384) for one in kodak],
        share=1.0,
        seed=0,
        device=torch.device("cpu"),
        patches=BATCH,
    )
    rows, verdicts = [], []
    for name in given.only:
        one, judgement = row(name, bench, given.steps)
        rows.append(one)
        verdicts += judgement
        print(one, flush=True)
    header = ["noise", "input", "noisy targets", "prior", "posterior mean"]
    header += ["paper: noisy targets", "prior", "posterior", "s, noisy targets", "s, blind spot"]
    text = (
        f"PSNR in dB after {given.steps} steps of {BATCH} patches of 64x64, mean over the middles "
        f"(384x384) of {len(kodak)} Kodak images, one seed. Noisy targets: the U-Net for pairs."
        f"\n\n{table(header, rows)}\n\n{judged(verdicts)}\n\n{machine()}"
    )
    print(text) if given.no_publish else publish("paper-blind-spot", text)


if __name__ == "__main__":
    main()
