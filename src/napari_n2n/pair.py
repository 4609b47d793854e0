"""Two or more acquisitions of one scene, checked and brought onto one grid and intensity scale.

Training on two recordings works only if they show the same scene with independent noise. What a
pair cannot be used for is refused here, in one line each; what can be mended - a shift by whole
pixels, another gain or offset - is measured and mended here.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage, optimize
from skimage.registration import phase_cross_correlation

from napari_n2n.acquisition import Acquisition
from napari_n2n.affine import Affine
from napari_n2n.errors import BadInput
from napari_n2n.quality import neighbourhood

SMALLEST_SIDE = 32
_SAMPLED_PLANES = 6
_SAMPLED_SIDE = 1024
_SMOOTHING = 1.5


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person should know about a pair: a code word, and a sentence with a way out."""

    code: str
    message: str


@dataclass(frozen=True, eq=False)
class Pair:
    """Acquisitions of one scene, cropped to the part that all of them show.

    Attributes
    ----------
    acquisitions
        Two or more, of one shape.
    matches
        For each, the map from the first one's intensities to its own: ``B = gain A + offset``.
    shift
        Largest displacement (y, x) of any acquisition against the first, in pixels, before
        cropping.
    offsets
        For each, the row and column of its original plane at which its cropped part starts.
    findings
        What a person should know.
    """

    acquisitions: tuple[Acquisition, ...]
    matches: tuple[Affine, ...]
    shift: tuple[float, float] = (0.0, 0.0)
    offsets: tuple[tuple[int, int], ...] = ()
    findings: tuple[Finding, ...] = field(default=())

    @classmethod
    def open(cls, *sources: Any, axes: str | None = None) -> "Pair":
        """Open, check, register and match acquisitions of one scene.

        Parameters
        ----------
        sources
            Two or more of whatever `Acquisition.open` takes.
        axes
            The letters of their dimensions, to overrule what the sources say.

        Raises
        ------
        BadInput
            If their shapes differ, one is too small, constant or not finite, or two are the same
            image.
        """
        if len(sources) < 2:
            raise BadInput("one acquisition is not a pair: give two recordings of the same scene")
        opened = [Acquisition.open(source, axes=axes) for source in sources]
        _same_shape(opened)
        sampled = [_sample(acquisition) for acquisition in opened]
        for other in range(1, len(opened)):
            for earlier in range(other):
                _refuse_duplicate(opened[earlier], opened[other], sampled[earlier], sampled[other])
        shifts = [(0.0, 0.0)] + [measure_shift(sampled[0], planes) for planes in sampled[1:]]
        cropped, offsets = _crop(opened, shifts)
        if any(start != offsets[0] for start in offsets):
            sampled = [_sample(acquisition) for acquisition in cropped]
        matches = (Affine(), *(match_intensity(sampled[0], planes) for planes in sampled[1:]))
        largest = max(shifts, key=lambda shift: math.hypot(*shift))
        return cls(
            acquisitions=tuple(cropped),
            matches=matches,
            shift=largest,
            offsets=offsets,
            findings=tuple(_findings(cropped, sampled, matches, largest)),
        )

    @property
    def first(self) -> Acquisition:
        """The acquisition whose grid and intensities the others are compared with."""
        return self.acquisitions[0]

    def match(self, source: int, target: int) -> Affine:
        """Return the map from the intensities of acquisition `source` to those of `target`."""
        return self.matches[target].after(self.matches[source].inverse)


def _same_shape(acquisitions: list[Acquisition]) -> None:
    first = acquisitions[0]
    for other in acquisitions[1:]:
        if other.shape != first.shape:
            raise BadInput(
                f"{other.name}: shape {other.shape} differs from {first.name}'s {first.shape}: "
                "both acquisitions must show the same field; crop them to one size"
            )
    if min(first.plane_shape) < SMALLEST_SIDE:
        raise BadInput(
            f"{first.name}: planes of {first.plane_shape[0]}x{first.plane_shape[1]} pixels are "
            f"too small to learn from: at least {SMALLEST_SIDE}x{SMALLEST_SIDE} are needed"
        )


