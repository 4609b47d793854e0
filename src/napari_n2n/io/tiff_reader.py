"""Read TIFF files lazily, and compare the planes that they describe with those that they contain.

tifffile logs what does not fit and replaces missing planes by zeros. Here such a file is refused,
unless its axes are given: then the complete planes in it are read as one stack.
"""

import logging
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr

from napari_n2n.errors import BadInput
from napari_n2n.io.header import Header
from napari_n2n.io.image_name import image_index, say_choice
from napari_n2n.io.tiff_chain import follow_chain
from napari_n2n.io.tiff_metadata import channels_of, pixel_sizes
from napari_n2n.io.tiff_series import (
    OWN_PAGES,
    contiguous_from,
    images_in,
    largest,
    pages_of,
    planes_from,
    stack,
)

# First bytes of a TIFF and a BigTIFF, in both byte orders.
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUFFIXES = (".tif", ".tiff", ".btf", ".lsm")
_log = logging.getLogger("napari_n2n")
# What tifffile logs if it may deliver wrong pixels: broken chains of pages, series that do not fit
# their description, and unreadable tags of the baseline (their codes are below 400).
_SERIOUS = re.compile(
    r"series|corrupted|invalid (page )?offset|circular|predictor|ByteCounts|StripOffsets"
    r"|incompletely|TiffTag [23]\d\d "
)
# Largest chunk in bytes that may be compressed by more than the factor: deflate reaches 1032, and
# blank images in zstd or LZMA more, but a damaged width or length easily exceeds both.
_LARGE_CHUNK, _MOST_COMPRESSION = 2**28, 10_000
# Smallest share of the steps of a palette that become brighter if its indices are intensities.
_RISING = 0.9


def is_tiff(path: Path) -> bool:
    """Return whether a file begins like a TIFF: microscopes use other suffixes, too."""
    with open(path, "rb") as file:
        return file.read(4) in _MAGIC


def image_titles(path: Path) -> tuple[str, ...]:
    """Return names and shapes of the images in a TIFF; empty for other and for damaged files."""
    try:
        if not (path.is_file() and is_tiff(path)):
            return ()
        with _Remarks(), tifffile.TiffFile(path) as tif:
            return tuple(one.title for one in images_in(tif))
    except Exception:  # the error is reported when the file is read
        return ()


