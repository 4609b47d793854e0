"""Aligned planes of all acquisitions of a pair, for measuring."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Planes:
    """Aligned planes of all acquisitions of a pair.

    Attributes
    ----------
    numbers
        Their indices over all leading axes.
    views
        For each acquisition, float32, shape (planes, Y, X), without the fixed pattern of the
        detector; empty areas are `filled`.
    empty
        True in empty areas; shape (planes, Y, X).
    bad
        True for bad pixels of the detector, which have the mean of their neighbours; shape (Y, X).
    with_offsets
        The views before offsets of columns and rows are subtracted, so that integers stay integers.
    """

    numbers: list[int]
    views: list[np.ndarray]
    empty: np.ndarray
    bad: np.ndarray
    with_offsets: list[np.ndarray]
