"""How good are results of volumes and of movies, beside those computed plane by plane.

Volumes: train on two recordings of the sample volume and of two simulated ones (cubic voxels; a
thin stack with coarse planes), plane by plane and as a volume, and compare with the truth. Points:
the width of simulated points in the results along Z and along Y. Thin: the reported PSNR of stacks
of few planes beside the true one. Movies: one recording of a sample that moves at a known speed,
trained alone, plane by plane and with its neighbouring frames, beside its even and odd frames as a
pair. Choice: whether `--dims auto` chooses the better of the two, which get the same time. No
scene is of the kind that the pretrained weights were made with.
Usage: python benchmarks/volumes.py [--steps 100 400] [--only SECTION ...] [--no-publish]
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile
import torch
from report import Verdict, judged, machine, publish, table
from scipy.ndimage import gaussian_filter, shift

from napari_n2n import Acquisition, Denoiser, Pair, TrainingSettings, denoise, train
from napari_n2n.denoising.plan import make_plan
from napari_n2n.denoising.predictor import fitting_tile
from napari_n2n.denoising.tiles import rounded_up
from napari_n2n.noise.measure import measure_channels
from napari_n2n.stats.image_quality import psnr
from napari_n2n.training.dimensions import choose_dimensions

SAMPLES = Path(__file__).parents[1] / "sample_data"
GAIN, OFFSET, READ_NOISE = 2.0, 100.0, 2.0  # of the simulated camera: ADU/electron, ADU, electrons
SPEEDS = (0.0, 0.5, 1.0, 2.0, 4.0)  # pixels from frame to frame
THIN = (3, 5, 8, 12)  # planes
LARGE = (64, 512, 512)  # voxels of the volume whose tiles are counted
# Steps of planes in the time of a step of volumes: it has twice as many pixels, and each costs 1.3
# times as much.
SAME_TIME = 2.6
ROUND = 1.35  # largest number of voxels that may be computed for each voxel of the result


def cells(shape: tuple[int, int, int], step: float, seed: int) -> np.ndarray:
    """Simulate cells with membranes, nuclei and granules, in electrons.

    Parameters
    ----------
    shape
        Voxels along Z, Y and X.
    step
        Distance of the planes in pixels of a plane.
    seed
        Seed of the scene.
    """
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.arange(side) for side in shape), indexing="ij", sparse=True)
    image = np.full(shape, 2.0)
    depth = shape[0] * step
    for _ in range(max(6, round(np.prod(shape) * step / 60_000))):
        middle = rng.uniform(0, 1, 3) * (depth, *shape[1:])
        radius = rng.uniform(10, 22) * rng.uniform(0.8, 1.2, 3)
        away = [(z * step - middle[0]), (y - middle[1]), (x - middle[2])]
        level = np.sqrt(sum((one / size) ** 2 for one, size in zip(away, radius, strict=True)))
        image += 30 * np.exp(-(((level - 1) * radius.mean() / 1.2) ** 2)) + 6 * (level < 1)
        image += rng.uniform(5, 25) * (level < 0.45)
    granules = (rng.random(shape) < 1e-3) * rng.lognormal(0, 0.6, shape)
    image += 250 * gaussian_filter(granules, (0.8 / step, 0.8, 0.8))
    return gaussian_filter(image, (2.0 / step, 0.9, 0.9))


def recorded(electrons: np.ndarray, seed: int) -> np.ndarray:
    """Record a scene with photon and read noise, in ADU."""
    rng = np.random.default_rng((seed, 2))
    seen = rng.poisson(electrons) + rng.normal(0, READ_NOISE, electrons.shape)
    return (GAIN * seen + OFFSET).astype(np.float32)


def two_of(electrons: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two recordings and the truth, in ADU."""
    return recorded(electrons, 1), recorded(electrons, 2), GAIN * electrons + OFFSET


