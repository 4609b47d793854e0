"""Link the manifest into the package for editable installs.

napari expects ``napari.yaml`` inside the package, but its only copy is at the top of the
repository. Wheels get it by ``force-include``. An editable install uses ``src/napari_n2n``
directly, so that folder gets a link, which git ignores.
"""

import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManifestLink(BuildHookInterface):
    """Link ``napari.yaml`` into the package of an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Create the link before an editable build; do nothing for other builds."""
        if self.target_name != "wheel" or version != "editable":
            return
        manifest = Path(self.root, "napari.yaml")
        link = Path(self.root, "src", "napari_n2n", "napari.yaml")
        link.unlink(missing_ok=True)
        try:
            link.symlink_to(Path("..", "..", "napari.yaml"))
        except OSError:  # Windows without developer mode, or a disk without links
            shutil.copyfile(manifest, link)
