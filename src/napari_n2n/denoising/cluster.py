"""Compute the shards of a result as tasks on an existing `dask.distributed` cluster.

Model and plan are sent once to each worker. Every shard is written by one worker at a time, and by
another worker if the first is lost; workers may join during a run. Workers must find the files
under the same paths as the client. Each worker verifies this before its first shard, and the client
reads every shard again from its own path.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from napari_n2n.denoising.cluster_worker import (
    ClusterJob,
    Needed,
    Part,
    other_version,
    own_version,
    problem_with,
    wait_for,
    write_part,
)
from napari_n2n.denoising.predictor import Cancelled
from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import Check
from napari_n2n.io.header import Region
from napari_n2n.io.writers import Writer

_RETRIES = 5  # of a shard whose task failed
_QUEUED = 3  # shards per thread of the workers; more: more lost with a worker, fewer: idle threads
_TIMEOUT = 30  # seconds to reach the scheduler, which may just have been started
_PATIENCE = 600  # seconds without any worker before the run ends: new ones may be queued
_ASK_SECONDS = 5.0  # between two questions to the scheduler for its workers
_POLL_SECONDS = 0.02  # between two looks at what is finished; a shard takes a second or more

_log = logging.getLogger("napari_n2n")


def shards_on_cluster(
    address: str,
    levels: list[list[tuple[str, Region | None]]],
    finished: Mapping[str, Check],
    job: ClusterJob,
    writer: Writer,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[tuple[str, Check]]:
    """Compute and write shards on the workers of a cluster; yield name and check of each one.

    A shard is yielded only after the client has read the same bytes from its disk.

    Parameters
    ----------
    address
        Address of the scheduler, such as ``tcp://127.0.0.1:8786``, or the JSON file with its
        address that ``dask scheduler --scheduler-file`` has written.
    levels
        Name and region of every missing shard, the full resolution first; the region is None for
        shards of a coarser level.
    finished
        Checks of the shards that are on the disk; the caller adds the checks that are yielded.
    job
        Data for the workers.
    writer
        Writer of the unfinished result in this process.
    cancelled
        Called several times per second; the run ends if it returns True.

    Raises
    ------
    Cancelled
        If `cancelled` returned True.
    BadInput
        If there is no cluster at the address or its connection is lost, it has no workers for ten
        minutes, or a worker cannot do the job.
    """
    if not any(levels):
        return
    address = _address_in_file(address) if address.endswith(".json") else address
    with _connected(address) as client, _in_one_line(client, address):
        _threads(client, address)
        needed = Needed.by(job)
        _check_workers(client, needed)
        # Not scattered: scattered data are lost when all workers with a copy are lost.
        sent = client.submit(_same, (job, needed), key=f"n2n-{needed.key}", pure=False)

        def submit(name: str, region: Region | None) -> Any:
            finer = {} if region else {one: finished[one] for one in writer.finer(name)}
            key = f"n2n-{needed.key}-{name}"
            part = Part(name, region, finer)
            return client.submit(write_part, sent, part, key=key, retries=_RETRIES, pure=False)

        for parts in levels:
            for done in _computed(client, address, parts, submit):
                if cancelled is not None and cancelled():
                    raise Cancelled
                if done is not None:
                    wait_for(*done, writer)
                    yield done


def _address_in_file(file: str) -> str:
    try:
        return str(json.loads(Path(file).read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"--scheduler {file}: has no address of a scheduler: start one with 'dask scheduler "
            f"--scheduler-file {file}'",
            "cluster",
        ) from error


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to a scheduler; log no messages if the connection is lost."""
    try:
        from distributed import Client
        from distributed.comm import resolve_address
    except ImportError as error:
        raise BadInput(
            "--scheduler needs dask.distributed: pip install 'napari-n2n[distributed]'", "cluster"
        ) from error
    try:
        resolve_address(address)  # a client without an address hangs when it is deleted
        client = Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise BadInput(
            f"--scheduler {address}: no scheduler answers there: start one with 'dask scheduler', "
            "and workers with 'dask worker'",
            "cluster",
        ) from error
    try:
        yield client
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.close(timeout=_TIMEOUT)


