"""Choose `ngff_writer` or `tiff_writer` by the ending of a name; check that it may be written."""

import math
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io import ngff_writer, tiff_writer
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.crash_safe import journal_path, new_token, remove
from napari_n2n.io.header import Header
from napari_n2n.io.ngff_images import is_zarr
from napari_n2n.io.output_path import (
    check_disk_space,
    check_keeps_inputs,
    check_overwrite,
    output_path,
)
from napari_n2n.io.pixel_values import as_type
from napari_n2n.io.run_lock import locked

# Side of a shard of planes, in pixels: 4 million float32 pixels are 16 MB. Larger: fewer files, and
# fewer pixels computed twice at borders; smaller: less memory, and less to repeat after a crash.
SHARD_SIDE = 2048
# Smallest share of its uncompressed size that a zarr needs on disk: a low estimate, so that a run
# that might fit is not refused.
_COMPRESSED = 0.25
ENDINGS = (".ome.zarr", ".zarr", ".tif", ".tiff")
Writer = ngff_writer.Writer | tiff_writer.Writer


def shard_sides(dims: int) -> tuple[int, ...]:
    """Return the sides of a shard in pixels, (Y, X) of planes or (Z, Y, X) of volumes."""
    return (SHARD_SIDE, SHARD_SIDE) if dims == 2 else (64, 512, 512)  # 4 times the pixels of 2D


def open_writer(
    path: Path,
    header: Header,
    *,
    dims: int = 2,
    token: str | None = None,
    tag: str = "",
    note: dict[str, Any] | None = None,
    resume: bool = False,
) -> Writer:
    """Create a result, or continue an unfinished one; the caller holds the lock of `path`.

    Parameters
    ----------
    path, header, tag, note, resume
        See `ngff_writer.Writer` and `tiff_writer.Writer`.
    dims
        2 for results computed plane by plane, 3 for volumes.
    token
        See `ngff_writer.Writer`; by default a new one.

    Raises
    ------
    BadInput
        If the file format cannot store the type of the pixels.
    """
    if not can_store(path, header.dtype):
        raise BadInput(
            f"{path}: TIFF cannot store {header.dtype} pixels for other programs: choose a "
            "name that ends in .ome.zarr, or leave out --dtype same",
            "output",
        )
    kind = tiff_writer.Writer if _is_tiff(path) else ngff_writer.Writer
    return kind(
        *(path, header),
        shard=shard_sides(dims),
        token=token or new_token(),
        tag=tag,
        note=note,
        resume=resume,
    )


def read_tag(path: Path) -> str:
    """Return the tag that `open_writer` was given for a finished result; empty if it has none."""
    return tiff_writer.read_tag(path) if _is_tiff(path) else ngff_writer.read_tag(path)


def can_store(path: Path, dtype: np.dtype) -> bool:
    """Return whether the format of a file, which its ending says, can store a pixel type."""
    return not _is_tiff(path) or str(dtype) in tiff_writer.TYPES


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in (".tif", ".tiff")


def least_size(path: Path, header: Header) -> int:
    """Return the smallest size in bytes that a result can have on the disk."""
    size = math.prod(header.shape) * header.dtype.itemsize
    return size if _is_tiff(path) else round(_COMPRESSED * size)


@contextmanager
def written_together(
    source: Acquisition,
    outputs: Sequence[tuple[Path, Header]],
    *,
    overwrite: bool,
    note: dict[str, Any] | None = None,
) -> Iterator[list[Writer]]:
    """Open writers for several results; at the end all of them get their names, or none.

    If an error occurs, the files are removed. Results that replace earlier ones are renamed last,
    one after the other.

    Parameters
    ----------
    source
        What the results are made from; none of them may replace its file.
    outputs
        Path and header of every result.
    overwrite
        Overwrite existing files.
    note
        What made the pixels; see `ngff_writer.Writer`.

    Raises
    ------
    BadInput
        If an output exists and `overwrite` is False, is being written, or is the file of `source`,
        or if the disk is too full for all of them.
    """
    paths = [output_path(path) for path, _ in outputs]
    headers = [header for _, header in outputs]
    for path in paths:
        check_keeps_inputs(path, [source])
    with ExitStack() as held:
        for path in paths:
            held.enter_context(locked(path))
            check_overwrite(path, overwrite=overwrite)
        check_disk_space(paths[0], sum(map(least_size, paths, headers)))
        writers: list[Writer] = []
        new: list[Path] = []
        try:
            for path, header in zip(paths, headers, strict=True):
                writers.append(open_writer(path, header, note=note))
            yield writers
            for writer in writers:
                for name in chain.from_iterable(writer.pyramid()):
                    writer.average(name)
                writer.complete()
            for writer in writers:
                new += [] if os.path.lexists(writer.path) else [writer.path]
                writer.rename()
        except BaseException:
            for writer in writers:
                writer.discard()
            for path in new:
                remove(path)
            raise


def copy(
    source: Acquisition,
    parts: Sequence[tuple[Acquisition, Path]],
    *,
    overwrite: bool = False,
    dtype: np.dtype | None = None,
    note: dict[str, Any] | None = None,
) -> Generator[float, None, None]:
    """Write parts of an acquisition to files; yield the fraction done.

    Parameters
    ----------
    source, overwrite, note
        See `written_together`.
    parts
        Parts of the source, and the path of each.
    dtype
        Pixel type of the files; integers are rounded and clipped. None: that of each part.
    """
    headers = [replace(part.header, dtype=dtype or part.dtype) for part, _ in parts]
    outputs = [(path, header) for (_, path), header in zip(parts, headers, strict=True)]
    with written_together(source, outputs, overwrite=overwrite, note=note) as writers:
        regions = [list(writer.shards()) for writer in writers]
        done, total = 0, sum(map(len, regions))
        for (part, _), writer, shards in zip(parts, writers, regions, strict=True):
            for _, region in shards:
                writer.write(region, as_type(part.read(region), writer.header.dtype))
                done += 1
                yield done / total


def check_ending(path: Path) -> None:
    """Raise if no writer has the ending of a name.

    Raises
    ------
    BadInput
        If its ending is unknown.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise BadInput(
            f"{path}: unknown ending: choose a name that ends in {', '.join(ENDINGS[:3])}", "output"
        )


def checked_output(out: Path, *, overwrite: bool, resume: bool = False) -> Path:
    """Return the absolute path of a result if it may be written.

    Raises
    ------
    BadInput
        If its name cannot be used, or a finished or unfinished result exists and may not be
        replaced.
    """
    path = output_path(out)
    check_ending(path)
    if os.path.lexists(path):
        check_overwrite(path, overwrite=overwrite)
        if path.is_dir() and not is_zarr(path):
            raise BadInput(
                f"{path}: is a folder but not a zarr: choose another name",
                "output",
            )
        if path.is_dir() and path.suffix.lower() != ".zarr":
            raise BadInput(f"{path}: is a folder: choose another name", "output")
    elif journal_path(path).exists() and not (overwrite or resume):
        raise BadInput(
            f"{path}: has an unfinished result: continue it with --resume, or replace it with "
            "--overwrite",
            "unfinished",
        )
    return path
