"""OME-Zarr in and out: a sharded full resolution, a pyramid, axes and pixel sizes.

Written with zarr alone (OME-NGFF 0.5). A store under construction carries no `ome` metadata and
ends in ``.partial``, so that no reader takes it for a result.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from napari_n2n.errors import BadInput

_AXIS_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_UNIT_NAMES = {
    "µm": "micrometer",
    "μm": "micrometer",
    "um": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "\\u00b5m": "micrometer",
    "nm": "nanometer",
    "mm": "millimeter",
    "s": "second",
    "sec": "second",
    "ms": "millisecond",
    "min": "minute",
    "": "pixel",
    "px": "pixel",
    "pixels": "pixel",
    "inch": "pixel",
}
CHUNK_SIDE = 256
PYRAMID_TOP = 256


@dataclass(frozen=True, eq=False)
class Image:
    """The full resolution of an OME-Zarr, or a bare zarr array.

    Attributes
    ----------
    array
        The `zarr.Array`, open for reading.
    axes
        Letters of ``TCZYX``; empty where the store does not name them.
    scale, units
        One entry for each letter.
    name
        That the store gives the image; empty where it gives none.
    """

    array: zarr.Array
    axes: str
    scale: tuple[float, ...]
    units: tuple[str, ...]
    name: str = ""


def unit_name(unit: str) -> str:
    """Return the name that OME-Zarr and napari use for a unit ("um" -> "micrometer")."""
    return _UNIT_NAMES.get(unit.strip(), unit.strip())


def read(path: Path) -> Image:
    """Open a zarr array or the highest resolution of an OME-Zarr 0.4 or 0.5 image.

    Raises
    ------
    BadInput
        If the folder holds no image, or several among which nobody can choose.
    """
    try:
        node: Any = zarr.open(path, mode="r")
    except Exception as error:
        raise BadInput(
            f"{path}: is not a readable zarr ({type(error).__name__}): "
            "check that it was copied whole"
        ) from error
    if isinstance(node, zarr.Array):
        xarrays: Any = node.attrs.get("_ARRAY_DIMENSIONS")
        names = getattr(node.metadata, "dimension_names", None) or xarrays or ()
        axes = "".join(str(name) for name in names).upper()
        fits = len(axes) == node.ndim and set(axes) <= set(_AXIS_TYPES)
        return _bare(node, axes if fits else "")
    attributes: dict[str, Any] = dict(node.attrs)
    multiscales = attributes.get("ome", attributes).get("multiscales")
    if not multiscales:
        arrays = [name for name, _ in node.arrays()]
        if len(arrays) == 1:
            return _bare(node[arrays[0]], "")
        listed = ", ".join(arrays) or "none"
        raise BadInput(
            f"{path}: holds no OME-Zarr image (arrays in it: {listed}): name one, e.g. {path}/NAME"
        )
    image = multiscales[0]
    array = node[image["datasets"][0]["path"]]
    scale = [1.0] * array.ndim
    for transforms in (
        image["datasets"][0].get("coordinateTransformations", ()),
        image.get("coordinateTransformations", ()),
    ):
        for transform in transforms:
            if transform.get("type") == "scale":
                scale = [a * b for a, b in zip(scale, transform["scale"], strict=True)]
    return Image(
        array=array,
        axes="".join(axis["name"] for axis in image["axes"]).upper(),
        scale=tuple(scale),
        units=tuple(unit_name(axis.get("unit", "pixel")) for axis in image["axes"]),
        name=str(image.get("name", "")),
    )


def _bare(array: zarr.Array, axes: str) -> Image:
    return Image(array, axes, (1.0,) * len(axes), ("pixel",) * len(axes))


def partial_path(path: Path) -> Path:
    """Where a result is built before it takes its own name."""
    return path.with_name(path.name + ".partial")


class Writer:
    """An OME-Zarr 0.5 image under construction, written plane by plane.

    Parameters
    ----------
    path
        Where the finished store will stand. Until `finish` it grows beside it, as
        ``path + ".partial"``.
    shape, dtype
        Of the full resolution.
    axes, scale, units
        One entry for each dimension.
    name
        Of the image, shown by viewers.
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
        self.path, self.axes, self.scale, self.units, self.name = path, axes, scale, units, name
        building = partial_path(path)
        if building.exists():
            shutil.rmtree(building)
        building.parent.mkdir(parents=True, exist_ok=True)
        self._group = zarr.open_group(building, mode="w", zarr_format=3)
        self.array = self._create(0, shape, np.dtype(dtype))

    def _create(self, level: int, shape: tuple[int, ...], dtype: np.dtype) -> zarr.Array:
        inner = [min(CHUNK_SIDE, length) for length in shape[-2:]]
        planes = (1,) * (len(shape) - 2)
        whole = [-(-length // side) * side for length, side in zip(shape[-2:], inner, strict=True)]
        return self._group.create_array(
            str(level),
            shape=shape,
            dtype=dtype,
            chunks=(*planes, *inner),
            shards=(*planes, *whole),  # one shard a plane: one writer each
            compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")],
            dimension_names=[axis.lower() for axis in self.axes],
        )

    def write_plane(self, index: int, plane: np.ndarray) -> None:
        """Write plane number `index`, counted through all leading axes; shape (Y, X)."""
        _write_plane(self.array, index, plane)

    def finish(self) -> Path:
        """Add the pyramid and the metadata, and give the store its name. Returns `path`."""
        levels = [self.array]
        while max(levels[-1].shape[-2:]) > PYRAMID_TOP:
            finer = levels[-1]
            rows, columns = (-(-length // 2) for length in finer.shape[-2:])
            coarser = self._create(len(levels), (*finer.shape[:-2], rows, columns), finer.dtype)
            for index in range(int(np.prod(finer.shape[:-2], dtype=int))):
                _write_plane(coarser, index, halved(_read_plane(finer, index)))
            levels.append(coarser)
        self._group.attrs["ome"] = {
            "version": "0.5",
            "multiscales": [
                {
                    "name": self.name,
                    "axes": [_axis(*pair) for pair in zip(self.axes, self.units, strict=True)],
                    "datasets": [self._dataset(level) for level in range(len(levels))],
                }
            ],
        }
        if self.path.exists():
            shutil.rmtree(self.path)
        partial_path(self.path).rename(self.path)
        return self.path

    def discard(self) -> None:
        """Remove what was written so far."""
        shutil.rmtree(partial_path(self.path), ignore_errors=True)

    def _dataset(self, level: int) -> dict[str, Any]:
        factor = float(2**level)
        scale = [*self.scale[:-2], self.scale[-2] * factor, self.scale[-1] * factor]
        # Averaging 2x2 pixels moves the centre of the first one by half a fine pixel.
        shift = (factor - 1.0) / 2.0
        translation = [0.0] * (len(scale) - 2) + [step * shift for step in self.scale[-2:]]
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if level:
            transforms.append({"type": "translation", "translation": translation})
        return {"path": str(level), "coordinateTransformations": transforms}


def halved(plane: np.ndarray) -> np.ndarray:
    """Average blocks of 2x2 pixels; an odd last row or column is repeated."""
    padded = np.pad(plane, [(0, length % 2) for length in plane.shape], mode="edge")
    rows, columns = padded.shape
    mean = padded.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
    return (
        mean.astype(plane.dtype) if plane.dtype.kind == "f" else np.rint(mean).astype(plane.dtype)
    )


def _axis(letter: str, unit: str) -> dict[str, str]:
    axis = {"name": letter.lower(), "type": _AXIS_TYPES[letter]}
    return axis | {"unit": unit} if unit != "pixel" and letter != "C" else axis


def _leading(array: zarr.Array, index: int) -> tuple[int, ...]:
    lengths = array.shape[:-2]
    return tuple(int(i) for i in np.unravel_index(index, lengths)) if lengths else ()


def _read_plane(array: zarr.Array, index: int) -> np.ndarray:
    return np.asarray(array[_leading(array, index)])


def _write_plane(array: zarr.Array, index: int, plane: np.ndarray) -> None:
    array[_leading(array, index)] = plane
