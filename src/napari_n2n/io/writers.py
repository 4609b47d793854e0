"""Which kind of file a result goes to, by the ending of its name.

An acquisition, or a view of one, as a file of its own.
"""

from collections.abc import Iterator
from pathlib import Path

from napari_n2n.errors import BadInput
from napari_n2n.io import ngff, tiff
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.crash_safe import check_overwrite, journal_path
from napari_n2n.io.header import Header

SHARD_SIDE = 2048
ENDINGS = (".ome.zarr", ".zarr", ".tif", ".tiff")
Writer = ngff.Writer | tiff.Writer


def shard_sides(dims: int) -> tuple[int, ...]:
    """Return the sides of what is computed and written at once: part of a plane, or of a volume."""
    return (SHARD_SIDE, SHARD_SIDE) if dims == 2 else (64, 512, 512)


def open_writer(path: Path, header: Header, *, dims: int = 2, resume: bool = False) -> Writer:
    """Begin a result, or go on with one; see the writers of `ngff` and `tiff`.

    Parameters
    ----------
    path, header, resume
        See there.
    dims
        2 for results that are made plane by plane, 3 for those made of volumes.
    """
    kind = tiff.Writer if path.suffix.lower() in (".tif", ".tiff") else ngff.Writer
    return kind(path, header, shard=shard_sides(dims), resume=resume)


def copy(acquisition: Acquisition, path: Path, *, overwrite: bool = False) -> Iterator[float]:
    """Write an acquisition as TIFF, in its own pixel type; yields the share that is done.

    Raises
    ------
    BadInput
        If something stands at `path` that may not be replaced.
    """
    check_overwrite(path, overwrite=overwrite)
    writer = open_writer(path, acquisition.header)
    try:
        parts = list(writer.shards())
        for number, (_, region) in enumerate(parts):
            writer.write(region, acquisition.read(region))
            yield (number + 1) / len(parts)
        writer.finish()
    except BaseException:
        writer.discard()
        raise


def checked_output(path: Path, *, overwrite: bool, resume: bool = False) -> Path:
    """Return the path if a result may be written there.

    Raises
    ------
    BadInput
        If its ending is unknown, or something stands there, or an unfinished result beside it.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise BadInput(f"{path}: unknown ending: let it end in {', '.join(ENDINGS[:3])}", "output")
    if path.exists():
        check_overwrite(path, overwrite=overwrite)
        if path.is_dir() and not ngff.is_zarr(path):
            raise BadInput(
                f"{path}: is a folder but no zarr, and is not replaced: choose another name",
                "output",
            )
        if path.is_dir() and path.suffix.lower() != ".zarr":
            raise BadInput(f"{path}: is a folder: choose another name", "output")
    elif journal_path(path).exists() and not (overwrite or resume):
        raise BadInput(
            f"{path}: an unfinished result lies beside it: go on with --resume, or begin anew with "
            "--overwrite",
            "unfinished",
        )
    return path
