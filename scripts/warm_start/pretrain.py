"""Pretrain the initial weights for training on planes or on volumes.

Scenes and noise are simulated: photon and read noise in various proportions and strengths, with and
without correlation between neighbours in the plane. Scenes are normalised like recordings in
`training.normalisation`. Targets are clean here; on a real pair, training continues with noisy
targets, so the pair determines the result.

Usage: python scripts/warm_start/pretrain.py {planes,volumes} [--steps N] [--scenes N] [--seed 0]
Planes take 40 minutes on one core with bfloat16 instructions; volumes, which start from the weights
for planes, 25 minutes on one core without them.
"""

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scenes import scene
from scipy.ndimage import gaussian_filter
from stacks import stack

from napari_n2n.model.denoiser import Denoiser, load
from napari_n2n.model.device import computes_in_bfloat16
from napari_n2n.model.network import CompactUNet, Network, folded
from napari_n2n.model.record import ModelRecord
from napari_n2n.model.stack_network import NEIGHBOURS, StackUNet
from napari_n2n.stats.affine import Affine
from napari_n2n.training.state import update_average

FOLDER = Path(__file__).parents[2] / "src" / "napari_n2n" / "training"
PATCH = 64  # side in pixels, as in training
# Decay per step of the average of the weights. Larger: less noise in the weights; smaller: less
# lag.
DECAY = 0.999
# Smallest and largest standard deviation of the noise relative to that of the scene. A wider range
# covers more recordings, but needs more steps.
RATIO = (0.07, 3.0)
CORRELATED = 0.4  # share of draws whose noise is correlated between neighbours
MARGIN = 8  # pixels around a patch, so that smoothing the noise has no edge effects in the patch
_SAMPLE = 3000  # pixels used to normalise a scene; fewer: a less accurate black level


@dataclass(frozen=True, slots=True)
class Kind:
    """What is pretrained.

    Attributes
    ----------
    architecture
        Name in `NETWORKS` and arguments of the network.
    weights
        File of the pretrained weights.
    draw
        Draws a scene.
    depth
        Smallest and largest number of planes of a patch; None for planes.
    steps, scenes, batch
        Number of steps, of scenes, and of patches per step. More patches: less noise in the
        gradients; fewer: faster steps.
    peak
        Highest learning rate: as in training from random weights, lower from those for planes.
    """

    architecture: dict[str, object]
    weights: Path
    draw: Callable[[np.random.Generator], np.ndarray]
    depth: tuple[int, int] | None
    steps: int
    scenes: int
    batch: int
    peak: float


KINDS = {
    "planes": Kind(
        architecture={"name": "compact", "channels": 1, "norm": False},
        weights=FOLDER / "pretrained.n2n",
        draw=lambda rng: scene(192, rng),
        depth=None,
        steps=24000,
        scenes=1500,
        batch=32,
        peak=1.5e-3,
    ),
    "volumes": Kind(
        architecture={"name": "stack", "channels": 1, "norm": False},
        weights=FOLDER / "pretrained_volumes.n2n",
        draw=lambda rng: stack(20, 112, rng),
        depth=(5, 16),
        steps=5000,
        scenes=400,
        batch=4,
        peak=7e-4,
    ),
}


