"""Whether a recording is like those that a model learned from, in its values and in its noise.

A network knows no other, and what it makes of other recordings looks no less convincing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.model.denoiser import Denoiser

_PLANES = 4
_SAMPLED_SIDE = 1024
_TIMES = 2.0  # a noise level of one image is known to about a third
_MOST_CORRELATION, _MOST_OUTLIERS = 0.2, 0.03  # beyond these it is not known at all
_MAD = 0.6745  # median absolute deviation of a normal distribution, in its standard deviations


def differences(denoiser: Denoiser, channels: Sequence[Sequence[Acquisition]]) -> Iterator[str]:
    """Say how recordings differ from those that a model learned from, and what to do about it.

    Parameters
    ----------
    denoiser
        The model, with its record.
    channels
        For each channel, one recording or several of one scene; a few planes of each are read.
    """
    values, noises = (_of_each(denoiser, name, len(channels)) for name in ("values", "noise"))
    for number, recordings in enumerate(channels):
        for one in recordings:
            planes = [plane for _, plane in one.spread_planes(_PLANES, _SAMPLED_SIDE)]
            if number < len(values):
                yield from _other_values(one.name, planes, *values[number])
            if number < len(noises):
                yield from _other_noise(one.name, planes, noises[number])


def _of_each(denoiser: Denoiser, name: str, count: int) -> list[Any]:
    """Return what the record says of each channel; of many, if it knows one, the same for all."""
    known = list(getattr(denoiser.record, name))
    return known * count if len(known) == 1 else known


def _other_values(name: str, planes: list[np.ndarray], low: float, high: float) -> Iterator[str]:
    sample = np.concatenate([plane.ravel()[::11] for plane in planes])
    bottom, top = (float(end) for end in np.percentile(sample, (1, 99.9)))
    if top > high + 0.5 * (high - low) or bottom < low - 0.5 * (high - low):
        yield (
            f"{name}: values from {bottom:.4g} to {top:.4g} lie outside of the "
            f"{low:.4g} to {high:.4g} that the model was trained on: "
            "train on acquisitions with this exposure for a result to trust"
        )


def _other_noise(name: str, planes: list[np.ndarray], learned: dict[str, Any]) -> Iterator[str]:
    if max(map(abs, learned["noise_correlation"] or (0.0, 0.0))) > _MOST_CORRELATION:
        return
    if learned["outlier_share"] > _MOST_OUTLIERS or min(planes[0].shape) < 3:
        return
    found = float(np.median([noise_level(plane) for plane in planes]))
    expected = float(np.median([_expected(plane, learned) for plane in planes]))
    if not found * _TIMES > expected > found / _TIMES:
        yield (
            f"{name}: a noise of about {found:.2g}, where the model learned from recordings that "
            f"have {expected:.2g} at this brightness (another gain, exposure or binning?): "
            "train on recordings like this one for a result to trust"
        )


def _expected(plane: np.ndarray, learned: dict[str, Any]) -> float:
    """Return the noise that the middle pixel of a plane would have had in the training."""
    gain, read = learned["photon_gain"], learned["read_noise"] or 0.0
    if gain is None:
        return float(learned["noise_a"])
    light = max(float(np.median(plane)) - (learned["pedestal"] or 0.0), 0.0)
    return float(np.sqrt(gain * light + read**2))


def noise_level(plane: np.ndarray) -> float:
    """Estimate the standard deviation of the noise of one image, from its roughness.

    The second difference along both axes knows little of the scene and much of the noise (Immerkaer
    1996); its median does not mind the edges. It is right where neighbours share no noise.

    Parameters
    ----------
    plane
        Shape (Y, X), at least 3x3.
    """
    rough = np.diff(np.diff(plane.astype(np.float64), 2, axis=0), 2, axis=1)
    return float(np.median(np.abs(rough)) / _MAD / 6)
