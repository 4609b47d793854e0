"""Hostile cases: options, terminals, and outputs that are inputs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from bench import MODEL, TRAIN, Bench, Case, Result, with_movie
from damage import movie
from sandbox import interpreter

_INSPECT = ["inspect", "a.tif", "b.tif", "--axes", "TYX"]
_TERMINALS: dict[str, tuple[list[str], str, dict[str, str], tuple[int, ...]]] = {
    "ASCII": (_INSPECT, "", {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}, (0,)),
    "LANG=C": (
        _INSPECT,
        "",
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        (0,),
    ),
    "Latin-1": (
        ["train", "a.tif", "b.tif", "-o", "new.n2n", *TRAIN],
        "",
        {"PYTHONIOENCODING": "latin-1"},
        (0,),
    ),
    "train in ASCII": (
        ["train", "a.tif", "b.tif", "-o", "new.n2n", *TRAIN],
        "",
        {"PYTHONIOENCODING": "ascii"},
        (0,),
    ),
    "error in ASCII": (["inspect", "µ.tif", "b.tif"], "", {"PYTHONIOENCODING": "ascii"}, (2,)),
    "| head -1": (_INSPECT, "| head -1", {}, (0, 141)),
    "| true": (_INSPECT, "| true", {}, (0, 141)),
    "--json | true": ([*_INSPECT, "--json"], "| true", {}, (0, 141)),
    "2>&1 | true": (["denoise", MODEL, "a.tif", "-o", "o.tif"], "2>&1 | true", {}, (0, 2, 141)),
    "no stdout": (_INSPECT, ">&-", {}, (0, 2, 141)),
    "no stderr": (["denoise", MODEL, "a.tif", "-o", "o.tif"], "2>&-", {}, (0,)),
    "no stderr, bad input": (["denoise", MODEL, "x.tif", "-o", "o.tif"], "2>&-", {}, (2,)),
    "nothing open": (["denoise", MODEL, "a.tif", "-o", "o.tif"], "<&- >&- 2>&-", {}, (0,)),
    "stdout full": (_INSPECT, ">/dev/full", {}, (2,)),
    "stderr full": (["denoise", MODEL, "a.tif", "-o", "o.tif"], "2>/dev/full", {}, (0, 2)),
    "20 columns": (_INSPECT, "", {"COLUMNS": "20"}, (0,)),
    "no home": (_INSPECT, "", {"HOME": "/nonexistent"}, (0,)),
    "no temporary folder": (_INSPECT, "", {"TMPDIR": "/nonexistent"}, (0,)),
    "--help | head": (["--help"], "| head -1", {}, (0, 141)),
    "train --help in ASCII": (["train", "--help"], "", {"PYTHONIOENCODING": "ascii"}, (0,)),
}


def terminal(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Run a command in a terminal that cannot show everything, or is closed."""
    name, (words, shell, environment, statuses) = list(_TERMINALS.items())[number]
    bench.fresh()
    run = interpreter(words, bench.case, shell, **environment)
    what = f"{name}: {' '.join(words)} {shell}"
    if run.limit:
        return what, Result("hang", "", run)
    noisy = any(word in run.err for word in ("Traceback", "Exception ignored", "Broken pipe"))
    if run.status not in statuses or noisy:
        return what, Result("unclear", f"exit status {run.status}", run)
    return what, Result("refused" if run.status == 2 else "right", "", run)


# ---------------------------------------------------------------------------------- outputs


