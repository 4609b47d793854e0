"""Name one of several images in a file: ``a.tif#2``, ``store.zarr#A/1/0``."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from napari_n2n.errors import BadInput

_log = logging.getLogger("napari_n2n")
# Most images that a message lists: a plate has thousands.
_LISTED = 12


def split_image_name(path: Path) -> tuple[Path, str]:
    """Return the path of a file and the name of the image in it; empty if it names none.

    A ``#`` that is part of the name of an existing file names no image.
    """
    text = str(path)
    if os.path.exists(text):
        return path, ""
    for place, letter in enumerate(text):
        file = text[:place]
        if letter == "#" and os.path.basename(file) and os.path.exists(file):
            return Path(file), text[place + 1 :].replace(os.sep, "/")
    return path, ""


def short_name(path: Path) -> str:
    """Return the name of a file without its folder, with the name of the image in it, if any."""
    file, image = split_image_name(path)
    return f"{file.name}#{image}" if image else file.name


def image_index(names: Sequence[str], wanted: str, place: str, titles: Sequence[str]) -> int:
    """Return the index of an image, which is given by its name or its index.

    Raises
    ------
    BadInput
        If there is no such image; `place` is the name of the file, and `titles` describe its
        images.
    """
    if names.count(wanted) == 1:
        return names.index(wanted)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    raise BadInput(
        f"{place}: has no image '{wanted}': choose one of these: {listed(titles)}", "not_found"
    )


def listed(titles: Sequence[str]) -> str:
    """Return a list of images with their indices, as they are named after a ``#``."""
    shown = [f"#{index} {title}" for index, title in enumerate(titles[:_LISTED])]
    more = len(titles) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])])


def say_choice(place: str, titles: Sequence[str], chosen: int) -> None:
    """Log which of several images is read, and how to choose another image."""
    other = 1 if chosen == 0 else 0
    _log.warning(
        "%s: contains %d images: reads the largest, #%d; for another one give %s#%d (images: %s)",
        *(place, len(titles), chosen, Path(place).name, other, listed(titles)),
    )
