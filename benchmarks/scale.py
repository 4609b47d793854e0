"""Stacks of any size: memory, streaming, kill -9, full disks, other readers.

Usage: python benchmarks/scale.py [--folder DIR] [--only NAME ...] [--sizes GB ...]
Simulated stacks are written to the folder (default: a temporary one) and deleted at the end. Memory
is measured in a separate process: its peak minus that of an idle process with torch imported.
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from report import machine, publish, table
from stopwatch import advance

SIDE = 2048  # pixels, of a camera's full frame
DISTINCT = 8  # planes that are simulated; the others of a stack are links to these
STEPS = 200  # of training
SECONDS = 60.0  # of denoising
MEMORY = 10**9  # bytes, the limit given to napari-n2n
KILLS = 10
ALLOWED = 0.4  # GB above the limit, which is for pixels: network and libraries come on top


# -- stacks ----------------------------------------------------------------------------------------


def planes(seed: int) -> Iterator[np.ndarray]:
    """Yield planes of a moving scene with camera noise; the scene does not depend on the seed."""
    from napari_n2n.simulate.additive import Camera

    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    scene = np.full((SIDE, SIDE), 20.0, np.float32)
    for _ in range(150):
        y, x, width, height = *rng.uniform(0, SIDE, 2), rng.uniform(4, 60), rng.uniform(20, 400)
        near = tuple(slice(max(0, int(at - 4 * width)), int(at + 4 * width)) for at in (y, x))
        distance = (rows[near] - y) ** 2 + (columns[near] - x) ** 2
        scene[near] += height * np.exp(-distance / (2 * width**2))
    for number in range(DISTINCT):
        noise = Camera(2.0, 4.0, 100.0)
        noisy = noise.apply(np.roll(scene, 60 * number, 1), np.random.default_rng((seed, number)))
        yield noisy.clip(0, 65535).astype(np.uint16)


def zarr_stack(path: Path, seed: int, count: int) -> Path:
    """Write a zarr of `count` planes; beyond the distinct ones, chunks are linked, not written."""
    import zarr

    array = zarr.create_array(
        path,
        shape=(count, SIDE, SIDE),
        chunks=(1, 512, 512),
        dtype="uint16",
        dimension_names=("t", "y", "x"),
    )
    for number, plane in enumerate(planes(seed)):
        array[number] = plane
    for number in range(DISTINCT, count):
        source = path / "c" / str(number % DISTINCT)
        shutil.copytree(source, path / "c" / str(number), copy_function=os.link)
    return path


def tiff_stack(path: Path, seed: int, count: int) -> Path:
    """Write a compressed TIFF of `count` planes."""
    import tifffile

    distinct = list(planes(seed))
    tifffile.imwrite(
        path,
        (distinct[number % DISTINCT] for number in range(count)),
        shape=(count, SIDE, SIDE),
        dtype=np.uint16,
        compression="zlib",
        compressionargs={"level": 1},
        bigtiff=True,
        metadata={"axes": "TYX"},
    )
    return path


def frames(gigabytes: float) -> int:
    """Return the number of planes in each stack, for a pair of this size."""
    return max(DISTINCT, round(gigabytes * 1e9 / 2 / (2 * SIDE * SIDE)))


# -- what runs in a separate process -------------------------------------------------------------


def peak() -> float:
    """Return the peak memory of this process, in GB (Linux).

    Not `resource.ru_maxrss`, which begins with the memory of the process that started this one.
    """
    (line,) = (one for one in Path("/proc/self/status").open() if one.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9


def opened(kind: str, path: Path) -> Any:
    """Open a stack as a user would."""
    from napari_n2n import Acquisition

    if kind != "dask":
        return Acquisition.open(path, axes="TYX")
    import dask.array as da

    # a graph with computations, as of many napari layers
    return Acquisition.open(da.from_zarr(path).astype(np.float32) * 0.5 + 10, axes="TYX")


def child_train(kind: str, a: str, b: str, steps: str) -> dict[str, float]:
    """Train; return the peak memory in GB."""
    import torch

    from napari_n2n import Pair, TrainingSettings, fit

    torch.zeros(1)
    idle = peak()
    pair = Pair.open(opened(kind, Path(a)), opened(kind, Path(b)))
    settings = TrainingSettings(steps=int(steps), memory=MEMORY, device="cpu", loss="l2")
    list(fit(pair, settings))
    return {"peak": peak() - idle}


def child_denoise(kind: str, model: str, a: str, out: str, seconds: str) -> dict[str, float]:
    """Denoise for some time; return the peak memory in GB, and the number of planes."""
    from napari_n2n.denoising.denoise import denoise_by_shards
    from napari_n2n.denoising.plan import make_plan
    from napari_n2n.model.denoiser import load

    denoiser = load(model)
    idle = peak()
    work = make_plan(denoiser, opened(kind, Path(a)))
    began, done = time.monotonic(), 0
    run = denoise_by_shards(denoiser, work, out, memory=MEMORY, device="cpu", overwrite=True)
    for step in run:
        done = step.done
        if time.monotonic() - began > float(seconds):
            break
    run.close()
    return {"peak": peak() - idle, "planes": done}


def child_resumable(a: str, b: str, model: str) -> dict[str, float]:
    """Train to the end, from the checkpoint of an earlier process that was killed."""
    from napari_n2n import Pair, TrainingSettings, train
    from napari_n2n.training import fit

    fit._CHECKPOINT_SECONDS = 1.0
    checkpoint = Path(model + ".checkpoint")
    settings = TrainingSettings(steps=150, batch=4, memory=MEMORY // 10, device="cpu", loss="l2")
    pair = Pair.open(a, b, axes="TYX")
    denoiser = train(pair, settings, checkpoint=checkpoint, resume=checkpoint.exists())
    denoiser.save(model)
    return {}


CHILDREN: dict[str, Callable[..., dict[str, float]]] = {
    "train": child_train,
    "denoise": child_denoise,
    "resumable": child_resumable,
}


def run_child(name: str, *words: Any) -> dict[str, float]:
    """Run a child in a separate process and return what it measured."""
    command = [sys.executable, __file__, "--child", name, *(str(word) for word in words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


# -- questions -----------------------------------------------------------------------------------


def memory(folder: Path, sizes: list[float]) -> str:
    """Measure whether memory depends on the size of the data."""
    rows, peaks = [], []
    stacks = [("zarr", size) for size in sizes] + [("tiff", 4.0), ("dask", 4.0)]
    for kind, size in stacks:
        make, ending = (tiff_stack, ".tif") if kind == "tiff" else (zarr_stack, ".zarr")
        count = frames(size)
        paths = [make(folder / f"{name}{ending}", seed, count) for seed, name in enumerate("ab")]
        trained = run_child("train", kind, *paths, STEPS)
        model = small_model(folder)
        denoised = run_child("denoise", kind, model, paths[0], folder / "out.ome.zarr", SECONDS)
        both = [trained["peak"], denoised["peak"]]
        peaks.append((kind, both))
        source = {"zarr": "zarr", "tiff": "TIFF, zlib", "dask": "dask graph"}[kind]
        rows.append([source, f"{size:g}", *(f"{one:.3f}" for one in both)])
        print(rows[-1], flush=True)
        clear(folder)
    limit = MEMORY / 1e9 + ALLOWED
    lines = [verdict(max(max(both) for _, both in peaks) < limit, f"all within {limit:g} GB")]
    for number, word in enumerate(("training", "denoising")):
        flat = [both[number] for kind, both in peaks if kind == "zarr"]
        ratio = max(flat) / min(flat)
        lines.append(verdict(ratio < 1.1, f"{word} zarr: largest / smallest peak {ratio:.3f}"))
    header = ["pair", "GB", "peak training, GB", "peak denoising, GB"]
    about = (
        f"--memory 1GB; {STEPS} steps of training, and the first {SECONDS:.0f} s of denoising A; "
        f"planes of {SIDE}x{SIDE}, uint16."
    )
    return f"{about}\n\n{table(header, rows)}\n\n" + "\n".join(lines)


def small_model(folder: Path) -> Path:
    """Train a model for a moment; what it is worth does not matter here."""
    from napari_n2n import Pair, TrainingSettings, train

    path = folder / "model.n2n"
    if not path.exists():
        a, b = (next(planes(seed))[:256, :256] for seed in (0, 1))
        train(Pair.open(a, b), TrainingSettings(steps=5, device="cpu")).save(path)
    return path


def speed(folder: Path, _: list[float]) -> str:
    """Measure how much reading and writing slow training and denoising down."""
    paths = [zarr_stack(folder / f"{name}.zarr", seed, 250) for seed, name in enumerate("ab")]
    streamed, cached = steps_per_second(paths)
    stream = statistics.median(a / b for a, b in zip(streamed, cached, strict=True))
    whole, bare = denoising_seconds(folder, paths[0])
    denoising = statistics.median(b / a for a, b in zip(whole, bare, strict=True))
    rows = [
        [
            "training: steps/s streaming 4.2 GB from zarr / all in memory",
            f"{statistics.median(streamed):.2f} / {statistics.median(cached):.2f}",
            f"{stream:.3f}",
        ],
        [
            "denoising: network alone on prepared tiles / whole pipeline, s for 6 planes",
            f"{statistics.median(bare):.2f} / {statistics.median(whole):.2f}",
            f"{denoising:.3f}",
        ],
    ]
    lines = [
        verdict(stream >= 0.95, f"streaming keeps {stream:.1%} of the steps"),
        verdict(
            denoising >= 0.85, f"denoising keeps {denoising:.1%} of the speed of the network alone"
        ),
    ]
    clear(folder)
    return table(["", "median", "ratio"], rows) + "\n\n" + "\n".join(lines)


def steps_per_second(paths: list[Path]) -> tuple[list[float], list[float]]:
    """Return repeated steps per second, streaming and from memory, taken in turns."""
    from napari_n2n import Pair, TrainingSettings
    from napari_n2n.noise.measure import measure_channels
    from napari_n2n.training.prepare import Parts, prepare

    def begun(memory: int) -> Parts:
        settings = TrainingSettings(loss="l2", steps=10**6, memory=memory, device="cpu")
        pair = Pair.open(*paths, axes="TYX")
        return prepare([pair], settings, measure_channels([pair]), 2)

    runs = [begun(MEMORY), begun(7 * 10**9)]
    runs[1].cache._load(1000)  # all blocks, before the clock starts
    rates: tuple[list[float], list[float]] = ([], [])
    for run in runs:
        timed(run, 150)
    for _ in range(5):
        for run, found in zip(runs, rates, strict=True):
            found.append(60 / timed(run, 60))
    for run in runs:
        run.cache.close()
    return rates


def timed(run: Any, steps: int) -> float:
    """Take steps; return the seconds."""
    began = time.perf_counter()
    for _ in range(steps):
        advance(run, 0.1)
    return time.perf_counter() - began


def denoising_seconds(folder: Path, path: Path) -> tuple[list[float], list[float]]:
    """Return seconds for some planes, of the pipeline and the network alone, alternately."""
    import torch

    from napari_n2n import Acquisition
    from napari_n2n.denoising.denoise import denoise_by_shards
    from napari_n2n.denoising.plan import make_plan
    from napari_n2n.denoising.predictor import Predictor
    from napari_n2n.model.denoiser import load

    denoiser, count = load(small_model(folder)), 6
    opened = Acquisition.open(path, axes="TYX")
    work = make_plan(denoiser, opened)
    engine = Predictor(denoiser, work, torch.device("cpu"), MEMORY)
    whole_plane = (slice(0, SIDE), slice(0, SIDE))
    ready = [
        torch.randn(1, 1, *(stop - start for start, stop in tile.read)).contiguous(
            memory_format=torch.channels_last
        )
        for tile in engine._tiles(whole_plane, (SIDE, SIDE))
    ]
    whole, bare = [], []
    for _ in range(5):
        began = time.perf_counter()
        with torch.inference_mode():
            for _ in range(count):
                for tile in ready:
                    engine.denoiser.ready[0](tile)
        bare.append(time.perf_counter() - began)
        run = denoise_by_shards(
            denoiser, work, folder / "out.ome.zarr", memory=MEMORY, device="cpu", overwrite=True
        )
        began = time.perf_counter()
        for _ in islice(run, count):
            pass
        whole.append(time.perf_counter() - began)
        run.close()
    return whole, bare


def overlap(folder: Path, _: list[float]) -> str:
    """Count the pixels that are computed for each one that is needed."""
    import torch

    from napari_n2n import Acquisition
    from napari_n2n.denoising.plan import make_plan
    from napari_n2n.denoising.predictor import Predictor
    from napari_n2n.model.denoiser import Denoiser, load
    from napari_n2n.model.network import CompactUNet

    denoiser = load(small_model(folder))
    rows = []
    flat = Acquisition.open(np.zeros((SIDE, SIDE), np.uint16))
    ours = 0.0
    for sides in (None, (256, 256), (512, 512), (1024, 1024), (1024, 2048), (2048, 2048)):
        engine = Predictor(
            denoiser, make_plan(denoiser, flat), torch.device("cpu"), MEMORY, tile=sides
        )
        part = (slice(0, SIDE), slice(0, SIDE))
        ratio = computed(engine, part, (SIDE, SIDE)) / SIDE**2
        if sides is None:
            ours = ratio
        rows.append(["2D", f"{SIDE}x{SIDE}", by(engine.tile, sides is None), f"{ratio:.3f}"])
    shape = (64, 512, 512)
    network = CompactUNet(1, 24, 1, dims=3, flat=1)
    denoiser = Denoiser((network,), {}, denoiser.scales)
    volume = Acquisition.open(np.zeros(shape, np.uint16), axes="ZYX")
    for sides in (None, (32, 128, 128), (64, 256, 256)):
        engine = Predictor(
            denoiser, make_plan(denoiser, volume), torch.device("cpu"), MEMORY, tile=sides
        )
        part = tuple(slice(0, length) for length in shape)
        ratio = computed(engine, part, shape) / np.prod(shape)
        rows.append(["3D", by(shape, False), by(engine.tile, sides is None), f"{ratio:.3f}"])
    text = table(["network", "image", "tile", "pixels computed / needed"], rows)
    return f"{text}\n\n{verdict(ours <= 1.15, f'{ours:.3f} on a {SIDE}x{SIDE} plane')}"


def computed(engine: Any, part: tuple[slice, ...], shape: tuple[int, ...]) -> float:
    """Return the pixels that an engine's tiles compute."""
    return sum(
        float(np.prod([stop - start for start, stop in tile.read]))
        for tile in engine._tiles(part, shape)
    )


