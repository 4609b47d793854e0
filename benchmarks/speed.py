"""How long until the image is good, and how fast is a network applied? With other software.

Usage: python benchmarks/speed.py --data DIR --peers ENVIRONMENT [--only race pace profile]

`scripts/peers ENVIRONMENT` installs the other software; without it, only napari-n2n is measured.
Run this on a machine that does nothing else.
"""

import argparse
import math
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import tifffile
import torch
from report import Verdict, judged, machine, publish, table
from scipy.ndimage import gaussian_filter
from stopwatch import advance, timed
from torch.profiler import ProfilerActivity, profile

from napari_n2n import Denoiser, Pair, TrainingSettings, TrainingStep, denoise, train
from napari_n2n.model.device import computes_in_bfloat16
from napari_n2n.model.network import CompactUNet
from napari_n2n.noise.measure import measure_channels
from napari_n2n.stats.image_quality import psnr
from napari_n2n.training.prepare import prepare

SCENE = "Confocal_FISH"
SHORT = 30  # seconds
RUNS = 3
RIVAL = "careamics-mse"
SHOWN = (3, 6, 12, 23, 45, 90)  # seconds
TITLES = {
    "careamics": "CAREamics N2N, default settings",
    "careamics-mse": "CAREamics N2N, mean squared error",
    "bm3d": "BM3D, noise estimated by scikit-image",
    "nlm": "non-local means, noise estimated by scikit-image",
}
Curve = dict[float, float]
"""PSNR in dB by seconds."""


