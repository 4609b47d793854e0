"""The folder in which hostile cases run, the inputs that they share, and how a case is judged."""

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from damage import movie
from sandbox import Child, Outcome, Run, command, contents, refusal

TRAIN = ["--steps", "12", "--patch", "32", "--batch", "2", "--start", "cold", "--loss", "l2"]
MODEL = "m.n2n"
# Right only with --axes, which accepts a damaged file, and with a line that says so.
SHORT = "only some frames of the input"

Pixels = Callable[[], np.ndarray | None]
"""Returns the pixels whose result is right; None: the input must be refused."""


@dataclass
class Case:
    """A command line and what it is judged by.

    Attributes
    ----------
    what
        The case in words.
    words
        The command line, run in the case's folder.
    judge
        Run in that folder if the exit status is 0: what is wrong with the result, or empty.
    names
        What a refusal may name; empty: nothing in particular.
    outputs
        Names that the command may create or replace; names that begin with one count too.
    call
        Run instead of the command line.
    before
        Called in the process before the command, such as to set a limit.
    """

    what: str
    words: Sequence[str]
    judge: Callable[[], str] = lambda: ""
    names: Sequence[str] = ()
    outputs: Sequence[str] = ()
    call: Callable[[], object] | None = None
    before: Callable[[], object] = lambda: None


@dataclass
class Result:
    """How a case ended: the outcome, what is wrong with it, and what the user read."""

    outcome: Outcome
    why: str = ""
    run: Run = field(default_factory=lambda: Run(None, "", ""))


class Bench:
    """A folder for the cases.

    Parameters
    ----------
    folder
        An empty folder: cases run in `folder/case`, so that paths in journals stay the same.
    """

    def __init__(self, folder: Path) -> None:
        self.logs, self.stored, self.case = folder / "logs", folder / "stored", folder / "case"
        for path in (self.logs, self.stored, self.case):
            path.mkdir(parents=True)
        self.must(_write_inputs)
        self.store("base")

    def child(self, call: Callable[[], object], **options: Any) -> Child:
        """Start a function in a process of its own, in the case's folder."""
        return Child(call, self.case, self.logs, **options)

    def must(self, call: Callable[[], object]) -> str:
        """Run a function of the benchmark itself in a process; return what it printed."""
        run = self.child(call).wait(seconds=300)
        if run.status != 0:
            raise RuntimeError(f"the benchmark itself failed: {run.err}")
        return run.out

    def store(self, name: str) -> None:
        """Keep the case's folder, to be restored for every case that starts from it."""
        shutil.copytree(self.case, self.stored / name, symlinks=True)

    def fresh(self, name: str = "base") -> Path:
        """Empty the case's folder, and restore a stored one in it."""
        shutil.rmtree(self.case)
        shutil.copytree(self.stored / name, self.case, symlinks=True)
        return self.case

    def run(self, case: Case) -> Result:
        """Run a case and judge it."""
        before = contents(self.case)
        run = self.child(case.call or command(case.words), prepare=case.before).wait()
        return self.judged(case, run, before)

    def judged(self, case: Case, run: Run, before: dict[str, bytes | str]) -> Result:
        """Judge a run by its exit status, its words, its result, and the files around it."""
        after = contents(self.case)
        own = tuple(case.outputs)

        def is_output(name: str) -> bool:
            return bool(own) and name.startswith(own)

        gone = [n for n in before if not is_output(n) and after.get(n) != before[n]]
        if gone:
            return Result("lost", f"changed or gone: {', '.join(gone[:3])}", run)
        if run.limit:
            return Result("hang", f"{run.limit} limit", run)
        if run.status == 0:
            if "Traceback" in run.err:
                return Result("unclear", "a traceback", run)
            wrong = self.must(lambda: print(case.judge())).strip()
            if wrong == SHORT and " reads the " in run.err:
                wrong = ""
            return Result("wrong", wrong, run) if wrong else Result("right", "", run)
        why = refusal(run, case.names)
        if why:
            return Result("unclear", why, run)
        left = [n for n in after if n not in before and not n.startswith("logs")]
        if left and "--resume" not in run.err:
            return Result("unclear", f"left behind: {', '.join(left[:3])}", run)
        return Result("refused", "", run)


# --------------------------------------------------------------------------- inputs and judges


def _write_inputs() -> None:
    """Write a pair, a model, and what an undamaged movie gives."""
    import napari_n2n as n2n

    a, b = movie(1), movie(2)
    for name, frames in (("a.tif", a), ("b.tif", b)):
        tifffile.imwrite(name, frames, photometric="minisblack", metadata={"axes": "TYX"})
    settings = n2n.TrainingSettings(steps=12, patch=32, batch=2, start="cold", loss="l2")
    n2n.train(n2n.Pair.open("a.tif", "b.tif"), settings).save(MODEL)
    np.save("truth.npy", np.asarray(n2n.denoise(n2n.load(MODEL), movie(), axes="TYX")))


