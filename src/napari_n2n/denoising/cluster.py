"""Compute the shards of a result as tasks on an existing `dask.distributed` cluster.

Model and plan are sent once to each worker. Every shard is written by one worker at a time, and by
another if this worker is lost. Its bytes do not depend on the worker, because each task computes
with one thread; another number of threads rounds differently. Workers must find the files under the
same paths as the client.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from napari_n2n.denoising.plan import Plan
from napari_n2n.denoising.predictor import Predictor
from napari_n2n.errors import BadInput
from napari_n2n.io.header import Region
from napari_n2n.io.writers import open_writer
from napari_n2n.model.denoiser import from_bytes
from napari_n2n.model.device import choose_device

_RETRIES = 5  # of a shard whose task failed
_QUEUED = 3  # shards per thread of the workers; more: more lost with a worker, fewer: idle threads
_TIMEOUT = 10  # seconds to reach the scheduler
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
        Path of the result; its unfinished store must exist.
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
    device: str
    memory: int
    tile: tuple[int, ...]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


def shards_on_cluster(
    address: str, parts: list[tuple[str, Region]], job: ClusterJob
) -> Iterator[str]:
    """Compute and write shards on the workers of a cluster; yield the name of each finished one.

    Parameters
    ----------
    address
        Address of the scheduler, such as ``tcp://127.0.0.1:8786``.
    parts
        Name and region of every shard.
    job
        Data for the workers.

    Raises
    ------
    BadInput
        If there is no cluster at the address, or it has no workers.
    """
    try:
        from distributed import Client, as_completed
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
    with client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise BadInput(
                f"--scheduler {address}: has no workers: start some with 'dask worker {address}'",
                "cluster",
            )
        threads = sum(worker["nthreads"] for worker in workers.values())
        sent = client.scatter([job], broadcast=True, hash=False)[0]
        waiting = iter(parts)

        def submit(part: tuple[str, Region]) -> Any:
            key = f"n2n-{job.path}-{part[0]}"
            return client.submit(_write_shard, sent, part, key=key, retries=_RETRIES, pure=False)

        running = as_completed(
            [submit(part) for part in islice(waiting, _QUEUED * threads)], loop=client.loop
        )
        for finished in running:
            name = finished.result()
            finished.release()  # otherwise it would be written again if its worker is lost
            yield name
            for part in islice(waiting, 1):
                running.add(submit(part))


def _write_shard(job: ClusterJob, part: tuple[str, Region]) -> str:
    """Compute and write one shard; runs in a worker."""
    name, region = part
    predictor = _predictor(job)
    values = predictor.compute(region, predictor.read(region))
    dims = predictor.denoiser.dims
    open_writer(job.path, job.plan.header, dims=dims, resume=True).write(region, values)
    return name


def _predictor(job: ClusterJob) -> Predictor:
    """Return the predictor of a job; build it for the first shard of the job."""
    if job.key not in _predictors:
        _predictors.clear()
        denoiser, device = from_bytes(job.model), choose_device(job.device)
        predictor = Predictor(denoiser, job.plan, device, job.memory, tile=job.tile)
        _predictors[job.key] = predictor
    return _predictors[job.key]
