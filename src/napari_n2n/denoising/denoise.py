"""Denoise a stack of any size, shard by shard.

While one shard is computed, the next is read and the previous one is written. A journal beside the
growing result lists every shard that has been flushed to the disk, so that an interrupted run can
be resumed and gives the same bytes.
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_n2n.defaults import MEMORY
from napari_n2n.denoising.cluster import ClusterJob, shards_on_cluster
from napari_n2n.denoising.plan import Plan, make_plan
from napari_n2n.denoising.predictor import Predictor, fitting_tile
from napari_n2n.denoising.provenance_of_result import provenance_of_result
from napari_n2n.errors import BadInput
from napari_n2n.generators import as_steps
from napari_n2n.io.crash_safe import (
    Check,
    Journal,
    discard_unfinished,
    journal_path,
    partial_path,
    read_journal,
    restore,
)
from napari_n2n.io.fingerprint import fingerprint
from napari_n2n.io.header import Region
from napari_n2n.io.output_path import check_disk_space, check_keeps_inputs, output_path
from napari_n2n.io.run_lock import locked
from napari_n2n.io.writers import (
    Writer,
    check_ending,
    checked_output,
    least_size,
    open_writer,
    read_tag,
)
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import choose_device

Part = tuple[str, Region]

_log = logging.getLogger("napari_n2n")

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
    sources: Sequence[Any] = (),
) -> Generator[DenoisingStep, None, Path]:
    """Denoise into a file; a generator that yields after every shard and returns the path.

    It yields once before the first shard, as soon as the empty result can be shown; a resumed run
    that is already finished yields nothing. If it is closed
    or cancelled after a shard has been written, the unfinished result is kept and can be resumed.

    Parameters
    ----------
    denoiser, out, device, memory, overwrite, resume, scheduler
        See `denoise`.
    plan
        See `make_plan`.
    cancelled
        Called before every layer of the network; the run ends if it returns True.
    sources
        What the plan was made from, if it was more than paths: napari layers name their file.

    Raises
    ------
    BadInput
        If `out` or the device cannot be used, another run writes `out`, or a pixel of the result
        is not finite.
    Cancelled
        If `cancelled` returned True.
    """
    path = output_path(out)
    check_ending(path)
    check_keeps_inputs(
        path, [one for scene in plan.scenes for one in scene.acquisitions] + list(sources)
    )
    chosen = choose_device(device)
    tile = fitting_tile(denoiser, plan, chosen, memory)
    with locked(path):
        job = _job(denoiser, plan)
        # With the date of the first run: a resumed result has the same bytes.
        made = provenance_of_result(denoiser, plan, job["input"])
        job |= {"_tile": tile, "_overwrite": overwrite, "_provenance": made}
        if resume and _is_finished(path, job):
            _log.info("%s: is already finished", path)
            return path
        journal, writer = _open_output(path, denoiser, plan, job, resume)
        tile = tuple(journal.job["_tile"])

        def write_shards(parts: list[Part]) -> Iterator[tuple[str, Check | None]]:
            if scheduler is not None:
                cluster_job = ClusterJob(
                    denoiser.to_bytes(), plan, path, journal.token, device, memory, tile
                )
                return shards_on_cluster(scheduler, parts, cluster_job, writer)
            predictor = Predictor(denoiser, plan, chosen, memory, tile=tile, cancelled=cancelled)
            return _shards(parts, predictor, writer)

        try:
            yield from _steps(writer, journal, write_shards)
            writer.complete()
            writer.rename()
        except BaseException as error:
            if not journal.done:  # nothing to resume
                writer.discard()
                journal.remove()
            else:
                writer.close()
                if isinstance(error, BadInput) and error.code != "unfinished":
                    kept = f"{error} (what is finished is kept for --resume)"
                    raise BadInput(kept, error.code) from error
            raise
        journal.remove()
        return path


def _steps(
    writer: Writer,
    journal: Journal,
    write_shards: Callable[[list[Part]], Iterator[tuple[str, Check | None]]],
) -> Iterator[DenoisingStep]:
    """Write all shards that the journal does not list, or that are not on the disk as listed.

    Coarser levels are written last. Yield the progress.
    """
    parts, coarser = list(writer.shards()), list(writer.pyramid())
    total_cost = len(parts) + _COARSER_COST * len(coarser)
    done, averaged = 0, 0
    left: list[Part] = []

    def step() -> DenoisingStep:
        progress = (done + _COARSER_COST * averaged) / total_cost
        return DenoisingStep(done, len(parts), progress, writer.partial)

    yield step()
    for part in parts:
        if _is_written(part[0], writer, journal):
            done += 1
            yield step()
        else:
            left.append(part)
    for name, check in write_shards(left):
        journal.add(name, check)
        done += 1
        yield step()
    for name, average in coarser:
        if not _is_written(name, writer, journal):
            average()
            journal.add(name, writer.check(name))
        averaged += 1
        yield step()


def _is_written(name: str, writer: Writer, journal: Journal) -> bool:
    return name in journal.done and writer.check(name) == journal.done[name] is not None


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
        "auto", "cpu", "cuda", "cuda:1" (the second card) or "mps".
    memory
        Memory limit for pixels and network together, in bytes; without `out`, the result needs
        additional memory.
    overwrite
        Overwrite existing output.
    resume
        Resume an interrupted run of the same model on the same input, return at once if `out` is
        already its result, or else start.
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
            sources=sources,
        )
        return run.finish(on_step)
    predictor = Predictor(denoiser, plan, choose_device(device), memory)
    shape = plan.header.shape
    try:
        result = np.empty(shape, plan.header.dtype)
    except MemoryError as error:
        size = math.prod(shape) * plan.header.dtype.itemsize
        raise BadInput(
            f"{plan.header.name}: the result of {size / 1e9:.3g} GB does not fit into the memory: "
            "write it to a file with out=",
            "memory",
        ) from error
    for frame in np.ndindex(*shape[: -denoiser.dims]):
        region = (
            *(slice(i, i + 1) for i in frame),
            *(slice(0, length) for length in shape[-denoiser.dims :]),
        )
        result[region] = predictor.compute(region, predictor.read(region))
    return result


def _job(denoiser: Denoiser, plan: Plan) -> dict[str, Any]:
    """Return everything that determines the pixels of a result, as plain JSON."""
    header = plan.header
    return {
        "model": denoiser.fingerprint(),
        "input": [fingerprint(one) for scene in plan.scenes for one in scene.acquisitions],
        "output": [header.shape, str(header.dtype), header.axes],
        "turns": plan.turns,
    }


def _tag(job: dict[str, Any]) -> str:
    """Return a hash of a job; times of files do not matter."""
    what = {key: value for key, value in job.items() if not key.startswith("_")}
    what["input"] = [one["pixels"] for one in job["input"]]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def _is_finished(path: Path, job: dict[str, Any]) -> bool:
    """Return whether `path` is the result of a job; remove leftovers of its run."""
    if not path.exists() or read_tag(path) != _tag(job):
        return False
    discard_unfinished(path)
    return True


def _open_output(
    path: Path, denoiser: Denoiser, plan: Plan, job: dict[str, Any], resume: bool
) -> tuple[Journal, Writer]:
    """Open journal and writer: those of the interrupted run, or new ones."""
    header, dims, tag = plan.header, denoiser.dims, _tag(job)
    journal = read_journal(journal_path(path)) if resume else None
    if journal is not None:
        restore(path, journal)
    overwrite = job["_overwrite"] or (journal is not None and journal.job.get("_overwrite", False))
    checked_output(path, overwrite=overwrite, resume=resume)
    if journal is not None:
        journal.check_same(job)
        with suppress(FileNotFoundError):
            writer = open_writer(path, header, resume=True, **_stored(journal, dims, tag))
            if any(_is_written(name, writer, journal) for name in journal.done):
                return journal, writer
            writer.close()
        partial = partial_path(path, journal.token)
        if journal.done:
            kept = f" ({partial.name} is kept)" if partial.exists() else ""
            _log.warning("%s: the unfinished result is lost%s: starting again", path, kept)
        journal.restart(partial)
    else:
        discard_unfinished(path)
        journal = Journal.begin(journal_path(path), job)
    try:
        check_disk_space(path, least_size(path, header))
        writer = open_writer(path, header, **_stored(journal, dims, tag))
        journal.claim(writer.partial)
    except BaseException:
        journal.remove()
        raise
    return journal, writer


def _stored(journal: Journal, dims: int, tag: str) -> dict[str, Any]:
    made = journal.job.get("_provenance")  # a run of version 0.1 has none
    return {"dims": dims, "token": journal.token, "tag": tag, "note": made}


def _shards(
    parts: list[Part], predictor: Predictor, writer: Writer
) -> Iterator[tuple[str, Check | None]]:
    """Yield name and check of every written shard; read and write in the background."""

    def write(name: str, region: Region, values: np.ndarray) -> tuple[str, Check | None]:
        writer.write(region, values)
        return name, writer.check(name)

    with (
        ThreadPoolExecutor(1, thread_name_prefix="napari-n2n-reader") as reading,
        ThreadPoolExecutor(1, thread_name_prefix="napari-n2n-writer") as writing,
    ):
        ahead = [reading.submit(predictor.read, region) for _, region in parts[:1]]
        behind: list[Future[tuple[str, Check | None]]] = []
        for number, (name, region) in enumerate(parts):
            inputs = ahead.pop().result()
            ahead += [reading.submit(predictor.read, r) for _, r in parts[number + 1 : number + 2]]
            values = predictor.compute(region, inputs)
            del inputs
            for written in behind:
                yield written.result()
            behind = [writing.submit(write, name, region, values)]
        for written in behind:
            yield written.result()