def _sample(acquisition: Acquisition) -> list[np.ndarray]:
    """Read a few planes, or the middle of each where they are large, and check their values."""
    rows, columns = (
        slice((length - side) // 2, (length - side) // 2 + side)
        for length in acquisition.plane_shape
        for side in (min(length, _SAMPLED_SIDE),)
    )
    planes = []
    for index, plane in acquisition.cropped(rows, columns).spread_planes(_SAMPLED_PLANES):
        if not np.isfinite(plane).all():
            share = 1 - np.isfinite(plane).mean()
            raise not_finite(acquisition, index, share)
        planes.append(plane)
    if all(np.ptp(plane) == 0 for plane in planes):
        raise BadInput(
            f"{acquisition.name}: every pixel is {planes[0].flat[0]:g}: "
            "there is nothing to learn from; check the exposure or the channel"
        )
    return planes


def not_finite(acquisition: Acquisition, index: int, share: float) -> BadInput:
    """Return the error for a plane with NaN or infinite pixels."""
    return BadInput(
        f"{acquisition.name}: {share:.2%} of plane {index} is NaN or infinite: "
        "crop it off or fill it with the background level"
    )


def _refuse_duplicate(
    a: Acquisition, b: Acquisition, planes_a: list[np.ndarray], planes_b: list[np.ndarray]
) -> None:
    """Refuse the same image twice, also if it was rescaled, recompressed or rounded."""
    differing = grain = 0.0
    for plane_a, plane_b in zip(planes_a, planes_b, strict=True):
        gain, offset = _regression(plane_a.ravel(), plane_b.ravel())
        differing += float(np.mean((plane_b - gain * plane_a - offset) ** 2)) / 2
        grain += pixel_noise(plane_b) ** 2
    if differing == 0 or differing < 0.05 * grain:
        raise BadInput(
            f"{b.name}: is the same image as {a.name} (their difference has "
            f"{math.sqrt(differing):.3g} ADU where the noise of one has {math.sqrt(grain):.3g}): "
            "two separate exposures are needed; split a stack into even and odd frames instead"
        )


def pixel_noise(plane: np.ndarray) -> float:
    """Robust standard deviation of a plane's finest detail, an upper bound of its white noise.

    The median absolute diagonal Haar coefficient over 0.6745 (Donoho & Johnstone 1994).
    """
    even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2].astype(np.float64)
    detail = (even[::2, ::2] - even[1::2, ::2] - even[::2, 1::2] + even[1::2, 1::2]) / 2
    return float(np.median(np.abs(detail)) / 0.6745)


