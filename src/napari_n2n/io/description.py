"""Describe what was read from a file: axes, shape, pixel sizes, channels and images in it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.sources import Source
from napari_n2n.io.written_by import provenance_lines, read_provenance


@dataclass(frozen=True)
class Description:
    """What was read from one file.

    Attributes
    ----------
    name, path
        Name of the image, and its file if any.
    axes, shape
        One letter of ``RTCZYX`` and one length, in pixels, per axis.
    axes_assumed
        True if the file does not label its leading axes.
    dtype
        Type of a pixel.
    pixel_size
        Size of a pixel and its unit by axis, such as ``{"X": (0.1, "micrometer")}``; an axis whose
        size the file does not contain is missing.
    channels
        Names of the channels, as far as the file contains them.
    images
        Names and shapes of all images in the file; empty if there is only one.
    image
        Index in `images` of the image that was read.
    repeats
        Number of acquisitions in the image: the length of axis R, or 1.
    values
        Smallest and largest value in the middle of one plane, in ADU.
    provenance
        What made the file, if it is a result; see `read_provenance`.
    """

    name: str
    path: str | None
    axes: str
    shape: tuple[int, ...]
    axes_assumed: bool
    dtype: str
    pixel_size: dict[str, tuple[float, str]]
    channels: tuple[str, ...]
    images: tuple[str, ...]
    image: int
    repeats: int
    values: tuple[float, float]
    provenance: dict[str, Any] | None = None

    @classmethod
    def of(cls, source: Source) -> "Description":
        """Describe an open source.

        Raises
        ------
        BadInput
            If a plane cannot be read, or has values that cannot be used.
        """
        opened = Acquisition.open(source)
        plane = opened.sample_plane()
        header = opened.header
        return cls(
            name=opened.name,
            path=None if opened.path is None else str(opened.path),
            axes=opened.axes,
            shape=opened.shape,
            axes_assumed=opened.axes_in_doubt,
            dtype=str(opened.dtype),
            pixel_size={
                axis: step for axis, step in header.steps.items() if step != (1.0, "pixel")
            },
            channels=tuple(channel.name for channel in opened.channels),
            images=source.header.images,
            image=source.header.image,
            repeats=dict(zip(opened.axes, opened.shape, strict=True)).get("R", 1),
            values=(float(plane.min()), float(plane.max())),
            provenance=None if opened.path is None else read_provenance(opened.path),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        sizes = {
            axis: {"size": size, "unit": unit} for axis, (size, unit) in self.pixel_size.items()
        }
        return asdict(self) | {"pixel_size": sizes}

    def lines(self) -> Iterator[str]:
        """Yield the file, and a line for each of its properties."""
        yield f"{'recording':<15}{self.path or self.name}"
        lengths = ", ".join(
            f"{axis} {length}" for axis, length in zip(self.axes, self.shape, strict=True)
        )
        doubt = " (unlabelled axes are a guess: set --axes)" if self.axes_assumed else ""
        yield f"{'shape':<15}{lengths}{doubt}"
        low, high = self.values
        yield f"{'pixels':<15}{self.dtype}, {low:g} to {high:g} in the middle of one plane"
        yield f"{'pixel size':<15}{self._sizes()}"
        if any(self.channels):
            yield f"{'channels':<15}{', '.join(name or '(no name)' for name in self.channels)}"
        for number, image in enumerate(self.images):
            read = ", read" if number == self.image else ""
            yield f"{'image ' + str(number):<15}{image}{read}"
        if self.provenance is not None:
            yield from provenance_lines(self.provenance)

    def _sizes(self) -> str:
        """Return the pixel sizes, with equal units together."""
        by_unit = groupby(self.pixel_size.items(), key=lambda item: item[1][1])
        return (
            "; ".join(
                ", ".join(f"{axis} {size:g}" for axis, (size, _) in sizes) + f" {unit}"
                for unit, sizes in by_unit
            )
            or "not in the file"
        )
