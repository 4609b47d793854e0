"""Denoise into an OME-Zarr at an address, such as s3://bucket/clean.ome.zarr.

The result is computed in a folder of this computer, where the run can be resumed, and then
uploaded. The folder is removed when the upload is complete.
"""

import hashlib
import shutil
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from napari_n2n.denoising.denoise import denoise_by_shards, planned
from napari_n2n.denoising.in_memory import DenoisingProgress
from napari_n2n.denoising.plan import Plan, Quantity
from napari_n2n.denoising.resumable import job_of, tag_of
from napari_n2n.errors import BadInput
from napari_n2n.generators import as_steps
from napari_n2n.io import ngff_writer
from napari_n2n.io.address import name_in_address
from napari_n2n.io.crash_safe import journal_path
from napari_n2n.io.reading import OneLine
from napari_n2n.io.remote import remote_store
from napari_n2n.io.upload import check_free, upload
from napari_n2n.model.denoiser import Denoiser

# Share of the progress bar for computing; uploading over a common network is faster.
_COMPUTED = 0.8
_FIX = "check the address, the network and your rights, and repeat the command with --resume"


@as_steps
def denoise_and_upload(
    denoiser: Denoiser,
    plan: Plan,
    address: str,
    *,
    overwrite: bool = False,
    resume: bool = False,
    **options: Any,
) -> Generator[DenoisingProgress, None, str]:
    """Denoise into an address; a generator that yields after every shard and file.

    A resumed run that is already finished yields nothing. See `denoise_to_address`.
    """
    if not address.lower().endswith(".zarr"):
        raise BadInput(
            f"{address}: only OME-Zarr is written to an address: end it with .ome.zarr", "output"
        )
    store = remote_store(address, write=True)
    with OneLine(f"{address}: cannot be written", _FIX):
        finished = resume and ngff_writer.read_tag(store) == tag_of(job_of(denoiser, plan))
        if finished:
            return address
        check_free(store, address, overwrite=overwrite, resume=resume)
    place = staging_path(address)
    # Without --resume, files that an earlier run has left there are not used.
    again = resume and (place.exists() or journal_path(place).exists())
    done = total = 0
    run = denoise_by_shards(denoiser, plan, place, overwrite=not again, resume=again, **options)
    with closing(run):
        for step in run:
            done, total = step.done, step.total
            yield DenoisingProgress(done, total, _COMPUTED * step.progress)
    with OneLine(f"{address}: cannot be written", _FIX):
        for share in upload(place, store):
            yield DenoisingProgress(total, total, _COMPUTED + (1 - _COMPUTED) * share)
    shutil.rmtree(place.parent)
    return address


def staging_path(address: str) -> Path:
    """Return the path on this computer where the result for an address is computed."""
    folder = user_cache_path("napari-n2n", appauthor=False) / "uploads"
    return folder / hashlib.sha256(address.encode()).hexdigest()[:16] / name_in_address(address)


def denoise_to_address(
    denoiser: Denoiser | str | Path,
    *sources: Any,
    out: str,
    axes: str | None = None,
    dtype: str = "float32",
    turns: bool = False,
    quantity: Quantity = "result",
    on_step: Callable[[DenoisingProgress], None] | None = None,
    **options: Any,
) -> str:
    """Denoise into an OME-Zarr at an address.

    Parameters
    ----------
    denoiser, sources, axes, dtype, turns, quantity
        See `denoise`.
    out
        Address such as s3://bucket/clean.ome.zarr. It gets its root metadata last, so that other
        programs never see a part of the result.
    on_step
        Called after every shard, and after every file that was uploaded.
    options
        device, memory, overwrite, resume, scheduler and cancelled, as in `denoise`.

    Returns
    -------
    str
        The address.

    Raises
    ------
    BadInput
        If the model or a source cannot be used, or the address cannot be written or is in use.
    """
    how = {"axes": axes, "dtype": dtype, "turns": turns, "quantity": quantity}
    model, plan = planned(denoiser, *sources, **how)
    return denoise_and_upload(model, plan, out, **options).finish(on_step)
