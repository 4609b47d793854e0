"""The preview of the plane on screen in the Denoise dock, in a real napari window."""

import dask.array as da
import numpy as np
import pytest
from conftest import blobs, noisy
from qtpy.compat import isalive

import napari_n2n as n2n
from napari_n2n.model.network import CompactUNet

STACK = np.stack([noisy(blobs((64, 64), seed), seed) for seed in range(3)])


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def widget(viewer, denoiser, tmp_path):
    viewer.add_image(da.from_array(STACK), name="cells", axis_labels=("t", "y", "x"))
    _, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    widget.model.choose(denoiser.save(tmp_path / "model"))
    widget.device.value = "cpu"
    return widget


def shows(viewer, pixels, name="cells preview"):
    """Return a check that the preview shows these pixels."""

    def check():
        assert name in [layer.name for layer in viewer.layers]
        np.testing.assert_allclose(np.squeeze(viewer.layers[name].data), pixels, rtol=1e-4)

    return check


def clean(denoiser, frame):
    return n2n.denoise(denoiser, STACK[frame], device="cpu")


def test_the_preview_equals_the_result_of_the_run(viewer, widget, denoiser, qtbot):
    assert not widget.preview.isChecked() and not widget.split.isEnabled()
    viewer.dims.set_current_step(0, 0)
    widget.preview.click()
    qtbot.waitUntil(shows(viewer, clean(denoiser, 0)), timeout=30_000)
    viewer.dims.set_current_step(0, 2)
    qtbot.waitUntil(shows(viewer, clean(denoiser, 2)), timeout=30_000)
    widget.split.click()
    divided = "cells raw | denoised"
    qtbot.waitUntil(lambda: divided in [layer.name for layer in viewer.layers], timeout=30_000)
    widget.preview.click()
    assert [layer.name for layer in viewer.layers] == ["cells"]


def test_the_preview_is_removed_when_the_run_begins(viewer, widget, denoiser, qtbot):
    viewer.dims.set_current_step(0, 1)
    widget.preview.click()
    qtbot.waitUntil(shows(viewer, clean(denoiser, 1)), timeout=30_000)
    widget.button.click()
    assert [layer.name for layer in viewer.layers] == ["cells"] and not widget.preview.isChecked()
    qtbot.waitUntil(widget.button.isEnabled, timeout=30_000)
    np.testing.assert_allclose(viewer.layers[-1].data[1], clean(denoiser, 1), rtol=1e-4)


def test_another_recording_is_previewed_when_it_is_chosen(viewer, widget, denoiser, qtbot):
    viewer.dims.set_current_step(0, 1)
    widget.preview.click()
    qtbot.waitUntil(shows(viewer, clean(denoiser, 1)), timeout=30_000)
    other = viewer.add_image(STACK[2], name="other")
    widget.picker.layer_a.value = other
    qtbot.waitUntil(shows(viewer, clean(denoiser, 2), "other preview"), timeout=30_000)
    assert "cells preview" not in [layer.name for layer in viewer.layers]
    viewer.layers.remove("other preview")
    assert not widget.preview.isChecked()


def test_new_pixels_in_the_layer_are_previewed(viewer, widget, denoiser, qtbot):
    viewer.dims.set_current_step(0, 1)
    widget.preview.click()
    qtbot.waitUntil(shows(viewer, clean(denoiser, 1)), timeout=30_000)
    viewer.layers["cells"].data = STACK[::-1].copy()
    viewer.dims.set_current_step(0, 0)
    qtbot.waitUntil(shows(viewer, clean(denoiser, 2)), timeout=30_000)


def test_two_recordings_are_previewed_as_their_average(viewer, widget, denoiser, qtbot):
    again = np.stack([noisy(blobs((64, 64), seed), seed + 9) for seed in range(3)])
    other = viewer.add_image(again, name="other", axis_labels=("t", "y", "x"))
    viewer.dims.set_current_step(0, 1)
    widget.picker.layer_b.value = other
    widget.preview.click()
    both = n2n.denoise(denoiser, STACK, again, axes="TYX", device="cpu")
    qtbot.waitUntil(shows(viewer, both[1]), timeout=30_000)


def test_closing_the_dock_removes_its_preview(viewer, widget, denoiser, qtbot):
    viewer.dims.set_current_step(0, 1)
    widget.preview.click()
    qtbot.waitUntil(shows(viewer, clean(denoiser, 1)), timeout=30_000)
    viewer.window.remove_dock_widget(widget.parent())
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers] == ["cells"], timeout=5_000)
    assert not isalive(widget)


def test_after_wrong_axes_are_corrected_the_preview_continues(viewer, widget, denoiser, qtbot):
    viewer.dims.set_current_step(0, 1)
    widget.preview.click()
    qtbot.waitUntil(shows(viewer, clean(denoiser, 1)), timeout=30_000)
    widget.axes.value = "T"
    qtbot.waitUntil(lambda: "not those of axes" in widget.status.text(), timeout=30_000)
    assert widget.preview.isChecked()
    widget.axes.value = "TYX"
    qtbot.waitUntil(shows(viewer, clean(denoiser, 1)), timeout=30_000)


def test_a_preview_that_fails_is_explained(viewer, widget, qtbot, monkeypatch):
    def full(self, image):
        raise MemoryError

    monkeypatch.setattr(CompactUNet, "forward", full)
    widget.preview.click()
    qtbot.waitUntil(lambda: "set a smaller Memory" in widget.status.text(), timeout=30_000)
    assert not widget.preview.isChecked() and len(viewer.layers) == 1
    assert widget.button.isEnabled()


def test_without_a_model_nothing_is_previewed(viewer, qtbot):
    viewer.add_image(STACK, name="cells", axis_labels=("t", "y", "x"))
    _, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    widget.preview.click()
    qtbot.wait(300)
    assert len(viewer.layers) == 1 and not widget.split.isEnabled()
