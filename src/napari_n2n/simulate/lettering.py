"""Writing laid over pictures: random strings in random places until a share of them is covered.

Drawing letters is slow, so a pool of strings is rendered once, as masks, and every text is composed
of these.
"""

import string
from functools import cache

import numpy as np

_STRINGS = 512
_LETTERS = string.ascii_letters + string.digits + string.punctuation


def write(
    picture: np.ndarray,
    covered: np.ndarray,
    share: float,
    limits: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Write over a picture in place, each string in one random colour.

    Parameters
    ----------
    picture
        Shape (C, Y, X).
    covered
        Bool, (Y, X), False before; becomes True where letters are.
    share
        Of the pixels, to be covered; the last string may pass it by a little.
    limits
        Range that colours are drawn from.
    rng
        What to draw from.
    """
    strings, count = _strings(), 0
    rows, columns = covered.shape
    while count < share * covered.size:
        letters = strings[rng.integers(len(strings))]
        height, width = letters.shape
        top, left = int(rng.integers(1 - height, rows)), int(rng.integers(1 - width, columns))
        place = (slice(max(top, 0), top + height), slice(max(left, 0), left + width))
        inside = letters[max(-top, 0) : rows - top, max(-left, 0) : columns - left]
        count += int(np.count_nonzero(inside > covered[place]))
        covered[place] |= inside
        colour = rng.uniform(*limits, len(picture))
        picture[:, *place][:, inside] = colour[:, None]


@cache
def _strings() -> list[np.ndarray]:
    """Render the pool of strings, in several sizes; bool masks."""
    from PIL import Image, ImageDraw, ImageFont

    rng = np.random.default_rng(0)
    fonts = {size: ImageFont.load_default(size) for size in range(8, 33, 2)}
    masks = []
    for size in rng.choice(list(fonts), _STRINGS):
        text = "".join(rng.choice(list(_LETTERS), rng.integers(3, 11)))
        left, top, right, bottom = (int(edge) for edge in fonts[size].getbbox(text))
        picture = Image.new("L", (right - left + 1, bottom - top + 1))
        ImageDraw.Draw(picture).text((-left, -top), text, fill=255, font=fonts[size])
        masks.append(np.asarray(picture) > 127)
    return masks
