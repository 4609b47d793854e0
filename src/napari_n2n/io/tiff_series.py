"""Find the images in a TIFF: its series, with equal series joined into one stack."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tifffile

# Kinds of series that tifffile makes of all pages of a file, in their order.
OWN_PAGES = ("shaped", "generic", "uniform", "imagej")


@dataclass(frozen=True)
class TiffImage:
    """One image in a TIFF.

    Attributes
    ----------
    series
        Its pages.
    number
        Index of its first series in the file.
    """

    series: tifffile.TiffPageSeries
    number: int

    @property
    def title(self) -> str:
        """Name, if it has one, and shape."""
        lengths = ", ".join(
            f"{axis} {length}"
            for axis, length in zip(self.series.axes, self.series.shape, strict=True)
        )
        return f"'{self.series.name}' ({lengths})" if self.series.name else lengths


def images_in(tif: tifffile.TiffFile) -> list[TiffImage]:
    """Return the images in a file, without overviews of lower resolution.

    Without OME metadata, equal series, such as planes that were appended one by one, are one stack.

    Raises
    ------
    tifffile.TiffFileError
        If it has none.
    """
    groups: dict[Any, list[tuple[int, tifffile.TiffPageSeries]]] = {}
    for number, series in enumerate(tif.series):
        joined = (series.keyframe.hash, series.shape) if series.kind in OWN_PAGES else number
        groups.setdefault(joined, []).append((number, series))
    found = [
        TiffImage(
            group[0][1]
            if len(group) == 1
            else stack([page for _, one in group for page in pages_of(one)]),
            group[0][0],
        )
        for group in groups.values()
    ]
    if not found:
        raise tifffile.TiffFileError("it contains no image")
    return [one for one in found if not one.series.keyframe.is_reduced] or found


def largest(images: Sequence[TiffImage]) -> int:
    """Return the index of the image with the most bytes."""
    return max(range(len(images)), key=lambda index: int(images[index].series.nbytes))


def stack(pages: Sequence[Any]) -> tifffile.TiffPageSeries:
    """Return pages of one shape as a stack with an unlabelled first axis."""
    first = pages[0].keyframe
    many = len(pages) > 1
    return tifffile.TiffPageSeries(
        pages,
        (len(pages), *first.shape) if many else first.shape,
        first.dtype,
        "I" + first.axes if many else first.axes,
        kind="generic",
        multifile=any(page.parent is not first.parent for page in pages),
    )


def contiguous_from(series: tifffile.TiffPageSeries) -> int | None:
    """Return the position in the file, in bytes, of planes stored one after the other, or None."""
    return series.dataoffset if series.keyframe.is_final and not series.is_multifile else None


def pages_of(series: tifffile.TiffPageSeries) -> Iterator[Any]:
    """Yield the pages of a series up to the last one in the file; None for missing ones."""
    offset = contiguous_from(series)
    if offset is not None:
        yield from planes_from(series.keyframe, offset, len(series))
        return
    for index in range(len(series)):
        try:
            yield series[index]
        except IndexError:
            return


def planes_from(page: tifffile.TiffPage, offset: int, count: int) -> list[Any]:
    """Return contiguous planes as pages like `page`; the first one is at `offset`, in bytes."""
    return [
        tifffile.TiffFrame(
            page.parent,
            index=page.index,
            offset=page.offset,
            keyframe=page,
            dataoffsets=(offset + plane * page.nbytes,),
            databytecounts=(page.nbytes,),
        )
        for plane in range(count)
    ]
