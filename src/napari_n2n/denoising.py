"""Stack in, stack out: every plane goes through the network in exact tiles, one plane at a time."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_n2n import ngff, tiff
from napari_n2n.acquisition import Acquisition
from napari_n2n.affine import Affine
from napari_n2n.device import choose_device
from napari_n2n.errors import BadInput
from napari_n2n.generators import run_to_end
from napari_n2n.model import Denoiser
from napari_n2n.pair import Pair, not_finite
from napari_n2n.registration import common_part
from napari_n2n.tiles import mirrored, tiles

TILE = 1024
MARGIN = 16
_SMALLEST_TILE = 128
ENDINGS = (".ome.zarr", ".zarr", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class Plan:
    """What is denoised into what.

    Attributes
    ----------
    acquisitions
        One, or several of one scene whose results are averaged.
    maps
        For each, the map from its intensities to those of the result.
    weights
        For each, its share of the average.
    starts
        For each, the row and column of its plane at which the part common to all starts.
    dtype
        Of the result.
    warnings
        Sentences for the person: values outside of what the model was trained on, and so on.
    """

    acquisitions: tuple[Acquisition, ...]
    maps: tuple[Affine, ...]
    weights: tuple[float, ...]
    starts: tuple[tuple[int, int], ...]
    dtype: np.dtype
    warnings: tuple[str, ...]

    @property
    def first(self) -> Acquisition:
        """The acquisition whose grid, axes and pixel sizes the result has."""
        return self.acquisitions[0]

    @property
    def name(self) -> str:
        """What to call the result."""
        return " + ".join(one.name for one in self.acquisitions) + " denoised"


def plan(
    denoiser: Denoiser, *sources: Any, axes: str | None = None, dtype: str = "float32"
) -> Plan:
    """Open what shall be denoised and check that it fits.

    Parameters
    ----------
    denoiser
        The model.
    sources
        One acquisition: the result is on its own intensity scale. Several of one scene: the result
        is the mean of what each gives on its own scale, so that a brighter exposure counts more, as
        photon noise wants it; it is on the first one's grid.
    axes
        Letters of the dimensions, to overrule what the sources say.
    dtype
        "float32", or "same" for the input's own type (rounded and clipped).

    Raises
    ------
    BadInput
        If a source cannot be read or several do not show one scene.
    """
    if not sources:
        raise BadInput("nothing to denoise: name at least one acquisition")
    if dtype not in ("float32", "same"):
        raise BadInput(f"dtype '{dtype}': unknown: choose float32 or same")
    opened = tuple(Acquisition.open(source, axes=axes) for source in sources)
    maps: tuple[Affine, ...] = (Affine(),)
    weights: tuple[float, ...] = (1.0,)
    starts: tuple[tuple[int, int], ...] = ((0, 0),)
    if len(opened) > 1:
        pair = Pair.open(*opened)
        gains = np.array([match.gain for match in pair.matches])
        weights = tuple(gains / gains.sum())
        common = Affine(
            float(gains.mean()), float(np.mean([match.offset for match in pair.matches]))
        )
        maps = tuple(common.after(match.inverse) for match in pair.matches)
        starts = pair.offsets
    kind = opened[0].data.dtype if dtype == "same" else np.dtype(np.float32)
    return Plan(opened, maps, weights, starts, kind, tuple(_range_warnings(denoiser, opened)))


def _range_warnings(denoiser: Denoiser, acquisitions: tuple[Acquisition, ...]) -> Iterator[str]:
    trained = denoiser.record.get("values")
    if not trained:
        return
    low, high = trained
    for acquisition in acquisitions:
        values = np.concatenate([p.ravel()[::11] for _, p in acquisition.spread_planes(4)])
        bottom, top = (float(end) for end in np.percentile(values, (1, 99.9)))
        if top > high + 0.5 * (high - low) or bottom < low - 0.5 * (high - low):
            yield (
                f"{acquisition.name}: values from {bottom:.4g} to {top:.4g} lie outside of the "
                f"{low:.4g} to {high:.4g} that the model was trained on: "
                "train on acquisitions with this exposure for a result to trust"
            )


@dataclass(frozen=True, slots=True)
class DenoisingStep:
    """Where a run stands: planes done, and planes in all."""

    done: int
    total: int

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return self.done / self.total


def denoise_by_planes(
    denoiser: Denoiser,
    work: Plan,
    out: str | Path,
    *,
    device: str = "auto",
    overwrite: bool = False,
) -> Generator[DenoisingStep, None, Path]:
    """Denoise into a file; a generator that yields after every plane and returns the path.

    Closing it before its end leaves nothing behind. See `denoise` for the parameters.
    """
    path = checked_output(Path(out), overwrite)
    denoiser.to(choose_device(device))
    first = work.first
    kind = tiff.Writer if path.suffix in (".tif", ".tiff") else ngff.Writer
    writer = kind(path, first.shape, work.dtype, first.axes, first.scale, first.units, work.name)
    try:
        for index in range(first.plane_count):
            writer.write_plane(index, denoise_plane(denoiser, work, index))
            yield DenoisingStep(index + 1, first.plane_count)
        return writer.finish()
    except BaseException:
        writer.discard()
        raise


def denoise(
    denoiser: Denoiser,
    *sources: Any,
    out: str | Path | None = None,
    axes: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    overwrite: bool = False,
    on_step: Callable[[DenoisingStep], None] | None = None,
) -> np.ndarray | Path:
    """Denoise a plane or stack.

    Parameters
    ----------
    denoiser, sources, axes, dtype
        See `plan`.
    out
        Path ending in .ome.zarr, .zarr or .tif; None returns the result in memory.
    device
        "auto", "cpu", "cuda" or "mps".
    overwrite
        Replace what stands at `out`; without it, that is refused.
    on_step
        Called after every plane that goes to a file.

    Returns
    -------
    numpy.ndarray or pathlib.Path
        The result, of the first source's shape, or where it was written.

    Raises
    ------
    BadInput
        If a source or `out` cannot be used.
    """
    work = plan(denoiser, *sources, axes=axes, dtype=dtype)
    if out is None:
        denoiser.to(choose_device(device))
        planes = [denoise_plane(denoiser, work, i) for i in range(work.first.plane_count)]
        return np.stack(planes).reshape(work.first.shape)
    run = denoise_by_planes(denoiser, work, out, device=device, overwrite=overwrite)
    return run_to_end(run, on_step)


def checked_output(path: Path, overwrite: bool) -> Path:
    """Return the path if a result may be written there.

    Raises
    ------
    BadInput
        If its ending is unknown or something stands there.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise BadInput(f"{path}: unknown ending: let it end in {', '.join(ENDINGS[:3])}")
    if path.exists():
        if not overwrite:
            raise BadInput(f"{path}: exists already: choose another name or add --overwrite")
        if path.is_dir() and not (path / "zarr.json").exists() and not (path / ".zgroup").exists():
            raise BadInput(
                f"{path}: is a folder but no zarr, and is not replaced: choose another name"
            )
        if path.is_dir() and path.suffix != ".zarr":
            raise BadInput(f"{path}: is a folder: choose another name")
    return path


