"""Hostile cases: signals, two processes at once, full disks, and the files of the user."""

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tifffile
from bench import (
    MODEL,
    TRAIN,
    Bench,
    Case,
    Result,
    judge_denoised,
    judge_split,
    random,
    result_of,
    with_movie,
)
from damage import movie
from sandbox import SECONDS, Child, Run, command, contents, small_disk

# Long enough that a signal meets every part of a run: about 1 s on one core.
LONG_FRAMES, LONG_SIDE, LONG_STEPS = 24, 128, "150"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LONG_TRAIN = [*TRAIN[:1], LONG_STEPS, *TRAIN[2:]]


def _write_long() -> None:
    rng = np.random.default_rng(3)
    shape = (LONG_FRAMES, LONG_SIDE, LONG_SIDE)
    scene = 60 + 40 * np.sin(np.arange(LONG_SIDE) / 5)
    frames = rng.poisson(scene, shape).astype(np.uint16)
    tifffile.imwrite("long.tif", frames, photometric="minisblack", metadata={"axes": "TYX"})


def _denoise_words(out: str) -> list[str]:
    return ["denoise", MODEL, "long.tif", "-o", out]


def _train_words(out: str) -> list[str]:
    return ["train", "a.tif", "b.tif", "-o", out, *LONG_TRAIN]


def _prepare(bench: Bench) -> None:
    """Write the long recording, and what undisturbed runs give; measure how long they take."""
    if (bench.stored / "long").exists():
        return
    bench.fresh()
    bench.must(_write_long)
    for words in (_denoise_words("truth.ome.zarr"), _train_words("truth.n2n")):
        bench.must(command(words))
    bench.store("long")


def judge_long(out: str) -> str:
    """Compare a result with that of an undisturbed run, to the last bit."""
    import napari_n2n as n2n

    try:
        if out.endswith(".n2n"):
            same = n2n.load(out).fingerprint() == n2n.load("truth.n2n").fingerprint()
        else:
            same = np.array_equal(result_of(out), result_of("truth.ome.zarr"))
    except Exception as error:
        return f"{out} is not readable: {type(error).__name__}: {error}"
    return "" if same else f"{out} differs from that of an undisturbed run"


class Program:
    """The command line in a new interpreter, with the interface of `Child`."""

    def __init__(self, bench: Bench, words: Sequence[str]) -> None:
        self._logs = [bench.logs / name for name in ("program.out", "program.err")]
        out, err = (open(path, "wb") for path in self._logs)
        line = [sys.executable, "-c", "from napari_n2n.cli import main; main()", *words]
        self._process = subprocess.Popen(line, cwd=bench.case, stdout=out, stderr=err)
        out.close()
        err.close()

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> Run:
        """Wait for the end."""
        try:
            status: int | None = self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = None
        out, err = (path.read_text(errors="backslashreplace") for path in self._logs)
        return Run(status, out, err, "" if status is not None else "time")


