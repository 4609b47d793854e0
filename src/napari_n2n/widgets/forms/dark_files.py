"""The field for dark frames, hidden until its title is clicked."""

from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_n2n.widgets.dock import keep_narrow
from napari_n2n.widgets.forms.fields import collapsible, form_layout


class DarkFrames(QWidget):
    """Ask for files of dark frames, recorded without light.

    Attributes
    ----------
    changed
        Emitted when other files are chosen.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.files = FileEdit(
            label="Files",
            mode=FileDialogMode.EXISTING_FILES,
            tooltip="Frames without light: hot pixels are replaced and offsets subtracted",
        )
        keep_narrow(self.files)
        self.section = collapsible("", form_layout(self.files))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.section)
        self.files.changed.connect(self._announce)
        self._show()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The chosen files."""
        chosen = self.files.value or ()
        several = (chosen,) if isinstance(chosen, Path) else chosen
        return tuple(Path(one) for one in several if Path(one) != Path())

    @paths.setter
    def paths(self, paths: tuple[Path, ...]) -> None:
        with signals_blocked(self):
            self.files.value = paths
        self._show()

    def _announce(self, _value: Any = None) -> None:
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        names = ", ".join(path.name for path in self.paths)
        self.section.setText(f"Dark frames ({names or 'none'})")
