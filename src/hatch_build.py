"""Link the manifest into the package for editable installs.

napari looks for ``napari.yaml`` inside the package; the repository keeps its only copy at the
top. Wheels get it by ``force-include``; an editable install reads ``src/napari_n2n`` itself, so
that folder gets a link, which git ignores.
"""

import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManifestLink(BuildHookInterface):
    """Put ``napari.yaml`` where an editable install looks for it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the link before an editable build; leave every other build alone."""
        if self.target_name != "wheel" or version != "editable":
            return
        manifest = Path(self.root, "napari.yaml")
        link = Path(self.root, "src", "napari_n2n", "napari.yaml")
        link.unlink(missing_ok=True)
        try:
            link.symlink_to(Path("..", "..", "napari.yaml"))
        except OSError:  # Windows without developer mode, or a disk that has no links
            shutil.copyfile(manifest, link)
