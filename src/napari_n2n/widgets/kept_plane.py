"""An array that others write while a layer shows it: drawing it anew waits for no disk.

napari reads what it draws on the thread of the window. The part that it asked for last is kept
here, and read again on another thread.
"""

from typing import Any

import numpy as np


class KeptPlane:
    """A view of an array for `napari.layers.Image`, which keeps the part that was last looked at.

    Parameters
    ----------
    array
        Any lazy array, of which another thread or process writes the values.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self._kept: tuple[Any, np.ndarray] | None = None
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype = array.dtype
        self.ndim: int = array.ndim

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return a part as it was when it was last read; read it if it is another one."""
        kept = self._kept
        if kept is None or kept[0] != index:
            kept = self._kept = (index, np.asarray(self._array[index]))
        return kept[1]

    def __array__(self, *arguments: Any, **options: Any) -> np.ndarray:
        """Read the whole, keeping nothing."""
        return np.asarray(self._array).__array__(*arguments, **options)

    def read_again(self) -> None:
        """Read the part that was last looked at as it is now; any thread may do this."""
        kept = self._kept
        if kept is None:
            return
        fresh = (kept[0], np.asarray(self._array[kept[0]]))
        if self._kept is kept:  # nobody has looked elsewhere in the meantime
            self._kept = fresh
