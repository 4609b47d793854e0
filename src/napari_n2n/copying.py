"""An acquisition, or a view of one, as a file of its own."""

from collections.abc import Iterator
from pathlib import Path

from napari_n2n.acquisition import Acquisition
from napari_n2n.durable import refuse_existing
from napari_n2n.writers import open_writer


def copy(acquisition: Acquisition, path: Path, *, overwrite: bool = False) -> Iterator[float]:
    """Write an acquisition as TIFF, in its own pixel type; yields the share that is done.

    Raises
    ------
    BadInput
        If something stands at `path` that may not be replaced.
    """
    refuse_existing(path, overwrite=overwrite)
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
