"""Standard errors by leaving parts of the field out, so that pixels may share their noise."""

from collections.abc import Sequence

import numpy as np

GROUPS = 8
_BLOCK = 32


def groups_of_blocks(shape: tuple[int, ...]) -> np.ndarray:
    """Number blocks of 32x32 pixels from 0 to 7, so that every number lies all over the field.

    Less than 32 in a small plane, so that every number occurs. Shape as given, (..., Y, X); every
    plane the same.
    """
    block = max(1, min(_BLOCK, min(shape[-2:]) // GROUPS))
    y, x = (np.arange(length) // block for length in shape[-2:])
    return np.broadcast_to((y[:, None] + 3 * x[None, :]) % GROUPS, shape)


def jackknife(leaving_out: Sequence[float]) -> float:
    """Standard error of a figure from its values without one group each (Efron 1982)."""
    values = np.array(leaving_out)
    return float(np.sqrt((len(values) - 1) * np.mean((values - values.mean()) ** 2)))