def peer(method: str, environment: Path, files: list[Path], *more: str) -> dict[str, np.ndarray]:
    """Run other software in its environment; return the images by time."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.npz"
        script = Path(__file__).with_name("peers.py")
        command = [environment / "bin" / "python", script, method, out, *files, *more]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{method}: {done.stderr.strip()}")
        with np.load(out) as images:
            return {name: images[name] for name in images}


def ours(
    pair: list[Path], seconds: float, score: Callable[[Denoiser], float]
) -> tuple[Curve, Denoiser]:
    """Train, and score the network at every validation."""
    curve: Curve = {}

    def mark(step: TrainingStep, when: float) -> None:
        denoiser = step.denoiser()
        if denoiser is not None:
            curve[when] = score(denoiser)

    settings = TrainingSettings(preset="thorough", minutes=seconds / 60)
    return curve, timed(Pair.open(*pair), settings, mark)[0]


def at(curve: Curve, seconds: float) -> float:
    """Return the PSNR at a time: the latest one before it."""
    seen = [value for when, value in curve.items() if when <= seconds + 0.5]
    return seen[-1] if seen else math.nan


def reached(curve: Curve, level: float) -> float:
    """Return the first time at which a curve is as good as `level`; infinite if it never is."""
    return next((when for when, value in curve.items() if value >= level), math.inf)


def race(given: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """Measure PSNR against time on one pair."""
    folder = given.data / "fmd" / SCENE
    pair = [folder / "capture_1.tif", folder / "capture_2.tif"]
    truth = tifffile.imread(folder / "truth.tif").astype(np.float64)
    a = tifffile.imread(pair[0])

    def score(denoiser: Denoiser) -> float:
        return psnr(truth, denoise(denoiser, a, device="cpu"), 255)

    outcomes = [ours(pair, seconds, score) for seconds in (SHORT, SHORT, given.seconds)]
    runs = [curve for curve, _ in outcomes]
    long, trained = outcomes[-1]
    final = score(trained)
    turned = psnr(truth, denoise(trained, a, turns=True, device="cpu"), 255)
    rows = [
        ["napari-n2n", *_cells(long), f"{final:.2f}", "-"],
        ["the same, applied with --turns", *[""] * len(SHOWN), f"{turned:.2f}", "-"],
    ]
    verdicts, drawn = [], ""
    for method in TITLES if given.peers else ():
        tries = []
        for _ in range(RUNS if method == RIVAL else 1):
            images = peer(method, given.peers, pair, "--seconds", str(given.seconds))
            images.pop("end", None)
            tries.append({float(when): psnr(truth, one, 255) for when, one in images.items()})
        curve = sorted(tries, key=lambda one: max(one.values()))[len(tries) // 2]
        best = max(curve.values())
        waited = median(reached(run, best) for run in runs)
        cells = _cells(curve) if len(curve) > 1 else [""] * len(SHOWN)
        single = f" ({min(curve):.0f} s)" if len(curve) == 1 else ""
        words = f"{waited:.1f} s" if math.isfinite(waited) else "never"
        rows.append([TITLES[method] + single, *cells, f"{best:.2f}", words])
        print(rows[-1], flush=True)
        if method == RIVAL:
            bests = ", ".join(f"{max(one.values()):.2f}" for one in tries)
            drawn = (
                f" {TITLES[RIVAL]}, differs from run to run: of {RUNS} runs ({bests} dB "
                "at best) the median is shown."
            )
            ahead = final - best
            verdicts = [
                (waited <= 6, f"its best with mean squared error reached within 6 s: {words}"),
                (ahead >= 0.5, f"in the end at least 0.5 dB above it: {ahead:+.2f} dB"),
                (turned - best >= 0.5, f"the same with --turns: {turned - best:+.2f} dB"),
            ]
    widths = [k / 10 for k in range(5, 60)]
    best = max(psnr(truth, gaussian_filter(a.astype(np.float64), width), 255) for width in widths)
    waited = median(reached(run, best) for run in runs)
    name = "Gaussian filter, width chosen by the truth"
    rows.append([name, *[""] * len(SHOWN), f"{best:.2f}", f"{waited:.1f} s"])
    text = (
        f"{SCENE}, captures 1 and 2; PSNR of capture 1 denoised, in dB, {given.seconds:g} s each. "
        "The time of napari-n2n includes measuring the noise (averaged weights at that time; "
        "preset thorough); that of CAREamics starts with its call to train. 'Best' is the "
        "highest value at any time for CAREamics, and that of the returned model for napari-n2n. "
        "'Reached' is when napari-n2n is as good as the other's best: median of "
        f"{RUNS} runs.{drawn}\n\n"
        + table(["", *(f"{mark} s" for mark in SHOWN), "best", "reached"], rows)
    )
    return text, verdicts


def _cells(curve: Curve) -> list[str]:
    return [f"{at(curve, mark):.2f}" for mark in SHOWN]


def pace(given: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """Measure the megapixels per second of a trained network."""
    folder = given.data / "fmd" / SCENE
    pair = [folder / "capture_1.tif", folder / "capture_2.tif"]
    a, b = (tifffile.imread(path) for path in pair)
    plane = np.tile(a, (4, 4))
    volume, other_volume = (np.tile(one[:256, :256], (32, 1, 1)) for one in (a, b))
    planes = train(Pair.open(*pair), TrainingSettings(steps=1, loss="l2"))
    volumes = train(
        Pair.open(volume, other_volume, axes="ZYX"),
        TrainingSettings(steps=1, loss="l2", dims=3),
    )
    rows, verdicts, found = [], [], {}
    for name, denoiser, image in (("2D", planes, plane), ("3D", volumes, volume)):
        axes = "YX" if image.ndim == 2 else "ZYX"
        whole = _median(lambda d=denoiser, i=image, x=axes: denoise(d, i, axes=x, device="cpu"))
        tensor = torch.from_numpy(image.astype(np.float32))[None, None]
        ready = denoiser.to("cpu").ready[0]
        with torch.inference_mode():
            bare = _median(lambda d=ready, t=tensor: d(t))
        size = image.size / 1e6
        found[name] = size / whole
        rows.append([name, f"{size / whole:.2f}", f"{size / bare:.2f}", f"{bare / whole:.2f}"])
        verdicts.append((bare / whole >= 0.85, f"{name}: {bare / whole:.2f} of the network alone"))
    if given.peers:
        other = float(peer("predict", given.peers, pair)["megapixels_per_second"])
        rows.append(["CAREamics, 2D, tiles of 256x256", f"{other:.2f}", "", ""])
        ratio = found["2D"] / other
        verdicts.append((ratio >= 5, f"2D: {ratio:.1f} times CAREamics"))
    text = "Denoising in memory on the CPU, medians of three.\n\n" + table(
        ["", "Mpx/s", "network alone on a prepared image, Mpx/s", "share"], rows
    )
    return text, verdicts


def _median(work: Callable[[], object], times: int = 3) -> float:
    work()
    took = []
    for _ in range(times):
        began = time.monotonic()
        work()
        took.append(time.monotonic() - began)
    return median(took)


GROUPS = {
    "convolutions": ("convolution",),
    "norms": ("batch_norm",),
    "activations": ("leaky_relu",),
    "pooling, up-sampling, padding": ("max_pool", "upsample", "replication_pad"),
    "concatenation and copies": ("aten::cat", "pixel_", "aten::copy_", "aten::index"),
    "optimiser and averaging": ("_foreach", "addcmul", "addcdiv", "lerp"),
}


def profiled(given: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """Profile a training step, and compare its convolutions with the maximum of the machine."""
    folder = given.data / "fmd" / SCENE
    pair = Pair.open(folder / "capture_1.tif", folder / "capture_2.tif")
    settings = TrainingSettings(loss="l2", steps=10_000, device="cpu")
    run = prepare([pair], settings, measure_channels([pair]), 2)
    for _ in range(10):
        advance(run, 0.1)
    took = []
    for _ in range(30):
        began = time.monotonic()
        advance(run, 0.1)
        took.append(time.monotonic() - began)
    step = median(took)
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for _ in range(10):
            advance(run, 0.1)
    run.cache.close()
    events = record.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    shares, rest = {}, total
    for name, words in GROUPS.items():
        own = sum(
            event.self_cpu_time_total
            for event in events
            if any(word in event.key for word in words)
        )
        shares[name] = own / total
        rest -= own
    shares["the rest, Python included"] = rest / total
    side, count = settings.patch, 2 * settings.batch
    flops = 3 * 2 * _multiplications(CompactUNet(), side) * count
    ceiling = _ceiling()
    rows = [[name, f"{100 * share:.0f} %"] for name, share in shares.items()]
    text = (
        f"A training step takes {1000 * step:.0f} ms: {flops / step / 1e9:.0f} GFLOP/s in its "
        f"convolutions, against {ceiling / 1e9:.0f} GFLOP/s of a single 3x3 convolution, 32 to 32 "
        "features, forward and backward, with the same size and number type: "
        f"{100 * flops / step / ceiling:.0f} % of the maximum.\n\n"
        + table(["in a step", "share"], rows)
    )
    return text, []


def _multiplications(network: torch.nn.Module, side: int) -> float:
    """Count the multiplications of all convolutions in one pass over one patch."""
    counts: list[float] = []

    def count(module: torch.nn.Module, given: tuple, result: torch.Tensor) -> None:
        counts.append(module.weight[0].numel() * result[0].numel())  # type: ignore[index,operator]

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)  # type: ignore[arg-type]
    network.eval()(torch.zeros(1, 1, side, side))
    return sum(counts)


def _ceiling() -> float:
    """Measure the FLOP/s of a convolution at half the resolution of a batch, both directions."""
    convolution = torch.nn.Conv2d(32, 32, 3, padding=1).to(memory_format=torch.channels_last)
    images = torch.randn(32, 32, 32, 32).contiguous(memory_format=torch.channels_last)
    images.requires_grad_(True)

    half = computes_in_bfloat16(torch.device("cpu"))

    def work() -> None:
        for _ in range(20):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                features = convolution(images)
            features.sum().backward()

    return 20 * 3 * 2 * 9 * 32 * images.numel() / _median(work)


PARTS = {"race": race, "pace": pace, "profile": profiled}


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds fmd/")
    parser.add_argument("--peers", type=Path, help="environment made by scripts/peers")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=90, help="for each run")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    for name in given.only:
        text, verdicts = PARTS[name](given)
        page = "\n\n".join(part for part in (text, judged(verdicts), machine("cpu")) if part)
        print(page) if given.no_publish else publish(f"speed-{name}", page)


if __name__ == "__main__":
    main()
