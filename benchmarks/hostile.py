"""Try damaged files, signals, full disks, two processes at once and odd input.

Usage: python benchmarks/hostile.py [--seed 0] [--only KIND ...] [--rounds 1.0] [--minutes M]
[--case N] [--no-publish]. Every input is made here. Each case runs the command line, and counts as
one of: right result; clear refusal (exit status 2 and one line that names the cause); traceback or
unclear message; hang (60 s or 2 GB); wrong with exit status 0; lost (a file that is not the output
changed). A failure prints what repeats it: --only KIND --case N, with the same --seed. The folder
of such a single case is kept. With --minutes, each kind runs as many of its cases as its share of
the time allows, in a random order.

Changed pixels in a format without checksums cannot be noticed: then the result must be that of the
pixels that the file now holds, read by an independent reader.
"""

import argparse
import importlib
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # results do not depend on the number of cores

import hostile_arrays
import hostile_files
import hostile_headers
import hostile_models
import hostile_runs
import hostile_words
import numpy as np
from bench import Bench, Result
from report import machine, publish, table
from sandbox import OUTCOMES

Kind = Callable[[Bench, int, int], tuple[str, Result]]

# Kinds whose cases are a list; the others draw theirs at random.
_LISTED: dict[str, tuple[Kind, int]] = {
    **hostile_headers.KINDS,
    **hostile_models.KINDS,
    **hostile_arrays.KINDS,
    **hostile_words.KINDS,
}
# For each kind: the function that runs its case of a seed and number, and the number of cases.
KINDS: dict[str, tuple[Kind, int]] = {
    **hostile_files.KINDS,
    **_LISTED,
    **hostile_runs.KINDS,
}
HEADER = [
    "kind",
    "cases",
    "right result",
    "clear refusal",
    "traceback or unclear",
    "hang",
    "wrong with exit 0",
    "lost",
]
# Imported before the first fork: what every case needs.
_MODULES = ("cli", "denoising.folder", "simulate.write", "quality.score", "training.fit")


def cases(kind: str, seed: int, rounds: float) -> list[int]:
    """Return the numbers of a kind's cases in a random order; those of a list are all run."""
    _, count = KINDS[kind]
    count = count if kind in _LISTED else max(1, round(rounds * count))
    return [int(number) for number in np.random.default_rng(seed).permutation(count)]


def run_kind(
    bench: Bench, kind: str, seed: int, numbers: list[int], seconds: float
) -> Counter[str]:
    """Run cases until the time is over; print the failures, and return the outcomes."""
    run, _ = KINDS[kind]
    counted: Counter[str] = Counter()
    end = time.monotonic() + seconds
    for number in numbers:
        what, result = run(bench, seed, number)
        counted[result.outcome] += 1
        if len(numbers) == 1:
            print(result.run.out, result.run.err, sep="")
        if len(numbers) == 1 or OUTCOMES.index(result.outcome) > 1:
            repeat = f"--only {kind!r} --case {number} --seed {seed}"
            last = result.run.err.strip().splitlines()[-1:] or [""]
            words = f"{what}: {result.why} [{last[0][:300]}]"
            print(f"{result.outcome.upper()} {repeat}: {words}", flush=True)
        if time.monotonic() > end:
            break
    return counted


def main() -> None:
    """Run the cases and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--rounds", type=float, default=1.0, help="share of the random cases")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="for all kinds")
    parser.add_argument("--case", type=int, help="run one case, and keep its folder")
    parser.add_argument("--folder", type=Path, help="for the cases")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    for name in _MODULES:
        importlib.import_module(f"napari_n2n.{name}")
    folder = Path(tempfile.mkdtemp(dir=given.folder, prefix="napari-n2n-hostile-"))
    began, bench = time.monotonic(), Bench(folder)
    rows: list[list[object]] = []
    share = 60 * given.minutes / len(given.only)
    for kind in given.only:
        numbers = cases(kind, given.seed, given.rounds)
        chosen = numbers if given.case is None else [given.case]
        counted = run_kind(bench, kind, given.seed, chosen, share)
        known = f"{sum(counted.values())} of {len(numbers)}"
        rows.append([kind, known, *(counted[one] for one in OUTCOMES)])
        print(rows[-1], flush=True)
    counts = [[int(str(cell).split()[0]) for cell in row[1:]] for row in rows]
    rows.append(["all", *(sum(column) for column in zip(*counts, strict=True))])
    words = f"{time.monotonic() - began:.0f} s, seed {given.seed}."
    page = f"{table(HEADER, rows)}\n\n{words}\n\n{machine()}"
    if given.case is None:
        shutil.rmtree(folder)
    else:
        print(f"kept: {bench.case}")
    print(page) if given.no_publish or given.case is not None else publish("hostile", page)


if __name__ == "__main__":
    main()
