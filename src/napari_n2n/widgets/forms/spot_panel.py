"""A button that turns clicks on a result into checks whether a spot is real."""

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_n2n.widgets.dock import TextLabel, button, connect_while_alive
from napari_n2n.widgets.sessions.session import session_of
from napari_n2n.widgets.sessions.spot_checking import SpotChecking


class SpotPanel(QWidget):
    """A button that switches the answers on and off, and the answer to the last click.

    Parameters
    ----------
    viewer
        The viewer with the result.
    recordings
        Returns the recordings, layers or paths, and the letters of their dimensions or None;
        raises `BadInput` if they are not chosen.
    """

    def __init__(self, viewer: Any, recordings: Callable[[], tuple[list[Any], str | None]]) -> None:
        super().__init__()
        self.checking, self._recordings = session_of(viewer, SpotChecking), recordings
        self.button = button(
            "Is this spot real?",
            "Then click on the result: it is compared with both raw recordings",
        )
        self.button.setCheckable(True)
        self.answer = TextLabel()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addWidget(self.answer)
        connect_while_alive(self, [(self.checking.changed, self._show)])
        self.button.toggled.connect(self._switch)
        self.destroyed.connect(self.checking.switch_off)
        self._show()

    def _switch(self, on: bool) -> None:
        self.checking.switch(self._recordings if on else None)

    def _show(self) -> None:
        with signals_blocked(self.button):
            self.button.setChecked(self.checking.on)
        self.answer.setText(self.checking.text)
