"""Hostile cases: files that were damaged at random."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench import (
    MODEL,
    TRAIN,
    Bench,
    Case,
    Result,
    interrupted,
    judge_denoised,
    judge_split,
    random,
)
from damage import FORMATS, Format, damage, movie

_DENOISED = ("out.tif", "out.ome.zarr")


def recording(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Damage a recording, and give it to one of the commands."""
    rng = random(seed, "recording", number)
    name = list(FORMATS)[number % len(FORMATS)]
    kind = FORMATS[name]
    store = f"recording {name}".replace(",", "").replace(" ", "_")
    if not (bench.stored / store).exists():
        bench.fresh()
        bench.must(lambda: kind.write(Path(kind.file), movie()))
        bench.store(store)
    path = bench.fresh(store) / kind.file
    done = damage(rng, path)
    case = _case(rng, kind)
    case.what = f"{name}: {done}: {' '.join(case.words)}"
    return case.what, bench.run(case)


def _case(rng: np.random.Generator, kind: Format) -> Case:
    axes = ["--axes", kind.axes] if kind.axes else []
    stem = kind.file.split(".")[0]

    def held() -> np.ndarray | None:
        frames = kind.held(Path(kind.file))
        if frames is not None and kind.counted and len(frames) != len(movie()):
            return None
        return frames

    def some() -> list[np.ndarray]:
        return kind.some(Path(kind.file))

    choice, names = rng.random(), (kind.file, stem)
    if choice < 0.45:
        halves = [f"half/{stem}_{half}.tif" for half in ("even", "odd")]
        words = ["split", kind.file, "--axis", "T", "-o", "half", *axes]
        return Case("", words, lambda: judge_split(held, halves, some), names, ("half",))
    if choice < 0.85:
        out = _DENOISED[int(rng.integers(2))]
        words = ["denoise", MODEL, kind.file, "-o", out, *axes]
        return Case("", words, lambda: judge_denoised(out, held, some), names, (out,))
    if choice < 0.93:
        words = ["inspect", kind.file, "b.tif", "--json", "--axes", "TYX"]
        return Case("", words, lambda: "", (*names, "b"), ())
    words = ["train", kind.file, "b.tif", "-o", "new.n2n", "--axes", "TYX", *TRAIN]
    return Case("", words, lambda: _judge_trained(held), (*names, "b"), ("new.n2n",))


def _judge_trained(held: Callable[[], np.ndarray | None]) -> str:
    """Compare a model with that of the undamaged movie, or of the pixels that a file now holds."""
    import napari_n2n as n2n

    settings = n2n.TrainingSettings(steps=12, patch=32, batch=2, start="cold", loss="l2")
    found = n2n.load("new.n2n").fingerprint()
    for frames in (movie(), held()):
        if frames is not None:
            pair = n2n.Pair.open(frames, "b.tif", axes="TYX")
            if n2n.train(pair, settings).fingerprint() == found:
                return ""
    return "another model than that of the pixels that the input holds"


def model(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Damage a model, and denoise with it."""
    rng = random(seed, "model", number)
    path = bench.fresh("model") if (bench.stored / "model").exists() else _with_movie(bench)
    done = damage(rng, path / MODEL)
    out = _DENOISED[number % 2]
    case = Case(
        f"model: {done}",
        ["denoise", MODEL, "movie.tif", "-o", out],
        lambda: judge_denoised_with(out),
        (MODEL,),
        (out,),
    )
    return case.what, bench.run(case)


def judge_denoised_with(out: str) -> str:
    """Compare a result with that of the undamaged model."""
    return judge_denoised(out, lambda: None).replace("input", "model")


def _with_movie(bench: Bench) -> Path:
    bench.fresh()
    bench.must(lambda: FORMATS["TIFF, LZW"].write(Path("movie.tif"), movie()))
    bench.store("model")
    return bench.case


def journal(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Damage what an interrupted denoising left, and resume it."""
    rng = random(seed, "journal", number)
    out = _DENOISED[number % 2]
    words = ["denoise", MODEL, "movie.tif", "-o", out]
    store = f"journal {out}"
    if not (bench.stored / store).exists():
        from napari_n2n.io.crash_safe import Journal

        _with_movie(bench) if not (bench.stored / "model").exists() else bench.fresh("model")
        bench.must(interrupted(words, Journal, "add", 3))
        bench.store(store)
    return _resumed(bench, rng, store, words, lambda: judge_denoised(out), "journal")


def checkpoint(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Damage what an interrupted training left, and resume it."""
    rng = random(seed, "checkpoint", number)
    words = ["train", "a.tif", "b.tif", "-o", "new.n2n", *TRAIN]
    store = "checkpoint"
    if not (bench.stored / store).exists():
        from napari_n2n.training import fit

        fit._FIRST_CHECKPOINT_SECONDS = 0.0  # six steps take less than usual
        bench.fresh()
        bench.must(interrupted(words, fit, "take_step", 6))
        bench.store(store)
    return _resumed(bench, rng, store, words, _judge_resumed_training, "checkpoint")


def _judge_resumed_training() -> str:
    import napari_n2n as n2n

    same = n2n.load("new.n2n").fingerprint() == n2n.load(MODEL).fingerprint()
    return "" if same else "another model than that of an undisturbed run"


def _resumed(
    bench: Bench,
    rng: np.random.Generator,
    store: str,
    words: list[str],
    judge: Callable[[], str],
    kind: str,
) -> tuple[str, Result]:
    """Damage one of the files that an interrupted run left, and run its command with --resume."""
    case = bench.fresh(store)
    known = {path.relative_to(bench.stored / "base") for path in (bench.stored / "base").rglob("*")}
    left = [
        path
        for path in sorted(case.rglob("*"))
        if path.is_file() and path.relative_to(case) not in known and path.name != "movie.tif"
    ]
    path = left[int(rng.integers(len(left)))] if rng.random() < 0.6 else _of_kind(left, kind)
    name = path.relative_to(case)
    done = "removed"
    if rng.random() < 0.06:
        path.unlink()
    else:
        done = damage(rng, path)
    outputs = tuple(str(one.relative_to(case)) for one in left) + _DENOISED + ("new.n2n", ".")
    command = [*words, "--resume"]
    new = Case(f"{name}: {done}: {' '.join(command)}", command, judge, (), outputs)
    return new.what, bench.run(new)


def _of_kind(paths: list[Path], kind: str) -> Path:
    return next((path for path in paths if kind in path.name), paths[0])


KINDS = {
    "recordings": (recording, 1400),
    "models": (model, 200),
    "journals": (journal, 250),
    "checkpoints": (checkpoint, 150),
}
