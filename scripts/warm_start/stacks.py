"""Simulate generic volumes and movies for pretraining the network for volumes.

Volumes contain solid shapes, curved fibres, spots and soft textures in three dimensions, with steps
along Z of one to six pixels, blurred more along Z than in the plane, as by a microscope. Movies
are planes that move, fade and change. No scene imitates a recording that the benchmarks use.
"""

import numpy as np
from scenes import scaled, scene, splat
from scipy.ndimage import gaussian_filter, shift

_MOVIES = 0.4  # share of the stacks that are movies


def stack(planes: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw and return a random stack.

    Returns
    -------
    numpy.ndarray
        float32, (planes, side, side), between 0 and 1.
    """
    draw = _movie if rng.random() < _MOVIES else _volume
    image = draw(planes, side, rng)
    image -= image.min()
    return (image / max(image.max(), 1e-9)).astype(np.float32) ** rng.uniform(0.8, 1.6)


def _movie(planes: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one to three planes that move at their own speeds, and may fade or flicker."""
    frames = np.zeros((planes, side, side))
    times = np.arange(planes) - planes / 2
    for _ in range(rng.integers(1, 4)):
        # Many samples rest or drift slowly; some move by several pixels from frame to frame.
        speed = rng.choice((0.0, rng.exponential(0.3), rng.exponential(1.5)))
        heading = rng.uniform(0, 2 * np.pi)
        wide, weight = scene(side, rng), rng.uniform(0.3, 1)
        swing = rng.normal(0, 0.3 * speed + 1e-9, (planes, 2)).cumsum(0)
        fade = np.exp(-rng.exponential(0.02) * np.arange(planes))
        flicker = np.exp(rng.normal(0, rng.choice((0.0, 0.05, 0.3)), planes))
        for k, time in enumerate(times):
            step = time * speed * np.array((np.sin(heading), np.cos(heading))) + swing[k]
            moved = shift(wide, step, order=1, mode="grid-wrap")
            frames[k] += weight * fade[k] * flicker[k] * moved
    return frames


def _volume(planes: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw structures in three dimensions."""
    step = float(np.exp(rng.uniform(0, np.log(6))))  # pixels from plane to plane
    kinds = rng.choice(4, size=rng.integers(1, 4), replace=False, p=(0.35, 0.25, 0.2, 0.2))
    image = np.zeros((planes, side, side))
    for kind in kinds:
        layer = (_solids, _fibres, _spots, _texture)[kind](image.shape, step, rng)
        image += rng.uniform(0.2, 1) * layer
    if rng.random() < 0.4:  # islands of sample in an empty volume
        width = side * rng.uniform(0.04, 0.2)
        island = gaussian_filter(rng.normal(size=image.shape), (width / step, width, width))
        image *= 1 / (1 + np.exp(-(island / island.std() + rng.normal(0, 0.7)) / 0.2))
    if rng.random() < 0.9:
        width = rng.uniform(0.5, 1.8)
        image = gaussian_filter(image, (width * rng.uniform(1, 3) / step, width, width))
    if rng.random() < 0.5:
        width = side * rng.uniform(0.03, 0.15)
        image += rng.uniform(0.1, 0.8) * gaussian_filter(image, (width / step, width, width))
    return image


def _solids(shape: tuple[int, ...], step: float, rng: np.random.Generator) -> np.ndarray:
    """Draw ellipsoids and boxes that hide each other, many small ones and few large ones."""
    image = np.full(shape, rng.random())
    smallest = rng.uniform(2, 6)
    for _ in range(rng.integers(60, 400)):
        size = min(smallest / (rng.random() + 1e-3) ** 0.7, shape[-1] / 2)
        middle = rng.uniform(0, shape)
        reach = np.array([size / step, size, size])
        first = np.maximum(0, np.floor(middle - reach)).astype(int)
        last = np.minimum(shape, np.ceil(middle + reach) + 1).astype(int)
        part = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        away = [
            (np.arange(a, b) - at) / length
            for a, b, at, length in zip(first, last, middle, reach, strict=True)
        ]
        z, y, x = np.meshgrid(*away, indexing="ij", sparse=True)
        y, x = y / rng.uniform(0.4, 1), x / rng.uniform(0.4, 1)
        round_ = np.sqrt(z**2 + y**2 + x**2)
        inside = (round_ if rng.random() < 0.7 else np.maximum(abs(z), np.hypot(y, x))) < 1
        shade = rng.random() ** 1.5
        image[part] = np.where(inside, shade, image[part])
    return image


def _fibres(shape: tuple[int, ...], step: float, rng: np.random.Generator) -> np.ndarray:
    """Draw curved lines."""
    image = np.zeros(shape)
    bend, side = rng.uniform(0.0, 0.06), shape[-1]
    for _ in range(rng.integers(5, 80)):
        count = int(rng.integers(side // 4, 2 * side))
        turns = gaussian_filter(rng.normal(0, bend, (2, count)).cumsum(1), (0, 5))
        heading, climb = rng.uniform(0, 2 * np.pi) + turns[0], rng.normal(0, 0.3) + turns[1]
        along = np.stack([np.sin(climb) / step, np.sin(heading), np.cos(heading)], axis=1)
        path = along.cumsum(0) + rng.uniform(0, shape)
        splat(image, path, np.full(count, rng.lognormal(0, 0.5)))
    width = rng.uniform(0.5, 1.8)
    return scaled(gaussian_filter(image, (width / step, width, width)))


def _spots(shape: tuple[int, ...], step: float, rng: np.random.Generator) -> np.ndarray:
    """Draw spots of various brightness and size."""
    image = np.zeros(shape)
    for _ in range(rng.integers(1, 4)):
        layer, count = np.zeros(shape), int(rng.integers(20, 2000))
        splat(layer, rng.uniform(0, shape, (count, 3)), rng.lognormal(0, 0.7, count))
        width = rng.uniform(0.6, 5)
        image += scaled(gaussian_filter(layer, (width / step, width, width)))
    return scaled(image)


def _texture(shape: tuple[int, ...], step: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a random texture whose contrast falls with the frequency; soft or with hard borders."""
    axes = [np.fft.fftfreq(shape[0], step), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2])]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    frequency = np.sqrt(z**2 + y**2 + x**2)
    frequency[0, 0, 0] = np.inf
    wave = np.fft.rfftn(rng.normal(size=shape)) * frequency ** -rng.uniform(1.4, 2.5)
    field = np.fft.irfftn(wave, s=shape, axes=(0, 1, 2))
    field = (field - field.mean()) / field.std()
    if rng.random() < 0.5:
        field = np.tanh(field * rng.uniform(1, 6))
    elif rng.random() < 0.5:
        field = np.exp(rng.uniform(0.3, 1.2) * field)
    return scaled(field - field.min())
