"""Pretrain the initial weights for training on planes.

Scenes and noise are simulated: photon and read noise in various proportions and strengths, with and
without correlation between neighbours. Scenes are normalised like recordings in
`training.normalisation`. Targets are clean here; on a real pair, training continues with noisy
targets, so the pair determines the result.

Usage: python scripts/warm_start/pretrain.py [--steps 24000] [--scenes 1500] [--seed 0] [-o FILE]
It takes 40 minutes on one core with bfloat16 instructions.
"""

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
from scenes import scene
from scipy.ndimage import gaussian_filter

from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import computes_in_bfloat16
from napari_n2n.model.network import CompactUNet, folded
from napari_n2n.stats.affine import Affine
from napari_n2n.training.state import update_average

ARCHITECTURE = {"name": "compact", "channels": 1, "norm": False}
WEIGHTS = Path(__file__).parents[2] / "src" / "napari_n2n" / "training" / "pretrained.n2n"
# Sides of a scene and of a patch in pixels (a patch as in training), and patches per step. More
# patches: less noise in the gradients; fewer: faster steps.
SIDE, PATCH, BATCH = 192, 64, 32
# Peak learning rate, as in training, and decay per step of the average of the weights. Larger
# decay: less noise in the weights; smaller: less lag.
PEAK, DECAY = 1.5e-3, 0.999
# Smallest and largest standard deviation of the noise relative to that of the scene. A wider range
# covers more recordings, but needs more steps.
RATIO = (0.07, 3.0)
CORRELATED = 0.4  # share of draws whose noise is correlated between neighbours
MARGIN = 8  # pixels around a patch, so that smoothing the noise has no edge effects in the patch
_SAMPLE = 3000  # pixels used to normalise a scene; fewer: a less accurate black level


def example(clean: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw a patch of a scene; return it noisy and clean, both normalised, and its weight."""
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

    y, x = rng.integers(0, SIDE - PATCH - 2 * MARGIN, 2)
    wide = bright[y : y + PATCH + 2 * MARGIN, x : x + PATCH + 2 * MARGIN]
    noise = noise_of(wide)
    if rng.random() < CORRELATED:
        width = rng.uniform(0.3, 1.8) * np.array(((1, 1), (1, 1), (0, 1))[rng.integers(3)])
        before = noise.std()
        noise = gaussian_filter(noise, width)
        noise *= before / max(noise.std(), 1e-9)
    cut = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    pair = np.stack([wide + noise, wide])[(slice(None), *cut)]
    pair = np.rot90(pair, int(rng.integers(4)), (1, 2))[:, :: int(rng.choice((-1, 1)))]
    noisy, target = ((pair - black) / deviation).astype(np.float32)
    # The loss is relative to the noise variance; 0.03 keeps nearly clean patches from dominating.
    return noisy, target, 1 / (variance / deviation**2 + 0.03)


def pretrain(scenes: list[np.ndarray], steps: int, seed: int) -> CompactUNet:
    """Train a network and return the one with the averaged weights."""
    torch.manual_seed(seed)
    network = CompactUNet().to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    quick = computes_in_bfloat16(torch.device("cpu"))
    started, recent = time.monotonic(), 0.0
    for step in range(steps):
        rng = np.random.default_rng((seed, 1, step))
        examples = [example(scenes[rng.integers(len(scenes))], rng) for _ in range(BATCH)]
        noisy, target, weight = (
            torch.from_numpy(np.array(part, np.float32)) for part in zip(*examples, strict=True)
        )
        noisy = noisy[:, None].contiguous(memory_format=torch.channels_last)
        rate = PEAK * min(1, (step + 1) / 100) * 0.5 * (1 + np.cos(np.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=quick):
            prediction = network(noisy)
        error = (prediction - target[:, None]) ** 2
        loss = (error.mean((1, 2, 3)) * weight).mean()
        loss.backward()
        optimizer.step()
        update_average(average, network, step + 1, DECAY)
        recent += (loss.item() - recent) * max(0.01, 1 / (step + 1))
        if (step + 1) % 200 == 0:
            print(step + 1, f"{recent:.4f}", f"{time.monotonic() - started:.0f} s", flush=True)
    return average


def main() -> None:
    """Draw the scenes, train, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=24000)
    parser.add_argument("--scenes", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=WEIGHTS)
    given = parser.parse_args()
    scenes = [scene(SIDE, np.random.default_rng((given.seed, k))) for k in range(given.scenes)]
    network = folded(pretrain(scenes, given.steps, given.seed))
    record = {
        "about": "initial weights for planes, pretrained on simulated scenes and noise",
        "steps": given.steps,
        "scenes": given.scenes,
        "seed": given.seed,
    }
    Denoiser((network,), ARCHITECTURE, (Affine(),), record).save(given.out)


if __name__ == "__main__":
    main()
