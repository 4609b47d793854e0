"""Compute the shards of a result as tasks on an existing `dask.distributed` cluster.

Model and plan are sent once to each worker. Every shard is written by one worker at a time, and by
another if this worker is lost. Its bytes do not depend on the worker, because each task computes
with one thread; another number of threads rounds differently. Workers must find the files under the
same paths as the client.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from napari_n2n.denoising.plan import Plan
from napari_n2n.denoising.predictor import Predictor
from napari_n2n.errors import BadInput, installed_version
from napari_n2n.io.crash_safe import Check
from napari_n2n.io.header import Header, Region
from napari_n2n.io.writers import Writer, open_writer
from napari_n2n.model.denoiser import from_bytes
from napari_n2n.model.device import choose_device

_RETRIES = 5  # of a shard whose task failed
_QUEUED = 3  # shards per thread of the workers; more: more lost with a worker, fewer: idle threads
_TIMEOUT = 10  # seconds to reach the scheduler
# How often, and after how many seconds, the client looks for a shard: network disks show the files
# of other computers after some seconds.
_LOOKS, _LOOK_SECONDS = 40, 0.25
Part = tuple[str, Region]
_predictors: dict[str, Predictor] = {}


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
    key
        Identifies the job, so that a worker builds its predictor once.
    """

    model: bytes
    plan: Plan
    path: Path
    token: str
    device: str
    memory: int
    tile: tuple[int, ...]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


def shards_on_cluster(
    address: str, parts: list[Part], job: ClusterJob, writer: Writer
) -> Iterator[tuple[str, Check]]:
    """Compute and write shards on the workers of a cluster; yield name and check of each one.

    A shard is yielded only if the client finds it on its disk.

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
            _check_workers(client, job)
            threads = sum(worker["nthreads"] for worker in workers.values())
            for name, check in _computed(client, parts, job, _QUEUED * threads):
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


def _check_workers(client: Any, job: ClusterJob) -> None:
    """Raise if a worker has another version of the package, or does not see the files."""
    dims = from_bytes(job.model).dims
    inputs = [one.path for scene in job.plan.scenes for one in scene.acquisitions if one.path]
    found = client.run(
        _problem, job.path, job.plan.header, dims, job.token, inputs, _version(), on_error="return"
    )
    for worker, problem in found.items():
        if isinstance(problem, Exception):  # its function cannot be imported there
            problem = f"lacks this napari-n2n ({_first_line(problem)}): install the same version"
        if problem:
            raise BadInput(f"worker {worker}: {problem}", "cluster")


def _problem(
    path: Path, header: Header, dims: int, token: str, inputs: list[Path], version: str
) -> str:
    """Return why this worker cannot do a job; empty if it can. Runs in a worker."""
    if _version() != version:
        return f"has napari-n2n {_version()}, and {version} runs here: install the same version"
    for file in inputs:
        if not file.exists():
            return f"does not see {file}: use a folder that all computers share"
    try:
        open_writer(path, header, dims=dims, token=token, resume=True).close()
    except (OSError, ValueError) as error:
        return f"does not see {path.parent} as it is here ({error}): use a folder that all share"
    return ""


def _version() -> str:
    return installed_version("napari-n2n") or "(not installed)"


def _computed(
    client: Any, parts: list[Part], job: ClusterJob, queued: int
) -> Iterator[tuple[str, Check]]:
    """Submit shards, at most `queued` at a time; yield name and check of each finished one."""
    from distributed import as_completed

    sent = client.scatter([job], broadcast=True, hash=False)[0]
    waiting = iter(parts)

    def submit(part: Part) -> Any:
        key = f"n2n-{job.key}-{part[0]}"
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
    """Wait until a shard that a worker has written is visible here."""
    for _ in range(_LOOKS):
        if writer.has_size(name, check[0]):
            return
        time.sleep(_LOOK_SECONDS)
    raise BadInput(
        f"{writer.path}: a worker wrote shard {name}, which is not visible here: use a folder that "
        "all computers share",
        "cluster",
    )


def _write_shard(job: ClusterJob, part: Part) -> tuple[str, Check]:
    """Compute and write one shard; runs in a worker."""
    name, region = part
    predictor = _predictor(job)
    values = predictor.compute(region, predictor.read(region))
    dims = predictor.denoiser.dims
    writer = open_writer(job.path, job.plan.header, dims=dims, token=job.token, resume=True)
    try:
        writer.write(region, values)
        check = writer.check(name)
    finally:
        writer.close()
    if check is None:
        raise OSError(f"{job.path}: shard {name} is missing after it was written")
    return name, check


def _predictor(job: ClusterJob) -> Predictor:
    """Return the predictor of a job; build it for the first shard of the job."""
    if job.key not in _predictors:
        _predictors.clear()
        denoiser, device = from_bytes(job.model), choose_device(job.device)
        predictor = Predictor(denoiser, job.plan, device, job.memory, tile=job.tile)
        _predictors[job.key] = predictor
    return _predictors[job.key]
