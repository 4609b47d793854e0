"""Denoising on a dask cluster: the same bytes, whatever happens to workers, scheduler and client.

Usage: python benchmarks/cluster.py [--no-publish]
Scheduler, workers and the command are processes of their own, with other current folders. A result
is compared, byte by byte, with that of one process without a cluster.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from report import Verdict, judged, machine, publish, table

PLANES, SIDE = 30, 600  # of the stack: enough shards to stop a run in its middle; three levels
MIDDLE = 8  # shards after which something happens
SECONDS = 300  # in which each step must end
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

# Results hold their date; without this, no two runs would give the same bytes.
os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
os.environ["OMP_NUM_THREADS"] = "1"  # another number of threads rounds differently


class Cluster:
    """A scheduler and workers, each a process in a folder of its own.

    Parameters
    ----------
    folder
        Where they run.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.folder = folder
        folder.mkdir()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.start()

    def start(self) -> None:
        """Start the scheduler; also after it was killed, at the same address."""
        self.scheduler = self._process(
            "scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"
        )

    def add(self, count: int) -> None:
        """Start workers, and wait until the scheduler knows them."""
        from distributed import Client

        new = (self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
        self.workers += [self._process("worker", *new) for _ in range(count)]
        with Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=SECONDS)

    def kill(self, count: int) -> None:
        """Kill workers, the last ones first."""
        for _ in range(count):
            _kill(self.workers.pop())

    def kill_scheduler(self) -> None:
        """Kill the scheduler and the workers, which cannot work without it."""
        _kill(self.scheduler)
        self.kill(len(self.workers))

    def _process(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", "dask", *words], cwd=self.folder, **QUIET)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start a cluster, and end it."""
    made = Cluster(folder)
    try:
        yield made
    finally:
        made.kill_scheduler()


class Bench:
    """A model, a stack, and the command that denoises it.

    Parameters
    ----------
    folder
        An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        import napari_n2n as n2n

        rng = np.random.default_rng(5)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        scene = 60 + 40 * np.sin(rows / 5) * np.cos(columns / 4)
        stack = (2 * rng.poisson(scene, (PLANES, SIDE, SIDE)) + 100).astype(np.uint16)
        tifffile.imwrite(
            folder / "a.tif", stack, photometric="minisblack", metadata={"axes": "TYX"}
        )
        settings = n2n.TrainingSettings(steps=12, patch=32, batch=2, loss="l2", device="cpu")
        n2n.train(n2n.Pair.open(stack[0], stack[1]), settings).save(folder / "m.n2n")
        self.folder, self.alone = folder, dict[str, dict[str, bytes]]()
        for ending in ("ome.zarr", "tif"):
            assert self.wait(self.denoise(f"alone.{ending}")) == 0
            self.alone[ending] = contents(folder / f"alone.{ending}")

    def denoise(self, out: str, *more: str) -> "subprocess.Popen[bytes]":
        """Start the command; its messages go to a file."""
        words = [sys.executable, "-m", "napari_n2n", "denoise", "m.n2n", "a.tif", "-o", out]
        with open(self.folder / "messages", "wb") as messages:
            return subprocess.Popen(
                [*words, "--device", "cpu", *more], cwd=self.folder, stderr=messages
            )

    def wait(self, run: "subprocess.Popen[bytes]") -> int:
        """Return the exit status of a command."""
        return run.wait(timeout=SECONDS)

    def until_middle(self, out: str) -> None:
        """Wait until some shards are in the journal of a result."""
        journal, end = self.folder / f"{out}.napari-n2n.journal", time.monotonic() + SECONDS
        while not journal.exists() or journal.read_bytes().count(b"\n") <= MIDDLE:
            if time.monotonic() > end:
                raise TimeoutError(f"{out}: {(self.folder / 'messages').read_text()}")
            time.sleep(0.02)

    def words(self) -> str:
        """Return the last line that the command printed, without the address."""
        line = (self.folder / "messages").read_text().strip().splitlines()[-1]
        return re.sub(r"tcp://[\d.]+:\d+", "tcp://...", line)

    def same(self, out: str) -> bool:
        """Return whether a result has the bytes of the one that was made without a cluster."""
        return contents(self.folder / out) == self.alone[out.partition(".")[2]]


def contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of every file of a folder."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


# -- what happens ----------------------------------------------------------------------------------
# Each returns the exit statuses, and the last words of the first run if it did not succeed.

Ending = tuple[list[int], str]


def undisturbed(bench: Bench, on: Cluster, out: str) -> Ending:
    """Nothing happens."""
    return [bench.wait(bench.denoise(out, "--scheduler", on.address))], ""


def one_worker_killed(bench: Bench, on: Cluster, out: str) -> Ending:
    """SIGKILL to one worker."""
    run = bench.denoise(out, "--scheduler", on.address)
    bench.until_middle(out)
    on.kill(1)
    return [bench.wait(run)], ""


def all_workers_killed(bench: Bench, on: Cluster, out: str) -> Ending:
    """SIGKILL to all workers; a new one starts."""
    run = bench.denoise(out, "--scheduler", on.address)
    bench.until_middle(out)
    on.kill(len(on.workers))
    on.add(1)
    return [bench.wait(run)], ""


def scheduler_killed(bench: Bench, on: Cluster, out: str) -> Ending:
    """SIGKILL to the scheduler; it starts again, and the command is repeated with --resume."""
    run = bench.denoise(out, "--scheduler", on.address)
    bench.until_middle(out)
    on.kill_scheduler()
    first, words = bench.wait(run), bench.words()
    on.start()
    on.add(2)
    return [first, bench.wait(bench.denoise(out, "--scheduler", on.address, "--resume"))], words


def command_killed(bench: Bench, on: Cluster, out: str) -> Ending:
    """SIGKILL to the command, which is repeated with --resume."""
    return _ended(bench, on, out, signal.SIGKILL)


def command_terminated(bench: Bench, on: Cluster, out: str) -> Ending:
    """SIGTERM to the command, which is repeated with --resume."""
    return _ended(bench, on, out, signal.SIGTERM)


def _ended(bench: Bench, on: Cluster, out: str, number: signal.Signals) -> Ending:
    run = bench.denoise(out, "--scheduler", on.address)
    bench.until_middle(out)
    run.send_signal(number)
    first, words = bench.wait(run), bench.words()
    return [first, bench.wait(bench.denoise(out, "--scheduler", on.address, "--resume"))], words


# What happens, the workers at its beginning, the result, and the exit statuses that are right.
CASES: list[tuple[Callable[[Bench, Cluster, str], Ending], int, str, list[int]]] = [
    (undisturbed, 1, "one.ome.zarr", [0]),
    (undisturbed, 3, "three.ome.zarr", [0]),
    (undisturbed, 3, "three.tif", [0]),
    (one_worker_killed, 3, "killed.ome.zarr", [0]),
    (one_worker_killed, 3, "killed.tif", [0]),
    (command_terminated, 2, "terminated.ome.zarr", [143, 0]),
    (command_killed, 2, "client.ome.zarr", [-9, 0]),
    (all_workers_killed, 2, "all.ome.zarr", [0]),
    (scheduler_killed, 2, "scheduler.ome.zarr", [2, 0]),
]


def measure(folder: Path) -> str:
    """Run all cases; return the table and the verdicts."""
    bench = Bench(folder)
    rows: list[list[object]] = []
    verdicts: list[Verdict] = []
    with cluster(folder / "elsewhere") as on:
        for happens, workers, out, right in CASES:
            on.kill(max(0, len(on.workers) - workers))
            on.add(max(0, workers - len(on.workers)))
            status, words = happens(bench, on, out)
            same = status == right and bench.same(out)
            event, ending = str(happens.__doc__).rstrip("."), out.partition(".")[2]
            shown = ", ".join(map(str, status))
            rows.append([event, workers, ending, shown, "same" if same else "NO"])
            said = f"; it said: {words}" if words.startswith("error") else ""
            verdicts.append((same, f"{event}, {workers} workers, {ending}: status {shown}{said}"))
    header = ["what happens after some shards", "workers", "format", "exit status", "bytes"]
    return f"{table(header, rows)}\n\n{judged(verdicts)}"


def main() -> None:
    """Run all cases and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="napari-n2n-cluster-") as name:
        page = f"{measure(Path(name))}\n\n{machine()}"
    print(page) if given.no_publish else publish("cluster", page)


if __name__ == "__main__":
    main()
