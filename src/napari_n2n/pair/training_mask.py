"""Train inside a mask: an image that is 0 where neither measuring nor training may use pixels.

A pair with a mask is cropped to the part around it, and pixels outside the mask are treated like
empty areas.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.header import Region
from napari_n2n.io.window import middle

# Pixels around the mask that networks see: the receptive field of a network is about as large.
_MARGIN = 64
# Fewest pixels inside: a square of the smallest side of a plane, 32.
_FEWEST = 1024


@dataclass(frozen=True, eq=False)
class TrainingMask:
    """Where pixels of a pair are used.

    Attributes
    ----------
    image
        Its pixels, 0 outside: one plane for all planes of the pair, or one for each.
    shape
        Shape of the pair.
    anywhere
        True inside the mask of at least one plane; shape (Y, X).
    outside_planes
        Indices over all leading axes of planes without a pixel inside.
    share
        Share of the pixels of the recording that are inside.
    """

    image: Acquisition
    shape: tuple[int, ...]
    anywhere: np.ndarray
    outside_planes: frozenset[int]
    share: float

    @classmethod
    def open(cls, source: Any, first: Acquisition) -> "TrainingMask":
        """Open the mask of a pair.

        Parameters
        ----------
        source
            A source that `Acquisition.open` accepts; every value other than 0 counts as inside. If
            only one of several planes of the mask is not empty, it is used for all planes, like a
            mask of one plane.
        first
            The first acquisition of the pair, without channels and repeats.

        Raises
        ------
        BadInput
            If the shape is not that of the acquisition or its planes, values are no labels, or too
            few pixels are inside.
        """
        image = Acquisition.open(source)
        if image.plane_shape != first.plane_shape:
            raise _other_shape(image, first)
        anywhere, counts = np.zeros(first.plane_shape, bool), list[int]()
        for number in range(image.plane_count):
            plane = image.plane(number)
            _check_labels(plane, image.name)
            anywhere |= plane != 0
            counts.append(int((plane != 0).sum()))
        if np.count_nonzero(counts) == 1:
            image = Acquisition.open(anywhere.astype(np.uint8), name=image.name)
            counts = [sum(counts)] * first.plane_count
        elif [n for n in image.shape[:-2] if n > 1] != [n for n in first.shape[:-2] if n > 1]:
            raise _other_shape(image, first)
        if sum(counts) < _FEWEST:
            raise BadInput(
                f"{image.name}: {sum(counts)} pixels of the mask are not 0: too few to train on; "
                f"draw at least {_FEWEST}",
                "size",
            )
        outside = frozenset(number for number, count in enumerate(counts) if not count)
        share = sum(counts) / (len(counts) * anywhere.size)
        mask = cls(image, first.shape, anywhere, outside, share)
        mask._check_middle()
        return mask

    def _check_middle(self) -> None:
        """Raise if the mask leaves out the middle of a large image, where the noise is measured."""
        box = self.anywhere[self.box()]
        # Side in pixels of the smallest part that is measured, see `Sample`.
        seen = box[middle(box.shape, 512)]
        if int(seen.sum()) < min(_FEWEST, int(box.sum())):
            raise BadInput(
                f"{self.image.name}: is empty in the middle of its parts, where the noise is "
                "measured: draw it around one group of structures",
                "size",
            )

    def box(self) -> tuple[slice, slice]:
        """Return rows and columns of the part around the mask."""
        rows, columns = (_around(np.asarray(self.anywhere.any(axis=1 - axis))) for axis in (0, 1))
        return rows, columns

    def cropped(self, rows: slice, columns: slice) -> "TrainingMask":
        """Return the mask of a part of every plane; `share` remains that of the recording."""
        anywhere = self.anywhere[rows, columns]
        shape = (*self.shape[:-2], *anywhere.shape)
        image = self.image.cropped(rows, columns)
        return replace(self, image=image, shape=shape, anywhere=anywhere)

    def inside(self, region: Region) -> np.ndarray:
        """Return which pixels of a region of the pair are inside, in the shape of the region."""
        shape = [part.stop - part.start for part in region]
        if self.image.plane_count == 1:
            return np.broadcast_to(self.anywhere[region[-2:]], shape)
        long = iter(
            part for part, length in zip(region, self.shape[:-2], strict=False) if length > 1
        )
        leading = [next(long) if one > 1 else slice(0, 1) for one in self.image.shape[:-2]]
        return (self.image.read((*leading, *region[-2:])) != 0).reshape(shape)

    def outside_of_planes(self, numbers: list[int], side: int | None) -> np.ndarray:
        """Return which pixels of the middle of some planes are outside; shape (planes, Y, X)."""
        part = middle(self.anywhere.shape, side)
        if self.image.plane_count == 1:
            inside = self.anywhere[part]
            return np.broadcast_to(~inside, (len(numbers), *inside.shape))
        view = self.image.cropped(*part)
        return np.stack([view.plane(number) == 0 for number in numbers])


def _other_shape(image: Acquisition, first: Acquisition) -> BadInput:
    return BadInput(
        f"{image.name}: a mask of shape {image.shape} does not fit {first.name} {first.shape}: "
        "draw it on this recording, one plane for all planes or one for each",
        "shape",
    )


def _around(inside: np.ndarray) -> slice:
    first, last = (int(end) for end in np.flatnonzero(inside)[[0, -1]])
    return slice(max(0, first - _MARGIN), min(len(inside), last + 1 + _MARGIN))


def _check_labels(plane: np.ndarray, name: str) -> None:
    if plane.dtype.kind == "f" and not np.array_equal(plane, np.round(plane)):
        raise BadInput(
            f"{name}: has values that are no whole numbers, so it is no mask: give an image of 0 "
            "(outside) and 1 (inside)",
            "format",
        )
