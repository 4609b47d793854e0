"""Write OME-Zarr: a sharded full resolution, a pyramid, axes, pixel sizes and channels.

The format written is OME-NGFF 0.5. Until a store is complete it has the suffix ``.partial``, an
attribute that says so and no `ome` metadata, so other programs do not open it by mistake.
"""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.storage import FsspecStore

from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import (
    Check,
    check_of,
    flush_to_disk,
    named_in_errors,
    partial_path,
    remove,
    rename_into_place,
)
from napari_n2n.io.header import Header, Region, grid
from napari_n2n.io.ngff_metadata import describe
from napari_n2n.io.shard_layout import frames, inside, shard_shape

UNFINISHED = "napari-n2n: unfinished"  # attribute of an unfinished store: its token
_TAG = "napari-n2n: job"  # attribute of a result: the tag of its job
_NOTE = "napari-n2n: provenance"  # attribute of a result: what made it
# Sides of a chunk in pixels, along Z, Y and X. Viewers read whole chunks, so larger ones are slower
# to browse; smaller ones compress less and need a larger index.
_CHUNK = 16, 256, 256
# Longest side of the coarsest level, in pixels: one chunk is enough for an overview.
PYRAMID_TOP = 256


def read_tag(path: Path | FsspecStore) -> str:
    """Return the tag of the job that wrote a store; empty if it is not known."""
    return str(_attribute(path, _TAG) or "")


def read_note(path: Path) -> str:
    """Return the note that a `Writer` has stored, as JSON; empty if there is none."""
    note = _attribute(path, _NOTE)
    return json.dumps(note) if note else ""


def _attribute(path: Path | FsspecStore, name: str) -> Any:
    try:
        return zarr.open_group(path, mode="r").attrs.get(name)
    except Exception:
        return None


def levels(path: Path) -> list[zarr.Array]:
    """Open all resolutions of a finished result, the highest first."""
    group = zarr.open_group(path, mode="r")
    return [array for _, array in sorted(group.arrays(), key=lambda level: int(level[0]))]


