"""Write small recordings in many formats, damage them at random, and read what they then hold.

The readers here are independent of the package, and strict: a file that is not complete and
consistent has no pixels (None). Where a format has no checksum, changed pixels cannot be noticed:
then the right result is that of the pixels that the file now holds.
"""

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import zarr

FRAMES, ROWS, COLUMNS = 6, 48, 40

Damage = Callable[[np.random.Generator, bytes], bytes]


@dataclass(frozen=True)
class Format:
    """A format of recordings.

    Attributes
    ----------
    file
        Name of the file or folder.
    write
        Writes the movie.
    held
        Reads the pixels that a damaged file holds; None: it is damaged in a way that shows.
    axes
        What the user adds, because the format does not label axes; empty: nothing.
    counted
        Whether the format says how many frames there are.
    some
        Reads the frames that are complete in a damaged file.
    """

    file: str
    write: Callable[[Path, np.ndarray], object]
    held: Callable[[Path], np.ndarray | None]
    axes: str = ""
    counted: bool = True
    some: Callable[[Path], list[np.ndarray]] = lambda path: []


def movie(seed: int = 0, dtype: str = "uint16") -> np.ndarray:
    """Return frames (T, Y, X) of a scene with photon noise: no two are alike."""
    rng = np.random.default_rng([7, seed])
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    scene = 60 + 40 * np.sin(rows / 5) * np.cos(columns / 4)
    return (2 * rng.poisson(scene, (FRAMES, ROWS, COLUMNS)) + 100).astype(dtype)


# ------------------------------------------------------------------------------------- damages


