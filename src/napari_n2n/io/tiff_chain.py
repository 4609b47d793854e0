"""Follow the chain of pages of a TIFF file, and check the tags that define their pixels.

tifffile only logs damage in these places and continues with a default or without the page, and the
program that calls may have switched off logging.
"""

import struct
from typing import Literal, NamedTuple

import tifffile

# Largest number of tags of a page; like tifffile, we take more as damage. Real pages have 10 to
# 100.
_MOST_TAGS = 4096
# Tags that decide how pixels are read: size, type, compression, colours and places in the file.
_PIXEL_TAGS = {*range(256, 260), 262, 266, 273, *range(277, 280), 284, 317, *range(322, 326), 339}
# Tags whose values are positions in the file and numbers of bytes.
_PLACES = {273, 279, 324, 325}
# Tags that all pages of a file have, or none: no program writes them for some pages only.
_SHARED_TAGS = {*range(256, 260), 262}
# Tags that decide the shape and the pixel type of a page.
_SHAPE_TAGS = (256, 257, 258)
# Bytes of a value of the integer types of TIFF. No other type suits these tags, nor BYTE, which
# tifffile reads as text.
_INTEGER_SIZES = {3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}


class Chain(NamedTuple):
    """The pages of a file.

    Attributes
    ----------
    damage
        Which page is damaged, or where the chain of pages leaves the file; empty if none.
    shapes
        Width, length and bits of every page up to the damage.
    """

    damage: str
    shapes: list[tuple[int, ...]]


def follow_chain(tif: tifffile.TiffFile) -> Chain:
    """Check the tags of all pages.

    Raises
    ------
    TiffFileError
        If the pages form a loop; tifffile finds only some of these.
    """
    seen: set[int] = set()
    shared: list[set[int]] = []  # of every page, which of the shared tags it has
    shapes: list[tuple[int, ...]] = []
    handle, tiff, offset = tif.filehandle, tif.tiff, tif.pages.first.offset
    while offset:
        if offset in seen:
            raise tifffile.TiffFileError(f"its {len(seen)} pages form a loop")
        number = len(seen)
        seen.add(offset)
        handle.seek(offset)
        head = handle.read(tiff.tagnosize)
        tags = struct.unpack(tiff.tagnoformat, head)[0] if len(head) == tiff.tagnosize else 0
        if not 0 < tags <= _MOST_TAGS:
            return Chain(f"page {number} is damaged or outside the file", shapes)
        content = handle.read(tags * tiff.tagsize + tiff.offsetsize)
        if len(content) < tags * tiff.tagsize + tiff.offsetsize:
            return Chain(f"page {number} is damaged or outside the file", shapes)
        values, damaged = _tags(tif, content[: tags * tiff.tagsize])
        if damaged:
            return Chain(f"tag {damaged} of page {number} is damaged", shapes)
        shared.append(values.keys() & _SHARED_TAGS)
        shapes.append(tuple(values.get(code, 0) for code in _SHAPE_TAGS))
        offset = struct.unpack(tiff.offsetformat, content[tags * tiff.tagsize :])[0]
    expected = set().union(*shared)
    for number, codes in enumerate(shared):
        if codes != expected:
            return Chain(f"page {number} lacks tag {min(expected - codes)}", shapes)
    return Chain("", shapes)


def _tags(tif: tifffile.TiffFile, tags: bytes) -> tuple[dict[int, int], int]:
    """Return the values of tags, and the code of an invalid or repeated tag (0: none).

    The value is 0 for a tag that is stored elsewhere, or that does not describe pixels.
    """
    values: dict[int, int] = {}
    tiff, size = tif.tiff, tif.filehandle.size
    word, inline = ("I", 4) if tiff.tagsize == 12 else ("Q", 8)
    order: Literal["little", "big"] = "little" if tif.byteorder == "<" else "big"
    entries = struct.iter_unpack(f"{tif.byteorder}HH{word}{inline}s", tags)
    for code, kind, count, content in entries:
        value = 0
        if code in _PIXEL_TAGS:
            length = _INTEGER_SIZES.get(kind, 0) * count
            # A longer value is stored elsewhere, and the tag contains its position.
            value = int.from_bytes(content[:length], order)
            last = value + length if length > inline else value
            outside = (length > inline or (count == 1 and code in _PLACES)) and last > size
            # Hamamatsu's NDPI stores the upper half of a position elsewhere.
            if length == 0 or (outside and not tiff.is_ndpi) or code in values:
                return values, code
            value = 0 if length > inline else value
        values[code] = value
    return values, 0