def _overwriting() -> dict[str, tuple[Callable[[], object], list[str]]]:
    """Return what is prepared, and a command whose output is one of its inputs."""

    def zarr_input() -> None:
        import zarr

        group = zarr.open_group("a.ome.zarr", mode="w")
        array = group.create_array("0", shape=movie().shape, dtype="uint16", chunks=(1, 48, 40))
        array[...] = movie()
        axes = [{"name": "t", "type": "time"}, *({"name": n, "type": "space"} for n in "yx")]
        scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
        datasets = [{"path": "0", "coordinateTransformations": scale}]
        group.attrs["ome"] = {
            "version": "0.5",
            "multiscales": [{"axes": axes, "datasets": datasets}],
        }

    def model_inside() -> None:
        zarr_input()
        shutil.copy(MODEL, "a.ome.zarr/m.n2n")

    def halves() -> None:
        shutil.copy("movie.tif", "movie_even.tif")
        shutil.copy("movie.tif", "x_even.tif")
        shutil.copy("movie.tif", "x.tif")
        os.symlink("x.tif", "x_odd.tif")

    def named(ending: str) -> Callable[[], object]:
        return lambda: shutil.copy("a.tif", f"out.tif{ending}")

    nothing: Callable[[], object] = lambda: None  # noqa: E731
    denoise, axes = ["denoise", MODEL], ["--overwrite", "--axes", "TYX"]
    return {
        "the same name": (nothing, [*denoise, "a.tif", "-o", "a.tif", *axes]),
        "./": (nothing, [*denoise, "a.tif", "-o", "./a.tif", *axes]),
        "..": (nothing, [*denoise, "a.tif", "-o", "films/../a.tif", *axes]),
        "absolute": (nothing, [*denoise, "a.tif", "-o", "$PWD/a.tif", *axes]),
        "a link to the input": (
            lambda: os.symlink("a.tif", "link.tif"),
            [*denoise, "a.tif", "-o", "link.tif", *axes],
        ),
        "the input is a link": (
            lambda: os.symlink("a.tif", "link.tif"),
            [*denoise, "link.tif", "-o", "a.tif", *axes],
        ),
        "a hard link": (
            lambda: os.link("a.tif", "hard.tif"),
            [*denoise, "a.tif", "-o", "hard.tif", *axes],
        ),
        "a linked folder": (
            lambda: os.symlink(".", "here"),
            [*denoise, "a.tif", "-o", "here/a.tif", *axes],
        ),
        "the second input": (nothing, [*denoise, "a.tif", "b.tif", "-o", "b.tif", *axes]),
        "a zarr": (zarr_input, [*denoise, "a.ome.zarr", "-o", "a.ome.zarr", "--overwrite"]),
        "a zarr with /": (zarr_input, [*denoise, "a.ome.zarr/", "-o", "a.ome.zarr", "--overwrite"]),
        "a level of a zarr": (zarr_input, [*denoise, "a.ome.zarr/0", "-o", "a.ome.zarr", *axes]),
        "inside a zarr": (zarr_input, [*denoise, "a.ome.zarr", "-o", "a.ome.zarr/out.ome.zarr"]),
        "TIFF inside a zarr": (zarr_input, [*denoise, "a.ome.zarr", "-o", "a.ome.zarr/0/out.tif"]),
        "the model in the output": (
            model_inside,
            ["denoise", "a.ome.zarr/m.n2n", "a.tif", "-o", "a.ome.zarr", *axes],
        ),
        "named as a partial result": (
            named(".partial"),
            [*denoise, "out.tif.partial", "-o", "out.tif", *axes],
        ),
        "folders": (nothing, [*denoise, "films", "-o", "films", "--overwrite"]),
        "linked folders": (
            lambda: os.symlink("films", "movies"),
            [*denoise, "films", "-o", "movies", "--overwrite"],
        ),
        "a folder in the folder": (nothing, [*denoise, "films", "-o", "films/out", "--overwrite"]),
        "results linked to inputs": (
            lambda: (os.mkdir("out"), os.link("films/film.tif", "out/film.tif")),
            [*denoise, "films", "-o", "out", "--overwrite"],
        ),
        "split": (halves, ["split", "x.tif", "--axis", "T", "-o", ".", "--overwrite"]),
        "train over an input": (
            lambda: os.link("a.tif", "in.n2n"),
            ["train", "a.tif", "b.tif", "-o", "in.n2n", "--overwrite", *TRAIN],
        ),
        "simulate": (
            lambda: os.link("movie.tif", "movie_a.tif"),
            ["simulate", "movie.tif", "--noise", "gaussian:5", "-o", ".", "--overwrite"],
        ),
        "a plot over an input": (
            lambda: os.link("a.tif", "a.png"),
            ["inspect", "a.tif", "b.tif", "--plot", "a.png", "--axes", "TYX"],
        ),
    }