def flip(rng: np.random.Generator, content: bytes) -> bytes:
    """Flip one to eight bits; half of the time near the beginning or the end."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        where = int(rng.integers(len(changed)))
        if rng.random() < 0.5:
            near = int(rng.integers(min(512, len(changed))))
            where = near if rng.random() < 0.7 else len(changed) - 1 - near
        changed[where] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(rng: np.random.Generator, content: bytes) -> bytes:
    """Keep only the beginning, as an interrupted copy does."""
    return content[: int(rng.integers(len(content)))]


def zero(rng: np.random.Generator, content: bytes) -> bytes:
    """Fill a stretch with zeros, as a lost block of a disk does."""
    start, length = _stretch(rng, content)
    return content[:start] + bytes(length) + content[start + length :]


def splice(rng: np.random.Generator, content: bytes) -> bytes:
    """Write a stretch to another place."""
    start, length = _stretch(rng, content)
    target = int(rng.integers(len(content)))
    return content[:target] + content[start : start + length] + content[target + length :]


def extend(rng: np.random.Generator, content: bytes) -> bytes:
    """Insert random bytes, half of the time at the end."""
    where = len(content) if rng.random() < 0.5 else int(rng.integers(len(content)))
    return content[:where] + rng.bytes(int(rng.integers(1, 200))) + content[where:]


def _stretch(rng: np.random.Generator, content: bytes) -> tuple[int, int]:
    start = int(rng.integers(len(content)))
    return start, min(len(content) - start, 1 + int(len(content) * 0.25 * rng.random() ** 3))


DAMAGES: tuple[Damage, ...] = (flip, cut, zero, splice, extend)


def damage(rng: np.random.Generator, path: Path) -> str:
    """Damage a file, or a file of a folder; return what was done."""
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    described = [one for one in files if one.name.startswith((".z", "zarr.json"))]
    chosen = files if not described or rng.random() < 0.5 else described
    file = chosen[int(rng.integers(len(chosen)))]
    if len(files) > 1 and rng.random() < 0.1:
        file.unlink()
        return f"{file.name} removed"
    do, content = DAMAGES[int(rng.integers(len(DAMAGES)))], file.read_bytes()
    if not content:
        return f"{file.name} is empty"
    file.write_bytes(do(rng, content))
    return f"{do.__name__} in {file.name}"


# ------------------------------------------------------------------------------------- readers

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_DECODE: dict[int, Callable[[bytes], bytes]] = {
    5: imagecodecs.lzw_decode,
    8: imagecodecs.zlib_decode,
    32946: imagecodecs.zlib_decode,
    50000: imagecodecs.zstd_decode,
    34926: imagecodecs.zstd_decode,
}


def held_tiff(path: Path) -> np.ndarray | None:
    """Read the grey-scale pages of a TIFF, strip by strip or tile by tile."""
    try:
        content = path.read_bytes()
        return np.stack([_page(content, tags) for tags in _pages(content)])
    except Exception:
        return None


def some_tiff(path: Path) -> list[np.ndarray]:
    """Read the pages that are complete, up to where their chain breaks."""
    content, found = path.read_bytes(), []
    with suppress(Exception):
        for page in _pages(content):
            with suppress(Exception):
                found.append(_page(content, page))
    return found


def held_imagej(path: Path) -> np.ndarray | None:
    """Read a stack as ImageJ does: planes without a gap, counted and described in the first page.

    A tag of an unknown type is left out, as the specification of TIFF says.
    """
    try:
        content = path.read_bytes()
        order, tags = next(_pages(content))
        found = {tag: values for tag, values in tags.items() if values}
        if found.get(259, [1])[0] != 1:
            return None
        columns, rows, start = found[256][0], found[257][0], found[273][0]
        dtype = np.dtype(f"{order}{_KINDS[found.get(339, [1])[0]]}{found[258][0] // 8}")
        planes = int(re.findall(rb"ImageJ=.*?images=(\d+)", content, re.DOTALL)[0])
        pixels = np.frombuffer(content, dtype, planes * rows * columns, start)
        return pixels.reshape(planes, rows, columns).astype(dtype.newbyteorder("="))
    except Exception:
        return None


def _pages(content: bytes) -> Iterator[tuple[str, dict[int, list[int]]]]:
    """Yield byte order and tags of every page."""
    order = {b"II": "<", b"MM": ">"}[content[:2]]
    big = {42: False, 43: True}[struct.unpack(order + "H", content[2:4])[0]]
    count, entry, word = ("Q", 20, "Q") if big else ("H", 12, "I")
    width, seen = struct.calcsize(word), set()
    if big and struct.unpack(order + "HH", content[4:8]) != (8, 0):
        raise ValueError
    place = struct.unpack_from(order + word, content, 8 if big else 4)[0]
    while place:
        if place in seen:
            raise ValueError
        seen.add(place)
        number = struct.unpack_from(order + count, content, place)[0]
        start = place + struct.calcsize(count)
        yield (
            order,
            dict(
                _tag(content, start + entry * index, order, word, width) for index in range(number)
            ),
        )
        place = struct.unpack_from(order + word, content, start + entry * number)[0]


def _tag(content: bytes, place: int, order: str, word: str, width: int) -> tuple[int, list[int]]:
    tag, kind, length = struct.unpack_from(order + "HH" + word, content, place)
    if kind not in _CODES:
        return tag, []
    size, where = _SIZES[kind] * length, place + 4 + width
    if size > width:
        where = struct.unpack_from(order + word, content, where)[0]
    if where + size > len(content):
        return tag, []
    return tag, list(struct.unpack_from(f"{order}{length}{_CODES[kind]}", content, where))


def _page(content: bytes, page: tuple[str, dict[int, list[int]]]) -> np.ndarray:
    # A tag of an unknown type or outside the file is left out, as the specification says.
    order, tags = page[0], {tag: values for tag, values in page[1].items() if values}
    columns, rows = tags[256][0], tags[257][0]
    kind = _KINDS[tags.get(339, [1])[0]]
    dtype = np.dtype(f"{order}{kind}{tags.get(258, [1])[0] // 8}")
    compression = tags.get(259, [1])[0]
    if tags.get(277, [1])[0] != 1 or tags.get(317, [1])[0] != 1 or tags.get(266, [1])[0] != 1:
        raise ValueError  # colours, a predictor or reversed bits: not written here
    if rows * columns > 10**7:
        raise ValueError
    tiled = 322 in tags
    height, width = (tags[323][0], tags[322][0]) if tiled else (tags.get(278, [rows])[0], columns)
    image = np.zeros((rows, columns), dtype.newbyteorder("="))
    places = [(y, x) for y in range(0, rows, height) for x in range(0, columns, width)]
    starts, lengths = (tags[324], tags[325]) if tiled else (tags[273], tags.get(279, []))
    if not lengths and compression == 1:  # libtiff estimates them
        lengths = [dtype.itemsize * columns * min(height, rows - y) for y, _ in places]
    for (y, x), start, length in zip(places, starts, lengths, strict=True):
        shape = (height if tiled else min(height, rows - y), width)
        part = content[start : start + length]
        if len(part) != length:
            raise ValueError
        if compression != 1:
            part = _DECODE[compression](part)
        # More bytes than the pixels need are ignored, as libtiff does; fewer are an error.
        values = np.frombuffer(part, dtype, shape[0] * shape[1]).reshape(shape)
        image[y : y + height, x : x + width] = values[: rows - y, : columns - x]
    return image


def held_zarr(path: Path, level: str = "") -> np.ndarray | None:
    """Read an array with zarr; None if it cannot. Chunks without a file are zeros by definition."""
    try:
        node: Any = zarr.open(path / level, mode="r")
        array = node if isinstance(node, zarr.Array) else node["0"]
        if array.size > 10**7:
            return None
        return np.asarray(array[...])
    except Exception:
        return None


def held_npy(path: Path) -> np.ndarray | None:
    """Read an npy file."""
    try:
        values = np.load(path, allow_pickle=False)
        return values if values.size < 10**7 else None
    except Exception:
        return None


# ------------------------------------------------------------------------------------- formats


def _tiff(**options: Any) -> Callable[[Path, np.ndarray], object]:
    def write(path: Path, frames: np.ndarray) -> None:
        tifffile.imwrite(path, frames, photometric="minisblack", **options)

    return write


def _float32(
    write: Callable[[Path, np.ndarray], object],
) -> Callable[[Path, np.ndarray], object]:
    return lambda path, frames: write(path, frames.astype(np.float32))


def _zarr(version: int, **options: Any) -> Callable[[Path, np.ndarray], object]:
    def write(path: Path, frames: np.ndarray) -> None:
        chunks = {"chunks": (1, 24, 40)} | options
        array = zarr.create_array(
            path, shape=frames.shape, dtype=frames.dtype, zarr_format=version, **chunks
        )
        array[...] = frames

    return write


def _ome_zarr(version: str) -> Callable[[Path, np.ndarray], object]:
    def write(path: Path, frames: np.ndarray) -> None:
        group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
        array = group.create_array("0", shape=frames.shape, dtype=frames.dtype, chunks=(1, 24, 40))
        array[...] = frames
        axes = [{"name": "t", "type": "time"}, *({"name": n, "type": "space"} for n in "yx")]
        scale = [{"type": "scale", "scale": [1.0, 0.2, 0.2]}]
        datasets = [{"path": "0", "coordinateTransformations": scale}]
        image = {"version": version, "name": "movie", "axes": axes, "datasets": datasets}
        if version == "0.4":
            group.attrs.update({"multiscales": [image]})
        else:
            group.attrs.update({"ome": {"version": version, "multiscales": [image]}})

    return write


def _plain(**options: Any) -> Format:
    write = _tiff(metadata=None, **options)
    return Format("movie.tif", write, held_tiff, "TYX", counted=False, some=some_tiff)


def _shaped(**options: Any) -> Format:
    return Format("movie.tif", _tiff(metadata={"axes": "TYX"}, **options), held_tiff)


def _ome(**options: Any) -> Format:
    return Format("movie.ome.tif", _tiff(ome=True, metadata={"axes": "TYX"}, **options), held_tiff)


FORMATS: dict[str, Format] = {
    "TIFF": _plain(),
    "TIFF, big-endian": _shaped(byteorder=">"),
    "TIFF, tiles": _shaped(tile=(16, 16), compression="zlib"),
    "TIFF, deflate": _shaped(compression="zlib", rowsperstrip=16),
    "TIFF, LZW": _shaped(compression="lzw"),
    "TIFF, LZW, unlabelled": _plain(compression="lzw", rowsperstrip=10),
    "TIFF, zstd": _shaped(compression="zstd"),
    "TIFF, float32": Format("movie.tif", _float32(_tiff(metadata={"axes": "TYX"})), held_tiff),
    "BigTIFF": _shaped(bigtiff=True),
    "BigTIFF, deflate": _plain(bigtiff=True, compression="zlib"),
    "ImageJ": Format("movie.tif", _tiff(imagej=True, metadata={"axes": "TYX"}), held_imagej),
    "OME-TIFF": _ome(),
    "OME-TIFF, zstd": _ome(compression="zstd"),
    "zarr v2": Format("movie.zarr", _zarr(2), held_zarr, "TYX"),
    "zarr v3": Format("movie.zarr", _zarr(3), held_zarr, "TYX"),
    "zarr v3, shards": Format("movie.zarr", _zarr(3, shards=(2, 48, 40)), held_zarr, "TYX"),
    "zarr v2, uncompressed": Format("movie.zarr", _zarr(2, compressors=None), held_zarr, "TYX"),
    "OME-Zarr 0.4": Format("movie.ome.zarr", _ome_zarr("0.4"), held_zarr),
    "OME-Zarr 0.5": Format("movie.ome.zarr", _ome_zarr("0.5"), held_zarr),
    "npy": Format("movie.npy", np.save, held_npy, "TYX"),
}
