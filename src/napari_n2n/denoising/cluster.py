"""Compute the shards of a result as tasks on an existing `dask.distributed` cluster.

Model and plan are sent once to each worker. Every shard is written by one worker at a time, and by
another if this worker is lost. Its bytes do not depend on the worker, because each task computes
with one thread; another number of threads rounds differently. Workers must find the files under the
same paths as the client: each one verifies this before its first shard, and the client reads every
shard again where it expects it.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_n2n.denoising.plan import Plan
from napari_n2n.denoising.predictor import Predictor
from napari_n2n.errors import BadInput, installed_version
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.crash_safe import Check
from napari_n2n.io.fingerprint import hash_of_pixels
from napari_n2n.io.header import Header, Region
from napari_n2n.io.writers import Writer, open_writer
from napari_n2n.model.denoiser import from_bytes
from napari_n2n.model.device import choose_device

_RETRIES = 5  # of a shard whose task failed
_QUEUED = 3  # shards per thread of the workers; more: more lost with a worker, fewer: idle threads
_TIMEOUT = 10  # seconds to reach the scheduler
# How often, and after how many seconds, the client looks for a shard: network disks show the files
# of other computers late, NFS by default after up to 60 seconds.
_LOOKS, _LOOK_SECONDS = 320, 0.25
_KEPT = 2  # predictors in a worker: those of two clients that use one cluster at the same time
Part = tuple[str, Region]
_predictors: dict[str, Predictor] = {}
_building = threading.Lock()


@dataclass(frozen=True)
class ClusterJob:
    """Data that a worker needs for the shards of one result.

    Attributes
    ----------
    model
        Bytes of the model.
    plan
        The acquisitions to denoise, and the header of the result.
    path
        Absolute path of the result.
    token
        That of its unfinished store or file, which must exist.
    device
        Device of the workers, as in `choose_device`.
    memory, tile
        Arguments of the `Predictor`.
    """

    model: bytes
    plan: Plan
    path: Path
    token: str
    device: str
    memory: int
    tile: tuple[int, ...]


@dataclass(frozen=True)
class _Needed:
    """What a worker must find; see `ClusterJob`.

    Attributes
    ----------
    key
        Identifies the job, so that a worker builds its predictor once.
    version
        That of this package.
    dims
        Dimensions of the model.
    inputs
        The acquisitions that are read from files, with the hash of their pixels.
    """

    key: str
    version: str
    path: Path
    header: Header
    token: str
    dims: int
    inputs: tuple[tuple[Acquisition, str], ...]

    @classmethod
    def by(cls, job: ClusterJob) -> "_Needed":
        """Return what the workers of a job must find, as it is on this computer."""
        return cls(
            key=uuid.uuid4().hex,
            version=_version(),
            path=job.path,
            header=job.plan.header,
            token=job.token,
            dims=from_bytes(job.model).dims,
            inputs=tuple(
                (one, hash_of_pixels(one))
                for scene in job.plan.scenes
                for one in scene.acquisitions
                if not isinstance(one.source, np.ndarray)  # whose pixels are sent
            ),
        )


def shards_on_cluster(
    address: str, parts: list[Part], job: ClusterJob, writer: Writer
) -> Iterator[tuple[str, Check]]:
    """Compute and write shards on the workers of a cluster; yield name and check of each one.

    A shard is yielded only after the client has read the same bytes from its disk.

    Parameters
    ----------
    address
        Address of the scheduler, such as ``tcp://127.0.0.1:8786``.
    parts
        Name and region of every shard.
    job
        Data for the workers.
    writer
        Writer of the unfinished result in this process.

    Raises
    ------
    BadInput
        If there is no cluster at the address or its connection is lost, it has no workers, or
        a worker cannot do the job.
    """
    with _connected(address) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise BadInput(
                f"--scheduler {address}: has no workers: start some with 'dask worker {address}'",
                "cluster",
            )
        try:
            needed = _Needed.by(job)
            _check_workers(client, needed)
            threads = sum(worker["nthreads"] for worker in workers.values())
            for name, check in _computed(client, parts, (job, needed), _QUEUED * threads):
                _wait_for(name, check, writer)
                yield name, check
        except (BadInput, OSError) as error:
            if isinstance(error, BadInput) or client.status == "running":
                raise
            raise _lost(address, error) from error
        except Exception as error:
            if client.status != "running" or type(error).__name__ == "FutureCancelledError":
                raise _lost(address, error) from error
            raise BadInput(
                f"--scheduler {address}: a worker failed ({type(error).__name__}: "
                f"{_first_line(error)}): check its log, then repeat the command with --resume",
                "cluster",
            ) from error


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to a scheduler, without messages in the log if it is lost."""
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


