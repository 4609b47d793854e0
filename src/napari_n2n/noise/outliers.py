"""How many pixels are hit by something that is not noise: hot pixels, dust, text, impulses.

And how many have no value at all, what that does to the mean, and whether it comes in patches.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import ndimage

from napari_n2n.noise.mixture import Mixture, fit_mixture
from napari_n2n.noise.sample import Sample, step_of
from napari_n2n.stats.statistics import GROUPS, jackknife, neighbourhood

_BRIGHTNESSES = (0, 0.25, 0.5, 0.65, 0.8, 0.9, 0.96, 1)
_FAR_SHARE = 5e-4
_OUTLYING = 4.0
_BETWEEN = 0.1
_FEWEST_STEPS = 6
_FEWEST_SIDED = 20
_ENDS = (1e-4, 1 - 1e-4)
_CLUSTERED = 0.1


@dataclass(frozen=True, eq=False)
class Outliers:
    """What hit the pixels of a sample, other than noise.

    Attributes
    ----------
    share, error
        Of the pixels of each acquisition that is hit, 0 to 1; and its standard error.
    missing
        Share of the pixels that have no value: they read 0 amid others far above.
    brighter
        Share of the outliers that read too bright, had they as much room below as above: 0.5 for
        impulses of any value, near 1 for hot pixels.
    shift, shift_error
        How far that pulls the mean: root mean square over eight signal levels, in ADU; and its
        standard error.
    clustered
        True where patches are hit (text, dust) rather than single pixels.
    limit
        Differences beyond which are not noise, in ADU.
    pixels
        True where the two acquisitions differ by more; shape (planes, Y, X).
    """

    share: float
    error: float
    missing: float
    brighter: float
    shift: float
    shift_error: float
    clustered: bool
    limit: float
    pixels: np.ndarray

    @property
    def around(self) -> np.ndarray:
        """These pixels; of patches also those near by, which may belong to them unnoticed."""
        return ndimage.maximum_filter(self.pixels, (1, 5, 5)) if self.clustered else self.pixels


def find_outliers(sample: Sample) -> Outliers:
    """Tell outliers from noise, and what they do to the mean."""
    missing, absent = _missing(sample)
    mixture = _mixture(sample.without(absent))
    if mixture.share == 0 and missing == 0:
        return Outliers(0.0, mixture.error, 0.0, 0.5, 0.0, 0.0, False, math.inf, absent)
    limit = _OUTLYING * math.sqrt(2) * mixture.noise if mixture.share else math.inf
    far = sample.valid & (absent | (np.abs(sample.difference) > limit))
    centre = _level(sample, far)
    return Outliers(
        missing + (1 - missing) * mixture.share,
        mixture.error,
        missing,
        _brighter(sample, far, centre, limit if mixture.share else 0.0),
        *_shift(sample, far, centre),
        _clustered(far),
        limit,
        far,
    )


def _missing(sample: Sample) -> tuple[float, np.ndarray]:
    """Share of the pixels of each acquisition that are missing, and where it is one of either.

    They read 0 where others lie far above, and hardly any in between: neither few photons nor noise
    that is cut off makes such a gap. What is 0 in both acquisitions far more often than by chance,
    as borders and masks are, is no noise.
    """
    nothing = np.zeros(sample.a.shape, bool)
    cut = sample.cut & sample.valid
    if cut.mean() < _FAR_SHARE:
        return 0.0, nothing
    level = _level(sample, cut)
    above = sample.valid & (level > _FEWEST_STEPS * step_of(sample.a[~sample.cut]))
    lower = np.minimum(sample.a, sample.b)
    absent = above & cut
    between = above & ~cut & (lower < level / 2)
    if absent.sum() < _FEWEST_SIDED or between.sum() > _BETWEEN * absent.sum():
        return 0.0, nothing
    share = 1 - math.sqrt(1 - float(absent.sum() / above.sum()))
    in_both = float((absent & sample.cut_twice).sum() / above.sum())
    return (share, absent) if in_both < 2 * share**2 + _FAR_SHARE else (0.0, nothing)


def _mixture(sample: Sample) -> Mixture:
    """Fit the mixture at several brightnesses; outliers are what all of them show.

    Photon noise in the dark has a heavy tail that looks like sparse outliers, but only there.
    Patches of outliers change the brightness around them, in the lower of two acquisitions or in
    the higher, so that both are tried.
    """
    found = [
        _mixture_by(sample, neighbourhood(end(sample.a, sample.b)))
        for end in (np.minimum, np.maximum)
    ]
    return max(found, key=lambda mixture: mixture.share)


def _mixture_by(sample: Sample, brightness: np.ndarray) -> Mixture:
    a, b, m = (values[sample.valid] for values in (sample.a, sample.b, brightness))
    low, high = (float(end) for end in np.quantile(np.concatenate([a, b]), _ENDS))
    # Of a few steps none is far enough from the next to be an outlier: so it is with few photons.
    if high - low < _FEWEST_STEPS * sample.quantum:
        return Mixture(0.0, 0.0, 0.0)
    fits, weights = [], []
    for first, last in pairwise(np.quantile(m, _BRIGHTNESSES)):
        here = (m >= first) & (m <= last)
        if here.sum() >= 500:
            fits.append(fit_mixture(a[here], b[here], (low, high), sample.quantum))
            weights.append(float(here.mean()))
    if not fits:
        return Mixture(0.0, 0.0, 0.0)
    share = float(np.average([fit.share for fit in fits], weights=weights))
    noise = float(np.median([fit.noise for fit in fits]))
    far = float(np.median([fit.far for fit in fits[len(fits) // 2 :]]))
    error = float(np.std([fit.share for fit in fits])) / float(np.sqrt(len(fits)))
    if far < _FAR_SHARE:
        return Mixture(0.0, noise, far)
    if share > 0.6:  # too few untouched pixels for a fit at every brightness
        return replace(fit_mixture(a, b, (low, high), sample.quantum), error=error)
    return Mixture(share, noise, far, error)


def _brighter(sample: Sample, far: np.ndarray, level: np.ndarray, limit: float) -> float:
    """Share of the outliers that read too bright, had they as much room below as above.

    In whichever acquisition is farther off; each counts by the inverse of its room, which begins
    beyond the noise and ends with the range of all values. Only where there is room on both sides;
    0.5 if there is hardly anywhere.
    """
    low, high = np.quantile(np.concatenate([sample.a[sample.valid], sample.b[sample.valid]]), _ENDS)
    far = far & (level - low > 2 * limit) & (high - level > 2 * limit)
    if far.sum() < _FEWEST_SIDED:
        return 0.5
    here, top, bottom = (
        values[far].astype(np.float64)
        for values in (level, np.maximum(sample.a, sample.b), np.minimum(sample.a, sample.b))
    )
    bright = top - here > here - bottom
    above = np.sum(bright / (high - here - limit))
    below = np.sum(~bright / (here - low - limit))
    return float(above / (above + below))


def _shift(sample: Sample, far: np.ndarray, centre: np.ndarray) -> tuple[float, float]:
    """Pull of the outliers on the mean, and its standard error, in ADU.

    Root mean square over eight signal levels.
    """
    edges = np.quantile(centre, np.linspace(0, 1, 9))
    levels = [(centre >= low) & (centre <= high) for low, high in pairwise(edges)]

    def pull(counts: np.ndarray) -> float:
        shifts = []
        for level in levels:
            here = counts & level
            clean = here & ~far
            if clean.any():
                shifts.append(float(sample.a[here].mean() - sample.a[clean].mean()))
        return float(np.sqrt(np.mean(np.square(shifts)))) if shifts else 0.0

    parts = [pull(sample.valid & (sample.group != group)) for group in range(GROUPS)]
    return pull(sample.valid), jackknife(parts)


def _level(sample: Sample, far: np.ndarray) -> np.ndarray:
    """Level of the ordinary pixels around each one."""
    mean = (sample.a + sample.b) / 2
    level = neighbourhood(np.where(far, 0.0, mean).astype(np.float32))
    weight = neighbourhood((~far).astype(np.float32))
    return np.where(weight > 0.02, level / np.maximum(weight, 0.02), sample.surroundings)


def _clustered(far: np.ndarray) -> bool:
    """Tell whether outliers have outliers for neighbours more often than by chance."""
    share = float(far.mean())
    beside = float((far[..., 1:] & far[..., :-1]).mean())
    return beside - share**2 > _CLUSTERED * (share - share**2)
