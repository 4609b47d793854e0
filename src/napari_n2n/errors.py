"""The error for input that users can correct, and the description of all other errors."""

import errno
import os
import platform
import re
import traceback
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

Code = Literal[
    # the input
    "not_chosen",  # no file, layer or model is chosen or named
    "not_found",  # no such file, no file that matches a pattern, or an empty folder
    "unreadable",  # damaged, cut off, or not permitted to be read
    "unmatched",  # files without a counterpart in the other folder or pattern
    "format",  # a kind of file or object that is not supported, or not an image
    "model",  # not a model of napari-n2n, or of another version
    # the content of the input
    "axes",  # unlabelled, wrong or missing axes
    "channels",  # numbers of channels that do not agree
    "shape",  # shapes that differ
    "size",  # too few pixels
    "single",  # one acquisition or frame where two are needed
    "duplicate",  # the same image twice
    "constant",  # all pixels have one value
    "not_finite",  # NaN, infinite, far too large or masked pixels
    "precision",  # an offset so large that float32 has too few digits for the structure
    # options, resources and output
    "option",  # a value that an option does not accept
    "device",  # a compute device that is not available
    "cluster",  # no dask scheduler, or no workers
    "memory",  # not enough memory on the device or within the limit
    "disk",  # not enough disk space
    "output",  # an output name that cannot be used
    "exists",  # the output already exists
    "unfinished",  # an unfinished result is at the output, or given as input
    "resume",  # there is no run to resume, or it had other settings
    "busy",  # another run is in progress
]
"""Machine-readable cause of a `BadInput`."""


class BadInput(ValueError):
    """Input that cannot be used.

    The command line prints the message and exits with status 2; napari shows it as a notification.

    Parameters
    ----------
    message
        One line: the input (a file, a layer, an option), the cause, the fix.
    code
        The cause in one word.
    """

    def __init__(self, message: str, code: Code) -> None:
        super().__init__(" ".join(message.splitlines()))  # names of files may have line breaks
        self.code: Code = code

    def __reduce__(self) -> tuple[type, tuple[str, Code]]:
        """Keep the code when the error is sent from another process."""
        return type(self), (str(self), self.code)


def require(package: str, what: str) -> None:
    """Raise if an optional package is missing, such as on a computer without a screen.

    Parameters
    ----------
    package
        Its name, for import and for pip.
    what
        The option or the command that needs the package.

    Raises
    ------
    BadInput
        If the package cannot be imported.
    """
    try:
        import_module(package)
    except ImportError as error:
        cause = f"needs {package}, which is not installed"
        raise BadInput(f"{what}: {cause}: pip install {package}", "option") from error


# Words in torch's message when memory is full, for which it raises only a RuntimeError.
_NO_MEMORY = re.compile("can't allocate memory|out of memory")


def explain(error: BaseException) -> str | None:
    """Return one line for an error that users can correct: cause and fix; None for others."""
    if isinstance(error, BadInput):
        return str(error)
    no_memory = isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))
    if isinstance(error, MemoryError) or no_memory:
        return "not enough memory: set a smaller --memory, --patch or --batch, or close programs"
    if isinstance(error, OSError) and str(error):
        where = error.filename if isinstance(error.filename, str | bytes) else "file system"
        where = os.fsdecode(where)
        cause = error.strerror or " ".join(str(error).split())
        return f"{where}: {cause}: {_FIXES.get(error.errno or 0, _OTHER_FIX)}"
    return None


_OTHER_FIX = "check that the file exists and its disk is connected"
_FIXES = {
    errno.ENOSPC: "free some disk space, or choose another disk",
    errno.EACCES: "choose a folder in which you may write, or close the program that uses the file",
    errno.EROFS: "the disk is read-only: choose another one",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "close other programs, or raise the limit of open files (ulimit -n)",
}
_FIXES[errno.EFBIG] = _FIXES[errno.ENOSPC]
if hasattr(errno, "EDQUOT"):  # not on Windows
    _FIXES[errno.EDQUOT] = _FIXES[errno.ENOSPC]
_FIXES[errno.EPERM] = _FIXES[errno.EACCES]


def bug_report(error: BaseException) -> str:
    """Return the versions and the traceback of an unexpected error, for a bug report."""
    names = ("napari-n2n", "napari", "torch", "numpy", "dask", "zarr", "tifffile", "pydantic")
    found = [f"{name} {installed_version(name) or 'not installed'}" for name in names]
    python = f"Python {platform.python_version()} on {platform.platform()}"
    return "\n".join([python, *found, "", *traceback.format_exception(error)])


def installed_version(name: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
