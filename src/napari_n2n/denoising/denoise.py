"""Stack in, stack out: shard after shard through the network.

Reading the next shard, computing this one and writing the last go on at the same time. A journal
beside the growing result notes every shard that is safe on the disk, so that a run that was stopped
in whatever way goes on where it was, and ends with the same bytes.
"""

import math
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_n2n.defaults import MEMORY
from napari_n2n.denoising.cluster import shards_on_cluster
from napari_n2n.denoising.plan import Plan, plan
from napari_n2n.denoising.predictor import Engine
from napari_n2n.generators import as_steps
from napari_n2n.io.crash_safe import Journal, check_disk_space, journal_path, partial_path
from napari_n2n.io.header import Region
from napari_n2n.io.writers import Writer, checked_output, open_writer
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import choose_device

Part = tuple[str, Region]

_PACKED = 0.25  # of its size is what a compressed zarr takes at the very least
_COARSER_COST = 0.02  # of a shard, against one that goes through the network


@dataclass(frozen=True, slots=True)
class DenoisingStep:
    """Where a run stands.

    Attributes
    ----------
    done, total
        Shards of the full resolution.
    progress
        Share of the run that is done, coarser levels included, 0 to 1.
    growing
        The store or file that the result is written to until it is whole.
    """

    done: int
    total: int
    progress: float
    growing: Path


@as_steps
def denoise_by_shards(
    denoiser: Denoiser,
    work: Plan,
    out: str | Path,
    *,
    device: str = "auto",
    memory: int = MEMORY,
    overwrite: bool = False,
    resume: bool = False,
    scheduler: str | None = None,
) -> Generator[DenoisingStep, None, Path]:
    """Denoise into a file; a generator that yields after every shard and returns the path.

    It yields once before the first shard, when there is something to look at that will fill.
    Closing it before its end leaves an unfinished result to resume. See `denoise` for the
    parameters.
    """
    path = checked_output(Path(out), overwrite=overwrite, resume=resume)
    engine = Engine(denoiser, work, choose_device(device), memory)
    journal, writer = _begun(path, denoiser, work, engine, resume)

    def make(parts: list[Part]) -> Iterator[str]:
        if scheduler is None:
            return _flowing(parts, engine, writer)
        return shards_on_cluster(scheduler, parts, engine, path, device)

    try:
        yield from _steps(writer, journal, make, partial_path(path))
    except BaseException:
        if not journal.done:  # nothing to go on from
            writer.discard()
            journal.remove()
        else:
            writer.close()
        raise
    writer.finish()
    journal.remove()
    return path


def _steps(
    writer: Writer, journal: Journal, make: Callable[[list[Part]], Iterator[str]], growing: Path
) -> Iterator[DenoisingStep]:
    """Have all shards made that are not yet done, the coarser levels last."""
    parts, coarser = list(writer.shards()), list(writer.pyramid())
    left = [part for part in parts if part[0] not in journal.done]
    whole = len(parts) + _COARSER_COST * len(coarser)
    done = len(parts) - len(left)
    made = len(journal.done) - done

    def where() -> DenoisingStep:
        return DenoisingStep(done, len(parts), (done + _COARSER_COST * made) / whole, growing)

    yield where()
    for name in make(left):
        journal.add(name)
        done += 1
        yield where()
    for name, average in coarser:
        if name not in journal.done:
            average()
            journal.add(name)
            made += 1
            yield where()


def denoise(
    denoiser: Denoiser,
    *sources: Any,
    out: str | Path | None = None,
    axes: str | None = None,
    dtype: str = "float32",
    turns: bool = False,
    device: str = "auto",
    memory: int = MEMORY,
    overwrite: bool = False,
    resume: bool = False,
    scheduler: str | None = None,
    on_step: Callable[[DenoisingStep], None] | None = None,
) -> np.ndarray | Path:
    """Denoise a plane, a stack or a volume.

    Parameters
    ----------
    denoiser, sources, axes, dtype, turns
        See `plan`.
    out
        Path ending in .ome.zarr, .zarr or .tif; None returns the result in memory.
    device
        "auto", "cpu", "cuda" or "mps".
    memory
        Limit for pixels and network together, in bytes; without `out` the result comes on top.
    overwrite
        Replace what stands at `out`; without it, that is refused.
    resume
        Go on with the result that an earlier run, stopped in whatever way, left unfinished.
    scheduler
        Address of a `dask.distributed` scheduler whose workers make the shards; `memory` and
        `device` are then those of each worker.
    on_step
        Called after every shard that goes to a file.

    Returns
    -------
    numpy.ndarray or pathlib.Path
        The result, of the first source's shape with its axes in the order TCZYX, or where it was
        written.

    Raises
    ------
    BadInput
        If a source or `out` cannot be used.
    """
    work = plan(denoiser, *sources, axes=axes, dtype=dtype, turns=turns)
    if out is not None:
        run = denoise_by_shards(
            denoiser,
            work,
            out,
            device=device,
            memory=memory,
            overwrite=overwrite,
            resume=resume,
            scheduler=scheduler,
        )
        return run.finish(on_step)
    engine = Engine(denoiser, work, choose_device(device), memory)
    shape = work.header.shape
    result = np.empty(shape, work.header.dtype)
    for frame in np.ndindex(*shape[: -denoiser.dims]):
        region = (
            *(slice(i, i + 1) for i in frame),
            *(slice(0, length) for length in shape[-denoiser.dims :]),
        )
        result[region] = engine.compute(region, engine.read(region))
    return result


def _begun(
    path: Path, denoiser: Denoiser, work: Plan, engine: Engine, resume: bool
) -> tuple[Journal, Writer]:
    """Open journal and writer, and let a resumed run compute with the tiles of the first."""
    header = work.header
    job = {
        "model": denoiser.fingerprint(),
        "input": [[one.name, one.shape] for scene in work.scenes for one in scene.acquisitions],
        "output": [header.shape, str(header.dtype), header.axes],
        "turns": work.turns,
        "_tile": engine.tile,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    if not resume:
        size = math.prod(header.shape) * header.dtype.itemsize
        packed = _PACKED if path.suffix.lower() == ".zarr" else 1.0
        check_disk_space(path, round(packed * size))
    journal = Journal(journal_path(path), job, resume=resume)
    engine.tile = tuple(journal.job["_tile"])
    resumed = bool(journal.done)
    return journal, open_writer(path, header, dims=denoiser.dims, resume=resumed)


def _flowing(parts: list[tuple[str, Region]], engine: Engine, writer: Writer) -> Iterator[str]:
    """Yield the name of every part once it is written; reading and writing overlap computing."""
    with (
        ThreadPoolExecutor(1, thread_name_prefix="napari-n2n-reader") as reading,
        ThreadPoolExecutor(1, thread_name_prefix="napari-n2n-writer") as writing,
    ):
        ahead = [reading.submit(engine.read, region) for _, region in parts[:1]]
        behind: list[tuple[str, Any]] = []
        for number, (name, region) in enumerate(parts):
            inputs = ahead.pop().result()
            ahead += [reading.submit(engine.read, r) for _, r in parts[number + 1 : number + 2]]
            values = engine.compute(region, inputs)
            del inputs
            for earlier, written in behind:
                written.result()
                yield earlier
            behind = [(name, writing.submit(writer.write, region, values))]
        for earlier, written in behind:
            written.result()
            yield earlier
