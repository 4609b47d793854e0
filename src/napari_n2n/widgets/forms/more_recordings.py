"""The list of further recordings of a scene, below A and B."""

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QVBoxLayout,
    QWidget,
)

from napari_n2n.widgets.dock import button, connect_while_alive
from napari_n2n.widgets.forms.layer_menu import image_layers

_MAX_ROWS = 3  # more recordings scroll, so that the dock stays short


class MoreRecordings(QWidget):
    """Ask for further layers and files; an empty list is hidden, only its button is shown.

    Parameters
    ----------
    viewer
        The viewer whose layers are offered.

    Attributes
    ----------
    changed
        Emitted when a recording is added or removed.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.list = QListWidget()
        self.list.setAccessibleName("Further recordings")
        self.list.setToolTip("Further recordings of the same scene; each one lowers the noise")
        self.add_button = button("Add another", "Add a further recording of the same scene")
        self.menu = QMenu(self.add_button)
        self.add_button.setMenu(self.menu)
        self.remove_button = button("Remove", "Remove the selected recording from the list")
        buttons = QHBoxLayout()
        buttons.addWidget(self.add_button, 1)
        buttons.addWidget(self.remove_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.list)
        column.addLayout(buttons)
        self.menu.aboutToShow.connect(self._fill_menu)
        self.remove_button.clicked.connect(self._remove_selected)
        connect_while_alive(self, [(viewer.layers.events.removed, self._remove_closed)])
        self._show()

    def sources(self) -> list[Any]:
        """Return the layers and paths in the list."""
        return [item.data(Qt.ItemDataRole.UserRole) for item in self._items()]

    def add(self, *sources: Any) -> None:
        """Add layers or paths."""
        for source in sources:
            name = source.name if isinstance(source, Path) else f"layer {source.name}"
            item = QListWidgetItem(name)
            item.setData(Qt.ItemDataRole.UserRole, source)
            item.setToolTip(str(source))
            self.list.addItem(item)
        self._show()
        self.changed.emit()

    def clear(self) -> None:
        """Remove all recordings."""
        self._remove(self._items())

    def _items(self) -> list[QListWidgetItem]:
        return [self.list.item(row) for row in range(self.list.count())]

    def _fill_menu(self) -> None:
        self.menu.clear()
        for layer in image_layers(self._viewer):
            self.menu.addAction(layer.name, lambda layer=layer: self.add(layer))
        self.menu.addSeparator()
        self.menu.addAction("Files ...", self._ask_for_files)
        self.menu.addAction("Folder ...", self._ask_for_folder)

    def _ask_for_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Further recordings of the scene")
        if paths:
            self.add(*map(Path, paths))

    def _ask_for_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "A further recording of the scene")
        if path:
            self.add(Path(path))

    def _remove_selected(self) -> None:
        self._remove(self.list.selectedItems() or self._items()[-1:])

    def _remove_closed(self, _event: Any = None) -> None:
        open_layers = set(self._viewer.layers)
        self._remove(
            [
                item
                for item in self._items()
                if not isinstance(source := item.data(Qt.ItemDataRole.UserRole), Path)
                and source not in open_layers
            ]
        )

    def _remove(self, items: list[QListWidgetItem]) -> None:
        for item in items:
            self.list.takeItem(self.list.row(item))
        if items:
            self._show()
            self.changed.emit()

    def _show(self) -> None:
        count = self.list.count()
        self.list.setVisible(count > 0)
        self.remove_button.setVisible(count > 0)
        height = self.list.sizeHintForRow(0) if count else 0
        self.list.setFixedHeight(min(count, _MAX_ROWS) * height + 2 * self.list.frameWidth() + 2)
