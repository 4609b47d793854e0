"""Compare the place of a result that the user clicks with the raw recordings."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np
from napari.layers import Image
from psygnal import Signal

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.quality.spot_check import SpotCheck
from napari_n2n.quality.spot_evidence import SpotEvidence
from napari_n2n.widgets.background import LatestOnly
from napari_n2n.widgets.dock import in_field_names
from napari_n2n.widgets.layers.plane_on_screen import is_temporary
from napari_n2n.widgets.layers.result_layer import channel_of, is_error_map, is_result

# Distance on the screen, in pixels, up to which the mouse may move during a click.
_STILL = 3.0


@dataclass(frozen=True, eq=False)
class Subject:
    """A result, its error map, and its recordings.

    Attributes
    ----------
    result, error
        Their layers; None without an error map.
    recordings
        Layers or paths, the first one has the intensity scale of the result.
    axes
        Letters of the dimensions of the recordings; None: as labelled.
    """

    result: Image
    error: Image | None
    recordings: tuple[Any, ...]
    axes: str | None

    @property
    def key(self) -> tuple[Any, ...]:
        """The inputs that determine the measured noise, as a key of the cache."""
        images = self.result, self.error, *self.recordings
        return self.axes, *(id(_pixels(one)) if isinstance(one, Image) else one for one in images)

    def opened(self) -> SpotCheck:
        """Open the images, and measure the noise."""
        result, error = (
            None if one is None else Acquisition.open(one, axes=self._letters(one))
            for one in (self.result, self.error)
        )
        recordings = [Acquisition.open(one, axes=self.axes) for one in self.recordings]
        if (channel := channel_of(self.result)) is not None:
            recordings = [one.at("C", channel) for one in recordings]
        return SpotCheck.open(result, *recordings, error=error)

    def _letters(self, layer: Image) -> str | None:
        axes = self.axes
        if axes and channel_of(layer) is not None:
            axes = axes.upper().replace("C", "")
        return axes if axes and len(axes) == layer.ndim else None


class SpotChecking:
    """Checks the clicked place of a result while it is switched on.

    Parameters
    ----------
    viewer
        The viewer with the result.

    Attributes
    ----------
    changed
        Emitted when `on` or `text` has changed.
    on
        Whether clicks are answered.
    text
        One line: the figures and the verdict, or why there is none.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        self._viewer = ref(viewer)
        self._recordings: Callable[[], tuple[list[Any], str | None]] | None = None
        self._requests = LatestOnly(viewer)
        self._known: tuple[tuple[Any, ...], SpotCheck] | None = None
        self.text = ""

    @property
    def on(self) -> bool:
        """Whether clicks are answered."""
        return self._recordings is not None

    def switch(self, recordings: Callable[[], tuple[list[Any], str | None]] | None) -> None:
        """Switch the answers to clicks on, or off if `recordings` is None.

        Parameters
        ----------
        recordings
            Returns the recordings of the result, and the letters of their dimensions; raises
            `BadInput` if they are not chosen.
        """
        viewer, before = self._viewer(), self.on
        self._recordings = recordings
        if viewer is not None and self.on != before:
            callbacks = viewer.mouse_drag_callbacks
            if self.on:
                callbacks.append(self._pressed)
            elif self._pressed in callbacks:
                callbacks.remove(self._pressed)
        if not self.on:
            self._requests.cancel()
            self._known = None
        self._say(_HINT if self.on else "")

    def switch_off(self, _dock: Any = None) -> None:
        """Switch the answers to clicks off."""
        if self.on:
            self.switch(None)

    def _pressed(self, _viewer: Any, event: Any) -> Iterator[None]:
        """Answer a click; a drag moves the image."""
        position, began = tuple(event.position), tuple(event.pos)
        yield
        while event.type == "mouse_move":
            if np.linalg.norm(np.subtract(event.pos, began)) > _STILL:
                return
            yield
        self.check(position)

    def check(self, position: tuple[float, ...]) -> None:
        """Check the place at world coordinates, in the background."""
        try:
            subject = self._subject()
            place = _place(subject.result, position)
        except BadInput as error:
            self._say(in_field_names(error))
            return
        self._say("Comparing with the recordings ...")
        self._requests.run(
            lambda: self._evidence(subject, place),
            "napari-n2n: checking a spot",
            on_return=lambda evidence: self._say(evidence.line()),
            on_failure=self._say,
        )

    def _evidence(self, subject: Subject, place: list[int]) -> Generator[None, None, SpotEvidence]:
        yield
        key = subject.key
        if self._known is None or self._known[0] != key:
            self._known = key, subject.opened()
        check = self._known[1]
        return check.at(*(place[dimension] for dimension in check.result.order))

    def _subject(self) -> Subject:
        viewer = self._viewer()
        assert viewer is not None and self._recordings is not None
        recordings, axes = self._recordings()
        if len(recordings) < 2:
            raise BadInput(_ONE_RECORDING, "single")
        images = [
            one
            for one in reversed(viewer.layers)
            if isinstance(one, Image) and not is_temporary(one)
        ]
        results = [
            one
            for one in images
            if not is_error_map(one) and one not in recordings and one.name[-12:] != "(unfinished)"
        ]
        active = viewer.layers.selection.active
        chosen = [one for one in results if one == active]
        chosen += [one for one in results if is_result(one) and one.visible]
        if not chosen:
            raise BadInput(_NO_RESULT, "not_chosen")
        maps = [
            one
            for one in images
            if is_error_map(one)
            and _shape(one) == _shape(chosen[0])
            and channel_of(one) == channel_of(chosen[0])
        ]
        return Subject(chosen[0], next(iter(maps), None), tuple(recordings), axes)

    def _say(self, text: str) -> None:
        self.text = text
        self.changed.emit()


def _pixels(layer: Image) -> Any:
    """Return the array of a layer in full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def _shape(layer: Image) -> tuple[int, ...]:
    return tuple(_pixels(layer).shape)


def _place(layer: Image, position: tuple[float, ...]) -> list[int]:
    """Return the pixel of a layer at world coordinates, along each of its dimensions."""
    index = [round(float(at)) for at in layer.world_to_data(position)]
    if not all(0 <= at < length for at, length in zip(index, _shape(layer), strict=True)):
        raise BadInput(f"{layer.name}: not at this place: click on the image", "option")
    return index


_HINT = "Click on a spot of the denoised image."
_ONE_RECORDING = "Spots are compared with two recordings of the scene: choose the second one, B"
_NO_RESULT = "No denoised image is shown: denoise the recordings, or select the layer of a result"
