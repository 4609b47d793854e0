"""Denoise into an array, plane by plane or volume by volume."""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from napari_n2n.defaults import MEMORY
from napari_n2n.denoising.plan import Plan
from napari_n2n.denoising.predictor import Predictor
from napari_n2n.errors import BadInput
from napari_n2n.generators import as_steps
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.device import choose_device


@dataclass(frozen=True, slots=True)
class DenoisingProgress:
    """Progress of a run.

    Attributes
    ----------
    done, total
        Number of planes or volumes, done and in total.
    progress
        Share of the run that is done, 0 to 1.
    """

    done: int
    total: int
    progress: float


@as_steps
def denoise_in_memory(
    denoiser: Denoiser,
    plan: Plan,
    *,
    device: str = "auto",
    memory: int = MEMORY,
    cancelled: Callable[[], bool] | None = None,
) -> Generator[DenoisingProgress, None, np.ndarray]:
    """Denoise into an array; a generator that yields after every plane or volume.

    Parameters
    ----------
    denoiser, device, memory, cancelled
        See `denoise`.
    plan
        See `make_plan`.

    Raises
    ------
    BadInput
        If the device cannot be used, or the result does not fit into memory.
    Cancelled
        If `cancelled` returned True.
    """
    predictor = Predictor(denoiser, plan, choose_device(device), memory, cancelled=cancelled)
    shape, dims = plan.header.shape, denoiser.dims
    try:
        result = np.empty(shape, plan.header.dtype)
    except MemoryError as error:
        size = math.prod(shape) * plan.header.dtype.itemsize
        raise BadInput(
            f"{plan.header.name}: the result of {size / 1e9:.3g} GB does not fit into the memory: "
            "write it to a file with out=",
            "memory",
        ) from error
    total = math.prod(shape[:-dims])
    for done, frame in enumerate(np.ndindex(*shape[:-dims]), start=1):
        region = (
            *(slice(i, i + 1) for i in frame),
            *(slice(0, length) for length in shape[-dims:]),
        )
        result[region] = predictor.compute(region, predictor.read(region))
        yield DenoisingProgress(done, total, done / total)
    return result
