"""The entries of the Layers menu, triggered in a real napari window."""

import numpy as np
import pytest
import tifffile
from conftest import blobs, noisy
from napari.layers._layer_actions import _split_stack

from napari_n2n.widgets.layers.plane_on_screen import TEMPORARY


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


def entries(menu):
    """The entries of a menu and its submenus, by title."""
    menu.aboutToShow.emit()
    for action in menu.actions():
        if action.menu() is not None:
            yield from entries(action.menu())
        else:
            yield action.text(), action


def choose(viewer, title, name):
    """Choose an entry of the Layers menu; return the dock that it opens."""
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
        ("Train on two noisy layers ...", "Train"),
        ("Measure the noise of two layers ...", "Noise"),
    ],
)
def test_the_dock_opens_with_the_selected_layers(viewer, layers, title, name):
    picker = choose(viewer, title, name).picker
    assert (picker.layer_a.value, picker.layer_b.value) == (layers[1], layers[3])
    picker.source.value = "files"
    viewer.layers.selection = {layers[0], layers[2]}
    choose(viewer, title, name)
    assert picker.chosen() == [layers[0], layers[2]]


def test_one_layer_can_be_denoised(viewer, layers):
    picker = choose(viewer, "Denoise with a model ...", "Denoise").picker
    viewer.layers.selection = {layers[2]}
    choose(viewer, "Denoise with a model ...", "Denoise")
    assert picker.chosen() == [layers[2]]


def test_one_selected_layer_becomes_a_and_none_changes_nothing(viewer, layers):
    viewer.layers.selection = {layers[2]}
    picker = choose(viewer, "Train on two noisy layers ...", "Train").picker
    assert picker.layer_a.value is layers[2]
    viewer.layers.selection = {viewer.layers["points"]}
    choose(viewer, "Train on two noisy layers ...", "Train")
    assert picker.layer_a.value is layers[2]


@pytest.mark.parametrize(
    ("name", "selected"), [("Train", (1, 3)), ("Noise", (1, 3)), ("Denoise", (2,))]
)
def test_a_dock_from_the_plugins_menu_offers_the_selected_layers_too(
    viewer, layers, name, selected
):
    chosen = [layers[number] for number in selected]
    viewer.layers.selection = set(chosen)
    _, widget = viewer.window.add_plugin_dock_widget("napari-n2n", name)
    assert widget.picker.chosen() == chosen


def test_a_selected_layer_is_not_both_a_and_b(viewer, layers):
    viewer.layers.selection = {layers[1]}
    picker = choose(viewer, "Train on two noisy layers ...", "Train").picker
    assert picker.chosen() == [layers[1], layers[0]]


def test_channels_of_one_file_are_not_offered_as_a_pair(viewer, tmp_path):
    _, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    for number in range(2):
        path = tmp_path / f"cells {number}.tif"
        tifffile.imwrite(path, np.stack([noisy(blobs(), (number, k)) for k in range(2)]))
        viewer.open(path, channel_axis=0)
        if number == 0:
            assert widget.layer_a.value is viewer.layers[0] and widget.layer_b.value is None
            widget.train()
            assert "Choose a second recording" in widget.status.text()
    assert widget.picker.chosen() == [viewer.layers[0], viewer.layers[2]]


def test_channels_that_napari_split_are_not_offered_as_a_pair(viewer):
    viewer.add_image(np.stack([noisy(blobs(), seed) for seed in range(2)]), name="stack")
    _split_stack(viewer.layers)
    assert len(viewer.layers) == 2
    _, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Noise")
    assert widget.picker.layer_a.value is viewer.layers[0]
    assert widget.picker.layer_b.value is None


def test_more_than_two_layers_replace_a_stack_that_was_split(viewer, layers):
    picker = choose(viewer, "Train on two noisy layers ...", "Train").picker
    picker.split_instead()
    viewer.layers.selection = {layers[0], layers[1], layers[3]}
    choose(viewer, "Train on two noisy layers ...", "Train")
    assert picker.chosen() == [layers[0], layers[1], layers[3]]


@pytest.mark.parametrize(
    ("title", "name"),
    [("Split frames into two layers ...", "Split"), ("Simulate noise ...", "Simulate")],
)
def test_split_and_simulate_open_with_the_selected_stack(viewer, layers, title, name):
    stack = viewer.add_image(np.zeros((4, 32, 32), np.float32), name="stack")
    viewer.layers.selection = {stack}
    widget = choose(viewer, title, name)
    assert widget.layer.value is stack


def test_a_closed_dock_is_opened_again(viewer, layers):
    choose(viewer, "Denoise with a model ...", "Denoise")
    dock, _ = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    dock.close()
    viewer.layers.selection = {layers[0]}
    again = choose(viewer, "Denoise with a model ...", "Denoise")
    assert again.picker.layer_a.value is layers[0]


def test_during_a_run_the_layers_stay(viewer, layers):
    picker = choose(viewer, "Train on two noisy layers ...", "Train").picker
    picker.setEnabled(False)
    viewer.layers.selection = {layers[0]}
    choose(viewer, "Train on two noisy layers ...", "Train")
    assert picker.layer_a.value is layers[1]


def test_a_preview_is_not_offered_as_input(viewer, layers):
    preview = viewer.add_image(noisy(blobs(), 9), name="preview", metadata={TEMPORARY: True})
    viewer.layers.selection = {preview, layers[2]}
    picker = choose(viewer, "Denoise with a model ...", "Denoise").picker
    assert picker.chosen() == [layers[2]]
    more = choose(viewer, "Train on two noisy layers ...", "Train").picker.more_recordings
    more.menu.aboutToShow.emit()
    offered = [action.text() for action in more.menu.actions()]
    assert layers[0].name in offered and preview.name not in offered