def result_of(name: str) -> np.ndarray:
    """Read a finished result; a pyramid must be complete."""
    if name.endswith((".tif", ".tiff")):
        return tifffile.imread(name)
    group: Any = zarr.open_group(name, mode="r")
    levels = group.attrs["ome"]["multiscales"][0]["datasets"]
    arrays = [np.asarray(group[one["path"]][...]) for one in levels]
    return arrays[0]


def alike(found: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether two images agree up to float rounding, and are finite."""
    found, expected = np.squeeze(found), np.squeeze(expected)
    if found.shape != expected.shape or not np.isfinite(found).all():
        return False
    spread = float(np.std(expected, dtype=np.float64))
    return bool(np.allclose(found, expected, rtol=1e-4, atol=1e-4 * spread + 1e-6))


def judge_denoised(
    out: str,
    held: Callable[[], np.ndarray | None] = lambda: None,
    some: Callable[[], list[np.ndarray]] = lambda: [],
) -> str:
    """Compare a result with that of the undamaged movie, or of the pixels that a file now holds."""
    import napari_n2n as n2n

    try:
        found = result_of(out)
    except Exception as error:
        return f"{out} is not readable: {type(error).__name__}: {error}"
    if not np.isfinite(found).all():
        return f"{np.mean(~np.isfinite(found)):.0%} of {out} is not finite"
    if alike(found, np.load("truth.npy")):
        return ""
    expected = np.zeros(0)
    if (pixels := held()) is not None:
        expected = np.asarray(n2n.denoise(n2n.load(MODEL), pixels, axes="TYX"))
        if alike(found, expected):
            return ""
    frames = found.reshape(-1, *movie().shape[1:]) if found.size % movie()[0].size == 0 else ()
    if _is_part(frames, np.load("truth.npy"), alike):
        return SHORT
    if complete := some():
        whole = np.asarray(n2n.denoise(n2n.load(MODEL), np.stack(complete), axes="TYX"))
        if _is_part(frames, whole, alike):
            return SHORT
    if pixels is None:
        return "the input is damaged in a way that shows, and there is a result"
    return f"other pixels than those of the input {found.shape} {expected.shape}"


def judge_split(
    held: Callable[[], np.ndarray | None],
    halves: Sequence[str],
    some: Callable[[], list[np.ndarray]] = lambda: [],
) -> str:
    """Compare two halves with the undamaged movie, or with the pixels that a file now holds."""
    plane = movie().shape[1:]
    even, odd = (tifffile.imread(half).reshape(-1, *plane) for half in halves)
    for frames in (movie(), held()):
        if frames is not None and all(
            np.array_equal(half, frames[k : len(frames) // 2 * 2 : 2], equal_nan=True)
            for k, half in enumerate((even, odd))
        ):
            return ""
    frames = [frame for both in zip(even, odd, strict=True) for frame in both]
    if any(_is_part(frames, whole, np.array_equal) for whole in (movie(), some())):
        return SHORT
    return "other pixels than those that the input holds"


def _is_part(
    found: Sequence[np.ndarray], whole: Sequence[np.ndarray], same: Callable[[Any, Any], bool]
) -> bool:
    """Return whether frames are some of those of a movie, in their order."""
    place = iter(whole)
    return 0 < len(found) < len(movie()) and all(
        any(same(frame, other) for other in place) for frame in found
    )


def interrupted(words: Sequence[str], owner: Any, name: str, calls: int) -> Callable[[], None]:
    """Return a function that runs a command, and sends itself SIGINT at a call of `owner.name`."""

    def run() -> None:
        original, count = getattr(owner, name), 0

        def counted(*given: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == calls:
                os.kill(os.getpid(), signal.SIGINT)
            return original(*given, **options)

        setattr(owner, name, counted)
        try:
            command(words)()
        except (SystemExit, KeyboardInterrupt):
            return

    return run


def random(seed: int, kind: str, number: int) -> np.random.Generator:
    """Return the random numbers of a case."""
    return np.random.default_rng([seed, *kind.encode(), number])


def with_movie(bench: Bench) -> Path:
    """Restore the shared inputs with a movie, alone and in a folder."""
    if not (bench.stored / "movie").exists():
        path = bench.fresh()
        tifffile.imwrite(path / "movie.tif", movie(), metadata={"axes": "TYX"})
        (path / "films").mkdir()
        shutil.copy(path / "movie.tif", path / "films" / "film.tif")
        bench.store("movie")
    return bench.fresh("movie")


def pwned() -> str:
    """Return a sentence if code of a file was run: such code makes a file of this name."""
    return "code of the file was run" if Path("pwned").exists() else ""
