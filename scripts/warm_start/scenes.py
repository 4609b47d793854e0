"""Simulate generic scenes for pretraining a network.

Scenes contain opaque shapes that hide each other (edges), curved fibres, spots and soft textures.
These are mixed, masked, blurred as by optics, and covered by haze. No scene imitates a recording
that the benchmarks use.
"""

import numpy as np
from scipy.ndimage import gaussian_filter


def scene(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw and return a random scene.

    Returns
    -------
    numpy.ndarray
        float32, (side, side), between 0 and 1.
    """
    kinds = rng.choice(4, size=rng.integers(1, 4), replace=False, p=(0.35, 0.25, 0.2, 0.2))
    image = np.zeros((side, side))
    for kind in kinds:
        layer = (_shapes, _fibres, _spots, _texture)[kind](side, rng)
        image += rng.uniform(0.2, 1) * layer
    if rng.random() < 0.5:  # islands of sample in an empty field
        island = gaussian_filter(rng.normal(size=image.shape), side * rng.uniform(0.04, 0.2))
        image *= 1 / (1 + np.exp(-(island / island.std() + rng.normal(0, 0.7)) / 0.2))
    if rng.random() < 0.9:  # blurred by optics; a few stay sharp, like images with coarse pixels
        image = gaussian_filter(image, rng.uniform(0.5, 2.0))
    if rng.random() < 0.5:
        image += rng.uniform(0.1, 0.8) * gaussian_filter(image, side * rng.uniform(0.03, 0.15))
    image -= image.min()
    return (image / image.max()).astype(np.float32) ** rng.uniform(0.8, 1.6)


def _shapes(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ellipses and boxes that hide each other, many small ones and few large ones."""
    image = np.full((side, side), rng.random())
    rows, columns = np.indices(image.shape)
    smallest = rng.uniform(1.5, 5)
    for _ in range(rng.integers(40, 300)):
        size = min(smallest / (rng.random() + 1e-3) ** 0.7, side / 2)
        aspect, turn = rng.uniform(0.4, 1), rng.uniform(0, np.pi)
        y, x = rng.uniform(0, side, 2)
        reach = int(size) + 1
        part = np.s_[
            max(0, int(y) - reach) : int(y) + reach + 1, max(0, int(x) - reach) : int(x) + reach + 1
        ]
        v, u = rows[part] - y, columns[part] - x
        u, v = (
            u * np.cos(turn) + v * np.sin(turn),
            (v * np.cos(turn) - u * np.sin(turn)) / aspect,
        )
        inside = (np.hypot(u, v) if rng.random() < 0.7 else np.maximum(abs(u), abs(v))) < size
        shade = rng.random() ** 1.5 + rng.normal(0, 0.3) * u / size * (rng.random() < 0.5)
        image[part] = np.where(inside, shade, image[part])
    return np.clip(image, 0, None)


def _fibres(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw bundles of curved lines that run side by side."""
    image = np.zeros((side, side))
    bend = rng.uniform(0.0, 0.06)
    for _ in range(rng.integers(3, 40)):
        count, steps = int(rng.integers(1, 6)), int(rng.integers(side // 4, 2 * side))
        turns = np.cumsum(rng.normal(0, bend, steps))
        heading = rng.uniform(0, 2 * np.pi) + gaussian_filter(turns, 5)
        path = np.cumsum(np.stack([np.sin(heading), np.cos(heading)]), axis=1)
        path += rng.uniform(0, side, 2)[:, None]
        shift = rng.normal(0, 4, (count, 2, 1))
        weight = np.repeat(rng.lognormal(0, 0.5, count), steps)
        splat(image, np.moveaxis(path + shift, 1, 2).reshape(-1, 2), weight)
    return scaled(gaussian_filter(image, rng.uniform(0.5, 1.8)))


def _spots(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw spots of various brightness and size."""
    image = np.zeros((side, side))
    for _ in range(rng.integers(1, 4)):
        layer, count = np.zeros_like(image), int(rng.integers(10, 400))
        places = rng.uniform(0, side, (2, count)).T
        splat(layer, places, rng.lognormal(0, 0.7, count))
        image += scaled(gaussian_filter(layer, rng.uniform(0.6, 5)))
    return scaled(image)


def _texture(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a random texture whose contrast falls with the frequency; soft or with hard borders."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    frequency[0, 0] = np.inf
    wave = np.fft.rfft2(rng.normal(size=(side, side))) * frequency ** -rng.uniform(0.9, 2.0)
    field = np.fft.irfft2(wave, s=(side, side))
    field = (field - field.mean()) / field.std()
    if rng.random() < 0.5:
        field = np.tanh(field * rng.uniform(1, 6))
    elif rng.random() < 0.5:
        field = np.exp(rng.uniform(0.3, 1.2) * field)
    return scaled(field - field.min())


def splat(image: np.ndarray, places: np.ndarray, weight: np.ndarray) -> None:
    """Add weights at sub-pixel places, each shared among the pixels around it.

    Parameters
    ----------
    image
        Of any number of axes; changed in place. Places beyond a border come in at the other.
    places, weight
        Shape (points, axes) and (points,).
    """
    whole = np.floor(places).astype(int)
    part = places - whole
    for corner in np.ndindex((2,) * image.ndim):
        share = np.prod(np.where(corner, part, 1 - part), axis=1)
        np.add.at(image, tuple(((whole + corner) % image.shape).T), weight * share)


def scaled(image: np.ndarray) -> np.ndarray:
    """Divide an image by its brightest values."""
    return image / max(float(np.quantile(image, 0.999)), 1e-9)
