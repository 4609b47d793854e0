"""Domain shift: warn if an acquisition differs from those that a model was trained on.

If intensities or noise differ from those in training, the results of a network are wrong, but look
as convincing as correct ones.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.pair.empty_areas import empty_areas, filled
from napari_n2n.stats.statistics import noise_excess, noise_level, variance_at

# Number of planes that are read, and side in pixels of their middle part: takes a second for a
# large stack.
_PLANES, _SAMPLED_SIDE = 4, 1024
# Every 11th pixel is used for the range of values: fewer than a tenth are enough.
_EVERY = 11
# Percentiles used as the range of values: not changed by hot pixels.
_ENDS = 1, 99.9
# Largest distance of values from the range of the training data, as a part of that range.
_BEYOND = 0.5
# Largest factor between the noise and that in training. Twice the detector gain at the same
# light changes it by 1.41; quarters of one field of view differ by up to 1.06 (FMD, sCMOS).
_TIMES = 1.3
# Largest factor for a model file without `noise_excess`, where fine detail of the scene counts as
# noise.
_TIMES_UNCALIBRATED = 2.0
# The noise is not compared for such a file if the correlation at lag 1 is above the first limit,
# because the measured noise is too low; and not for any file if the share of outliers is above the
# second limit, because outliers then change the photon-transfer line.
_MOST_CORRELATION, _MOST_OUTLIERS = 0.2, 0.03
# Smallest side of a plane in pixels for the noise level.
_SMALLEST = 3


def differences(denoiser: Denoiser, channels: Sequence[Sequence[Acquisition]]) -> Iterator[str]:
    """Yield a warning for each way in which acquisitions differ from the training data.

    Parameters
    ----------
    denoiser
        The model, with its record.
    channels
        For each channel, one acquisition or several of one scene; a few planes of each are read.
    """
    values, noises = (_of_each(denoiser, name, len(channels)) for name in ("values", "noise"))
    for number, acquisitions in enumerate(channels):
        for one in acquisitions:
            planes = _data(one)
            if number < len(values):
                yield from _other_values(one.name, planes, *values[number])
            if number < len(noises):
                yield from _other_noise(one.name, planes, noises[number])


def _data(acquisition: Acquisition) -> np.ndarray:
    """Read a few planes; skip blank planes, and fill empty areas such as borders."""
    planes = np.stack([plane for _, plane in acquisition.spread_planes(_PLANES, _SAMPLED_SIDE)])
    lit = np.ptp(planes, axis=(1, 2)) > 0
    planes = planes[lit] if lit.any() else planes
    return filled(planes, empty_areas([planes], [float(planes.max())]))


def _of_each(denoiser: Denoiser, name: str, count: int) -> list[Any]:
    """Return a list from the record, one entry per channel; a single entry is repeated."""
    known = list(getattr(denoiser.record, name))
    return known * count if len(known) == 1 else known


def _other_values(name: str, planes: np.ndarray, low: float, high: float) -> Iterator[str]:
    sample = np.concatenate([plane.ravel()[::_EVERY] for plane in planes])
    bottom, top = (float(end) for end in np.percentile(sample, _ENDS))
    margin = _BEYOND * (high - low)
    if top > high + margin or bottom < low - margin:
        yield (
            f"{name}: values from {bottom:.4g} to {top:.4g} are outside of the range "
            f"{low:.4g} to {high:.4g} that the model was trained on: "
            "train on acquisitions with this exposure for a reliable result"
        )


def _variance(trained: dict[str, Any], level: np.ndarray) -> np.ndarray:
    """Return the variance of the noise in training at signal levels, in ADU of A."""
    if (model := trained.get("noise_model")) is not None:
        return variance_at(level, model["levels"], model["variances"])
    # Files of older versions have the photon-transfer line only.
    if trained["photon_gain"] is None:
        return np.full_like(level, (trained["noise_a"] or 0.0) ** 2)
    light = np.maximum(level - (trained["pedestal"] or 0.0), 0.0)
    return np.asarray(trained["photon_gain"] * light + (trained["read_noise"] or 0.0) ** 2)


def _other_noise(name: str, planes: np.ndarray, trained: dict[str, Any]) -> Iterator[str]:
    """Yield a warning if the noise differs from that in training at the same brightness."""
    if trained["outlier_share"] > _MOST_OUTLIERS or min(planes.shape[1:]) < _SMALLEST:
        return
    in_training = trained.get("noise_excess", (None, None))
    correlation = max(map(abs, trained["noise_correlation"] or (0.0, 0.0)))
    if in_training[0] is None and correlation > _MOST_CORRELATION:
        return
    gain, offset = trained.get("gain_ratio") or 1.0, trained.get("offset") or 0.0
    ratios = []
    for values, known in zip((planes, (planes - offset) / gain), in_training, strict=True):
        here = noise_excess(values, partial(_variance, trained))
        limit = _TIMES_UNCALIBRATED if known is None else _TIMES * max(known, 1.0)
        ratios.append(np.inf if here is None else here / (known or 1.0))
        if 1 / limit < ratios[-1] < limit:
            return
    found = noise_level(planes)
    usual = found / ratios[0] if ratios[0] else trained["noise_a"] or 0.0
    yield (
        f"{name}: its noise is about {found:.2g} ADU, the noise of the training was about "
        f"{usual:.2g} ADU at this brightness "
        "(another gain, exposure or binning?): "
        "train on acquisitions like this one for a reliable result"
    )