def signals(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Send signals to a run at random moments, then resume it until it is finished."""
    rng = random(seed, "signals", number)
    _prepare(bench)
    bench.fresh("long")
    out = ("out.ome.zarr", "new.n2n", "out.tif")[number % 3]
    words = _train_words(out) if out.endswith(".n2n") else _denoise_words(out)
    kind, new = SIGNALS[int(rng.integers(3))], rng.random() < 0.2
    twice = kind != signal.SIGKILL and rng.random() < 0.2
    delay = float(rng.uniform(0, 5.0 if new else 2.0))
    what = f"{kind.name}{' twice' if twice else ''} after {delay:.2f} s: {' '.join(words)}"
    before = contents(bench.case)
    process: Program | Child = Program(bench, words) if new else bench.child(command(words))
    time.sleep(delay)
    process.send(kind)
    if twice:
        time.sleep(float(rng.uniform(0, 0.2)))
        process.send(kind)
    run = process.wait()
    wanted = {0, -kind, 128 + kind}
    if run.limit:
        return what, Result("hang", "after the signal", run)
    # Python itself may end so while it starts, before a line of the program has run.
    shown = "Traceback" in run.err and (not new or "napari_n2n/" in run.err)
    if run.status not in wanted or shown:
        return what, Result("unclear", f"exit status {run.status} after the signal", run)
    if run.status == 0 and not out.endswith(".n2n"):
        wrong = bench.must(lambda: print(judge_long(out))).strip()
        if wrong:
            return what, Result("wrong", wrong, run)
    case = Case(what, [*words, "--resume"], lambda: judge_long(out), (), (out, ".", "new.n2n"))
    second = bench.child(command(case.words)).wait()
    result = bench.judged(case, second, before)
    if result.outcome == "refused":
        result = Result("unclear", "--resume is refused after a signal", second)
    left = [name for name in contents(bench.case) if name not in before]
    left = [name for name in left if name != out and not name.startswith(f"{out}/")]
    if result.outcome == "right" and left:
        result = Result("unclear", f"left behind: {', '.join(left[:3])}", second)
    return what, result


def two_at_once(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Start two processes with one output, at nearly the same time."""
    rng = random(seed, "two", number)
    _prepare(bench)
    bench.fresh("long")
    out = ("out.ome.zarr", "out.tif", "new.n2n", "out.ome.zarr")[number % 4]
    words = _train_words(out) if out.endswith(".n2n") else _denoise_words(out)
    option = ("--resume", "--overwrite", "")[int(rng.integers(3))]
    words = [*words, *([option] if option else [])]
    delay = float(rng.choice([0, 0, 0.02, 0.3, 1.0]) * rng.random())
    what = f"twice, {delay:.2f} s apart: {' '.join(words)}"
    before = contents(bench.case)
    first = bench.child(command(words))
    time.sleep(delay)
    second = bench.child(command(words))
    runs = [first.wait(), second.wait()]
    done = [run for run in runs if run.status == 0]
    other = next((run for run in runs if run.status != 0), runs[1])
    case = Case(what, words, lambda: judge_long(out), (out,), (out, "."))
    if not done:
        return what, Result("unclear", "neither run finished", other)
    finished = contents(bench.case)  # what the other run has written is not left behind
    results = [bench.judged(case, run, before if run in done else finished) for run in runs]
    worst = next((r for r in results if r.outcome not in ("right", "refused")), results[1])
    left = [n for n in contents(bench.case) if n not in before and not _inside(n, out)]
    if worst.outcome in ("right", "refused") and left:
        worst = Result("unclear", f"left behind: {', '.join(left[:3])}", other)
    return what, worst


def _inside(name: str, out: str) -> bool:
    return name == out or name.startswith(f"{out}/")


COMMANDS: dict[str, tuple[list[str], Callable[[], str]]] = {
    "out.tif": (
        ["denoise", MODEL, "movie.tif", "-o", "out.tif"],
        lambda: judge_denoised("out.tif"),
    ),
    "out.ome.zarr": (
        ["denoise", MODEL, "movie.tif", "-o", "out.ome.zarr"],
        lambda: judge_denoised("out.ome.zarr"),
    ),
    "new.n2n": (
        ["train", "a.tif", "b.tif", "-o", "new.n2n", *TRAIN],
        lambda: judge_model("new.n2n"),
    ),
    "half": (
        ["split", "movie.tif", "--axis", "T", "-o", "half"],
        lambda: judge_split(movie, ["half/movie_even.tif", "half/movie_odd.tif"]),
    ),
    "noisy": (
        ["simulate", "movie.tif", "--noise", "gaussian:5", "-o", "noisy"],
        lambda: judge_noisy("noisy"),
    ),
    "folder": (
        ["denoise", MODEL, "films", "-o", "folder"],
        lambda: judge_denoised("folder/film.tif"),
    ),
}


def judge_model(name: str) -> str:
    """Compare a model with that of the shared inputs."""
    import napari_n2n as n2n

    same = n2n.load(name).fingerprint() == n2n.load(MODEL).fingerprint()
    return "" if same else "another model than that of an undisturbed run"


def judge_noisy(folder: str) -> str:
    """Check that a simulated pair is the movie with noise of 5 ADU."""
    for path in (Path(folder) / "movie_a.tif", Path(folder) / "movie_b.tif"):
        noise = tifffile.imread(path).astype(float) - movie()
        if not 4.8 < noise.std() < 5.2:
            return f"{path}: noise of {noise.std():.2f} ADU instead of 5"
    return ""


def full_disk(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Let the disk be full, or a file too long, in the middle; then repeat with enough space."""
    rng = random(seed, "disk", number)
    out = list(COMMANDS)[number % len(COMMANDS)]
    words, judge = COMMANDS[out]
    folder = with_movie(bench)
    if number % 2:
        size = int(rng.integers(1, 20)) * 4096
        disk = folder / "disk"
        with small_disk(disk, size) as mounted:
            if not mounted:
                return "a small disk cannot be mounted here", Result("right")
            return _on_small_disk(bench, words, out, size)
    size = int(rng.integers(0, 60_000))
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # noqa: E731
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    case = Case(f"files of at most {size} bytes: {' '.join(words)}", words, judge, (), (out, "."))
    case.before = limit
    return case.what, _then_again(bench, case, bench.run(case))


def _on_small_disk(bench: Bench, words: list[str], out: str, size: int) -> tuple[str, Result]:
    """Write to a disk that is too small; make it larger, and repeat."""
    place = ["disk/" + out if word == out else word for word in words]
    case = Case(f"a disk of {size} bytes: {' '.join(place)}", place, lambda: "", (), ("disk",))
    result = bench.run(case)
    left = [path.name for path in (bench.case / "disk").iterdir()]
    if result.outcome == "refused" and left and "--resume" not in result.run.err:
        return case.what, Result("unclear", f"left behind: {', '.join(left)}", result.run)
    grow = ["mount", "-o", "remount,size=16777216", str(bench.case / "disk")]
    subprocess.run(grow, check=True)
    return case.what, _then_again(bench, case, result)


def _then_again(bench: Bench, case: Case, first: Result) -> Result:
    """Repeat a refused run without the obstacle: it must now give the right result."""
    if first.outcome != "refused":
        return first
    resumable = case.words[0] in ("train", "denoise") and "--resume" in first.run.err
    words = [*case.words, *(["--resume"] if resumable else [])]
    second = bench.run(Case(case.what, words, case.judge, (), case.outputs))
    if second.outcome == "right":
        return first
    return Result("unclear", f"cannot be repeated: {second.why or second.outcome}", second.run)


# Names that the program might use for itself; here they are the user's.
_NEIGHBOURS = (
    ".partial",
    ".journal",
    ".old",
    ".lock",
    ".tmp",
    ".checkpoint",
    ".checkpoint.partial",
    ".checkpoint_backup",
    ".checkpoint0",
    ".checkpoint.0",
    ".checkpoint.C0",
    ".partial.old",
    ".backup",
)


def neighbours(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Run a command beside files of the user, whose names resemble those of the program."""
    rng = random(seed, "neighbours", number)
    out = list(COMMANDS)[number % len(COMMANDS)]
    words, judge = COMMANDS[out]
    folder = with_movie(bench)
    inner = {
        "half": "half/movie_even.tif",
        "noisy": "noisy/movie_a.tif",
        "folder": "folder/film.tif",
    }
    target = inner.get(out, out)
    if out == "new.n2n" and rng.random() < 0.3:  # a pattern of a shell
        words = ["new[1].n2n" if word == out else word for word in words]
        judge = lambda: judge_model("new[1].n2n")  # noqa: E731
        (folder / "new1.n2n.checkpoint").write_text("of the user")
        (folder / "new1.n2n").write_text("of the user")
    (folder / target).parent.mkdir(exist_ok=True)
    chosen = [ending for ending in _NEIGHBOURS if rng.random() < 0.4] or [_NEIGHBOURS[0]]
    for ending in chosen:
        hidden = "." if rng.random() < 0.2 else ""
        path = (folder / target).with_name(f"{hidden}{Path(target).name}{ending}")
        if rng.random() < 0.3:
            path.mkdir()
            (path / "precious.txt").write_text("of the user")
            (path / "zarr.json").write_text("{}")
        else:
            path.write_bytes(b"of the user: " + rng.bytes(20) if rng.random() < 0.5 else b"")
    if rng.random() < 0.3:
        (folder / target).parent.joinpath(".napari-n2n.journal").write_text("of the user")
    options = (
        ["", "--overwrite", "--resume"] if words[0] in ("train", "denoise") else ["", "--overwrite"]
    )
    option = options[int(rng.integers(len(options)))]
    words = [*words, *([option] if option else [])]
    case = Case(f"beside {', '.join(chosen)}: {' '.join(words)}", words, judge)
    outputs = {
        "half": ("half/movie_even.tif", "half/movie_odd.tif"),
        "noisy": ("noisy/movie_a.tif", "noisy/movie_b.tif"),
    }
    case.outputs = ()
    allowed = {*outputs.get(out, (target,)), "new[1].n2n"}
    before = contents(bench.case)
    run = bench.child(command(words)).wait()
    result = bench.judged(case, run, {n: b for n, b in before.items() if n not in allowed})
    left = [
        n
        for n in contents(bench.case)
        if n not in before and not any(_inside(n, a) for a in allowed)
    ]
    left = [n for n in left if n not in ("half", "noisy", "folder")]
    if result.outcome == "right" and [n for n in left if "journal" not in n]:
        result = Result("unclear", f"left behind: {', '.join(left[:3])}", run)
    return case.what, result


KINDS = {
    "signals": (signals, 50),
    "two at once": (two_at_once, 20),
    "full disk": (full_disk, 60),
    "neighbours": (neighbours, 120),
}