class Writer:
    """Write an OME-Zarr 0.5 image, shard by shard.

    Parameters
    ----------
    path
        Name of the finished store.
    header
        Description of the full resolution.
    shard
        Largest sides of a shard along the last axes, in pixels: multiples of a chunk's, or smaller.
        See `shard_shape` for the other axes.
    token
        Part of the name of the unfinished store, and an attribute of it.
    tag
        Identifies the job in the finished store; see `read_tag`.
    note
        What made the result, plain JSON; see `read_note`.
    resume
        Open the unfinished store with this token, and never create one.

    Attributes
    ----------
    partial
        The unfinished store.

    Raises
    ------
    FileNotFoundError
        If `resume` is True, but there is no such store.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        *,
        shard: tuple[int, ...],
        token: str,
        tag: str = "",
        note: dict[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self.path, self.header, self._token, self._dims = path, header, token, len(shard)
        shard = shard_shape(header.shape, header.dtype.itemsize, shard)
        self._own: dict[str, Any] = {_TAG: tag} if tag else {}
        if note:
            self._own[_NOTE] = note
        self.partial = partial_path(path, token)
        levels = list(enumerate(self._shapes()))
        if resume:
            self._group = self._reopened()
            self._levels = [self._existing_level(*level) for level in levels]
            return
        with named_in_errors(path):
            self.partial.mkdir()  # raises if there is one
            try:
                self._group = zarr.open_group(self.partial, mode="w-", zarr_format=3)
                self._group.attrs[UNFINISHED] = token
                self._levels = [self._new_level(*level, shard) for level in levels]
            except BaseException:
                remove(self.partial)
                raise

    def _reopened(self) -> zarr.Group:
        try:
            group = zarr.open_group(self.partial, mode="r+")
        except Exception as error:
            raise FileNotFoundError(f"{self.partial}: no such unfinished result") from error
        attributes = dict(group.attrs)
        # A crash between adding the metadata and renaming leaves a store without the attribute.
        if attributes.get(UNFINISHED, self._token) != self._token:
            raise FileNotFoundError(f"{self.partial}: belongs to another run")
        return group

    def _existing_level(self, level: int, shape: tuple[int, ...]) -> zarr.Array:
        try:
            array = zarr.open_array(self.partial / str(level), mode="r+")
        except Exception as error:
            raise FileNotFoundError(f"{self.partial}: lacks level {level}") from error
        if array.shape != shape or array.dtype != self.header.dtype:
            raise FileNotFoundError(f"{self.partial}: has another shape or pixel type")
        return array.with_config({"write_empty_chunks": True})

    @property
    def array(self) -> zarr.Array:
        """The full resolution."""
        return self._levels[0]

    def _shapes(self) -> Iterator[tuple[int, ...]]:
        shape = self.header.shape
        yield shape
        while max(shape[-2:]) > PYRAMID_TOP:
            shape = (*shape[:-2], -(-shape[-2] // 2), -(-shape[-1] // 2))
            yield shape

    def _new_level(self, level: int, shape: tuple[int, ...], shard: tuple[int, ...]) -> zarr.Array:
        chunks, shards = [1] * len(shape), list(shard)
        for axis in range(-self._dims, 0):
            chunks[axis] = min(_CHUNK[axis], shape[axis], shard[axis])
            shards[axis] = -(-min(shard[axis], shape[axis]) // chunks[axis]) * chunks[axis]
        return self._group.create_array(
            str(level),
            shape=shape,
            dtype=self.header.dtype,
            fill_value=np.nan if self.header.dtype.kind == "f" else 0,  # of missing shards
            chunks=tuple(chunks),
            shards=tuple(shards),
            compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")],
            dimension_names=[axis.lower() for axis in self.header.axes],
            config={"write_empty_chunks": True},  # so that a missing shard is noticed
        )

    def shards(self) -> Iterator[tuple[str, Region]]:
        """Yield name and region of every shard of the full resolution."""
        return _named_shards(self._levels[0], 0)

    def write(self, region: Region, values: np.ndarray) -> None:
        """Write one shard of the full resolution and flush it to the disk."""
        self._write(0, region, values)

    def _write(self, level: int, region: Region, values: np.ndarray) -> None:
        array = self._levels[level]
        place = tuple(
            part.start // side for part, side in zip(region, _shard_shape(array), strict=True)
        )
        file = self._file(level, place)
        with named_in_errors(self.path):
            file.unlink(missing_ok=True)  # may be incomplete after an interrupted run
            array[region] = values
            for name in (file, *file.parents[: len(place) + 1]):
                flush_to_disk(name)

    def _file(self, level: int, place: tuple[int, ...]) -> Path:
        key = self._levels[level].metadata.encode_chunk_key(place)
        return self.partial / str(level) / key

    def _named_file(self, name: str) -> Path:
        level, *place = map(int, name.split("/"))
        return self._file(level, tuple(place))

    def check(self, name: str) -> Check | None:
        """Return the check of a shard as it is on the disk; None if it is missing."""
        try:
            return check_of(self._named_file(name).read_bytes())
        except (OSError, ValueError):
            return None

    def pyramid(self) -> Iterator[list[str]]:
        """Yield the names of the shards of each coarser level, the finest one first."""
        for level in range(1, len(self._levels)):
            yield [name for name, _ in _named_shards(self._levels[level], level)]

    def finer(self, name: str) -> list[str]:
        """Return the names of the shards that a shard of a coarser level is made from."""
        level, region = self._place(name)
        array = self._levels[level - 1]
        places = [
            range(part.start // side, -(-part.stop // side))
            for part, side in zip(self._source(level, region), _shard_shape(array), strict=True)
        ]
        return ["/".join(map(str, (level - 1, *place))) for place in product(*places)]

    def average(self, name: str) -> None:
        """Write a shard of a coarser level: the means of 2x2 pixels of the finer one."""
        level, region = self._place(name)
        finer, whole = self._levels[level - 1], np.empty(_lengths(region), self.header.dtype)
        for frame in frames(region, self._dims):
            source = self._source(level, frame)
            whole[inside(frame, region)] = halve(np.asarray(finer[source]))
        self._write(level, region, whole)

    def _place(self, name: str) -> tuple[int, Region]:
        """Return level and region of a shard."""
        level, *place = map(int, name.split("/"))
        array = self._levels[level]
        sides = zip(place, _shard_shape(array), array.shape, strict=True)
        return level, tuple(slice(i * side, min((i + 1) * side, n)) for i, side, n in sides)

    def _source(self, level: int, region: Region) -> Region:
        """Return the part of the next finer level from which a region is averaged."""
        rows_columns = zip(region[-2:], self._levels[level - 1].shape[-2:], strict=True)
        finer = (slice(2 * part.start, min(2 * part.stop, n)) for part, n in rows_columns)
        return (*region[:-2], *finer)

    def complete(self) -> None:
        """Verify the store, add its metadata, and flush it to the disk.

        Raises
        ------
        BadInput
            If shards are missing.
        """
        self._verify()
        attributes = {"ome": describe(self.header, self._levels)}
        with named_in_errors(self.path):
            self._group.attrs.put(attributes | self._own)
            for file in (self.partial / "zarr.json", self.partial):
                flush_to_disk(file)

    def rename(self) -> Path:
        """Give the complete store its name, and return this path."""
        with named_in_errors(self.path):
            return rename_into_place(self.partial, self.path, self._token)

    def _verify(self) -> None:
        """Open the store again and count the shards of every level."""
        for level, written in enumerate(self._levels):
            try:
                array = zarr.open_array(self.partial / str(level), mode="r")
                right = (array.shape, array.dtype) == (written.shape, written.dtype)
            except Exception:
                right = False
            total = sum(1 for _ in _named_shards(written, level))
            folder = self.partial / str(level)
            found = sum(file.name != "zarr.json" for file in folder.rglob("*") if file.is_file())
            if not right or found != total:
                raise BadInput(
                    f"{self.path}: {max(0, total - found)} of {total} shards are missing from "
                    f"{self.partial.name}, which another program changed: repeat the command with "
                    "--resume",
                    "unfinished",
                )

    def close(self) -> None:
        """Keep the unfinished store, so that it can be resumed."""

    def discard(self) -> None:
        """Delete the unfinished store."""
        remove(self.partial)


def halve(values: np.ndarray) -> np.ndarray:
    """Average blocks of 2x2 pixels of (..., Y, X); an odd last row or column is repeated."""
    if any(length % 2 for length in values.shape[-2:]):
        odd = [(0, 0)] * (values.ndim - 2) + [(0, length % 2) for length in values.shape[-2:]]
        values = np.pad(values, odd, mode="edge")
    *leading, rows, columns = values.shape
    mean = values.reshape(*leading, rows // 2, 2, columns // 2, 2).mean(axis=(-3, -1))
    return (mean if values.dtype.kind == "f" else np.rint(mean)).astype(values.dtype)


def _named_shards(array: zarr.Array, level: int) -> Iterator[tuple[str, Region]]:
    for name, region in grid(array.shape, _shard_shape(array)):
        yield f"{level}/{name}", region


def _lengths(region: Region) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in region)


def _shard_shape(array: zarr.Array) -> tuple[int, ...]:
    return array.shards or array.chunks
