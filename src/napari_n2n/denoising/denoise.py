"""Denoise a stack of any size, shard by shard.

While one shard is computed, the next is read and the previous one is written. A journal beside the
growing result lists every shard that has been flushed to the disk, so that an interrupted run can
be resumed and gives the same bytes.
"""

import math
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_n2n.defaults import MEMORY
from napari_n2n.denoising.cluster import ClusterJob, shards_on_cluster
from napari_n2n.denoising.plan import Plan, make_plan
from napari_n2n.denoising.predictor import Predictor, fitting_tile
from napari_n2n.generators import as_steps
from napari_n2n.io.crash_safe import Journal, journal_path, partial_path
from napari_n2n.io.header import Region
from napari_n2n.io.output_path import check_disk_space
from napari_n2n.io.writers import Writer, checked_output, open_writer
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import choose_device

Part = tuple[str, Region]

# Smallest share of its uncompressed size that a zarr needs on disk: a low estimate, so that a run
# that might fit is not refused.
_COMPRESSED = 0.25
# Ratio of the time for a shard of a coarser level to that for a denoised one, for the progress.
_COARSER_COST = 0.02


@dataclass(frozen=True, slots=True)
class DenoisingStep:
    """Progress of a run.

    Attributes
    ----------
    done, total
        Number of shards of the full resolution, done and in total.
    progress
        Share of the run that is done, including coarser levels, 0 to 1.
    growing
        The store or file that the result is written to until it is complete.
    """

    done: int
    total: int
    progress: float
    growing: Path


@as_steps
def denoise_by_shards(
    denoiser: Denoiser,
    plan: Plan,
    out: str | Path,
    *,
    device: str = "auto",
    memory: int = MEMORY,
    overwrite: bool = False,
    resume: bool = False,
    scheduler: str | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Generator[DenoisingStep, None, Path]:
    """Denoise into a file; a generator that yields after every shard and returns the path.

    It yields once before the first shard, as soon as the empty result can be shown. If it is closed
    or cancelled after a shard has been written, the unfinished result is kept and can be resumed.

    Parameters
    ----------
    denoiser, out, device, memory, overwrite, resume, scheduler
        See `denoise`.
    plan
        See `make_plan`.
    cancelled
        Called before every layer of the network; the run ends if it returns True.

    Raises
    ------
    BadInput
        If `out` or the device cannot be used.
    Cancelled
        If `cancelled` returned True.
    """
    path = checked_output(Path(out), overwrite=overwrite, resume=resume)
    chosen = choose_device(device)
    tile = fitting_tile(denoiser, plan, chosen, memory)
    journal, writer = _open_output(path, denoiser, plan, tile, resume)
    tile = tuple(journal.job["_tile"])

    def write_shards(parts: list[Part]) -> Iterator[str]:
        if scheduler is not None:
            job = ClusterJob(denoiser.to_bytes(), plan, path, device, memory, tile)
            return shards_on_cluster(scheduler, parts, job)
        predictor = Predictor(denoiser, plan, chosen, memory, tile=tile, cancelled=cancelled)
        return _shards(parts, predictor, writer)

    try:
        yield from _steps(writer, journal, write_shards, partial_path(path))
    except BaseException:
        if not journal.done:  # nothing to resume
            writer.discard()
            journal.remove()
        else:
            writer.close()
        raise
    writer.finish()
    journal.remove()
    return path


def _steps(
    writer: Writer,
    journal: Journal,
    write_shards: Callable[[list[Part]], Iterator[str]],
    growing: Path,
) -> Iterator[DenoisingStep]:
    """Write all shards that are not in the journal, coarser levels last; yield the progress."""
    parts, coarser = list(writer.shards()), list(writer.pyramid())
    left = [part for part in parts if part[0] not in journal.done]
    total_cost = len(parts) + _COARSER_COST * len(coarser)
    done = len(parts) - len(left)
    averaged = len(journal.done) - done

    def step() -> DenoisingStep:
        return DenoisingStep(
            done, len(parts), (done + _COARSER_COST * averaged) / total_cost, growing
        )

    yield step()
    for name in write_shards(left):
        journal.add(name)
        done += 1
        yield step()
    for name, average in coarser:
        if name not in journal.done:
            average()
            journal.add(name)
            averaged += 1
            yield step()


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
        See `make_plan`.
    out
        Path ending in .ome.zarr, .zarr or .tif; None returns the result in memory.
    device
        "auto", "cpu", "cuda" or "mps".
    memory
        Memory limit for pixels and network together, in bytes; without `out`, the result needs
        additional memory.
    overwrite
        Overwrite existing output.
    resume
        Resume an interrupted run.
    scheduler
        Address of a `dask.distributed` scheduler whose workers compute the shards; `memory` and
        `device` are then those of each worker.
    on_step
        Called after every shard that is written to a file.

    Returns
    -------
    numpy.ndarray or pathlib.Path
        The result, of the first source's shape with its axes in the order TCZYX, or its path.

    Raises
    ------
    BadInput
        If a source or `out` cannot be used.
    """
    plan = make_plan(denoiser, *sources, axes=axes, dtype=dtype, turns=turns)
    if out is not None:
        run = denoise_by_shards(
            denoiser,
            plan,
            out,
            device=device,
            memory=memory,
            overwrite=overwrite,
            resume=resume,
            scheduler=scheduler,
        )
        return run.finish(on_step)
    predictor = Predictor(denoiser, plan, choose_device(device), memory)
    shape = plan.header.shape
    result = np.empty(shape, plan.header.dtype)
    for frame in np.ndindex(*shape[: -denoiser.dims]):
        region = (
            *(slice(i, i + 1) for i in frame),
            *(slice(0, length) for length in shape[-denoiser.dims :]),
        )
        result[region] = predictor.compute(region, predictor.read(region))
    return result


def _open_output(
    path: Path, denoiser: Denoiser, plan: Plan, tile: tuple[int, ...], resume: bool
) -> tuple[Journal, Writer]:
    """Open journal and writer; the journal of a resumed run contains the tile of the first run."""
    header = plan.header
    job = {
        "model": denoiser.fingerprint(),
        "input": [[one.name, one.shape] for scene in plan.scenes for one in scene.acquisitions],
        "output": [header.shape, str(header.dtype), header.axes],
        "turns": plan.turns,
        "_tile": tile,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    if not resume:
        size = math.prod(header.shape) * header.dtype.itemsize
        share = _COMPRESSED if path.suffix.lower() == ".zarr" else 1.0
        check_disk_space(path, round(share * size))
    journal = Journal(journal_path(path), job, resume=resume)
    resumed = bool(journal.done)
    return journal, open_writer(path, header, dims=denoiser.dims, resume=resumed)


def _shards(parts: list[Part], predictor: Predictor, writer: Writer) -> Iterator[str]:
    """Yield the name of every shard after it has been written; read and write in the background."""
    with (
        ThreadPoolExecutor(1, thread_name_prefix="napari-n2n-reader") as reading,
        ThreadPoolExecutor(1, thread_name_prefix="napari-n2n-writer") as writing,
    ):
        ahead = [reading.submit(predictor.read, region) for _, region in parts[:1]]
        behind: list[tuple[str, Any]] = []
        for number, (name, region) in enumerate(parts):
            inputs = ahead.pop().result()
            ahead += [reading.submit(predictor.read, r) for _, r in parts[number + 1 : number + 2]]
            values = predictor.compute(region, inputs)
            del inputs
            for earlier, written in behind:
                written.result()
                yield earlier
            behind = [(name, writing.submit(writer.write, region, values))]
        for earlier, written in behind:
            written.result()
            yield earlier