def denoise_plane(denoiser: Denoiser, work: Plan, index: int) -> np.ndarray:
    """Denoise plane `index` of every acquisition of a plan and average them; shape (Y, X)."""
    total = np.zeros(work.first.plane_shape, np.float64)
    shares = np.zeros(work.first.plane_shape, np.float64)
    for acquisition, to_result, weight, start in zip(
        work.acquisitions, work.maps, work.weights, work.starts, strict=True
    ):
        plane = acquisition.plane(index).astype(np.float32)
        if not np.isfinite(plane).all():
            raise not_finite(acquisition, index, float(1 - np.isfinite(plane).mean()))
        clean = _whole_plane(denoiser, plane)
        if acquisition.saturation is not None:  # beyond it nothing was measured, nor learned
            clean = np.minimum(clean, np.float32(acquisition.saturation))
        clean = to_result(clean)
        moved = (start[axis] - work.starts[0][axis] for axis in range(2))
        parts = [common_part(step, side) for step, side in zip(moved, plane.shape, strict=True)]
        here, there = (tuple(part[k] for part in parts) for k in range(2))
        total[here] += weight * clean[there]
        shares[here] += weight
    return _as_type(total / shares, work.dtype)


def _whole_plane(denoiser: Denoiser, plane: np.ndarray, size: int = TILE) -> np.ndarray:
    """Denoise a plane in exact tiles, halving them while the device's memory is too small."""
    result = np.empty(plane.shape, np.float32)
    try:
        cut = tiles(plane.shape, size, denoiser.receptive_field, denoiser.stride, MARGIN)
        for tile in cut:
            clean = denoiser.predict(mirrored(plane, tile.read)[None])[0]
            result[tile.write] = clean[tile.keep]
    except torch.OutOfMemoryError as error:
        if size // 2 < _SMALLEST_TILE:
            raise BadInput(
                "out of memory on the device even for small tiles: close other programs that use "
                "it, or denoise on the CPU"
            ) from error
        return _whole_plane(denoiser, plane, size // 2)
    return result


def _as_type(plane: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        plane = np.rint(plane).clip(limits.min, limits.max)
    return plane.astype(dtype)
