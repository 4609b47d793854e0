"""The menu of the images in the chosen files: all of them, or one position, scene or well."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox

from napari_n2n.io.images_in_file import FileImages, images_in_file
from napari_n2n.widgets.dock import keep_narrow


class ImagesMenu(ComboBox):
    """Ask which image is used if the chosen files contain several images with the same names.

    Parameters
    ----------
    all_used
        Whether all images of one size can be used together, as fields of view.
    """

    def __init__(self, *, all_used: bool) -> None:
        self._all_used = all_used
        self._known = FileImages()
        tip = "Which images of the files are used, such as positions or wells"
        super().__init__(label="Images", choices=[("", "")], tooltip=tip)
        keep_narrow(self)

    def show_for(self, sources: Sequence[Any]) -> bool:
        """Offer the images of these files; return whether there are several."""
        found = [images_in_file(one) for one in sources if isinstance(one, Path)]
        alike = len(found) == len(sources) > 0 and len({one.names for one in found}) == 1
        known = found[0] if alike and len(found[0].names) > 1 else FileImages()
        with self.changed.blocked():
            if known != self._known:
                self._known = known
                titles = zip(known.names, known.titles, strict=True)
                named = [(f"#{index} {title}", name) for index, (name, title) in enumerate(titles)]
                self.choices = [(self._default(known), ""), *named]
                self.value = ""
        return bool(known.names)

    def _default(self, known: FileImages) -> str:
        if self._all_used and len(set(known.shapes)) == 1:
            return f"all {len(known.names)}, as fields of view"
        return "choose one" if set(known.shapes) == {""} else "the largest"

    def named(self, sources: Sequence[Any]) -> list[Any]:
        """Return the sources, with the chosen image named as in ``a.tif#2``."""
        if not self.value:
            return list(sources)
        return [Path(f"{one}#{self.value}") if isinstance(one, Path) else one for one in sources]

    def choose(self, sources: Sequence[Any], image: str) -> None:
        """Choose an image of these files by its name."""
        if self.show_for(sources) and image in self._known.names:
            self.value = image
