"""Denoise a stack of any size, shard by shard.

While one shard is computed, the next is read and the previous one is written. A journal beside the
growing result lists every shard that has been flushed to the disk, so that an interrupted run can
be resumed and gives the same bytes.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import numpy as np

from napari_n2n.defaults import MEMORY
from napari_n2n.denoising.cluster import shards_on_cluster
from napari_n2n.denoising.cluster_worker import ClusterJob
from napari_n2n.denoising.in_memory import DenoisingProgress, denoise_in_memory
from napari_n2n.denoising.plan import Plan, Quantity, make_plan
from napari_n2n.denoising.predictor import Predictor, fitting_tile
from napari_n2n.denoising.provenance_of_result import provenance_of_result
from napari_n2n.denoising.resumable import is_finished, is_written, job_of, open_output
from napari_n2n.errors import BadInput
from napari_n2n.generators import as_steps
from napari_n2n.io.crash_safe import Check, Journal
from napari_n2n.io.header import Region
from napari_n2n.io.output_path import check_keeps_inputs, output_path
from napari_n2n.io.run_lock import locked
from napari_n2n.io.shard_layout import inside
from napari_n2n.io.writers import Writer, check_ending
from napari_n2n.model.denoiser import Denoiser, load
from napari_n2n.model.device import choose_device

Part = tuple[str, Region | None]
"""Name and region of a shard; the region is None for a shard of a coarser level."""

Written = tuple[str, Check | None] | float
"""Name and check of a written shard, or the number of shards that are computed but not written."""

_log = logging.getLogger("napari_n2n")

# Ratio of the time for a shard of a coarser level to that for a denoised one, for the progress.
_COARSER_COST = 0.02


@dataclass(frozen=True, slots=True)
class DenoisingStep(DenoisingProgress):
    """Progress of a run that writes a file.

    Attributes
    ----------
    done, total
        Number of shards of the full resolution, done and in total.
    progress
        Share of the run that is done, including coarser levels, 0 to 1.
    growing
        The store or file that the result is written to until it is complete.
    """

    growing: Path


@as_steps
def denoise_by_shards(
    denoiser: Denoiser,
    plan: Plan,
    out: str | PathLike[str],
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
    that is already finished yields nothing. If the run is closed or cancelled after a shard has
    been written, the unfinished result is kept and can be resumed.

    Parameters
    ----------
    denoiser, out, device, memory, overwrite, resume, scheduler
        See `denoise`.
    plan
        See `make_plan`.
    cancelled
        Called before every layer of the network; the run ends if it returns True.
    sources
        Sources of the plan, if they are more than paths: napari layers name their file.

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
    # This computer may lack the device of the workers, which verify that they have it.
    chosen = choose_device("cpu" if scheduler else device)
    tile = fitting_tile(denoiser, plan, chosen, memory)
    with locked(path):
        job = job_of(denoiser, plan)
        # The date is that of the first run, so that a resumed result has the same bytes.
        made = provenance_of_result(denoiser, plan, job["input"])
        job |= {"_tile": tile, "_overwrite": overwrite, "_provenance": made}
        if resume and is_finished(path, job):
            _log.info("%s: is already finished", path)
            return path
        journal, writer = open_output(path, denoiser, plan, job, resume)
        tile = tuple(journal.job["_tile"])

        def write(levels: list[list[Part]]) -> Iterator[Written]:
            if scheduler is not None:
                cluster_job = ClusterJob(
                    denoiser.to_bytes(), plan, path, journal.token, device, memory, tile
                )
                return shards_on_cluster(
                    scheduler, levels, journal.done, cluster_job, writer, cancelled
                )
            predictor = Predictor(denoiser, plan, chosen, memory, tile=tile, cancelled=cancelled)
            return _shards(levels, predictor, writer)

        try:
            yield from _steps(writer, journal, write)
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
    write: Callable[[list[list[Part]]], Iterator[Written]],
) -> Iterator[DenoisingStep]:
    """Write all shards that the journal does not list, or that are not on the disk as listed.

    Coarser levels are written last. Yield the progress.
    """
    levels: list[list[Part]] = [list(writer.shards())]
    levels += [[(name, None) for name in names] for names in writer.pyramid()]
    total, coarser = len(levels[0]), {name for names in levels[1:] for name, _ in names}
    total_cost = total + _COARSER_COST * len(coarser)
    done, averaged, progress = 0, 0, 0.0

    def step(name: str | None = None, more: float = 0.0) -> DenoisingStep:
        nonlocal done, averaged, progress
        averaged += name in coarser
        done += name is not None and name not in coarser
        # A shard that is computed but not written yet counts before it is done.
        progress = max(progress, (done + more + _COARSER_COST * averaged) / total_cost)
        return DenoisingStep(done, total, progress, writer.partial)

    yield step()
    left: list[list[Part]] = [[] for _ in levels]
    for parts, missing in zip(levels, left, strict=True):
        for part in parts:
            if is_written(part[0], writer, journal):
                yield step(part[0])
            else:
                missing.append(part)
    for written in write(left):
        if isinstance(written, float):
            yield step(more=written)
            continue
        journal.add(*written)
        yield step(written[0])


class DenoiseOptions(TypedDict, total=False):
    """The options of `denoise`."""

    axes: str | None
    dtype: str
    turns: bool
    quantity: Quantity
    device: str
    memory: int
    overwrite: bool
    resume: bool
    scheduler: str | None
    cancelled: Callable[[], bool] | None


@overload
def denoise(
    denoiser: Denoiser | str | PathLike[str],
    *sources: Any,
    out: None = None,
    on_step: Callable[[DenoisingProgress], None] | None = None,
    **options: Unpack[DenoiseOptions],
) -> np.ndarray: ...
@overload
def denoise(
    denoiser: Denoiser | str | PathLike[str],
    *sources: Any,
    out: str | PathLike[str],
    on_step: Callable[[DenoisingStep], None] | None = None,
    **options: Unpack[DenoiseOptions],
) -> Path: ...
def denoise(
    denoiser: Denoiser | str | PathLike[str],
    *sources: Any,
    out: str | PathLike[str] | None = None,
    axes: str | None = None,
    dtype: str = "float32",
    turns: bool = False,
    quantity: Quantity = "result",
    device: str = "auto",
    memory: int = MEMORY,
    overwrite: bool = False,
    resume: bool = False,
    scheduler: str | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_step: Callable[[Any], None] | None = None,
) -> np.ndarray | Path:
    """Denoise a plane, a stack or a volume.

    Parameters
    ----------
    denoiser
        The model, or the path of its file.
    sources, axes, dtype, turns, quantity
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
        Resume an interrupted run of the same model on the same input. If `out` is already the
        result, return at once; if there is no such run, start one.
    scheduler
        Address of a `dask.distributed` scheduler whose workers compute the shards of a file, or
        the file with its address that ``dask scheduler --scheduler-file`` has written;
        `memory` and `device` are then those of each worker.
    cancelled
        Called before every layer of the network; the run ends if it returns True.
    on_step
        Called with a `DenoisingStep` after every shard that is written to a file; for a result in
        memory with a `DenoisingProgress` after every plane or volume.

    Returns
    -------
    numpy.ndarray or pathlib.Path
        The result, of the first source's shape with its axes in the order TCZYX, or its path.

    Raises
    ------
    BadInput
        If the model, a source or `out` cannot be used.
    Cancelled
        If `cancelled` returned True.
    """
    how = {"axes": axes, "dtype": dtype, "turns": turns, "quantity": quantity}
    model, plan = planned(denoiser, *sources, **how)
    if out is None:
        in_memory = denoise_in_memory(
            model, plan, device=device, memory=memory, cancelled=cancelled
        )
        return in_memory.finish(on_step)
    run = denoise_by_shards(
        *(model, plan, out),
        device=device,
        memory=memory,
        overwrite=overwrite,
        resume=resume,
        scheduler=scheduler,
        cancelled=cancelled,
        sources=sources if isinstance(denoiser, Denoiser) else [*sources, denoiser],
    )
    return run.finish(on_step)


def planned(
    denoiser: Denoiser | str | PathLike[str], *sources: Any, **how: Any
) -> tuple[Denoiser, Plan]:
    """Return a model, read from its file if a path is given, and the plan of `make_plan`."""
    model = denoiser if isinstance(denoiser, Denoiser) else load(denoiser)
    return model, make_plan(model, *sources, **how)


def _shards(levels: list[list[Part]], predictor: Predictor, writer: Writer) -> Iterator[Written]:
    """Yield every written shard; coarser levels are written last."""
    yield from _denoised([(n, region) for n, region in levels[0] if region], predictor, writer)
    for name, _ in chain.from_iterable(levels[1:]):
        writer.average(name)
        yield name, writer.check(name)


def _denoised(
    parts: list[tuple[str, Region]], predictor: Predictor, writer: Writer
) -> Iterator[Written]:
    """Yield every denoised shard; read and write in the background."""

    def write(name: str, region: Region, values: np.ndarray) -> tuple[str, Check | None]:
        writer.write(region, values)
        return name, writer.check(name)

    frames = [(part, list(predictor.frames(part[1]))) for part in parts]
    following = chain.from_iterable(own for _, own in frames)
    with (
        ThreadPoolExecutor(1, thread_name_prefix="napari-n2n-reader") as reading,
        ThreadPoolExecutor(1, thread_name_prefix="napari-n2n-writer") as writing,
    ):
        ahead = [reading.submit(predictor.read, frame) for frame in islice(following, 1)]
        behind: list[Future[tuple[str, Check | None]]] = []
        for (name, region), own in frames:
            shape = [part.stop - part.start for part in region]
            values = np.empty(shape, writer.header.dtype)
            for number, frame in enumerate(own, 1):
                inputs = ahead.pop().result()
                ahead += [reading.submit(predictor.read, one) for one in islice(following, 1)]
                values[inside(frame, region)] = predictor.compute(frame, inputs)
                del inputs
                if number < len(own):
                    yield len(behind) + number / len(own)
            for written in behind:
                yield written.result()
            behind = [writing.submit(write, name, region, values)]
            del values
        for written in behind:
            yield written.result()
