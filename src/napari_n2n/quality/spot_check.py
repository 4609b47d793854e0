"""Compare a place of a result with the raw recordings, to find out whether a spot is real."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

import numpy as np
from scipy import ndimage

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.long_axes import long_shape
from napari_n2n.noise.analysis import Analysis
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.noise.sample import Sample
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.recordings import open_pairs
from napari_n2n.quality.spot_evidence import AtSpot, SpotEvidence
from napari_n2n.stats.affine import Affine
from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Diameters in pixels of the spots that are tried: an optical system spreads a point to 3 or more.
SIZES = (3, 5, 9)
# The surroundings are a ring: its distance from the spot and its width, in pixels. Closer: the ring
# contains light of the spot; wider: it contains other structures.
_GAP, _WIDTH = 1, 4
# Fewest pixels of the spot and of the ring that must have a value, as a part of all.
_LEAST = 0.5
# Side in pixels of the square around the first place in which the scatter of means is measured:
# enough for a standard error of 2 %, and quick.
_SIDE = 256
# Smallest noise of one recording, as a part of the mean variance: less cannot be measured.
_SMALLEST = 0.01
# Smallest divisor in ADU^2.
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class _Channel:
    """One channel of the result, with its recordings.

    Attributes
    ----------
    result, error
        The result and its error map.
    pair
        The recordings.
    noise
        The noise of one recording, in ADU of the first.
    shares
        Variance of the noise of each recording divided by that of `noise`.
    scale
        Map from the intensities of the first recording to those of the result.
    scatter
        For each size of a spot, the standard deviation of a mean of the spot, and of its difference
        from that of the ring, as multiples of the values for independent noise; filled when first
        needed.
    """

    result: Acquisition
    error: Acquisition | None
    pair: Pair
    noise: NoiseModel
    shares: tuple[float, ...]
    scale: Affine
    scatter: dict[int, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, result: Acquisition, error: Acquisition | None, pair: Pair) -> "_Channel":
        levels = [noise / match.gain for noise, match in zip(pair.noise, pair.matches, strict=True)]
        mean = float(np.mean(np.square(levels[:2]))) or 1.0
        shares = tuple(max(level**2 / mean, _SMALLEST) for level in levels)
        noise = NoiseModel.of(Analysis.of(Sample.of(pair)))
        return cls(result, error, pair.corrected(), noise, shares, _scale(result, pair))

    def variance_at(self, level: np.ndarray, number: int) -> np.ndarray:
        """Return the variance of the noise of a recording at levels of the result, in ADU^2."""
        variance = self.noise.variance_at(self.scale.inverse(level))
        return variance * self.shares[number] * self.scale.gain**2

    def evidence(self, place: dict[str, int], plane: int, sizes: Sequence[int]) -> SpotEvidence:
        """Return the evidence at a place, for the size at which the result stands out most."""
        y, x = place["Y"], place["X"]
        error = math.nan if self.error is None else _pixel(self.error, plane, y, x)
        shown: dict[str, Any] = {
            "place": place,
            "result": _pixel(self.result, plane, y, x),
            "error": error if math.isfinite(error) else None,
        }
        inside = y - self.pair.offsets[0][0], x - self.pair.offsets[0][1]
        lengths = self.pair.first.plane_shape
        if not all(0 <= at < length for at, length in zip(inside, lengths, strict=True)):
            return SpotEvidence(**shown, size=sizes[0], above=0.0, recordings=())
        window = _Window(self, plane, inside, 2 * _reach(max(sizes)) + 1)
        contrasts = {size: window.contrast(size) for size in sizes}
        size = max(sizes, key=lambda size: abs(contrasts[size][1]))
        if size not in self.scatter:
            self.scatter[size] = _Window(self, plane, inside, _SIDE).scatter(size)
        return SpotEvidence(
            **shown,
            size=size,
            above=contrasts[size][0],
            recordings=tuple(window.recordings(size, self.scatter[size])),
            on_bad_pixel=not window.counts[window.at],
        )


@dataclass(frozen=True, eq=False)
class SpotCheck:
    """A result with the recordings from which it was made.

    >>> check = SpotCheck.open("clean.tif", "a.tif", "b.tif", error="error.tif")
    >>> print(check.at(120, 88).line())

    Attributes
    ----------
    result
        The denoised recording, or the average of several.
    channels
        Result, recordings and noise of each channel.
    """

    result: Acquisition
    channels: tuple[_Channel, ...]

    @classmethod
    def open(
        cls,
        result: Any,
        *recordings: Any,
        error: Any = None,
        axes: str | None = None,
        dark: Sequence[Any] = (),
    ) -> "SpotCheck":
        """Open a result and its recordings, and measure the noise of the recordings.

        Parameters
        ----------
        result
            Result of `denoise` from all recordings, or from the first one.
        recordings
            Two or more sources that `Acquisition.open` accepts.
        error
            The error map of the result.
        axes
            Letters of the dimensions, instead of those in the sources.
        dark
            Dark frames; see `Pair.open`.

        Raises
        ------
        BadInput
            If an image cannot be read, or the shapes differ.
        """
        made = Acquisition.open(result, axes=axes)
        expected = None if error is None else Acquisition.open(error, axes=axes)
        first = Acquisition.open(recordings[0], axes=axes) if recordings else None
        repeats = 1 if first is None or "R" not in first.axes else first.shape[0]
        for other in (expected, first if repeats == 1 else None):
            if other is not None and long_shape(other) != long_shape(made):
                raise BadInput(
                    f"{other.name}: shape {other.shape} differs from {made.name}'s {made.shape}: "
                    "give the result, its error map and the recordings that it was made from",
                    "shape",
                )
        pairs = open_pairs(recordings, axes=axes, dark=dark)
        results = made.along("C")
        errors = [None] * len(results) if expected is None else expected.along("C")
        return cls(made, tuple(map(_Channel.of, results, errors, pairs)))

    def at(self, *place: int, size: int | None = None) -> SpotEvidence:
        """Return the evidence of result and recordings at a place.

        Parameters
        ----------
        place
            Index of the pixel along each axis of the result; axes of length one may be left out.
        size
            Diameter of the spot in pixels; default that of 3, 5 and 9 at which the result stands
            out most.

        Raises
        ------
        BadInput
            If the place is outside of the result.
        """
        named = self._named(place)
        if size is not None and size < 1:
            raise BadInput(f"size {size}: not a diameter: give 1 or more pixels", "option")
        channel = self.channels[named.get("C", 0)]
        lengths = dict(zip(self.result.axes, self.result.shape, strict=True))
        leading = [axis for axis in self.result.axes[:-2] if axis != "C"]
        plane = 0
        for axis in leading:
            plane = plane * lengths[axis] + named[axis]
        return channel.evidence(
            {axis: named[axis] for axis in self.result.axes},
            plane,
            SIZES if size is None else (size,),
        )

    def _named(self, place: Sequence[int]) -> dict[str, int]:
        """Return the index along every axis."""
        axes, shape = self.result.axes, self.result.shape
        if len(place) != len(axes):
            kept = [k for k in range(len(axes)) if k >= len(axes) - 2 or shape[k] > 1]
            if len(place) != len(kept):
                raise BadInput(
                    f"place {','.join(map(str, place))}: has {len(place)} numbers, "
                    f"{self.result.name} has the axes {axes}: give one number for each",
                    "option",
                )
            given, place = dict(zip(kept, place, strict=True)), [0] * len(axes)
            place = [given.get(k, 0) for k in range(len(axes))]
        for axis, index, length in zip(axes, place, shape, strict=True):
            if not 0 <= index < length:
                raise BadInput(
                    f"place {axis} {index}: outside of {self.result.name}: "
                    f"give 0 to {length - 1} along {axis}",
                    "option",
                )
        return {axis: int(index) for axis, index in zip(axes, place, strict=True)}


class _Window:
    """The pixels around a place, of the result and of the recordings.

    Attributes
    ----------
    at
        The place in the window.
    result
        Shape (Y, X).
    views
        Each recording, on the intensity scale of the result; the same shape.
    counts
        False for bad pixels of the detector.
    """

    def __init__(self, channel: _Channel, plane: int, place: tuple[int, int], side: int) -> None:
        pair, self._channel = channel.pair, channel
        shape = pair.first.plane_shape
        rows, columns = (_around(at, length, side) for at, length in zip(place, shape, strict=True))
        self.at = place[0] - rows.start, place[1] - columns.start
        on_result = (
            slice(part.start + start, part.stop + start)
            for part, start in zip((rows, columns), pair.offsets[0], strict=True)
        )
        self.result = channel.result.cropped(*on_result).plane(plane).astype(np.float64)
        self.views = [
            channel.scale.after(match.inverse)(one.cropped(rows, columns).plane(plane) * 1.0)
            for one, match in zip(pair.acquisitions, pair.matches, strict=True)
        ]
        self.counts = ~pair.bad_pixels(rows, columns)

    def contrast(self, size: int) -> tuple[float, float]:
        """Return how far a spot of the result is above its surroundings, in ADU and in noise.

        The noise is that of the mean of the spot if each pixel has a noise of 1 ADU.
        """
        spot, ring = self.weights(size)
        if not (spot.any() and ring.any()):
            return 0.0, 0.0
        weights = spot - ring
        height = float((weights * self.result).sum())
        return height, height / math.sqrt(float((weights**2).sum()))

    def recordings(self, size: int, scatter: tuple[float, float]) -> Iterator[AtSpot]:
        """Yield the evidence of each recording for a spot; none if too few pixels have a value."""
        spot, ring = self.weights(size)
        if not (spot.any() and ring.any()):
            return
        weights = spot - ring
        for number, view in enumerate(self.views):
            mean, above = float((spot * view).sum()), float((weights * view).sum())
            # The result may have removed a bright spot: its noise is that of the raw mean then.
            level = np.where(spot > 0, np.maximum(self.result, mean), self.result)
            variance = self._channel.variance_at(level, number)
            yield AtSpot(
                name=ascii_uppercase[number] if number < 26 else str(number + 1),
                value=float(view[self.at]),
                mean=mean,
                mean_error=scatter[0] * math.sqrt(float((spot**2 * variance).sum())),
                above=above,
                above_error=scatter[1] * math.sqrt(float((weights**2 * variance).sum())),
            )

    def weights(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights of the means of the spot and of the ring; 0 if too few pixels."""
        rows, columns = np.indices(self.result.shape)
        distance = np.hypot(rows - self.at[0], columns - self.at[1])
        parts = []
        for region, whole in zip(_spot_and_ring(distance, size), _whole(size), strict=True):
            counted = region & self.counts
            enough = counted.sum() >= _LEAST * whole.sum()
            parts.append(counted / counted.sum() if enough else np.zeros(counted.shape))
        return parts[0], parts[1]

    def scatter(self, size: int) -> tuple[float, float]:
        """Return `_Channel.scatter` of a size, from the difference of the first two recordings."""
        a, b = self.views[:2]
        variance = sum(self._channel.variance_at(self.result, number) for number in (0, 1))
        noise = np.where(self.counts, (a - b) / np.sqrt(np.maximum(variance, _TINY)), 0.0)
        spot, ring = (part / part.sum() for part in _whole(size))
        return _spread(noise, spot), _spread(noise, spot - ring)


