"""Read pictures (PNG, JPEG, BMP) with grey values."""

import logging
from pathlib import Path

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.header import Header

_log = logging.getLogger("napari_n2n")

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
# Position of the bit depth and the colour type in a PNG, in bytes. Pillow reads 16 bits per colour,
# and grey with alpha, as 8 bits.
_PNG_DEPTH, _PNG_COLOURS = 24, 25
_GREY = 0  # colour type of a PNG with grey values only


def read(path: Path) -> tuple[np.ndarray, Header]:
    """Read the grey values of a picture, also if they are stored as colours or with alpha.

    Raises
    ------
    BadInput
        If it has colours.
    """
    pixels = _pixels(path)
    if pixels.ndim == 3:
        count = 3 if pixels.shape[-1] > 2 else 1  # of colours; alpha follows
        colours, alpha = pixels[..., :count], pixels[..., count:]
        if not (colours == colours[..., :1]).all():
            raise BadInput(
                f"{path}: is a colour picture: give one grey-scale channel (in napari: Layers > "
                "Data > Split RGB)",
                "format",
            )
        if alpha.size and np.ptp(alpha):
            _log.warning("%s: only its grey values are read, not its varying opacity (alpha)", path)
        pixels = colours[..., 0]
    return pixels, Header(pixels.shape, pixels.dtype, "", (), ())


def _pixels(path: Path) -> np.ndarray:
    import imagecodecs
    from PIL import Image

    with open(path, "rb") as file:
        start = file.read(_PNG_COLOURS + 1)
    is_png = start.startswith(b"\x89PNG") and len(start) > _PNG_COLOURS
    if is_png and start[_PNG_DEPTH] == 16 and start[_PNG_COLOURS] != _GREY:
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    with Image.open(path) as picture:
        if picture.mode in ("P", "PA"):  # the pixels are indices of a palette
            return np.asarray(picture.convert("RGBA"))
        return np.asarray(picture)
