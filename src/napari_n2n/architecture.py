"""Which network suits the settings and the data."""

from collections.abc import Sequence
from typing import Any

from napari_n2n.errors import BadInput
from napari_n2n.network import flat_levels
from napari_n2n.pair import Pair
from napari_n2n.settings import TrainingSettings

# Volumes: a pixel costs more than one of a plane.
_VOLUME_NETWORK = {"width": 24, "depth": 1}


def architecture(settings: TrainingSettings, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return name and arguments of the network that suits settings and data.

    Raises
    ------
    BadInput
        If volumes are wanted of what has no depth, or of a network that has none.
    """
    if settings.dims == 2:
        return {"name": settings.network, "channels": 1}
    if settings.network != "compact":
        raise BadInput(f"network '{settings.network}' knows planes only: use compact, or --dims 2")
    for pair in pairs:
        first = pair.first
        if not first.has_depth:
            raise BadInput(
                f"{first.name}: volumes are asked for, and nobody names a depth axis Z among its "
                f"axes {first.axes}: name them, as in --axes ZYX, or learn planes (--dims 2)"
            )
    volumes = [pair.first.shape[-3:] for pair in pairs]
    thinnest = min(volume[0] for volume in volumes)
    flat = flat_levels(pairs[0].first.scale[-3:], _VOLUME_NETWORK["depth"])
    while 2 ** (_VOLUME_NETWORK["depth"] + 1 - flat) > thinnest:
        flat += 1
    return {"name": "compact", "channels": 1, "dims": 3, "flat": flat, **_VOLUME_NETWORK}
