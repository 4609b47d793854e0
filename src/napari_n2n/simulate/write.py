"""Write noisy copies of a clean acquisition, plane by plane."""

import math
import string
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.generators import as_steps
from napari_n2n.io.acquisition import Acquisition, read_finite
from napari_n2n.io.writers import Writer, written_together
from napari_n2n.simulate.corruption import Noise, Range, value_range


@dataclass(frozen=True, slots=True)
class SimulationStep:
    """Progress of a simulation: number of planes done, and in total."""

    done: int
    total: int

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return self.done / self.total


@as_steps
def simulate_by_planes(
    clean: Acquisition, noise: Noise, out: Sequence[Path], *, seed: int = 0, overwrite: bool = False
) -> Generator[SimulationStep, None, list[Path]]:
    """Write noisy copies of a clean acquisition; a generator that yields after every plane.

    Closing it before the end deletes the unfinished files.

    Parameters
    ----------
    clean
        The acquisition. Noise that depends on the range of values uses the range of the whole
        stack.
    noise
        The corruption. Noise, and levels from ranges, are drawn separately for every plane of every
        copy. A pixel is replaced in all its channels.
    out
        A path for each copy, ending in .tif or .ome.zarr.
    seed
        The same seed gives the same pixels.
    overwrite
        Overwrite existing files.

    Returns
    -------
    list of pathlib.Path
        `out`; the files are float32 and have the pixel sizes of `clean`.

    Raises
    ------
    BadInput
        If `clean` has pixels that are not finite, or a file of `out` exists, is being written, or
        is the file of `clean`, or if the disk is too full.
    """
    header = replace(clean.header, dtype=np.dtype(np.float32), own_name="")
    outputs = [
        (path, replace(header, name=f"{clean.name} {letter}"))
        for path, letter in zip(out, string.ascii_lowercase, strict=False)
    ]
    with written_together(clean, outputs, overwrite=overwrite) as writers:
        yield from _write_planes(clean, noise, writers, seed)
    return [writer.path for writer in writers]


def _write_planes(
    clean: Acquisition, noise: Noise, writers: Sequence[Writer], seed: int
) -> Iterator[SimulationStep]:
    data_range = _stack_range(clean) if noise.uses_range else None
    # All channels of a plane are read and written together.
    lengths = [n if axis in "CYX" else 1 for axis, n in zip(clean.axes, clean.shape, strict=True)]
    counts = [n // length for n, length in zip(clean.shape, lengths, strict=True)]
    together = math.prod(lengths[:-2])
    for index, place in enumerate(np.ndindex(*counts)):
        where = tuple(slice(i, i + length) for i, length in zip(place, lengths, strict=True))
        planes = read_finite(clean, where)
        for view, writer in enumerate(writers):
            rng = np.random.default_rng((seed, index, view))
            noisy = noise.apply(
                planes.reshape(together, *clean.plane_shape),
                rng,
                channels=together > 1,
                data_range=data_range,
            )
            with np.errstate(over="ignore"):  # found by the check
                noisy = noisy.reshape(planes.shape).astype(np.float32, copy=False)
            if not np.isfinite(noisy).all():
                raise BadInput(
                    f"{clean.name}: with the noise, plane {index * together} has values that "
                    "float32 cannot store: divide the image by a constant first",
                    "not_finite",
                )
            writer.write(where, noisy)
        yield SimulationStep((index + 1) * together, clean.plane_count)


def _stack_range(clean: Acquisition) -> Range:
    stack = slice(None)
    planes = (
        read_finite(clean, (*(slice(k, k + 1) for k in place), stack, stack))
        for place in np.ndindex(*clean.shape[:-2])
    )
    ends = [value_range(plane) for plane in planes]
    return min(low for low, _ in ends), max(high for _, high in ends)