class Mapped:
    """Uncompressed pixels of a file, memory-mapped again for every read.

    A map that stays open would keep all pages that were read in the memory of the process.

    Parameters
    ----------
    path, offset
        File, and position of the first pixel in it, in bytes.
    shape, dtype
        Shape and type of the pixels, in C order.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.path = path.absolute()  # a worker of a cluster has another current folder
        self.offset, self.shape, self.dtype = offset, shape, dtype
        self.ndim = len(shape)

    def __getitem__(self, where: Any) -> np.ndarray:
        pixels = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return np.array(pixels[where])


class Paged:
    """Pixels of a file that are decoded chunk by chunk.

    Only the path is pickled, for the workers of a cluster.

    Parameters
    ----------
    path, lenient, image
        See `read`; the index of the image.
    series
        The pages, in a file that is open.
    """

    def __init__(
        self, path: Path, lenient: bool, image: str, series: tifffile.TiffPageSeries
    ) -> None:
        self.path, self._lenient, self._image = path.absolute(), lenient, image
        self._store: Any = series.aszarr(level=0)
        self._array: Any = zarr.open_array(self._store, mode="r")
        self.shape, self.dtype = self._array.shape, self._array.dtype
        self.ndim, self.chunks = len(self.shape), self._array.chunks

    def __getitem__(self, where: Any) -> np.ndarray:
        try:
            return np.asarray(self._array[where])
        finally:
            # Every read opens the file again: a system lets a process open about a thousand.
            self._store.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path, self._lenient, self._image)


def _reopened(path: Path, lenient: bool, image: str) -> Any:
    return read(path, lenient, image)[0]


class _Remarks(logging.Filter):
    """Collect what tifffile logs in this thread, instead of showing it."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True
        self.texts.append(record.getMessage())
        return False

    def __enter__(self) -> "_Remarks":
        logging.getLogger("tifffile").addFilter(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("tifffile").removeFilter(self)


def read(path: Path, lenient: bool = False, wanted: str = "") -> tuple[Any, Header]:
    """Open a TIFF without reading its pixels.

    If there are several images, the largest is chosen; images of equal shape, such as planes that
    were appended one by one, are read as one stack.

    Parameters
    ----------
    path
        The file.
    lenient
        Read the complete planes of a file that describes more, as one stack, instead of refusing.
    wanted
        Name or index of the image to read; empty: the largest.

    Returns
    -------
    tuple
        The pixels (`Mapped`, or `Paged` if they are compressed) and the header, whose axes are the
        file's own letters. Some are not in ``RTCZYX``, such as S for colours.

    Raises
    ------
    BadInput
        If the file describes more planes than it contains, or pixels that are not grey values.
    """
    with _Remarks() as remarks, tifffile.TiffFile(path) as tif:
        images = images_in(tif)
        titles = tuple(one.title for one in images)
        names = [one.series.name for one in images]
        image = image_index(names, wanted, str(path), titles) if wanted else largest(images)
        series = _checked_series(path, tif, images[image].series, remarks, lenient)
        shape, dtype, axes = tuple(series.shape), np.dtype(series.dtype), str(series.axes)
        if not lenient:
            _check_palette(path, series.keyframe)
        offset = contiguous_from(series)
        if offset is not None:
            pixels: Any = Mapped(path, offset, shape, dtype.newbyteorder(tif.byteorder))
        else:
            pixels = Paged(path, lenient, str(image), series)
        steps = pixel_sizes(tif, images[image])
        channels = channels_of(tif, images[image])
        own_name = series.name if tif.is_ome else ""
    if len(titles) > 1 and not wanted:
        say_choice(str(path), titles, image)
    return pixels, Header.of_sizes(
        *(shape, dtype, axes, steps),
        channels=channels,
        own_name=own_name,
        images=titles if len(titles) > 1 else (),
        image=image,
    )


def _checked_series(
    path: Path,
    tif: tifffile.TiffFile,
    chosen: tifffile.TiffPageSeries,
    remarks: _Remarks,
    lenient: bool,
) -> tifffile.TiffPageSeries:
    """Return the pages to read, once they are known to be complete."""
    chain = follow_chain(tif)
    present = _complete_planes(chosen)
    declared = max(len(chosen), _described(tif, chosen))
    odd = _odd_page(chosen, chain.shapes)
    serious = [text for text in (chain.damage, odd) if text]
    if chosen.kind in OWN_PAGES:
        serious += _damaged_others(tif, chosen)
    serious += [text for text in remarks.texts if _SERIOUS.search(text)]
    if len(tif.pages) > 1 and declared <= present == len(chosen):
        # Pages were appended to a file of tifffile by another program: all are read.
        serious = [text for text in serious if "invalid shaped series metadata" not in text]
    if declared <= present and not serious:
        return chosen
    is_first = chosen.keyframe.index == 0
    planes = [] if odd and not is_first else _equal_pages(tif) if odd else _planes(chosen)
    if is_first and not (odd or chosen.is_multifile):
        planes = max(planes, _equal_pages(tif), _following_planes(tif, declared), key=len)
    if lenient and planes:
        _log.warning("%s: reads the %s that are complete", path, _counted(len(planes)))
        return stack(planes)
    count = len(planes)
    fix = "copy the file again"
    if count:
        axes = "YX" if count == 1 else "TYX"
        fix += f", or read what it contains with --axes {axes}"
    if declared != count:
        problem = f"describes {_counted(declared)} but contains {count} complete"
    else:
        problem = f"its pages do not fit their description ({serious[0].split('> ', 1)[-1]})"
    raise BadInput(f"{path}: {problem}: {fix}", "unreadable")


def _counted(planes: int) -> str:
    return f"{planes} plane{'s' if planes != 1 else ''}"


def _odd_page(chosen: tifffile.TiffPageSeries, shapes: list[tuple[int, ...]]) -> str:
    """Return which page has another shape than the first; empty if none.

    tifffile reads the planes of ImageJ and of its own with the shape of their first page.
    """
    if chosen.kind not in ("shaped", "imagej") or chosen.is_multifile:
        return ""
    first = chosen.keyframe.index
    for number, shape in enumerate(shapes[first : first + len(chosen)], first):
        if shape != shapes[first]:
            return f"page {number} has another shape than page {first}"
    return ""


def _damaged_others(tif: tifffile.TiffFile, chosen: tifffile.TiffPageSeries) -> Iterator[str]:
    """Say which pages are not images; a page of another size may be damaged."""
    used = sum(len(level) for series in tif.series for level in series.levels)
    if used < len(tif.pages):
        yield f"{len(tif.pages) - used} of its {len(tif.pages)} pages are not images"
    for series in tif.series:
        if series.keyframe.hash != chosen.keyframe.hash:
            try:
                series.keyframe.asarray()
            except Exception:  # whatever the decoders raise
                yield f"page {series.keyframe.index} is damaged"


def _complete_planes(series: tifffile.TiffPageSeries) -> int:
    """Return how many planes of a series are complete in the file."""
    offset = contiguous_from(series)
    if offset is not None:
        page = series.keyframe
        there = (page.parent.filehandle.size - offset) // max(1, page.nbytes)
        # Above 4 GB, ImageJ writes only the first page; its description counts the planes.
        return max(0, min(math.prod(series.shape) // max(1, page.size), there))
    return len(_planes(series))


def _planes(series: tifffile.TiffPageSeries) -> list[Any]:
    """Return the complete pages of a series, each once, even if its description repeats some."""
    there = (page for page in pages_of(series) if page is not None and _is_complete(page))
    return list(
        {(page.parent.filehandle.name, page.dataoffsets[0]): page for page in there}.values()
    )


def _following_planes(tif: tifffile.TiffFile, described: int) -> list[Any]:
    """Return the complete planes after the first page of ImageJ and tifffile.

    They write uncompressed planes one after the other, and the pages that point to them at the end
    of the file. A file that is cut off loses these pages first.
    """
    page = tif.pages.first
    if not (page.is_final and (tif.is_imagej or tif.is_shaped)):
        return []
    start = page.dataoffsets[0]
    there = (tif.filehandle.size - start) // max(1, page.nbytes)
    return planes_from(page, start, max(0, min(described, there)))


def _equal_pages(tif: tifffile.TiffFile) -> list[Any]:
    """Return all complete pages that are like the first one; ignore the description."""
    pages = [tif.pages.get(index, aspage=True) for index in range(len(tif.pages))]
    return [page for page in pages if page.hash == pages[0].hash and _is_complete(page)]


def _is_complete(page: Any) -> bool:
    """Return whether all chunks of a page are in the file."""
    keyframe, end = page.keyframe, page.parent.filehandle.size
    offsets, sizes = page.dataoffsets, page.databytecounts
    chunk = math.prod(keyframe.chunks) * keyframe.dtype.itemsize
    return len(offsets) == len(sizes) == math.prod(keyframe.chunked) and all(
        offset > 0
        and size > 0
        and offset + size <= end
        and (chunk <= _LARGE_CHUNK or chunk <= size * _MOST_COMPRESSION)
        for offset, size in zip(offsets, sizes, strict=True)
    )


def _described(tif: tifffile.TiffFile, chosen: tifffile.TiffPageSeries) -> int:
    """Return the number of planes in the description of the first page; 0 if it has none."""
    first = chosen.keyframe
    if tif.is_imagej and first.index == 0:
        metadata = tif.imagej_metadata or {}
        counted = ("frames", "slices", "channels") if first.samplesperpixel == 1 else ("frames",)
        planes = math.prod(int(metadata.get(key, 1)) for key in counted)
        return max(planes, int(metadata.get("images", 1)) if first.samplesperpixel == 1 else 1)
    if tif.is_shaped and first.shaped_description:
        shape = tifffile.tifffile.shaped_description_metadata(first.shaped_description)["shape"]
        return math.prod(shape) // max(1, first.size)
    return 0


def _check_palette(path: Path, page: tifffile.TiffPage) -> None:
    """Raise if the pixels are indices of colours, not intensities shown in colours."""
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.colormap is None:
        return
    steps = np.diff(np.asarray(page.colormap, np.float64).sum(axis=0))
    if np.mean(steps >= 0) < _RISING:
        raise BadInput(
            f"{path}: its pixels are indices of a colour palette: save it in grey values, or read "
            "the indices as intensities with --axes YX",
            "format",
        )