def _scale(result: Acquisition, pair: Pair) -> Affine:
    """Return the map from the intensities of the first recording to those of a result.

    The result of one recording is on the scale of the first, the average of several on the mean of
    all scales: the one that fits a plane better is returned.
    """
    if all(match == Affine() for match in pair.matches):
        return Affine()
    planes = pair.planes(1, 2 * _SIDE)
    views = zip(pair.matches, planes.views, strict=True)
    mean = np.mean([match.inverse(view) for match, view in views], axis=0)
    starts, lengths = pair.offsets[0], pair.first.plane_shape
    shared = (slice(at, at + length) for at, length in zip(starts, lengths, strict=True))
    ((_, shown),) = result.cropped(*shared).planes_at(planes.numbers, 2 * _SIDE)
    gains, offsets = zip(*((match.gain, match.offset) for match in pair.matches), strict=True)
    scales = Affine(), Affine(float(np.mean(gains)), float(np.mean(offsets)))
    return min(scales, key=lambda scale: float(np.mean((scale(mean) - shown) ** 2)))


def _pixel(acquisition: Acquisition, plane: int, y: int, x: int) -> float:
    return float(acquisition.cropped(slice(y, y + 1), slice(x, x + 1)).plane(plane)[0, 0])


def _around(at: int, length: int, side: int) -> slice:
    """Return up to `side` pixels around a pixel, along an axis of some length."""
    start = max(0, min(at - side // 2, length - side))
    return slice(start, min(start + side, length))


def _reach(size: int) -> int:
    """Return how far the surroundings of a spot extend from its middle, in pixels."""
    return math.ceil(size / 2 + _GAP + _WIDTH)


def _spot_and_ring(distance: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels belong to the spot, and which to the ring around it."""
    inner = size / 2 + _GAP
    return distance <= size / 2, (distance > inner) & (distance <= inner + _WIDTH)


def _whole(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the result of `_spot_and_ring` for a square that contains both."""
    steps = np.arange(-_reach(size), _reach(size) + 1)
    return _spot_and_ring(np.hypot(steps[:, None], steps), size)


def _spread(noise: np.ndarray, kernel: np.ndarray) -> float:
    """Return the robust standard deviation of a weighted mean of noise of variance 1.

    It is given as a multiple of the value for independent noise.
    """
    means = ndimage.correlate(noise, kernel, mode="reflect")
    deviation = float(np.median(np.abs(means - np.median(means)))) * MAD_TO_SIGMA
    return deviation / math.sqrt(float((kernel**2).sum()))
