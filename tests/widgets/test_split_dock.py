"""The Split dock in a real napari window."""

import dask.array as da
import numpy as np
import pytest
import zarr
from conftest import blobs, noisy

from napari_n2n import Pair
from napari_n2n.widgets.forms.layer_menu import suggested_layers

MOVIE = np.stack([noisy(blobs((64, 48)), seed) for seed in range(5)])


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


def open_dock(viewer):
    return viewer.window.add_plugin_dock_widget("napari-n2n", "Split")[1]


def test_even_and_odd_frames_keep_their_position(viewer):
    looks = {"contrast_limits": (90, 500), "colormap": "green", "units": ("s", "um", "um")}
    place = {"scale": (2, 0.5, 0.5), "translate": (1, 3, 3), "rotate": 5, "shear": (0.1, 0, 0)}
    source = viewer.add_image(MOVIE, name="movie", axis_labels=("t", "y", "x"), **looks, **place)
    widget = open_dock(viewer)
    assert widget.axis.value == "T"
    widget.button.click()
    even, odd = viewer.layers["movie even"], viewer.layers["movie odd"]
    for first, layer in enumerate((even, odd)):
        assert isinstance(layer.data, da.Array) and layer.colormap.name == "green"
        np.testing.assert_array_equal(np.asarray(layer.data), MOVIE[first:4:2])
        for frame in range(2):
            there = source.data_to_world((2 * frame + first, 7, 9))
            np.testing.assert_allclose(layer.data_to_world((frame, 7, 9)), there)
        for name in ("units", "contrast_limits", "axis_labels"):
            np.testing.assert_array_equal(getattr(layer, name), getattr(source, name))
    assert len(Pair.open(even, odd).acquisitions) == 2


def test_the_halves_are_offered_for_training_next(viewer):
    viewer.add_image(MOVIE, name="movie")
    open_dock(viewer).button.click()
    assert [layer.name for layer in suggested_layers(viewer, 2)[:2]] == ["movie even", "movie odd"]


def test_lazy_and_multiscale_layers_are_split_without_copying(viewer):
    written = zarr.array(MOVIE)
    layers = {
        "dask": da.from_array(MOVIE),
        "zarr": written,
        "multiscale": [MOVIE, MOVIE[:, ::2, ::2]],
    }
    widget = open_dock(viewer)
    for name, data in layers.items():
        viewer.add_image(data, name=name)
        widget.layer.value = viewer.layers[name]
        assert "first axis (5 frames)" in widget.axis.native.currentText()
        widget.button.click()
        np.testing.assert_array_equal(np.asarray(viewer.layers[f"{name} odd"].data), MOVIE[1:4:2])
    written[1] = 7
    assert (np.asarray(viewer.layers["zarr odd"].data[0]) == 7).all()


def test_any_axis_can_be_split(viewer):
    stack = np.moveaxis(np.stack([MOVIE, MOVIE + 1]), 1, 2)  # Z, Y, T, X
    viewer.add_image(stack, name="movie")
    widget = open_dock(viewer)
    assert "unlabelled" in widget.status.text() and not widget.axis.choices
    widget.axes.value = "zytx"
    assert list(widget.axis.choices) == ["T", "Z"]
    widget.axis.value = "T"
    widget.button.click()
    np.testing.assert_array_equal(np.asarray(viewer.layers["movie odd"].data), stack[:, :, 1:4:2])


def test_a_single_frame_is_refused(viewer, shown):
    widget = open_dock(viewer)
    widget.button.click()
    assert "Open a stack" in shown[-1]
    viewer.add_image(MOVIE[0], name="plane")
    assert "single frame" in widget.status.text()
    widget.button.click()
    assert "single frame" in shown[-1] and len(viewer.layers) == 1
    viewer.add_image(MOVIE, name="movie")
    widget.layer.value = viewer.layers["movie"]
    assert "pair to train on" in widget.status.text()