def _regression(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    deviation = x - x.mean(dtype=np.float64)
    spread = float(np.mean(deviation**2))
    gain = float(np.mean(deviation * y)) / spread if spread else 1.0
    return gain, float(y.mean(dtype=np.float64) - gain * x.mean(dtype=np.float64))


def measure_shift(planes_a: list[np.ndarray], planes_b: list[np.ndarray]) -> tuple[float, float]:
    """Displacement (y, x) of B against A in pixels: ``B(r) = A(r - shift)``.

    Median over planes of the sub-pixel cross-correlation peak (Guizar-Sicairos et al. 2008) of the
    lightly smoothed planes. A peak that noise alone could make reads as (0, 0).
    """
    found = []
    for plane_a, plane_b in zip(planes_a, planes_b, strict=True):
        smooth_a, smooth_b = (_detail(plane) for plane in (plane_a, plane_b))
        moved, _, _ = phase_cross_correlation(
            smooth_a, smooth_b, upsample_factor=50, normalization=None
        )
        dy, dx = (-float(step) for step in moved)
        far = abs(dy) > plane_a.shape[0] / 4 or abs(dx) > plane_a.shape[1] / 4
        whole = round(dy), round(dx)
        if far or not _shift_explains(smooth_a, smooth_b, whole):
            continue
        found.append((dy, dx))
    if not found:
        return 0.0, 0.0
    dy, dx = (float(np.median(steps)) for steps in zip(*found, strict=True))
    return dy, dx


def _detail(plane: np.ndarray) -> np.ndarray:
    """Structures of a few pixels: smoothed against noise, without the slow background."""
    smooth = ndimage.gaussian_filter(plane, _SMOOTHING)
    taper = np.outer(*(np.hanning(length + 2)[1:-1] for length in plane.shape))
    return (smooth - ndimage.gaussian_filter(plane, 12)) * taper.astype(np.float32)


def _shift_explains(a: np.ndarray, b: np.ndarray, shift: tuple[int, int]) -> bool:
    """Tell whether two detail images agree, so displaced, by more than smoothed noise would."""
    parts = [common_part(step, side) for step, side in zip(shift, a.shape, strict=True)]
    here, there = (tuple(part[k] for part in parts) for k in range(2))
    independent = a[here].size / (4 * math.pi * _SMOOTHING**2)
    agreement = np.corrcoef(a[here].ravel(), b[there].ravel())[0, 1]
    return bool(agreement > max(0.1, 6 / math.sqrt(independent)))


def common_part(shift: int, length: int) -> tuple[slice, slice]:
    """Return the slices of A and of B, displaced by `shift`, along an axis that show the same."""
    return (
        slice(max(0, -shift), length - max(0, shift)),
        slice(max(0, shift), length - max(0, -shift)),
    )


def _crop(
    acquisitions: list[Acquisition], shifts: list[tuple[float, float]]
) -> tuple[list[Acquisition], tuple[tuple[int, int], ...]]:
    """Crop each acquisition to the part of the scene that all of them show."""
    whole = np.array([[round(step) for step in shift] for shift in shifts])
    low, high = whole.min(axis=0), whole.max(axis=0)
    shape = np.array(acquisitions[0].plane_shape) - (high - low)
    starts = whole - low
    if not (high - low).any():
        return acquisitions, ((0, 0),) * len(acquisitions)
    if shape.min() < SMALLEST_SIDE:
        raise BadInput(
            f"{acquisitions[0].name}: the acquisitions share only {shape[0]}x{shape[1]} pixels: "
            "choose two recordings of the same field"
        )
    cropped = [
        acquisition.cropped(*(slice(int(s), int(s + n)) for s, n in zip(start, shape, strict=True)))
        for acquisition, start in zip(acquisitions, starts, strict=True)
    ]
    return cropped, tuple((int(y), int(x)) for y, x in starts)


def match_intensity(planes_a: list[np.ndarray], planes_b: list[np.ndarray]) -> Affine:
    """Gain and offset of B against A: ``B = gain A + offset`` where both show the same.

    Pixels are binned by a smoothed neighbourhood that leaves out the pixel itself, so that neither
    acquisition's noise decides its own bin (an instrumental variable); a line through the bins'
    means is fitted with soft-L1 weights. Where it does not differ from the identity by three
    standard errors, it is the identity.
    """
    a, b, bins = [], [], []
    for plane_a, plane_b in zip(planes_a, planes_b, strict=True):
        a.append(plane_a.ravel())
        b.append(plane_b.ravel())
        bins.append(neighbourhood(plane_a + plane_b).ravel())
    values_a, values_b, instrument = (np.concatenate(parts) for parts in (a, b, bins))
    low, high = np.percentile(instrument, (0.5, 99.9))
    if not high > low:
        return Affine(1.0, float(np.mean(values_b) - np.mean(values_a)))
    where = ((instrument - low) * (40 / (high - low))).astype(int).clip(0, 39)
    count = np.bincount(where, minlength=40)
    used = count >= 50
    mean_a, mean_b = (
        np.bincount(where, values, minlength=40)[used] / count[used]
        for values in (values_a, values_b)
    )
    difference = values_b - values_a
    variance = (
        np.bincount(where, difference.astype(np.float64) ** 2, minlength=40)[used] / count[used]
    )
    error = np.sqrt(np.maximum(variance - (mean_b - mean_a) ** 2, 1e-12) / count[used])
    if used.sum() < 3:
        return Affine(1.0, float(np.mean(values_b) - np.mean(values_a)))
    centre = float(np.average(mean_a, weights=count[used]))
    fit = optimize.least_squares(
        lambda line: (mean_b - line[0] * (mean_a - centre) - line[1]) / error,
        x0=(1.0, centre),
        loss="soft_l1",
    )
    covariance = np.linalg.inv(fit.jac.T @ fit.jac)
    scatter = max(1.0, 2 * fit.cost / max(1, used.sum() - 2))
    gain_error, level_error = np.sqrt(np.diag(covariance) * scatter)
    gain, level = (float(value) for value in fit.x)
    if abs(gain - 1) < 3 * gain_error and abs(level - centre) < 3 * level_error:
        return Affine()
    if gain <= 0 or gain_error > 0.1:
        return Affine(1.0, float(np.mean(values_b) - np.mean(values_a)))
    return Affine(gain, level - gain * centre)


def _findings(
    acquisitions: list[Acquisition],
    sampled: list[list[np.ndarray]],
    matches: tuple[Affine, ...],
    shift: tuple[float, float],
) -> list[Finding]:
    found = []
    dy, dx = shift
    if round(dy) or round(dx):
        found.append(
            Finding(
                "shift",
                f"The acquisitions are displaced by ({dy:.2f}, {dx:.2f}) pixels (y, x): cropped to "
                "the part that both show. Take both without moving the stage for the full field.",
            )
        )
    elif math.hypot(dy, dx) > 0.25:
        found.append(
            Finding(
                "shift",
                f"The acquisitions are displaced by ({dy:.2f}, {dx:.2f}) pixels (y, x), less than "
                "a pixel: the finest detail will blur a little. Register them first to keep it.",
            )
        )
    for acquisition, match in zip(acquisitions[1:], matches[1:], strict=True):
        if abs(match.gain - 1) > 0.02:
            found.append(
                Finding(
                    "gain",
                    f"{acquisition.name} is {match.gain:.3f} times as bright as "
                    f"{acquisitions[0].name}: matched in training, "
                    "each comes back in its own gain.",
                )
            )
    for acquisition, planes in zip(acquisitions, sampled, strict=True):
        share = saturated_share(acquisition, planes)
        if share > 1e-3:
            found.append(
                Finding(
                    "clipped",
                    f"{share:.2%} of {acquisition.name} is saturated: these pixels are left out of "
                    "the loss. Lower the exposure or the detector gain to measure them.",
                )
            )
    pixels = acquisitions[0].plane_count * math.prod(acquisitions[0].plane_shape)
    if pixels < 128 * 128:
        found.append(
            Finding(
                "few_pixels",
                f"Only {pixels} pixels to learn from: expect a smoother result. "
                "Add frames, or use a model trained on a larger field of the same sample.",
            )
        )
    return found


def saturated_share(acquisition: Acquisition, planes: list[np.ndarray]) -> float:
    """Return the share of pixels at the largest value that the pixel type can hold."""
    if acquisition.saturation is None:
        return 0.0
    return float(np.mean([(plane >= acquisition.saturation).mean() for plane in planes]))


def held_out_mask(shape: tuple[int, int], seed: int, share: float = 0.08) -> np.ndarray:
    """Choose blocks of a plane that never serve as a training target.

    The plane is divided into cells and one block is put at random into each of a random choice of
    them, so that the blocks lie apart and everywhere.

    Parameters
    ----------
    shape
        Rows and columns.
    seed
        The same seed chooses the same blocks.
    share
        Of the plane that the blocks cover, about.

    Returns
    -------
    numpy.ndarray
        Boolean, of `shape`; True where held out.
    """
    side = block_side(shape)
    rng = np.random.default_rng((seed, 0x4E32))
    wanted = max(1, round(share * shape[0] * shape[1] / side**2))
    cell = max(side, int(math.sqrt(shape[0] * shape[1] / wanted)))
    grid = [(y, x) for y in range(0, shape[0], cell) for x in range(0, shape[1], cell)]
    mask = np.zeros(shape, bool)
    for y, x in rng.permutation(grid)[:wanted]:
        top = min(y + int(rng.integers(0, cell - side + 1)), shape[0] - side)
        left = min(x + int(rng.integers(0, cell - side + 1)), shape[1] - side)
        mask[top : top + side, left : left + side] = True
    return mask


def block_side(shape: tuple[int, int]) -> int:
    """Side of a held-out block in pixels: 48, or a quarter of a small plane."""
    return min(48, min(shape) // 4 // 8 * 8)