def example(
    clean: np.ndarray, depth: int | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw a patch of a scene; return it noisy and clean, both normalised, and its weight.

    `depth` is the number of planes of the patch; None for planes.
    """
    ratio = np.exp(rng.uniform(*np.log(RATIO)))
    variance = (ratio * max(float(clean.std()), 0.02)) ** 2
    photon_share = rng.choice((1.0, rng.random()))
    background = rng.choice((0.0, rng.uniform(0, 0.3)))
    bright = clean + background
    photons = float(bright.mean()) / max(variance * photon_share, 1e-9)  # at brightness 1
    read = np.sqrt(variance * (1 - photon_share))

    def noise_of(values: np.ndarray) -> np.ndarray:
        noise = rng.normal(0, read, values.shape) if read > 0 else np.zeros(values.shape)
        if photons < 1e7:
            noise += rng.poisson(values * photons) / photons - values
        return noise

    sample = bright.ravel()[rng.integers(bright.size, size=_SAMPLE)]
    seen = sample + noise_of(sample)
    deviation, black = float(seen.std()), float(np.percentile(seen, 1))

    y, x = rng.integers(0, clean.shape[-1] - PATCH - 2 * MARGIN, 2)
    wide = bright[..., y : y + PATCH + 2 * MARGIN, x : x + PATCH + 2 * MARGIN]
    if depth is not None:
        first = rng.integers(0, len(wide) - depth + 1)
        wide = wide[first : first + depth][:: int(rng.choice((-1, 1)))]
    noise = noise_of(wide)
    if rng.random() < CORRELATED:
        width = rng.uniform(0.3, 1.8) * np.array(((1, 1), (1, 1), (0, 1))[rng.integers(3)])
        before = noise.std()
        noise = gaussian_filter(noise, (*[0] * (noise.ndim - 2), *width))
        noise *= before / max(noise.std(), 1e-9)
    pair = np.stack([wide + noise, wide])[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    pair = np.rot90(pair, int(rng.integers(4)), (-2, -1))[..., :: int(rng.choice((-1, 1))), :]
    noisy, target = ((pair - black) / deviation).astype(np.float32)
    # The loss is relative to the noise variance; 0.03 keeps nearly clean patches from dominating.
    return noisy, target, 1 / (variance / deviation**2 + 0.03)


def initial(kind: Kind) -> Network:
    """Return the network before pretraining; that for volumes starts as the one for planes."""
    if kind.depth is None:
        return CompactUNet()
    planes = load(KINDS["planes"].weights).networks[0].state_dict()
    network = StackUNet(norm=False)
    first = network.state_dict()["down.0.0.weight"]
    cells = planes["down.0.0.weight"].shape[1]
    first[:, : NEIGHBOURS * cells] = first[:, (NEIGHBOURS + 1) * cells :] = 0.0
    first[:, NEIGHBOURS * cells : (NEIGHBOURS + 1) * cells] = planes["down.0.0.weight"]
    network.load_state_dict({**planes, "down.0.0.weight": first}, strict=False)
    return network


def pretrain(
    kind: Kind, scenes: list[np.ndarray], steps: int, seed: int, save: Callable[[Network], None]
) -> None:
    """Train a network; save the averaged weights every few minutes and at the end."""
    torch.manual_seed(seed)
    network = initial(kind)
    network = network.to(memory_format=network.memory_format).train()
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    quick = computes_in_bfloat16(torch.device("cpu"))
    started, recent = time.monotonic(), 0.0
    for step in range(steps):
        rng = np.random.default_rng((seed, 1, step))
        depth = None if kind.depth is None else int(rng.integers(kind.depth[0], kind.depth[1] + 1))
        chosen = rng.integers(len(scenes), size=kind.batch)
        examples = [example(scenes[k], depth, rng) for k in chosen]
        noisy, target, weight = (
            torch.from_numpy(np.array(part, np.float32)) for part in zip(*examples, strict=True)
        )
        noisy = noisy[:, None].contiguous(memory_format=network.memory_format)
        rate = kind.peak * min(1, (step + 1) / 100) * 0.5 * (1 + np.cos(np.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=quick):
            prediction = network(noisy)
        error = (prediction - target[:, None]) ** 2
        loss = (error.flatten(1).mean(1) * weight).mean()
        loss.backward()
        optimizer.step()
        update_average(average, network, step + 1, DECAY)
        recent += (loss.item() - recent) * max(0.01, 1 / (step + 1))
        if (step + 1) % 200 == 0:
            print(step + 1, f"{recent:.4f}", f"{time.monotonic() - started:.0f} s", flush=True)
            save(average)
    save(average)


def main() -> None:
    """Draw the scenes, train, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--scenes", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path)
    given = parser.parse_args()
    kind = KINDS[given.kind]
    steps, count = given.steps or kind.steps, given.scenes or kind.scenes
    about = {
        "about": f"initial weights for {given.kind}, pretrained on simulated scenes and noise",
        "steps": steps,
        "scenes": count,
        "seed": given.seed,
    }
    record = ModelRecord.model_validate(about)

    def save(network: Network) -> None:
        model = Denoiser((folded(network),), kind.architecture, (Affine(),), record)
        model.save(given.out or kind.weights)

    scenes = [kind.draw(np.random.default_rng((given.seed, k))) for k in range(count)]
    pretrain(kind, scenes, steps, given.seed, save)


if __name__ == "__main__":
    main()