def by(sides: tuple[int, ...], chosen: bool) -> str:
    """Write sides as in 64x512x512."""
    return "x".join(str(side) for side in sides) + (" (chosen for 1 GB)" if chosen else "")


def kills(folder: Path, _: list[float]) -> str:
    """Check that a run that is killed, or meets a full disk, ends with the same bytes."""
    from safetensors.numpy import load_file

    chance = random.Random(1)
    a, b = (zarr_stack(folder / f"{name}.zarr", seed, 24) for seed, name in enumerate("ab"))
    run_child("resumable", a, b, folder / "whole.n2n")
    command = [sys.executable, __file__, "--child", "resumable", str(a), str(b)]
    died = killed([*command, str(folder / "killed.n2n")], folder / "killed.n2n", chance, [])
    whole, again = (load_file(folder / f"{name}.n2n") for name in ("whole", "killed"))
    same = all(np.array_equal(whole[name], again[name]) for name in whole)
    rows = [["training, 150 steps", died, "same weights" if same else "DIFFERENT weights"]]
    lines = [verdict(same and died == KILLS, f"training survives kill -9, {died} times")]

    command = [sys.executable, "-c", "from napari_n2n.cli import main; main()", "denoise"]
    command += [str(small_model(folder)), str(a), "--device", "cpu", "-o"]
    subprocess.run([*command, str(folder / "whole.ome.zarr")], check=True, capture_output=True)
    out = folder / "killed.ome.zarr"
    died = killed([*command, str(out)], out, chance, ["--resume"])
    same = bytes_of(folder / "whole.ome.zarr") == bytes_of(out)
    rows.append(["denoising, 24 planes", died, "same bytes" if same else "DIFFERENT bytes"])
    lines.append(verdict(same and died == KILLS, f"denoising survives kill -9, {died} times"))

    with small_disk(folder / "disk", 150) as disk:
        if disk is None:
            lines.append("- not run: a full disk (mounting a small one needs root)")
        else:
            out = disk / "out.ome.zarr"
            full = subprocess.run([*command, str(out)], capture_output=True, text=True)
            said = full.stderr.strip().splitlines()[-1]
            subprocess.run(["mount", "-o", "remount,size=2000m", str(disk)], check=True)
            subprocess.run([*command, str(out), "--resume"], check=True, capture_output=True)
            same = bytes_of(folder / "whole.ome.zarr") == bytes_of(out)
            rows.append(
                ["denoising, disk of 150 MB", 1, "same bytes" if same else "DIFFERENT bytes"]
            )
            good = same and full.returncode == 2
            lines.append(verdict(good, f"a full disk is survived; the message was '{said[:80]}'"))
    clear(folder)
    return table(["", "killed", "in the end"], rows) + "\n\n" + "\n".join(lines)


