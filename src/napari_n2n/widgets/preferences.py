"""The plugin's page in napari's preferences; its values are the initial values of the docks.

napari shows the page, which napari.yaml describes, and stores its values.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from napari.settings import get_plugin_settings

from napari_n2n.io.crash_safe import journal_path


@dataclass(frozen=True)
class Preferences:
    """The values of the preferences page.

    Attributes
    ----------
    device
        Where to compute, as in `TrainingSettings`.
    memory
        Memory limit for pixels, in GB.
    threads
        Number of CPU cores to compute with; 0: torch's default.
    preset
        How long to train, as in `TrainingSettings`.
    folder
        Folder for results without a name; None if they are deleted when napari closes.
    """

    device: str
    memory: float
    threads: int
    preset: str
    folder: Path | None

    def path_for(self, name: str) -> Path | None:
        """Return the path of a result of this name; None if results are not kept."""
        return None if self.folder is None else _path_in(self.folder, name)


def free_path(folder: Path, name: str) -> Path:
    """Return a path for a result of this name, with a number if the name is already used."""
    number, path = 1, _path_in(folder, name)
    while path.exists() or journal_path(path).exists():
        number += 1
        path = _path_in(folder, f"{name} {number}")
    return path


def _path_in(folder: Path, name: str) -> Path:
    return folder / f"{file_name(name)}.ome.zarr"


# Bytes of UTF-8. Most file systems allow 255 (143 if encrypted), and Windows 260 characters with
# all folders; the suffixes of results, journals and unfinished files take up to 50.
_LONGEST_NAME = 90


def file_name(name: str) -> str:
    """Return a valid file name made from the name of a layer; long names lose their middle."""
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name)
    encoded = name.encode(errors="replace")
    if len(encoded) > _LONGEST_NAME:
        half = _LONGEST_NAME // 2
        encoded = encoded[:half] + b"..." + encoded[-half:]
    return encoded.decode(errors="ignore")  # drops characters of which only some bytes are left


def preferences() -> Preferences:
    """Return the current values of the preferences page."""
    settings = get_plugin_settings("napari-n2n")
    folder = settings.results.folder.strip()
    return Preferences(
        device=settings.computing.device,
        memory=settings.computing.memory,
        threads=settings.computing.threads,
        preset=settings.training.preset,
        folder=Path(folder).expanduser() if folder else None,
    )
