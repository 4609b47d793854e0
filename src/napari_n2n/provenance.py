"""What a model says of where its weights come from: recordings, programs, the day."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from napari_n2n.pair import Pair


def acquisitions(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Describe every acquisition of every pair, with its intensities against the pair's first."""
    return [
        {
            "name": acquisition.name,
            "path": str(acquisition.path) if acquisition.path else None,
            "shape": acquisition.shape,
            "axes": acquisition.axes,
            "dtype": str(acquisition.dtype),
            "channel": pair.channel,
            "gain": match.gain,
            "offset": match.offset,
        }
        for pair in pairs
        for acquisition, match in zip(pair.acquisitions, pair.matches, strict=True)
    ]


def here_and_now() -> dict[str, Any]:
    """Return the date, and the versions of what computes."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "napari-n2n": version("napari-n2n"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