def killed(command: list[str], out: Path, chance: random.Random, resume: list[str]) -> int:
    """Kill a command at random moments until it has been killed ten times, then let it end."""
    from napari_n2n.io.crash_safe import journal_path

    died = 0
    while died < KILLS:
        going = [*command, *(resume if journal_path(out).exists() else [])]
        run = subprocess.Popen(going, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            run.wait(chance.uniform(4, 9))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.wait()
            died += 1
            continue
        if died < KILLS and out.exists():  # finished before all kills: start again
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    subprocess.run(
        [*command, *(resume if journal_path(out).exists() else [])], check=True, capture_output=True
    )
    return died


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[Path | None]:
    """Mount a small file system in memory; None without the permission to mount."""
    path.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    mounted = subprocess.run(options, capture_output=True).returncode == 0
    try:
        yield path if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(path)], check=True)
        path.rmdir()


def reading(folder: Path, _: list[float]) -> str:
    """Check that other software reads the result, with its scale, axes and values."""
    import zarr
    from napari.plugins.io import read_data_with_plugins
    from npe2 import PluginManager
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader
    from ome_zarr_models.v05 import Image

    from napari_n2n import Acquisition, denoise
    from napari_n2n.model.denoiser import load

    stack = np.stack([next(planes(seed))[:700, :600] for seed in range(3)])
    source = zarr.create_array(
        folder / "s.zarr", shape=stack.shape, chunks=(1, 256, 256), dtype="uint16"
    )
    source[:] = stack
    denoiser = load(small_model(folder))
    from dataclasses import replace

    opened = Acquisition.open(folder / "s.zarr", axes="ZYX")
    opened = replace(opened, scale=(2.0, 0.25, 0.2), units=("micrometer",) * 3)
    out = denoise(denoiser, opened, out=folder / "out.ome.zarr", device="cpu")
    values = denoise(denoiser, opened, device="cpu")
    rows = []
    node = next(iter(Reader(parse_url(out))()))
    level = np.asarray(node.data[0])
    ours = [axis["name"] for axis in node.metadata["axes"]] == ["z", "y", "x"]
    steps = node.metadata["coordinateTransformations"][0][0]["scale"] == [2.0, 0.25, 0.2]
    close = np.allclose(level, values, rtol=1e-4)
    rows.append(["ome-zarr-py", ours and steps and close])
    model = Image.from_zarr(zarr.open_group(out, mode="r"))
    rows.append(
        [
            "ome-zarr-models",
            [axis.name for axis in model.ome_attributes.multiscales[0].axes] == ["z", "y", "x"],
        ]
    )
    PluginManager.instance().discover()
    layers, _ = read_data_with_plugins([str(out)], stack=False)
    data = layers[0][0]
    first = np.asarray(data[0] if isinstance(data, list) else data)
    fits = first.shape == values.shape and np.allclose(first, values, rtol=1e-4)
    rows.append(["napari's own reader (values; it reads no scale)", fits])
    clear(folder)
    lines = [verdict(all(fine for _, fine in rows), "all read axes, scale and values right")]
    shown = [[words, "right" if fine else "WRONG"] for words, fine in rows]
    return table(["reader", "axes, scale, values"], shown) + "\n\n" + "\n".join(lines)


def verdict(fine: bool, words: str) -> str:
    """Format a verdict as an item of a markdown list."""
    return f"- {'pass' if fine else 'FAIL'}: {words}"


def clear(folder: Path) -> None:
    """Delete everything in the folder."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


QUESTIONS: dict[str, Callable[[Path, list[float]], str]] = {
    "memory": memory,
    "speed": speed,
    "overlap": overlap,
    "kills": kills,
    "reading": reading,
}


def main() -> None:
    """Answer the questions and publish the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="for the stacks")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--sizes", nargs="+", type=float, default=[1.0, 4.0, 16.0], help="GB")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    # Results hold the date: their bytes are compared.
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    if given.child:
        name, *words = given.child
        print(json.dumps(CHILDREN[name](*words)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="napari-n2n-scale-") as name:
        for question in given.only:
            answer = QUESTIONS[question](Path(name), given.sizes)
            libraries = ("numpy", "zarr", "tifffile", "dask")
            page = f"{answer}\n\n{machine(libraries=libraries)}"
            print(page, flush=True) if given.no_publish else publish(f"scale-{question}", page)


if __name__ == "__main__":
    main()
