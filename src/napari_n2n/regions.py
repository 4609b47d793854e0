"""Parts of a stack, a slice for each axis, and the grids of them in which results are written."""

from collections.abc import Iterator, Sequence

import numpy as np

Region = tuple[slice, ...]


def grid(shape: Sequence[int], sides: Sequence[int]) -> Iterator[tuple[str, Region]]:
    """Cut a stack into boxes of one size, those at the far edges less; yields name and place.

    Parameters
    ----------
    shape, sides
        Length of the stack and of a box along each axis, in pixels. A name holds the number of the
        box along each axis, as in ``0/3/1``.
    """
    counts = [-(-length // side) for length, side in zip(shape, sides, strict=True)]
    for place in np.ndindex(*counts):
        yield (
            "/".join(str(number) for number in place),
            tuple(
                slice(i * side, min((i + 1) * side, length))
                for i, side, length in zip(place, sides, shape, strict=True)
            ),
        )