@contextmanager
def _in_one_line(client: Any, address: str) -> Iterator[None]:
    """Turn every error of a cluster into one line with the cause and the fix."""
    try:
        yield
    except (BadInput, Cancelled):
        raise
    except Exception as error:
        kind = type(error).__name__
        # The status of the client may follow seconds later; no task of a worker raises these.
        if client.status != "running" or kind in {"FutureCancelledError", "CommClosedError"}:
            raise _lost(address) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise  # such as a full disk; it names the file
        cause = f"a worker failed ({kind}: {_first_line(error)}): check its log"
        if kind == "KilledWorker":
            cause = (
                "several workers were killed while they computed one shard, probably for lack of "
                "memory: give them more, or set a smaller --memory"
            )
        raise _unfinished(address, cause) from error


def _lost(address: str) -> BadInput:
    return _unfinished(address, "the connection to the scheduler was lost: start it again")


def _unfinished(address: str, cause: str) -> BadInput:
    return BadInput(
        f"--scheduler {address}: {cause}, then repeat the command with --resume", "cluster"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no message")


def _threads(client: Any, address: str) -> int:
    """Return the number of threads of all workers; wait if there are none.

    Raises
    ------
    BadInput
        If there are still none after ten minutes.
    """
    start = time.monotonic()
    if not client.nthreads():
        _log.warning(
            "--scheduler %s: has no workers: waiting %g minutes for 'dask worker %s'",
            *(address, _PATIENCE / 60, address),
        )
    while not (threads := client.nthreads()):
        if time.monotonic() - start > _PATIENCE:
            cause = f"has no workers: start some with 'dask worker {address}'"
            raise _unfinished(address, cause)
        time.sleep(1)
    return sum(threads.values())


def _check_workers(client: Any, needed: Needed) -> None:
    """Raise if a worker has another version of the package, or cannot find the files."""
    versions = client.get_versions(packages=["napari_n2n"])["workers"]
    found = {worker: dict(one["packages"])["napari_n2n"] for worker, one in versions.items() if one}
    for worker, version in found.items():
        if version is None:
            there = f"has no napari-n2n: install version {needed.version} there"
            raise BadInput(f"worker {worker}: {there}", "cluster")
        if version != needed.version:
            raise BadInput(f"worker {worker}: {other_version(version, needed.version)}", "cluster")
    for worker, problem in client.run(problem_with, needed, on_error="return").items():
        if isinstance(problem, Exception):  # its function cannot be imported there
            cause = _first_line(problem)
            problem = f"cannot load napari-n2n {own_version()} ({cause}): repair its installation"
        if problem:
            raise BadInput(f"worker {worker}: {problem}", "cluster")


def _same(sent: tuple[ClusterJob, Needed]) -> tuple[ClusterJob, Needed]:
    """Return the argument, so that it is the result of a task, which can be computed again."""
    return sent


def _computed(
    client: Any,
    address: str,
    parts: list[tuple[str, Region | None]],
    submit: Callable[[str, Region | None], Any],
) -> Iterator[tuple[str, Check] | None]:
    """Submit shards, some for each thread of the workers; yield name and check when finished.

    Yield None while there is nothing new.
    """
    from distributed import as_completed

    running, waiting = as_completed(loop=client.loop), deque(parts)
    most, asked = 0, -_ASK_SECONDS
    while waiting or not running.is_empty():
        if client.status != "running":
            raise _lost(address)
        if time.monotonic() - asked > _ASK_SECONDS:
            most, asked = _QUEUED * _threads(client, address), time.monotonic()
        while waiting and running.count() < most:
            running.add(submit(*waiting.popleft()))
        if not running.has_ready():
            time.sleep(_POLL_SECONDS)
            yield None
            continue
        finished = next(running)
        done = finished.result()
        finished.release()  # otherwise the shard would be written again if its worker is lost
        if isinstance(done, BadInput):
            raise done
        yield done
