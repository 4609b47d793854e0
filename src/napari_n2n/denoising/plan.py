"""Plan a run: the acquisitions to denoise, their weights, and the header of the result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from napari_n2n.denoising.domain_shift import differences
from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.header import Header
from napari_n2n.io.long_axes import on_same_axes
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.pair.fixed_pattern import in_source
from napari_n2n.pair.pair import Pair
from napari_n2n.stats.affine import Affine

Quantity = Literal["result", "error"]
_ENDINGS: dict[Quantity, str] = {"result": " denoised", "error": " error"}


@dataclass(frozen=True, eq=False)
class Scene:
    """One channel of the input.

    Attributes
    ----------
    acquisitions
        One acquisition, or several of one scene whose results are averaged.
    maps
        For each, the map from its intensities (ADU) to those of the result.
    weights
        For each, its weight in the average; the weights sum to 1.
    starts
        For each, first row and column of the part common to all acquisitions, in pixels.
    """

    acquisitions: tuple[Acquisition, ...]
    maps: tuple[Affine, ...] = (Affine(),)
    weights: tuple[float, ...] = (1.0,)
    starts: tuple[tuple[int, int], ...] = ((0, 0),)


@dataclass(frozen=True, eq=False)
class Plan:
    """The acquisitions to which a model is applied, and the result.

    Attributes
    ----------
    scenes
        One for each channel.
    header
        Header of the result, on the grid of the first acquisition.
    warnings
        Sentences about differences between the acquisitions and the training data.
    turns
        Whether test-time augmentation is used.
    quantity
        Quantity to compute: "result", or "error" for the expected error.
    """

    scenes: tuple[Scene, ...]
    header: Header
    warnings: tuple[str, ...]
    turns: bool = False
    quantity: Quantity = "result"


def make_plan(
    denoiser: Denoiser,
    *sources: Any,
    axes: str | None = None,
    dtype: str = "float32",
    turns: bool = False,
    quantity: Quantity = "result",
) -> Plan:
    """Open the acquisitions to denoise, and check that they suit the model.

    Parameters
    ----------
    denoiser
        The model.
    sources
        One acquisition: the result is on its intensity scale. Several of one scene: each is
        denoised, and the result is their mean on the first one's grid. A brighter exposure has more
        weight, which suits photon noise.
    axes
        Letters of the dimensions, instead of those in the sources.
    dtype
        "float32", or "same" for the input's own type (rounded and clipped).
    turns
        Test-time augmentation: average over 8 rotations and flips (8x slower, slightly better).
    quantity
        "result", or "error": how far the result may be from the clean image, in ADU (see
        `ErrorModel`); NaN at saturated and bad pixels and in empty areas, where it is not known.

    Raises
    ------
    BadInput
        If a source cannot be read, the sources do not show one scene, the model was trained on
        another number of channels or dimensions, or it has not learned its error.
    """
    if not sources:
        raise BadInput("nothing to denoise: name at least one acquisition", "not_chosen")
    if dtype not in ("float32", "same"):
        raise BadInput(f"dtype '{dtype}': unknown: choose float32 or same", "option")
    if quantity == "error":
        dtype = "float32"
    opened = on_same_axes([Acquisition.open(source, axes=axes) for source in sources])
    if denoiser.dims == 3:
        opened = [_stack(one) for one in opened]
    first = opened[0]
    channels = [one.along("C") for one in opened]
    known = len(denoiser.scales)
    if len(channels[0]) != known and known > 1:
        raise BadInput(
            f"{first.name}: has {len(channels[0])} channels, but the model was trained on {known}: "
            "choose a stack with the same channels, or set --axes",
            "channels",
        )
    if len({len(split) for split in channels}) > 1:
        raise BadInput(
            f"{opened[-1].name}: number of channels differs from {first.name}: choose acquisitions "
            "of one scene",
            "channels",
        )
    if quantity == "error":
        # An error map has other values than the image, so its contrast is measured.
        first = replace(first, channels=tuple(replace(c, window=()) for c in first.channels))
        check_error_is_known(denoiser, len(channels[0]))
    scenes = tuple(
        _scene([corrected(one, denoiser, channel) for one in split])
        for channel, split in enumerate(zip(*channels, strict=True))
    )
    header = replace(
        first.header,
        dtype=first.dtype if dtype == "same" else np.dtype(np.float32),
        name=_joined([one.name for one in opened], quantity),
        own_name=_joined(list(dict.fromkeys(one.own_name for one in opened)), quantity),
    )
    warnings = [
        *_other_detector(denoiser, scenes),
        *differences(denoiser, [one.acquisitions for one in scenes]),
    ]
    return Plan(scenes, header, tuple(warnings), turns, quantity)


def _joined(names: Sequence[str], quantity: Quantity) -> str:
    """Return the name of a result of recordings with these names; empty if a name is missing."""
    return " + ".join(names) + _ENDINGS[quantity] if all(names) else ""


def _stack(acquisition: Acquisition) -> Acquisition:
    """Return an acquisition with the axes of a model of volumes; a movie loses its only channel.

    Raises
    ------
    BadInput
        If it has neither a Z axis nor, with one channel, a T axis.
    """
    axes, one_channel = acquisition.axes, acquisition.shape[-3:-2] == (1,)
    if "Z" not in axes and axes[-3:-2] == "C" and one_channel:
        acquisition = acquisition.at("C", 0)
    if not acquisition.has_depth:
        raise BadInput(
            f"{acquisition.name}: the model was trained on volumes or movies, and the image has no "
            f"labelled Z axis, nor T and one channel (axes: {acquisition.axes}): set --axes, or "
            "train with --dims 2",
            "axes",
        )
    return acquisition


def check_error_is_known(denoiser: Denoiser, channels: int, name: str = "the model") -> None:
    """Raise `BadInput` unless the model knows the error of its results in every channel."""
    record = denoiser.record
    if all(record.error_of(channel) is not None for channel in range(channels)):
        return
    fix = "train it with --error-map on"
    if record.error_reason is not None:
        fix = record.error_reason
    raise BadInput(f"{name}: does not know the error of its results: {fix}", "option")


def corrected(acquisition: Acquisition, denoiser: Denoiser, channel: int) -> Acquisition:
    """Return an acquisition with the fixed pattern repaired, as in training.

    It is unchanged if there was no repair, or if its planes are not those of the detector.
    """
    detector = denoiser.record.detector_of(channel)
    if detector is None or detector.shape != in_source(acquisition)[0]:
        return acquisition
    return acquisition.corrected(detector)


def _other_detector(denoiser: Denoiser, scenes: Sequence[Scene]) -> Iterator[str]:
    """Yield a warning for each acquisition whose planes are not those of the detector map."""
    for channel, scene in enumerate(scenes):
        detector = denoiser.record.detector_of(channel)
        for one in scene.acquisitions:
            if detector is not None and one.detector is None:
                there, here = (
                    "x".join(map(str, side)) for side in (detector.shape, one.plane_shape)
                )
                yield (
                    f"{one.name}: its planes have {here} pixels, those of the training {there}: "
                    "hot pixels and offsets of the detector are not repaired"
                )


def _scene(acquisitions: Sequence[Acquisition]) -> Scene:
    if len(acquisitions) == 1:
        return Scene(tuple(acquisitions))
    pair = Pair.open(*acquisitions)
    gains = np.array([match.gain for match in pair.matches])
    offset = float(np.mean([match.offset for match in pair.matches]))
    common = Affine(float(gains.mean()), offset)
    return Scene(
        tuple(acquisitions),
        tuple(common.after(match.inverse) for match in pair.matches),
        tuple(gains / gains.sum()),
        pair.offsets,
    )