def _lost(address: str, error: Exception) -> BadInput:
    return BadInput(
        f"--scheduler {address}: the connection to the scheduler was lost "
        f"({type(error).__name__}): start it again, then repeat the command with --resume",
        "cluster",
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no message")


def _check_workers(client: Any, needed: _Needed) -> None:
    """Raise if a worker has another version of the package, or does not see the files."""
    found = client.run(_problem, needed, on_error="return")
    for worker, problem in found.items():
        if isinstance(problem, Exception):  # its function cannot be imported there
            problem = f"lacks this napari-n2n ({_first_line(problem)}): install the same version"
        if problem:
            raise BadInput(f"worker {worker}: {problem}", "cluster")


def _problem(needed: _Needed) -> str:
    """Return why this worker cannot do a job; empty if it can. Runs in a worker."""
    here, there = _version(), needed.version
    if here != there:
        return f"has napari-n2n {here}, and {there} runs here: install the same version"
    for one, pixels in needed.inputs:
        file = one.path or one.name
        if one.path is not None and not one.path.exists():
            return f"does not see {file}: use a folder that all computers share"
        try:
            same = hash_of_pixels(one) == pixels
        except BadInput as error:
            return f"cannot read {file} ({error})"
        if not same:
            return f"sees another image at {file}: use a folder that all computers share"
    try:
        _reopened(needed).close()
    except (OSError, ValueError) as error:
        folder = needed.path.parent
        return f"does not see {folder} as it is here ({error}): use a folder that all share"
    return ""


def _reopened(needed: _Needed) -> Writer:
    """Open the unfinished result that the client has created; never create one."""
    return open_writer(
        needed.path, needed.header, dims=needed.dims, token=needed.token, resume=True
    )


def _version() -> str:
    return installed_version("napari-n2n") or "(not installed)"


def _computed(
    client: Any, parts: list[Part], job: tuple[ClusterJob, _Needed], queued: int
) -> Iterator[tuple[str, Check]]:
    """Submit shards, at most `queued` at a time; yield name and check of each finished one."""
    from distributed import as_completed

    sent = client.scatter([job], broadcast=True, hash=False)[0]
    waiting = iter(parts)

    def submit(part: Part) -> Any:
        key = f"n2n-{job[1].key}-{part[0]}"
        return client.submit(_write_shard, sent, part, key=key, retries=_RETRIES, pure=False)

    first = [submit(part) for part in islice(waiting, queued)]
    running = as_completed(first, loop=client.loop)
    for finished in running:
        done = finished.result()
        finished.release()  # otherwise it would be written again if its worker is lost
        yield done
        for part in islice(waiting, 1):
            running.add(submit(part))


def _wait_for(name: str, check: Check, writer: Writer) -> None:
    """Wait until a shard is on the disk here as a worker has written it."""
    for _ in range(_LOOKS):
        if writer.check(name) == check:
            return
        time.sleep(_LOOK_SECONDS)
    raise BadInput(
        f"{writer.path}: a worker wrote shard {name}, which is not visible here: use a folder that "
        "all computers share",
        "cluster",
    )


def _write_shard(sent: tuple[ClusterJob, _Needed], part: Part) -> tuple[str, Check]:
    """Compute and write one shard; runs in a worker."""
    (job, needed), (name, region) = sent, part
    predictor = _predictor(job, needed)
    with _one_thread():
        values = predictor.compute(region, predictor.read(region))
    writer = _reopened(needed)
    try:
        writer.write(region, values)
        check = writer.check(name)
    finally:
        writer.close()
    if check is None:
        raise OSError(f"{job.path}: shard {name} is missing after it was written")
    return name, check


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute with one thread: a worker without a nanny would use all cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _predictor(job: ClusterJob, needed: _Needed) -> Predictor:
    """Return the predictor of a job; build it for the first shard of the job.

    Raises
    ------
    BadInput
        If this worker cannot do the job; those that join late were not asked before.
    """
    from distributed import get_worker

    with _building:
        if needed.key not in _predictors:
            if problem := _problem(needed):
                raise BadInput(f"worker {get_worker().address}: {problem}", "cluster")
            while len(_predictors) >= _KEPT:
                del _predictors[next(iter(_predictors))]
            denoiser, device = from_bytes(job.model), choose_device(job.device)
            predictor = Predictor(denoiser, job.plan, device, job.memory, tile=job.tile)
            _predictors[needed.key] = predictor
        return _predictors[needed.key]
