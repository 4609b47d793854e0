"""The entries of the Layers menu, triggered in a real napari window."""

import numpy as np
import pytest
from conftest import blobs, noisy

from napari_n2n.widgets.layers.plane_on_screen import PASSING


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


def entries(menu):
    """The entries of a menu and of the menus in it, by their title."""
    menu.aboutToShow.emit()
    for action in menu.actions():
        if action.menu() is not None:
            yield from entries(action.menu())
        else:
            yield action.text(), action


def choose(viewer, title, name):
    """Choose an entry of the Layers menu; return the dock that is then seen."""
    dict(entries(viewer.window.layers_menu))[f"{title} (napari-n2n)"].trigger()
    dock, widget = viewer.window.add_plugin_dock_widget("napari-n2n", name)
    assert not dock.isHidden()
    return widget


@pytest.fixture
def layers(viewer):
    images = [viewer.add_image(noisy(blobs(), seed), name=f"image {seed}") for seed in range(4)]
    viewer.add_points(name="points")
    viewer.layers.selection = {viewer.layers["points"], images[3], images[1]}
    return images


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Denoise with a model ...", "Denoise"),
        ("Learn from two noisy layers ...", "Train"),
        ("Measure the noise of two layers ...", "Noise"),
    ],
)
def test_what_is_selected_is_what_the_dock_shows(viewer, layers, title, name):
    picker = choose(viewer, title, name).picker
    assert (picker.layer_a.value, picker.layer_b.value) == (layers[1], layers[3])
    picker.source.value = "files"
    viewer.layers.selection = {layers[0], layers[2]}
    choose(viewer, title, name)
    assert picker.chosen() == [layers[0], layers[2]]


def test_one_layer_is_enough_to_denoise(viewer, layers):
    picker = choose(viewer, "Denoise with a model ...", "Denoise").picker
    viewer.layers.selection = {layers[2]}
    choose(viewer, "Denoise with a model ...", "Denoise")
    assert picker.chosen() == [layers[2]]


def test_one_layer_becomes_a_and_none_changes_nothing(viewer, layers):
    viewer.layers.selection = {layers[2]}
    picker = choose(viewer, "Learn from two noisy layers ...", "Train").picker
    assert picker.layer_a.value is layers[2]
    viewer.layers.selection = {viewer.layers["points"]}
    choose(viewer, "Learn from two noisy layers ...", "Train")
    assert picker.layer_a.value is layers[2]


def test_more_than_two_layers_are_learned_from_though_a_stack_was_split_before(viewer, layers):
    picker = choose(viewer, "Learn from two noisy layers ...", "Train").picker
    picker.split_instead()
    viewer.layers.selection = {layers[0], layers[1], layers[3]}
    choose(viewer, "Learn from two noisy layers ...", "Train")
    assert picker.chosen() == [layers[0], layers[1], layers[3]]


@pytest.mark.parametrize(
    ("title", "name"),
    [("Split frames into two layers ...", "Split"), ("Simulate noise ...", "Simulate")],
)
def test_the_selected_stack_is_split_and_spoiled(viewer, layers, title, name):
    stack = viewer.add_image(np.zeros((4, 32, 32), np.float32), name="stack")
    viewer.layers.selection = {stack}
    widget = choose(viewer, title, name)
    assert widget.layer.value is stack


def test_a_dock_that_was_closed_comes_back(viewer, layers):
    choose(viewer, "Denoise with a model ...", "Denoise")
    dock, _ = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    dock.close()
    viewer.layers.selection = {layers[0]}
    again = choose(viewer, "Denoise with a model ...", "Denoise")
    assert again.picker.layer_a.value is layers[0]


def test_a_running_dock_keeps_its_layers(viewer, layers):
    picker = choose(viewer, "Learn from two noisy layers ...", "Train").picker
    picker.setEnabled(False)
    viewer.layers.selection = {layers[0]}
    choose(viewer, "Learn from two noisy layers ...", "Train")
    assert picker.layer_a.value is layers[1]


def test_a_preview_is_nothing_to_compute_with(viewer, layers):
    passing = viewer.add_image(noisy(blobs(), 9), name="preview", metadata={PASSING: True})
    viewer.layers.selection = {passing, layers[2]}
    picker = choose(viewer, "Denoise with a model ...", "Denoise").picker
    assert picker.chosen() == [layers[2]]
    more = choose(viewer, "Learn from two noisy layers ...", "Train").picker.more_recordings
    more.menu.aboutToShow.emit()
    offered = [action.text() for action in more.menu.actions()]
    assert layers[0].name in offered and passing.name not in offered
