"""The error for input that users can correct; its message names the input, cause and fix."""

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