def overwriting(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Name an input as the output, in many spellings, and let it be overwritten."""
    name, (prepare, words) = list(_overwriting().items())[number]
    with_movie(bench)
    bench.must(prepare)
    words = [word.replace("$PWD", str(bench.case)) for word in words]
    inside = "inside" in name or "in the output" in name
    judge = lambda: "the output is inside an input" if inside else ""  # noqa: E731
    case = Case(f"{name}: {' '.join(words)}", words, judge)
    # Replacing a hard link is right: the input keeps its content.
    if "hard" in words or (words[-1] == "--overwrite" and name == "results linked to inputs"):
        case.outputs = ("hard.tif", "out/film.tif")
    case.outputs = (*case.outputs, "movie_b.tif", "x_even.tif", "films/out")
    result = bench.run(case)
    return case.what, result


# Option values that cannot be meant, for commands that work without them.
_TRAINING_OPTIONS: tuple[tuple[str, ...], ...] = (
    ("--patch", "1000000000"),
    ("--patch", "-1"),
    ("--patch", "nan"),
    ("--batch", "1000000000"),
    ("--batch", "0"),
    ("--memory", "-5"),
    ("--memory", "0"),
    ("--memory", "1e30"),
    ("--memory", "nan"),
    ("--memory", "5 parsecs"),
    ("--memory", "1"),
    ("--minutes", "nan"),
    ("--minutes", "inf"),
    ("--minutes", "-1"),
    ("--steps", "0"),
    ("--steps", "99999999999999999999"),
    ("--steps", "1.5"),
    ("--learning-rate", "inf"),
    ("--learning-rate", "nan"),
    ("--learning-rate", "0"),
    ("--learning-rate", "-1"),
    ("--learning-rate", "1e300"),
    ("--averaging", "nan"),
    ("--averaging", "1"),
    ("--seed", "-1"),
    ("--seed", "99999999999999999999999"),
    ("--device", "cuda"),
    ("--device", "cuda:7"),
    ("--device", "quantum"),
    ("--loss", "l7"),
    ("--dims", "4"),
    ("--dims", "3"),
    ("--axes", "QQQ"),
    ("--axes", ""),
    ("--axes", "T" * 1000),
    ("--split", "Z"),
    ("--split", ""),
    ("+",),
    ("+", "a.tif"),
    ("",),
)
_OPTIONS: tuple[tuple[str, ...], ...] = (
    *(("train", "a.tif", "b.tif", "-o", "new.n2n", *words) for words in _TRAINING_OPTIONS),
    ("train", "a.tif", "a.tif", "-o", "new.n2n"),
    ("train", "a.tif", "-o", "new.n2n"),
    ("train", "a.tif", "b.tif", "-o", "new.txt"),
    ("train", "a.tif", "b.tif", "-o", ""),
    ("train", "a.tif", "b.tif", "-o", f"{'n' * 250}.n2n"),
    ("train", "a.tif", "b.tif", "-o", "a.tif/new.n2n"),
    ("train", "a.tif", "b.tif", "-o", "/proc/new.n2n"),
    ("denoise", MODEL, "a.tif", "-o", ""),
    ("denoise", MODEL, "a.tif", "-o", "."),
    ("denoise", MODEL, "a.tif", "-o", f"{'n' * 250}.tif"),
    ("denoise", MODEL, "a.tif", "-o", f"{'n' * 240}.ome.zarr"),
    ("denoise", MODEL, "a.tif", "-o", "a.tif/out.tif"),
    ("denoise", MODEL, "a.tif", "-o", "/proc/out.tif"),
    ("denoise", MODEL, "a.tif", "-o", "/dev/full.tif/out.tif"),
    ("denoise", MODEL, "a.tif", "-o", "out.tif", "--memory", "1"),
    ("denoise", MODEL, "a.tif", "-o", "out.tif", "--scheduler", "tcp://127.0.0.1:9"),
    ("denoise", MODEL, "a.tif", "-o", "out.tif", "--scheduler", "nonsense"),
    ("denoise", MODEL, "a.tif", "-o", "out.tif", "--axes", "CYX"),
    ("denoise", "a.tif", MODEL, "-o", "out.tif"),
    ("denoise", MODEL, "-o", "out.tif"),
    ("denoise", MODEL, "empty", "-o", "out"),
    ("split", "a.tif", "--axis", "Q", "-o", "half"),
    ("split", "a.tif", "--axis", "", "-o", "half"),
    ("split", "a.tif", "--axis", "X", "-o", "half"),
    ("split", "a.tif", "-o", "a.tif"),
    ("simulate", "a.tif", "--noise", "gaussian:nan", "-o", "noisy"),
    ("simulate", "a.tif", "--noise", "gaussian:-5", "-o", "noisy"),
    ("simulate", "a.tif", "--noise", "gaussian:1e300", "-o", "noisy"),
    ("simulate", "a.tif", "--noise", "poisson:0", "-o", "noisy"),
    ("simulate", "a.tif", "--noise", "impulse:7", "-o", "noisy"),
    ("simulate", "a.tif", "--noise", "brown:25:1e9", "-o", "noisy"),
    ("simulate", "a.tif", "--noise", ":::", "-o", "noisy"),
    ("simulate", "a.tif", "--noise", "", "-o", "noisy"),
    ("score", "a.tif", "--against", "a.tif"),
    ("score", MODEL, "--against", "b.tif"),
    ("score", "a.tif", "--against", "b.tif", "--truth", MODEL),
    ("inspect", "a.tif", "b.tif", "--plot", "/nowhere/plot.png"),
    ("inspect", "a.tif", "b.tif", "--plot", "/proc/plot.png"),
    ("inspect", "a.tif", "b.tif", "--plot", "."),
    ("inspect", "a.tif"),
    ("inspect",),
    ("brew",),
)


def option(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Give a value that cannot be meant; if it is accepted, it must not break the result."""
    words = list(_OPTIONS[number])
    (bench.fresh() / "empty").mkdir()
    if words[0] == "train":
        given = {word for word in words if word.startswith("--")}
        pairs = list(zip(TRAIN[::2], TRAIN[1::2], strict=True))
        words += [word for pair in pairs if pair[0] not in given for word in pair]
    outputs = ("new.n2n", "out", "half", "noisy", "n")
    case = Case(" ".join(words)[:150], words, _readable, (), outputs)
    return case.what, bench.run(case)


def _readable() -> str:
    """Check that whatever was written can be read, and is finite."""
    import napari_n2n as n2n

    if Path("new.n2n").exists():
        weights = n2n.load("new.n2n")._tensors().values()
        return "" if all(bool(one.isfinite().all()) for one in weights) else "weights not finite"
    for path in Path(".").rglob("*.tif"):
        if path.name not in ("a.tif", "b.tif") and not np.isfinite(tifffile.imread(path)).all():
            return f"{path} is not finite"
    return ""


KINDS = {
    "options": (option, len(_OPTIONS)),
    "terminals": (terminal, len(_TERMINALS)),
    "overwriting": (overwriting, len(_overwriting())),
}
