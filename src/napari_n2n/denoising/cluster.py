"""The same shards as tasks on an existing `dask.distributed` cluster.

The model and the plan are sent once to each worker; every shard has one writer at a time, is
retried elsewhere when its worker is lost, and comes out with the same bytes wherever it is made
(workers compute with one thread for each of theirs; another number of threads rounds differently).
Workers must see the files under the same paths as the client.
"""

import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from napari_n2n.denoising.plan import Plan
from napari_n2n.denoising.predictor import Engine
from napari_n2n.errors import BadInput
from napari_n2n.io.header import Region
from napari_n2n.io.writers import open_writer
from napari_n2n.model.denoiser import from_bytes
from napari_n2n.model.device import choose_device

_RETRIES = 5
_QUEUED = 3
_SECONDS = 10
_engines: dict[str, Engine] = {}


def shards_on_cluster(
    address: str,
    parts: list[tuple[str, Region]],
    engine: Engine,
    path: Path,
    device: str,
) -> Iterator[str]:
    """Have shards made by the workers of a cluster; yields the name of each that is written.

    Parameters
    ----------
    address
        Of the scheduler, such as ``tcp://127.0.0.1:8786``.
    parts
        Name and region of every shard.
    engine
        Model, plan, tiles and limit of memory.
    path
        Of the result, whose store exists already.
    device
        Word for the device that workers compute on.

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
        resolve_address(address)  # a client of no address at all hangs when it is thrown away
        client = Client(address, timeout=_SECONDS, set_as_default=False)
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
        job = (
            uuid.uuid4().hex,
            engine.denoiser.to_bytes(),
            engine.work,
            engine.tile,
            engine.memory,
            device,
        )
        sent = client.scatter([job], broadcast=True, hash=False)[0]
        waiting = iter(parts)

        def submit(part: tuple[str, Region]) -> Any:
            return client.submit(
                _make, sent, part, path, key=f"n2n-{path}-{part[0]}", retries=_RETRIES, pure=False
            )

        running = as_completed(
            [submit(part) for part in islice(waiting, _QUEUED * threads)], loop=client.loop
        )
        for finished in running:
            name = finished.result()
            finished.release()  # or the loss of its worker would have it made, and written, again
            yield name
            for part in islice(waiting, 1):
                running.add(submit(part))


def _make(
    job: tuple[str, bytes, Plan, tuple[int, ...], int, str], part: tuple[str, Region], path: Path
) -> str:
    """Make one shard; runs in a worker."""
    key, model, work, tile, memory, device = job
    name, region = part
    engine = _engine(key, model, work, tile, memory, device)
    values = engine.compute(region, engine.read(region))
    dims = engine.denoiser.dims
    open_writer(path, work.header, dims=dims, resume=True).write(region, values)
    return name


def _engine(
    key: str, model: bytes, work: Plan, tile: tuple[int, ...], memory: int, device: str
) -> Engine:
    """Return the engine of a job, built when a worker meets the job for the first time."""
    if key not in _engines:
        _engines.clear()
        _engines[key] = Engine(from_bytes(model), work, choose_device(device), memory)
        _engines[key].tile = tile
    return _engines[key]
