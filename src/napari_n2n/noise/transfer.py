"""The photon-transfer curve: how the variance of the noise grows with the signal.

For photons counted by a camera, ``var = gain * (mean - pedestal) + read^2`` (EMVA 1288; Foi et al.
2008). Variance and third cumulant are taken from the difference of two acquisitions, binned on the
smoothed surroundings of each pixel, so that neither the scene nor a pixel's own noise decides its
bin. The third cumulant of photon noise is ``gain^2 * (mean - pedestal)``: it tells read noise from
pedestal, which the line alone cannot.
"""

from dataclasses import dataclass

import numpy as np

from napari_n2n.noise.sample import Sample
from napari_n2n.stats.statistics import GROUPS, MAD_TO_SIGMA, jackknife

_BINS = 24
_LEAST = 400


@dataclass(frozen=True, eq=False)
class TransferCurve:
    """Noise against signal, one entry for each bin, in ADU.

    Attributes
    ----------
    mean, variance, robust_variance
        Of one acquisition; the robust one from the median absolute difference.
    variance_error
        Standard error of the variance.
    third_cumulant
        Of one acquisition's noise.
    gain, intercept
        The line ``variance = gain * mean + intercept``.
    gain_error
        Standard error of the gain.
    photon_gain, read_noise, pedestal
        ADU per electron, ADU, ADU; None where the noise does not grow with the signal, or where
        there is too little read noise to be told.
    read_noise_error, pedestal_error
        Standard errors of them.
    skewness, skewness_error
        Third cumulant over variance^1.5, averaged over the pixels.
    median_shift
        How much lower than the mean the median of the noise lies, in ADU.
    """

    mean: np.ndarray
    variance: np.ndarray
    robust_variance: np.ndarray
    variance_error: np.ndarray
    third_cumulant: np.ndarray
    gain: float
    gain_error: float
    intercept: float
    photon_gain: float | None
    read_noise: float | None
    read_noise_error: float | None
    pedestal: float | None
    pedestal_error: float
    skewness: float
    skewness_error: float
    median_shift: float
    median_shift_error: float

    def variance_at(self, level: np.ndarray) -> np.ndarray:
        """Variance of one acquisition's noise at given signal levels, never below a small floor."""
        floor = 0.25 * float(np.min(self.variance))
        return np.maximum(self.gain * level + self.intercept, floor)


def transfer_curve(sample: Sample, usable: np.ndarray) -> TransferCurve:
    """Measure the curve.

    Parameters
    ----------
    sample
        Where to measure.
    usable
        Boolean, of the sample's shape: pixels that outliers did not hit.
    """
    keep = sample.valid & usable
    a, b, m = (
        values[keep].astype(np.float64) for values in (sample.a, sample.b, sample.surroundings)
    )
    group = sample.group[keep]
    low, high = np.quantile(m, (0.002, 0.998))
    which = ((m - low) * (_BINS / max(high - low, 1e-12))).astype(int).clip(0, _BINS - 1)
    d = a - b
    terms = {
        "count": np.ones_like(d),
        "mean": (a + b) / 2,
        "difference": d,
        "square": d**2,
        "cube": d**2 * (a + b - 2 * m),
        "product": (a * (b - m) + b * (a - m)) / 2,
        "departure": (a + b) / 2 - m,
    }
    cell = group * _BINS + which
    sums = {
        name: np.bincount(cell, values, minlength=GROUPS * _BINS).reshape(GROUPS, _BINS)
        for name, values in terms.items()
    }
    whole = _solve({name: grid.sum(axis=0) for name, grid in sums.items()})
    parts = [
        _solve({name: np.delete(grid, left_out, axis=0).sum(axis=0) for name, grid in sums.items()})
        for left_out in range(GROUPS)
    ]
    errors = {name: jackknife([float(part[name]) for part in parts]) for name in _FIGURES}
    used = whole["used"]
    # Integers have few different distances: spread each over its step, for a median in between.
    spread = d + sample.quantum * (np.random.default_rng(0).random(d.size) - 0.5)
    robust = np.array(
        [
            (np.median(np.abs(spread[which == k])) * MAD_TO_SIGMA) ** 2 / 2
            for k in np.flatnonzero(used)
        ]
    )
    photon = whole["gain"] > 3 * errors["gain"] and whole["gain"] * np.ptp(whole["mean"]) > 0.1 * (
        whole["gain"] * whole["mean"].min() + whole["intercept"]
    )
    read_noise = pedestal = read_error = None
    if photon:
        square, error = whole["read_square"], errors["read_square"]
        if square > 2 * error:
            read_noise, read_error = float(np.sqrt(square)), error / (2 * float(np.sqrt(square)))
        pedestal = float(whole["pedestal"])
    return TransferCurve(
        mean=whole["mean"],
        variance=whole["variance"],
        robust_variance=robust,
        variance_error=whole["variance"] * np.sqrt(2 / whole["count"]),
        third_cumulant=whole["third"],
        gain=float(whole["gain"]),
        gain_error=errors["gain"],
        intercept=float(whole["intercept"]),
        photon_gain=float(whole["gain"]) if photon else None,
        read_noise=read_noise,
        read_noise_error=read_error,
        pedestal=pedestal,
        pedestal_error=errors["pedestal"],
        skewness=float(whole["skewness"]),
        skewness_error=errors["skewness"],
        median_shift=float(whole["median_shift"]),
        median_shift_error=errors["median_shift"],
    )


_FIGURES = ("gain", "read_square", "pedestal", "skewness", "median_shift")


def _solve(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fit line and cumulants to the sums over each bin."""
    used = sums["count"] >= min(_LEAST, sums["count"].max())
    count = sums["count"][used]
    per = {name: values[used] / count for name, values in sums.items()}
    mean, variance = per["mean"], (per["square"] - per["difference"] ** 2) / 2
    variance = np.maximum(variance, 1e-12)
    gain, intercept, expected = 0.0, float(np.average(variance, weights=count)), variance
    for _ in range(4):  # the scatter of a variance is proportional to the variance itself
        weight = np.sqrt(count) / np.maximum(expected, 0.05 * variance.mean())
        if len(mean) > 1 and np.ptp(mean) > 0:
            gain, intercept = (float(value) for value in np.polyfit(mean, variance, 1, w=weight))
        expected = np.maximum(gain * mean + intercept, 1e-12)
    # E[D^2 (A + B - 2m)] = 2 kappa3 + 4 E[var(s) (s - m)], and E[s (s - m)] = E[A (B - m)].
    scene = gain * per["product"] + intercept * per["departure"]
    third = (per["cube"] - 4 * scene) / 2
    read = variance - third / gain if gain > 0 else np.full_like(variance, np.nan)
    trust = count / np.maximum(expected, 0.05 * variance.mean()) ** 3
    read_square = np.average(read, weights=trust)
    # The read noise is at least none, and at most what there is in the dark.
    possible = np.clip(read_square, 0.0, max(gain * mean.min() + intercept, 0.0))
    spread = np.average(variance, weights=count) ** 1.5
    return {
        "used": used,
        "count": count,
        "mean": mean,
        "variance": variance,
        "third": third,
        "gain": np.float64(gain),
        "intercept": np.float64(intercept),
        "read_square": read_square,
        "pedestal": (possible - intercept) / gain if gain > 0 else np.float64(np.nan),
        "skewness": np.average(third, weights=count) / spread,
        "median_shift": np.average(
            # No median lies farther from its mean than the deviation.
            np.clip(third / (6 * expected), -np.sqrt(expected), np.sqrt(expected)),
            weights=count,
        ),
    }
