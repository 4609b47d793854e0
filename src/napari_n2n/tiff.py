"""TIFF out: plane by plane, with axes and pixel sizes, under its own name only when whole."""

from pathlib import Path

import numpy as np
import tifffile

_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_IMAGEJ_LIMIT = 2**31


class Writer:
    """A TIFF under construction: OME for ``.ome.tif`` and beyond ImageJ's limits, else ImageJ.

    Parameters
    ----------
    path
        Where the finished file will stand. Until `finish` it grows beside it, as
        ``path + ".partial"``.
    shape, dtype, axes, scale, units
        Of the stack; one entry for each dimension.
    name
        Of the image.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        dtype: np.dtype,
        axes: str,
        scale: tuple[float, ...],
        units: tuple[str, ...],
        name: str,
    ) -> None:
        self.path = path
        self._building = path.with_name(path.name + ".partial")
        self._building.parent.mkdir(parents=True, exist_ok=True)
        steps = dict(zip(axes, zip(scale, units, strict=True), strict=True))
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        named_ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
        imagej = not named_ome and str(np.dtype(dtype)) in _IMAGEJ_TYPES and size < _IMAGEJ_LIMIT
        self._pixels = tifffile.memmap(
            self._building,
            shape=shape,
            dtype=np.dtype(dtype),
            imagej=imagej,
            ome=not imagej,
            bigtiff=size >= _IMAGEJ_LIMIT,
            photometric="minisblack",
            metadata=_imagej(axes, steps) if imagej else _ome(axes, steps, name),
            resolution=(1 / steps["X"][0], 1 / steps["Y"][0]),
            resolutionunit="NONE",
        )

    def write_plane(self, index: int, plane: np.ndarray) -> None:
        """Write plane number `index`, counted through all leading axes; shape (Y, X)."""
        self._pixels.reshape(-1, *plane.shape)[index] = plane

    def finish(self) -> Path:
        """Give the file its name. Returns `path`."""
        self._pixels.flush()
        del self._pixels
        self._building.replace(self.path)
        return self.path

    def discard(self) -> None:
        """Remove what was written so far."""
        del self._pixels
        self._building.unlink(missing_ok=True)


def _imagej(axes: str, steps: dict[str, tuple[float, str]]) -> dict[str, object]:
    metadata: dict[str, object] = {"axes": axes, "unit": _imagej_unit(steps["X"][1])}
    if "Z" in steps:
        metadata["spacing"] = steps["Z"][0]
    if "T" in steps:
        metadata["finterval"] = steps["T"][0]
    return metadata


def _imagej_unit(unit: str) -> str:
    return {"micrometer": "um", "nanometer": "nm", "millimeter": "mm"}.get(unit, unit)


def _ome(axes: str, steps: dict[str, tuple[float, str]], name: str) -> dict[str, object]:
    symbols = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "second": "s"}
    metadata: dict[str, object] = {"axes": axes, "Name": name}
    for axis, (step, unit) in steps.items():
        if unit == "pixel":
            continue
        key = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
        metadata[key] = step
        metadata[f"{key}Unit"] = symbols.get(unit, unit)
    return metadata