def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the recordings and the truth of the sample volume."""
    first, second, truth = (
        tifffile.imread(SAMPLES / f"volume_{name}.tif").astype(np.float32)
        for name in ("a", "b", "truth")
    )
    return first, second, truth


VOLUMES: dict[str, Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]] = {
    "sample volume": sample,
    "simulated, cubic voxels": lambda: two_of(cells((32, 128, 128), 1.0, 3)),
    "simulated, 9 planes, 4 times as far": lambda: two_of(cells((9, 192, 192), 4.0, 4)),
}


def trained(
    first: np.ndarray, second: np.ndarray | None, dims: int, steps: int, axes: str = "ZYX"
) -> tuple[Denoiser, Pair]:
    """Train on two recordings, or on one alone."""
    settings = TrainingSettings(dims=dims, steps=steps)
    alone = second is None
    pair = Pair.single(first, axes=axes) if alone else Pair.open(first, second, axes=axes)
    return train(pair, settings), pair


def volumes(lengths: list[int]) -> Iterator[tuple[list[list[object]], list[Verdict]]]:
    """Yield the rows of each volume, and whether volumes gain what they should."""
    for name, scene in VOLUMES.items():
        first, second, truth = scene()
        extent = float(np.ptp(truth))
        raw = psnr(truth, first, extent)
        rows: list[list[object]] = []
        found: dict[tuple[int, int], tuple[float, float]] = {}
        for steps in lengths:
            for dims in (2, 3):
                model, pair = trained(first, second, dims, steps)
                results = denoise(model, pair.first), denoise(model, *pair.acquisitions)
                found[dims, steps] = tuple(psnr(truth, one, extent) for one in results)  # type: ignore[assignment]
            scores = (found[dims, steps][k] for dims in (2, 3) for k in (0, 1))
            rows.append([name, steps, f"{raw:.2f}", *(f"{one:.2f}" for one in scores)])
            print(rows[-1], flush=True)
        last, early = lengths[-1], lengths[0]
        soon = found[3, early][0] - found[2, last][0]
        alone, both = (found[3, last][k] - found[2, last][k] for k in (0, 1))
        yield (
            rows,
            [
                (
                    soon >= 0,
                    f"{name}: as a volume after {early} steps {soon:+.2f} dB against plane by "
                    f"plane after {last}",
                ),
                (
                    min(alone, both) >= 0.5,
                    f"{name}: after {last} steps {alone:+.2f} dB (one recording), {both:+.2f} dB "
                    "(both), wanted +0.5",
                ),
            ],
        )


def width(profile: np.ndarray) -> float:
    """Return the full width at half maximum of a peak over its background, in pixels."""
    profile = profile - np.median(profile)
    peak = len(profile) // 2
    half = profile[peak - 1 : peak + 2].max() / 2
    ends = []
    for side in (profile[peak:], profile[peak::-1]):
        below = int(np.argmax(side < half))
        if below == 0:
            return float("nan")
        ends.append(below - 1 + (side[below - 1] - half) / (side[below - 1] - side[below]))
    return float(sum(ends))


def points(steps: int) -> tuple[list[list[object]], list[Verdict]]:
    """Measure the width of points in results; return rows and verdicts."""
    rng = np.random.default_rng(5)
    places = [(z, y, x) for z in (8, 24) for y in range(16, 128, 24) for x in range(16, 128, 24)]
    scene = np.full((32, 128, 128), 4.0)
    dots = np.zeros_like(scene)
    for place in places:
        dots[place] = rng.uniform(0.5, 2)
    scene += 4000 * gaussian_filter(dots, (2.2, 1.3, 1.3))
    first, second, truth = two_of(scene)
    rows: list[list[object]] = []
    widths = {}
    for name, dims in (("truth", 0), ("plane by plane", 2), ("as a volume", 3)):
        image = truth
        if dims:
            model, pair = trained(first, second, dims, steps)
            image = denoise(model, pair.first)
        around = [
            (width(image[z - 8 : z + 8 + 1, y, x]), width(image[z, y - 10 : y + 11, x]))
            for z, y, x in places
        ]
        widths[name] = np.nanmedian(around, axis=0)
        rows.append([name, *(f"{one:.2f}" for one in widths[name])])
        print(rows[-1], flush=True)
    off = widths["as a volume"] / widths["truth"] - 1
    words = f"points as a volume: {off[0]:+.1%} along Z, {off[1]:+.1%} along Y, wanted within 10 %"
    return rows, [(bool(np.all(np.abs(off) <= 0.1)), words)]


def thin(steps: int) -> tuple[list[list[object]], list[Verdict]]:
    """Train on stacks of few planes; return rows and verdicts."""
    rows: list[list[object]] = []
    verdicts = []
    for planes in THIN:
        first, second, truth = two_of(cells((planes, 96, 96), 3.0, 6))
        extent = float(np.ptp(truth))
        model, pair = trained(first, second, 3, steps)
        result = denoise(model, pair.first)
        bare = model.predict(first[None])[0]
        score, raw = psnr(truth, result, extent), psnr(truth, first, extent)
        plane, _ = trained(first, second, 2, steps)
        flat = psnr(truth, denoise(plane, pair.first), extent)
        off = float(np.abs(result - bare).max() / (result - truth).std())
        rows.append([planes, *(f"{one:.2f}" for one in (raw, flat, score)), f"{off:.1e}"])
        words = f"{planes} planes: {score - flat:+.2f} dB better as a volume"
        verdicts.append((score > flat and off < 0.01, words))
        print(rows[-1], flush=True)
    return rows, verdicts


def tiling() -> tuple[str, Verdict]:
    """Count the voxels that are computed for a large volume within 1 GB."""
    model, _ = trained(*two_of(cells((8, 64, 64), 3.0, 7))[:2], 3, 1)
    plan = make_plan(model, Acquisition.open(np.zeros(LARGE, np.uint8), axes="ZYX"))
    tile = fitting_tile(model, plan, torch.device("cpu"), 10**9)
    computed = 1.0
    for length, side, halo, stride in zip(
        LARGE, tile, model.receptive_field, model.stride, strict=True
    ):
        halo = rounded_up(halo, stride)
        starts = range(0, length, side)
        reads = (min(length, a + side + halo) - max(0, a - halo) for a in starts)
        computed *= sum(reads) / length
    words = f"{LARGE} voxels within 1 GB: {computed:.2f} computed for each, wanted {ROUND}"
    return f"Tiles of {tile} voxels.", (computed <= ROUND, words)


def movie(speed: float) -> np.ndarray:
    """Simulate a sample that moves at a speed in pixels from frame to frame, in electrons."""
    wide = cells((3, 128, 128), 3.0, 8)[1]
    heading = np.array((np.sin(0.5), np.cos(0.5)))
    return np.stack(
        [shift(wide, k * speed * heading, order=1, mode="grid-wrap") for k in range(24)]
    )


def movies(steps: int) -> tuple[list[list[object]], list[Verdict]]:
    """Train on one recording of moving samples; return rows and verdicts."""
    rows: list[list[object]] = []
    verdicts = []
    for speed in SPEEDS:
        electrons = movie(speed)
        noisy, truth = recorded(electrons, 1), GAIN * electrons + OFFSET
        extent = float(np.ptp(truth))
        planes, one = trained(noisy, None, 2, steps, "TYX")
        stack, _ = trained(noisy, None, 3, steps, "TYX")
        halves = Acquisition.open(noisy, axes="TYX").split("T")
        pair = Pair.open(*halves)
        split = train(pair, TrainingSettings(steps=steps))
        scores = [psnr(truth, noisy, extent)]
        scores += [psnr(truth, denoise(model, one.first), extent) for model in (planes, split)]
        scores.append(psnr(truth, denoise(stack, one.first), extent))
        rows.append([f"{speed:g}", *(f"{score:.2f}" for score in scores)])
        print(rows[-1], flush=True)
        gain = scores[3] - max(scores[1:3])
        words = f"{speed:g} pixels a frame: {gain:+.2f} dB better with its frames"
        verdicts.append((gain >= -0.05, words))
    return rows, verdicts


CHOICES: dict[str, tuple[Callable[[], np.ndarray], str]] = {
    **{
        f"cells, planes {step:g} pixels apart": (
            lambda step=step: cells((12, 128, 128), step, 10),  # type: ignore[misc]
            "ZYX",
        )
        for step in (1.0, 2.0, 2.5, 3.0, 4.0, 6.0)
    },
    "cells, a tenth of the light, 3 apart": (lambda: 0.1 * cells((12, 128, 128), 3.0, 11), "ZYX"),
    "planes with nothing in common": (
        lambda: np.concatenate([cells((1, 128, 128), 1.0, 20 + k) for k in range(12)]),
        "ZYX",
    ),
    **{
        f"movie, {speed:g} pixels a frame": (lambda speed=speed: movie(speed), "TYX")  # type: ignore[misc]
        for speed in SPEEDS
    },
}


def choice(lengths: list[int]) -> tuple[list[list[object]], list[Verdict]]:
    """Train pairs both ways in the same time; return rows and whether `auto` chooses well."""
    rows: list[list[object]] = []
    verdicts = []
    for name, (scene, axes) in CHOICES.items():
        first, second, truth = two_of(scene())
        extent = float(np.ptp(truth))
        pair = Pair.open(first, second, axes=axes)
        reports = measure_channels([pair])
        chosen = choose_dimensions(TrainingSettings(), [pair], reports).count
        scores, worst = [], 0.0
        for steps in lengths:
            found = {}
            for dims, count in ((2, round(SAME_TIME * steps)), (3, steps)):
                model, _ = trained(first, second, dims, count, axes)
                found[dims] = psnr(truth, denoise(model, pair.first), extent)
            scores += [found[2], found[3]]
            worst = max(worst, max(found.values()) - found[chosen])
        alike = reports[0].depth_correlation  # type: ignore[union-attr]
        numbers = (psnr(truth, first, extent), *scores)
        rows.append([name, f"{alike:.2f}", *(f"{one:.2f}" for one in numbers), f"{chosen}D"])
        print(rows[-1], flush=True)
        verdicts.append((worst <= 0.05, f"{name}: {chosen}D chosen, {worst:.2f} dB lost at most"))
    return rows, verdicts


def volumes_text(steps: list[int]) -> str:
    """Return the section about volumes."""
    rows: list[list[object]] = []
    verdicts: list[Verdict] = []
    for more, right in volumes(steps):
        rows += more
        verdicts += right
    words = (
        "PSNR in dB of one recording denoised, and of both averaged; 2D: plane by plane, "
        "3D: as a volume (`--dims 3`)."
    )
    header = ["volume", "steps", "raw", "2D, one", "2D, both", "3D, one", "3D, both"]
    return section(words, header, rows, verdicts)


def points_text(steps: list[int]) -> str:
    """Return the section about the width of points."""
    words = (
        f"Median width of 50 simulated points at half maximum, in voxels, after {steps[0]} steps."
    )
    return section(words, ["image", "along Z", "along Y"], *points(steps[0]))


def thin_text(steps: list[int]) -> str:
    """Return the section about stacks of few planes."""
    words = (
        f"Thin volumes of 96x96 pixels, {steps[0]} steps: PSNR in dB; the difference in standard "
        "deviations of the error."
    )
    header = ["planes", "raw", "2D", "3D", "largest difference from the bare network"]
    return section(words, header, *thin(steps[0]))


def tiles_text(steps: list[int]) -> str:
    """Return the section about tiles."""
    text, verdict = tiling()
    return f"{text}\n\n{judged([verdict])}"


def movies_text(steps: list[int]) -> str:
    """Return the section about movies."""
    words = f"One recording of a moving sample, 24 frames, {steps[0]} steps: PSNR in dB."
    header = ["pixels a frame", "raw", "alone, 2D", "even and odd frames, 2D", "alone, 3D"]
    return section(words, header, *movies(steps[0]))


def choice_text(steps: list[int]) -> str:
    """Return the section about `--dims auto`."""
    words = (
        "Pairs trained both ways in the same time: PSNR in dB of one recording, after "
        f"{' and '.join(map(str, steps))} steps as a volume and {SAME_TIME} times as many plane by "
        "plane. Correlation: of the scene in neighbouring planes, as measured."
    )
    scores = [f"{dims}D, {steps_}" for steps_ in steps for dims in (2, 3)]
    return section(words, ["scene", "correlation", "raw", *scores, "chosen"], *choice(steps))


def section(
    words: str, header: list[str], rows: list[list[object]], verdicts: list[Verdict]
) -> str:
    """Return a text with its table and its verdicts."""
    return f"{words}\n\n{table(header, rows)}\n\n{judged(verdicts)}"


SECTIONS = {
    "volumes": volumes_text,
    "points": points_text,
    "thin": thin_text,
    "tiles": tiles_text,
    "movies": movies_text,
    "choice": choice_text,
}


def main() -> None:
    """Measure the sections, and publish the table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    for name in given.only:
        text = f"{SECTIONS[name](given.steps)}\n\n{machine()}"
        print(text, flush=True) if given.no_publish else publish(f"volumes-{name}", text)


if __name__ == "__main__":
    main()
