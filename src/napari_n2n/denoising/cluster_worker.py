"""The tasks of a worker of a `dask.distributed` cluster: find the files of a job, write shards.

A worker never creates a result: it opens the one that the client has created, which it recognises
by its token. The bytes of the result do not depend on the worker, because each task computes with
one thread: another number of threads rounds differently.
"""

import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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

# How often, and after how many seconds, a process looks for a shard that another one has written:
# network disks show the files of other computers late, NFS by default after up to 60 seconds.
_LOOKS, _LOOK_SECONDS = 320, 0.25
_KEPT = 2  # predictors in a worker: enough for two clients that use a cluster at the same time
# Causes of errors that every worker would find: such a shard is not tried again.
_CERTAIN = ("cluster", "device", "not_finite")
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
        Token of the unfinished store or file, which must exist.
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
class Needed:
    """Description of what a worker needs for a job; see `ClusterJob`.

    Attributes
    ----------
    key
        Identifies the job, so that a worker builds its predictor once.
    version
        That of this package.
    dims
        Dimensions of the model.
    inputs
        The acquisitions that are read from files, each with a hash of its pixels.
    """

    key: str
    version: str
    device: str
    path: Path
    header: Header
    token: str
    dims: int
    inputs: tuple[tuple[Acquisition, str], ...]

    @classmethod
    def by(cls, job: ClusterJob) -> "Needed":
        """Return what the workers of a job need, as found on this computer."""
        return cls(
            key=uuid.uuid4().hex,
            version=own_version(),
            device=job.device,
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


@dataclass(frozen=True)
class Part:
    """A shard to write.

    Attributes
    ----------
    name
        Its name.
    region
        What it covers, for the full resolution; None: a coarser level.
    finer
        For a coarser level, the checks of the shards that it is made from.
    """

    name: str
    region: Region | None
    finer: Mapping[str, Check]


def own_version() -> str:
    """Return the version of this package."""
    return installed_version("napari-n2n") or "(not installed)"


def problem_with(needed: Needed) -> str:
    """Return why this worker cannot do a job, and the fix; empty if it can."""
    if own_version() != needed.version:
        return other_version(own_version(), needed.version)
    for one, pixels in needed.inputs:
        file = one.path or one.name
        if one.path is not None and not one.path.exists():
            return f"does not see {file}: use a folder that all computers share"
        try:
            same = hash_of_pixels(one) == pixels
        except BadInput as error:
            return f"cannot read a recording: {error}"
        if not same:
            return f"sees another image at {file}: use a folder that all computers share"
    try:
        choose_device(needed.device)
        _reopened(needed).close()
    except BadInput as error:
        return f"cannot compute: {error}"
    except OSError as error:
        folder = needed.path.parent
        return f"does not see {folder} as it is here ({error}): use a folder that all share"
    return ""


def other_version(found: str, wanted: str) -> str:
    """Return the problem of a worker with another version of this package."""
    return f"has napari-n2n {found}, and {wanted} runs here: install the same version"


def write_part(sent: tuple[ClusterJob, Needed], part: Part) -> tuple[str, Check] | BadInput:
    """Compute and write a shard; return its name and check, or an error that would occur again."""
    job, needed = sent
    try:
        predictor = _predictor(job, needed)
        with _opened(needed) as writer:
            if part.region is None:
                for finer, check in part.finer.items():
                    wait_for(finer, check, writer)
                writer.average(part.name)
            else:
                with _one_thread():
                    values = predictor.shard(part.region)
                writer.write(part.region, values)
            written = writer.check(part.name)
    except BadInput as error:
        if error.code in _CERTAIN:
            return error
        raise
    if written is None:
        raise OSError(f"{job.path}: shard {part.name} is missing after it was written")
    return part.name, written


def wait_for(name: str, check: Check, writer: Writer) -> None:
    """Wait until a shard that another process has written is complete on the disk here.

    Raises
    ------
    BadInput
        If the shard is not complete after more than a minute.
    """
    for _ in range(_LOOKS):
        if writer.check(name) == check:
            return
        time.sleep(_LOOK_SECONDS)
    raise BadInput(
        f"{writer.path}: a worker wrote shard {name}, which is not visible here: use a folder that "
        "all computers share",
        "cluster",
    )


def _reopened(needed: Needed) -> Writer:
    """Open the unfinished result that the client has created; never create one."""
    return open_writer(
        needed.path, needed.header, dims=needed.dims, token=needed.token, resume=True
    )


@contextmanager
def _opened(needed: Needed) -> Iterator[Writer]:
    """Open the unfinished result, and close it."""
    writer = _reopened(needed)
    try:
        yield writer
    finally:
        writer.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute with one thread: a worker without a nanny would use all cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _predictor(job: ClusterJob, needed: Needed) -> Predictor:
    """Return the predictor of a job; build it for the first shard of the job.

    Raises
    ------
    BadInput
        If this worker cannot do the job; workers that join late have not been checked before.
    """
    from distributed import get_worker

    with _building:
        if needed.key not in _predictors:
            if problem := problem_with(needed):
                raise BadInput(f"worker {get_worker().address}: {problem}", "cluster")
            while len(_predictors) >= _KEPT:
                del _predictors[next(iter(_predictors))]
            denoiser, device = from_bytes(job.model), choose_device(job.device)
            predictor = Predictor(denoiser, job.plan, device, job.memory, tile=job.tile)
            _predictors[needed.key] = predictor
        return _predictors[needed.key]
