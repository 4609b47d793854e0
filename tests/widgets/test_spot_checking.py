"""Clicks on a result that ask whether a spot is real, in a real napari window."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import noisy
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from scipy import ndimage

from napari_n2n.widgets.layers.result_layer import as_result

BACKGROUND = np.full((3, 80, 70), 100.0) + np.arange(70)
SPOT = np.zeros_like(BACKGROUND)
SPOT[2, 30, 40] = 2000
SCENE = BACKGROUND + ndimage.gaussian_filter(SPOT, (0, 1.5, 1.5))
A, B = (noisy(SCENE, seed, 10.0) for seed in (1, 2))
CLEAN = ndimage.gaussian_filter((A + B) / 2, (0, 1, 1))
PLACE = {"scale": (2, 0.5, 0.5), "translate": (1, 3, 3), "axis_labels": ("t", "y", "x")}


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    for name, pixels in (("a", A), ("b", B)):
        viewer.add_image(pixels, name=name, **PLACE)
    return viewer


@pytest.fixture
def dock(viewer):
    _, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    widget.picker.layer_a.value, widget.picker.layer_b.value = (
        viewer.layers["a"],
        viewer.layers["b"],
    )
    return widget


@pytest.fixture
def result(viewer):
    more = as_result({}, error_map=True)
    viewer.add_image(np.full_like(CLEAN, 5), name="error", **PLACE, **more)
    return viewer.add_image(CLEAN, name="clean", **PLACE, **as_result({}))


def click(viewer, position, *, drag=False):
    """Press and release the mouse at world coordinates."""
    model = getattr(viewer, "__wrapped__", viewer)
    events = [("mouse_press", mouse_press_callbacks), ("mouse_release", mouse_release_callbacks)]
    if drag:
        events.insert(1, ("mouse_move", mouse_move_callbacks))
    for moved, (kind, callbacks) in enumerate(events):
        shown = {"pos": (5 + 9 * moved * drag, 5), "is_dragging": drag, "modifiers": ()}
        event = SimpleNamespace(type=kind, position=position, button=1, **shown)
        callbacks(model, ReadOnlyWrapper(event, exceptions=("handled",)))


def says(dock, words):
    return lambda: words in dock.spots.answer.text()


def test_a_click_on_a_result_says_what_both_recordings_show(viewer, dock, result, qtbot):
    click(viewer, result.data_to_world((2, 30, 40)))
    assert dock.spots.answer.text() == ""  # clicks are answered only while the button is down
    dock.spots.button.click()
    assert says(dock, "Click on a spot")()
    click(viewer, result.data_to_world((2, 30, 40)))
    qtbot.waitUntil(says(dock, "Both recordings show it"), timeout=30_000)
    assert says(dock, "T 2, Y 30, X 40")() and says(dock, "expected errors")()
    click(viewer, result.data_to_world((1, 30, 40)))
    qtbot.waitUntil(says(dock, "T 1, Y 30, X 40"), timeout=30_000)
    assert not says(dock, "Both recordings show it")()
    before = dock.spots.answer.text()
    click(viewer, result.data_to_world((2, 30, 40)), drag=True)  # moves the image
    assert dock.spots.answer.text() == before
    click(viewer, result.data_to_world((2, 200, 40)))
    assert says(dock, "click on the image")()
    dock.spots.button.click()
    click(viewer, result.data_to_world((2, 30, 40)))
    assert dock.spots.answer.text() == ""


def test_a_click_that_cannot_be_answered_says_what_is_missing(viewer, dock, qtbot):
    dock.spots.button.click()
    click(viewer, (1, 10, 10))
    assert says(dock, "No denoised image is shown")()
    dock.picker.layer_b.value = None
    click(viewer, (1, 10, 10))
    assert says(dock, "choose the second one, B")()
    model = getattr(viewer, "__wrapped__", viewer)
    asked = len(model.mouse_drag_callbacks)
    viewer.window.remove_dock_widget("all")
    qtbot.waitUntil(lambda: len(model.mouse_drag_callbacks) == asked - 1)
