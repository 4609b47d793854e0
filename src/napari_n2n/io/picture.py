"""Read pictures (PNG, JPEG, BMP) with grey values."""

import logging
from pathlib import Path

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.header import Header

_log = logging.getLogger("napari_n2n")

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
# Position of bit depth and colour type in a PNG, in bytes; and the values of both for pictures of
# 16 bits that Pillow reduces to 8: colours, grey with alpha, and colours with alpha.
_PNG_FORMAT = slice(24, 26)
_SIXTEEN_BITS = (b"\x10\x02", b"\x10\x04", b"\x10\x06")


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
        start = file.read(_PNG_FORMAT.stop)
    if start.startswith(b"\x89PNG") and start[_PNG_FORMAT] in _SIXTEEN_BITS:
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    with Image.open(path) as picture:
        if (frames := getattr(picture, "n_frames", 1)) > 1:
            raise BadInput(f"{path}: has {frames} frames: save them as a TIFF stack", "format")
        if picture.mode in ("P", "PA"):  # the pixels are indices of a palette
            return np.asarray(picture.convert("RGBA"))
        if picture.mode == "CMYK":
            return np.asarray(picture.convert("RGB"))
        return np.asarray(picture)
