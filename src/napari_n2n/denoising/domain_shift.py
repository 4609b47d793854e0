"""Domain shift: warn if an acquisition differs from those that a model was trained on.

A network that gets other intensities or another noise than in its training gives wrong results that
look as convincing as right ones.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.stats.statistics import noise_excess, noise_level

# Planes, and pixels along each side of their middle, that are read: a second for a large stack.
_PLANES, _SAMPLED_SIDE = 4, 1024
# Pixels between two that count for the range of values: a tenth of them is enough.
_EVERY = 11
# Percentiles that stand for the range of values: not moved by hot pixels.
_ENDS = 1, 99.9
# How far the values may be outside of the range of the training, in parts of that range.
_BEYOND = 0.5
# Largest ratio between the noise and that of the training. Twice the detector gain at the same
# light changes it by 1.41; quarters of one field of view differ by up to 1.06 (FMD, sCMOS).
_TIMES = 1.3
# The same for a model file without `noise_excess`, where fine detail of the scene counts as noise.
_TIMES_UNCALIBRATED = 2.0
# Correlation at lag 1 beyond which such a file is not checked, as the roughness reads too low; and
# share of outliers beyond which none is: the photon-transfer line is then that of the outliers too.
_MOST_CORRELATION, _MOST_OUTLIERS = 0.2, 0.03
# Pixels along a plane's side that the noise level needs.
_SMALLEST = 3


def differences(denoiser: Denoiser, channels: Sequence[Sequence[Acquisition]]) -> Iterator[str]:
    """Yield a warning for each way in which acquisitions differ from those of the training.

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
            planes = np.stack([plane for _, plane in one.spread_planes(_PLANES, _SAMPLED_SIDE)])
            if number < len(values):
                yield from _other_values(one.name, planes, *values[number])
            if number < len(noises):
                yield from _other_noise(one.name, planes, noises[number])


def _of_each(denoiser: Denoiser, name: str, count: int) -> list[Any]:
    """Return a list of the record with one entry per channel; a single entry counts for all."""
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


def _other_noise(name: str, planes: np.ndarray, trained: dict[str, Any]) -> Iterator[str]:
    """Compare the noise with that of A and of B in the training, brightness for brightness."""
    if trained["outlier_share"] > _MOST_OUTLIERS or min(planes.shape[1:]) < _SMALLEST:
        return
    in_training = trained.get("noise_excess", (None, None))
    correlation = max(map(abs, trained["noise_correlation"] or (0.0, 0.0)))
    if in_training[0] is None and correlation > _MOST_CORRELATION:
        return
    line = [trained[key] for key in ("noise_a", "photon_gain", "read_noise", "pedestal")]
    gain, offset = trained.get("gain_ratio", 1.0), trained.get("offset", 0.0)
    ratios = []
    for values, known in zip((planes, (planes - offset) / gain), in_training, strict=True):
        here = noise_excess(values, *line)
        limit = _TIMES_UNCALIBRATED if known is None else _TIMES * max(known, 1.0)
        ratios.append(np.inf if here is None else here / (known or 1.0))
        if 1 / limit < ratios[-1] < limit:
            return
    found = noise_level(planes)
    yield (
        f"{name}: its noise is about {found:.2g} ADU, the noise of the training was about "
        f"{found / ratios[0] if ratios[0] else trained['noise_a']:.2g} ADU at this brightness "
        "(another gain, exposure or binning?): "
        "train on acquisitions like this one for a reliable result"
    )
