"""What a person has set for this plugin in napari's preferences: docks begin with it.

napari shows the page, which napari.yaml describes, and keeps what was set between starts.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from napari.settings import get_plugin_settings

from napari_n2n.io.crash_safe import partial_path


@dataclass(frozen=True)
class Preferences:
    """What a person has set.

    Attributes
    ----------
    device
        Where to compute, as in `TrainingSettings`.
    memory
        Limit for pixels and network, in GB.
    threads
        How many cores to compute with; 0 for as many as torch likes.
    preset
        How long to train, as in `TrainingSettings`.
    folder
        Where results go that were given no name; None if they are not kept.
    """

    device: str
    memory: float
    threads: int
    preset: str
    folder: Path | None

    def place_for(self, name: str) -> Path | None:
        """Return where a result of a name goes; None if it is not kept."""
        return None if self.folder is None else _place(self.folder, name)


def free_place(folder: Path, name: str) -> Path:
    """Return where in a folder a result of a name goes that shall replace nothing."""
    number, place = 1, _place(folder, name)
    while place.exists() or partial_path(place).exists():
        number += 1
        place = _place(folder, f"{name} {number}")
    return place


def _place(folder: Path, name: str) -> Path:
    return folder / (re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name) + ".ome.zarr")


def preferences() -> Preferences:
    """Return what is set now."""
    settings = get_plugin_settings("napari-n2n")
    folder = settings.results.folder.strip()
    return Preferences(
        device=settings.computing.device,
        memory=settings.computing.memory,
        threads=settings.computing.threads,
        preset=settings.training.preset,
        folder=Path(folder).expanduser() if folder else None,
    )
