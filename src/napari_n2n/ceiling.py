"""The largest value that a detector delivers: less than its pixel type could hold, often.

A camera of 12 bits ends at 4095 in pixels of 16, and a stack that was scaled to 1 ends there.
"""

from collections.abc import Sequence

import numpy as np

_FEWEST = 50
_LEAST_SHARE = 5e-4
_NEAR = 0.02
_TOGETHER = 0.3


def ceilings(sampled: Sequence[Sequence[np.ndarray]]) -> list[float | None]:
    """Find the value at which each of several acquisitions of one scene is saturated.

    It is the largest one, more frequent than all that lie shortly below it, and many of the places
    that reach it in one acquisition do so in another one too - what hits pixels by chance, as
    bright text does, does not.

    Parameters
    ----------
    sampled
        For each acquisition, some planes of the same places; shape (Y, X).

    Returns
    -------
    list of float or None
        None where nothing is saturated.
    """
    stacks = [np.stack(list(planes)) for planes in sampled]
    tops = [float(stack.max()) for stack in stacks]
    reached = [stack >= top for stack, top in zip(stacks, tops, strict=True)]
    return [
        top if _piled_up(stack, top) and _in_common(number, reached) else None
        for number, (stack, top) in enumerate(zip(stacks, tops, strict=True))
    ]


def _piled_up(stack: np.ndarray, top: float) -> bool:
    """Tell whether more pixels have the largest value than any shortly below it."""
    count = int((stack >= top).sum())
    if count < max(_FEWEST, _LEAST_SHARE * stack.size):
        return False
    below = stack[stack < top]
    if below.size == 0:
        return False
    next_value = float(below.max())
    shortly = min(next_value, top - _NEAR * (top - float(stack.min())))
    return count > int((below >= shortly).sum())


def _in_common(number: int, reached: Sequence[np.ndarray]) -> bool:
    own = reached[number]
    shares = [float(other[own].mean()) for k, other in enumerate(reached) if k != number]
    return max(shares) > _TOGETHER
