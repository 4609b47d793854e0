"""Treat stacks that differ only in axes of length one, such as (1, Y, X) and (Y, X), as equal."""

from collections.abc import Sequence

from napari_n2n.io.acquisition import Acquisition


def long_shape(acquisition: Acquisition) -> tuple[int, ...]:
    """Return the lengths of all axes, without axes before the plane that have length one."""
    return (
        *(length for length in acquisition.shape[:-2] if length > 1),
        *acquisition.plane_shape,
    )


def on_same_axes(acquisitions: Sequence[Acquisition]) -> list[Acquisition]:
    """Return views of one shape, if the shapes differ only in axes R, T or Z of length one.

    In all other cases the views are returned unchanged.
    """
    shorter = list(acquisitions)
    if len({one.shape for one in acquisitions}) > 1:
        for axis in "RTZ":
            shorter = [_without_single(one, axis) for one in shorter]
    return shorter if len({one.shape for one in shorter}) == 1 else list(acquisitions)


def _without_single(acquisition: Acquisition, axis: str) -> Acquisition:
    if axis not in acquisition.axes or acquisition.shape[acquisition.axes.index(axis)] > 1:
        return acquisition
    return acquisition.at(axis, 0)
