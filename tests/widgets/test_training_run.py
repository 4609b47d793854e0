"""A training run in a real napari window: preview, split view, pause, discard."""

import threading
import time

import dask.array as da
import numpy as np
import pytest
import torch
from conftest import blobs, noisy
from napari._qt import qt_main_window
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDialog, QMessageBox

from napari_n2n import Acquisition
from napari_n2n.denoising.preview import Preview
from napari_n2n.model.network import CompactUNet
from napari_n2n.widgets.layers.growing_layer import GrowingLayer
from napari_n2n.widgets.sessions import training_job
from napari_n2n.widgets.sessions.session import session_of
from napari_n2n.widgets.sessions.training_session import TrainingSession

PREVIEW = "first preview"
RAW = "first raw | denoised"


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


def add_pair(viewer, shape=(64, 64), wrap=np.asarray, **more):
    scene = blobs(shape)
    for name, seed in (("first", 1), ("second", 2)):
        placed = {"scale": (0.5,) * len(shape), "translate": (3,) * len(shape), "units": "um"}
        viewer.add_image(wrap(noisy(scene, seed)), name=name, **placed | more)
    return viewer.layers["first"]


def open_dock(viewer):
    """Open the dock with the settings of a long run of short steps."""
    dock, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    widget.minutes.value, widget.device.value = 60, "cpu"
    widget.form.patch.value, widget.form.batch.value = 32, 2
    return dock, widget


def begin(viewer):
    """Open the dock and start a long run."""
    _, widget = open_dock(viewer)
    widget.train()
    return widget


def run(viewer, qtbot):
    """Open the dock, and wait for a short run to end."""
    _, widget = open_dock(viewer)
    widget.form.steps.value = 3
    widget.train()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
    return widget


def is_there(viewer, name):
    return lambda: name in [layer.name for layer in viewer.layers]


def wait_for_preview(viewer, qtbot):
    qtbot.waitUntil(is_there(viewer, PREVIEW), timeout=60_000)
    return viewer.layers[PREVIEW]


def end(widget, qtbot):
    widget.session.discard()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=30_000)


def states(viewer):
    return [repr(layer.as_layer_data_tuple()[1]) for layer in viewer.layers]


# -- the preview ----------------------------------------------------------------------------------


def test_the_preview_has_the_transforms_of_its_source_and_improves(viewer, qtbot):
    source = add_pair(viewer, rotate=20, contrast_limits=(90, 500))
    widget = begin(viewer)
    layer = wait_for_preview(viewer, qtbot)
    for name in ("scale", "translate", "rotate", "units", "contrast_limits"):
        np.testing.assert_array_equal(getattr(layer, name), getattr(source, name))
    assert viewer.layers[-1] == layer and viewer.layers.selection.active == viewer.layers["second"]
    clean, before = blobs((64, 64)), layer.data

    def better():
        raw, now = (np.mean((plane - clean) ** 2) for plane in (source.data, layer.data))
        assert now < 0.7 * raw and not np.array_equal(layer.data, before)

    qtbot.waitUntil(better, timeout=60_000)
    source.contrast_limits = (80, 300)
    assert tuple(layer.contrast_limits) == (80, 300)
    widget.stop_button.click()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=30_000)
    assert not is_there(viewer, PREVIEW)() and len(viewer.layers) == 3


@pytest.mark.parametrize("paused", [False, True], ids=["training", "paused"])
def test_the_preview_follows_the_slider(viewer, qtbot, paused):
    source = add_pair(viewer, (4, 64, 64), da.from_array)
    viewer.dims.set_current_step(0, 1)
    widget = begin(viewer)
    layer = wait_for_preview(viewer, qtbot)
    assert layer.data.shape == (1, 64, 64)
    assert layer.translate[0] == source.data_to_world((1, 0, 0))[0]
    if paused:
        widget.run_panel.pause_button.click()
        qtbot.wait(300)
    viewer.dims.set_current_step(0, 3)
    there = source.data_to_world((3, 0, 0))[0]
    qtbot.waitUntil(lambda: layer.translate[0] == there, timeout=30_000)
    raw = np.asarray(source.data[3])
    assert abs(np.mean(layer.data - raw)) < 20
    end(widget, qtbot)


@pytest.mark.parametrize(
    ("axis", "dims", "count"), [("c", 2, 3), ("z", 3, 8)], ids=["channels", "volumes"]
)
def test_the_preview_shows_the_channel_or_the_depth_on_screen(viewer, qtbot, axis, dims, count):
    source = add_pair(viewer, (count, 64, 64), axis_labels=(axis, "y", "x"))
    viewer.dims.set_current_step(0, 1)
    _, widget = open_dock(viewer)
    widget.form.dims.value = dims
    widget.train()
    layer = wait_for_preview(viewer, qtbot)
    for plane in (1, count - 1):
        viewer.dims.set_current_step(0, plane)
        there = source.data_to_world((plane, 0, 0))[0]
        qtbot.waitUntil(lambda there=there: layer.translate[0] == there, timeout=60_000)
        assert layer.data.shape == (1, 64, 64) and np.isfinite(layer.data).all()
    end(widget, qtbot)


def test_of_a_large_plane_the_part_on_screen_is_previewed(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    levels = [noisy(blobs((side, side)), 1) for side in (1200, 600)]
    other = [noisy(blobs((side, side)), 2) for side in (1200, 600)]
    viewer.add_image(levels, name="first", multiscale=True, scale=(0.5, 0.5))
    viewer.add_image(other, name="second", multiscale=True, scale=(0.5, 0.5))
    viewer.scene.camera.center, viewer.scene.camera.zoom = (0, 100, 500), 8
    widget = begin(viewer)
    layer = wait_for_preview(viewer, qtbot)

    def in_view():
        rows, columns = (side * 0.5 for side in layer.data.shape)
        assert abs(layer.translate[0] + rows / 2 - 100) < 20
        assert abs(layer.translate[1] + columns / 2 - 500) < 20

    qtbot.waitUntil(in_view, timeout=60_000)
    viewer.scene.camera.center = (0, 400, 100)
    qtbot.waitUntil(lambda: layer.translate[0] > 250 and layer.translate[1] < 100, timeout=60_000)
    end(widget, qtbot)


def test_of_files_the_middle_plane_is_previewed(viewer, qtbot, tmp_path):
    _, widget = open_dock(viewer)
    widget.source.value = "files"
    scene = blobs((5, 64, 64))
    for edit, seed in ((widget.file_a, 1), (widget.file_b, 2)):
        np.save(tmp_path / f"{seed}.npy", noisy(scene, seed))
        edit.value = tmp_path / f"{seed}.npy"
    widget.train()
    qtbot.waitUntil(is_there(viewer, "1 preview"), timeout=60_000)
    layer = viewer.layers["1 preview"]
    assert layer.data.shape == (1, 64, 64) and layer.translate[0] == 2
    assert widget.layer_a.choices == (), "a preview is not offered for training"
    end(widget, qtbot)
    assert len(viewer.layers) == 0


def test_the_preview_can_be_switched_off_and_on_or_removed(viewer, qtbot):
    add_pair(viewer)
    widget = begin(viewer)
    wait_for_preview(viewer, qtbot)
    widget.run_panel.preview.click()
    assert not is_there(viewer, PREVIEW)()
    widget.run_panel.preview.click()
    wait_for_preview(viewer, qtbot)
    viewer.layers.remove(PREVIEW)
    assert not widget.run_panel.preview.isChecked()
    steps = len(widget.session.curve)
    qtbot.waitUntil(lambda: len(widget.session.curve) > steps + 3, timeout=30_000)
    assert not is_there(viewer, PREVIEW)()
    end(widget, qtbot)


def test_a_plane_that_cannot_be_shown_does_not_end_the_run(viewer, qtbot, monkeypatch):
    denoise = Preview.denoise

    def refuse(self, denoiser, region):
        if region[0].start == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return denoise(self, denoiser, region)

    monkeypatch.setattr(Preview, "denoise", refuse)
    add_pair(viewer, (2, 64, 64))
    viewer.dims.set_current_step(0, 0)
    widget = begin(viewer)
    wait_for_preview(viewer, qtbot)
    said = []
    widget.session.message_changed.connect(said.append)
    viewer.dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: any("No preview of this plane" in one for one in said), timeout=30_000)
    steps = len(widget.session.curve)
    qtbot.waitUntil(lambda: len(widget.session.curve) > steps, timeout=30_000)
    end(widget, qtbot)


# -- the divider ----------------------------------------------------------------------------------


def test_the_divider_shows_raw_on_its_left_and_leaves_nothing_behind(viewer, qtbot):
    source = add_pair(viewer, (3, 64, 80), contrast_limits=(90, 500))
    before = states(viewer)
    widget = begin(viewer)
    panel = widget.run_panel
    preview = wait_for_preview(viewer, qtbot)
    panel.split.click()
    raw = viewer.layers[RAW]
    assert viewer.layers[-1] == raw and raw.bounding_box.visible
    plane = viewer.dims.current_step[0]
    np.testing.assert_array_equal(raw.data, source.data[plane : plane + 1, :, :40])
    np.testing.assert_array_equal(raw.translate, preview.translate)
    panel.divider.setFocus()
    QTest.keyClick(panel.divider, Qt.Key.Key_PageDown)
    assert raw.data.shape[-1] < 40
    panel.divider.setValue(750)
    np.testing.assert_array_equal(raw.data, source.data[plane : plane + 1, :, :60])
    viewer.dims.set_current_step(0, 0)
    np.testing.assert_array_equal(raw.data, source.data[:1, :, :60])
    panel.split.click()
    assert not is_there(viewer, RAW)() and not panel.divider.isVisible()
    end(widget, qtbot)
    assert states(viewer) == before
    assert viewer.scene.camera.mouse_pan and not panel.split.isEnabled()


def test_the_divider_is_dragged_on_the_canvas_and_stays_for_the_result(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    add_pair(viewer)
    widget = begin(viewer)
    wait_for_preview(viewer, qtbot)
    widget.run_panel.split.click()
    raw, canvas = viewer.layers[RAW], viewer.window._qt_viewer.canvas.native
    qtbot.wait(300)
    middle, before = QPoint(canvas.width() // 2, canvas.height() // 2), viewer.scene.camera.center
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
    for step in (20, 40, 60):
        QTest.mouseMove(canvas, middle + QPoint(step, 0))
        qtbot.wait(50)
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(60, 0))
    moved = 60 / viewer.scene.camera.zoom / raw.scale[-1]
    assert raw.data.shape[-1] == pytest.approx(32 + moved, abs=1.5)
    assert viewer.scene.camera.center == before and viewer.scene.camera.mouse_pan
    assert widget.run_panel.divider.value() > 500
    widget.run_panel.stop_button.click()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=30_000)
    assert [layer.name for layer in viewer.layers[-2:]] == ["first + second denoised", RAW]
    viewer.add_image(noisy(blobs((64, 64)), 8), name="another")
    assert viewer.layers[-1].name == "another", "the raw half does not cover other layers"
    viewer.layers.remove("first")
    assert not is_there(viewer, RAW)() and not widget.run_panel.split.isEnabled()


def test_the_divider_does_not_outlive_its_dock(viewer, qtbot):
    add_pair(viewer)
    widget = run(viewer, qtbot)
    widget.run_panel.split.click()
    assert is_there(viewer, RAW)()
    dock, _ = open_dock(viewer)
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: not is_there(viewer, RAW)(), timeout=5_000)


@pytest.mark.parametrize("letter", ["m", "顕", "../µ"])
def test_layers_with_long_names_get_a_result_that_looks_like_them(viewer, qtbot, letter):
    add_pair(viewer, gamma=0.5)
    for layer in viewer.layers:
        layer.name += 140 * letter
    widget = run(viewer, qtbot)
    result = viewer.layers[-1]
    assert len(viewer.layers) == 3 and "kept" not in widget.session.message
    assert result.name.endswith("denoised") and result.gamma == 0.5
    assert np.isfinite(result.data[:]).all()


def test_a_layer_deleted_during_the_run_leaves_an_empty_choice(viewer, qtbot):
    add_pair(viewer)
    widget = begin(viewer)
    wait_for_preview(viewer, qtbot)
    viewer.layers.remove("first")
    widget.stop_button.click()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=30_000)
    assert widget.layer_a.value is None and widget.layer_b.value == viewer.layers["second"]
    assert "A: the layer 'first' was deleted" in widget.loss_words.text()
    assert "ADU" not in widget.findings.noise_words.text()


def test_the_divider_never_waits_for_a_slow_disk(viewer, qtbot):
    slow, pause = threading.Event(), 1.5

    def plane(block):
        if slow.is_set():
            time.sleep(pause)
        return block

    def lazy(stack):
        return da.from_array(stack, chunks=(1, *stack.shape[1:])).map_blocks(plane)

    source = add_pair(viewer, (3, 64, 80), lazy)
    widget = begin(viewer)
    wait_for_preview(viewer, qtbot)
    slow.set()
    began = time.monotonic()
    widget.run_panel.split.click()
    assert time.monotonic() - began < pause
    qtbot.waitUntil(is_there(viewer, RAW), timeout=30_000)
    slow.clear()
    viewer.dims.set_current_step(0, 0)
    raw = viewer.layers[RAW]
    expected = np.asarray(source.data[:1, :, :40])
    qtbot.waitUntil(lambda: np.array_equal(raw.data, expected), timeout=30_000)
    end(widget, qtbot)


# -- the run --------------------------------------------------------------------------------------


def test_a_run_can_be_paused_and_resumed(viewer, qtbot):
    add_pair(viewer)
    widget = begin(viewer)
    pause = widget.run_panel.pause_button
    qtbot.waitUntil(pause.isEnabled, timeout=60_000)
    pause.click()
    qtbot.wait(500)
    steps = len(widget.session.curve)
    qtbot.wait(700)
    assert len(widget.session.curve) == steps
    assert pause.text() == "Resume" and "Paused" in widget.status.text()
    pause.click()
    qtbot.waitUntil(lambda: len(widget.session.curve) > steps + 1, timeout=30_000)
    assert pause.text() == "Pause" and "Step" in widget.status.text()
    pause.click()
    widget.stop_button.click()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=30_000)
    assert widget.session.denoiser is not None


def test_discarding_removes_preview_and_result_and_keeps_the_previous_model(
    viewer, qtbot, monkeypatch
):
    add_pair(viewer)
    session_of(viewer, TrainingSession).denoiser = before = object()
    widget = begin(viewer)
    wait_for_preview(viewer, qtbot)
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answers.pop(0))
    widget.run_panel.discard_button.click()
    assert widget.session.running and is_there(viewer, PREVIEW)()
    widget.run_panel.discard_button.click()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=30_000)
    assert [layer.name for layer in viewer.layers] == ["first", "second"]
    assert widget.session.curve == [] and widget.session.denoiser is before
    assert widget.train_button.isEnabled() and "Discarded" in widget.status.text()


def test_if_the_result_cannot_be_written_the_model_is_kept(viewer, qtbot, monkeypatch):
    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(training_job, "denoise_recording", full)
    add_pair(viewer)
    widget = run(viewer, qtbot)
    assert "No space left" in widget.status.text() and "model is kept" in widget.status.text()
    assert widget.session.denoiser is not None
    assert widget.save_button.isEnabled() and widget.train_button.isEnabled()


def test_a_failed_run_keeps_the_previous_model_and_its_recipe(viewer, qtbot, monkeypatch):
    def broken(*_, **__):
        raise MemoryError("out of memory")
        yield

    monkeypatch.setattr(training_job, "fit", broken)
    add_pair(viewer)
    _, widget = open_dock(viewer)
    widget.session.denoiser, widget.session.recipe = before = object(), object()
    widget.train()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
    assert (widget.session.denoiser, widget.session.recipe) == before
    assert "not enough memory" in widget.status.text()


def test_a_reopened_dock_does_not_show_the_error_of_a_run_on_other_layers(viewer, qtbot):
    for name in "ab":
        viewer.add_image(np.eye(64, dtype=bool), name=name)
    dock, widget = open_dock(viewer)
    widget.train_button.click()
    qtbot.waitUntil(lambda: "pixels are bool" in widget.status.text(), timeout=60_000)
    session = widget.session
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: not session.message)
    viewer.layers.clear()
    _, again = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    assert "Choose two noisy" in again.status.text()


def test_if_the_result_cannot_be_shown_the_run_ends(viewer, qtbot, monkeypatch):
    def gone(_):
        raise FileNotFoundError("the result is gone")

    monkeypatch.setattr(GrowingLayer, "finish", gone)
    add_pair(viewer)
    widget = run(viewer, qtbot)
    assert "the result is gone" in widget.status.text() and widget.train_button.isEnabled()


def test_denoising_is_refused_during_training_in_the_same_window(viewer, qtbot, denoiser, tmp_path):
    add_pair(viewer)
    widget = begin(viewer)
    _, other = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    other.model.choose(denoiser.save(tmp_path / "model"))
    other.button.click()
    assert "Another run is in progress" in other.status.text() and not other.session.running
    end(widget, qtbot)


def test_device_and_memory_are_shown_during_a_run(viewer, qtbot):
    add_pair(viewer)
    widget = begin(viewer)
    qtbot.waitUntil(lambda: bool(widget.session.curve), timeout=60_000)
    words = widget.run_panel.resources.text()
    assert words.startswith("On the CPU: ") and "GB of memory in use" in words
    assert 0.1 < float(words.split()[3]) < 100
    end(widget, qtbot)
    assert not widget.run_panel.resources.isVisible()


def test_a_second_run_in_the_same_viewer_is_refused(viewer, qtbot, shown):
    add_pair(viewer)
    widget = begin(viewer)
    qtbot.waitUntil(lambda: bool(widget.session.curve), timeout=60_000)
    steps, recipe = len(widget.session.curve), widget.session.recipe
    widget.train()
    assert shown == [widget.status.text()] and "Another run" in shown[0]
    qtbot.waitUntil(lambda: len(widget.session.curve) > steps, timeout=30_000)
    assert widget.session.recipe is recipe
    end(widget, qtbot)


def test_two_viewers_do_not_disturb_each_other(make_napari_viewer, qtbot):
    viewers = [make_napari_viewer() for _ in range(2)]
    widgets = []
    for viewer in viewers:
        add_pair(viewer)
        widgets.append(begin(viewer))
    for viewer in viewers:
        wait_for_preview(viewer, qtbot)
    end(widgets[0], qtbot)
    assert not is_there(viewers[0], PREVIEW)() and is_there(viewers[1], PREVIEW)()
    steps = len(widgets[1].session.curve)
    qtbot.waitUntil(lambda: len(widgets[1].session.curve) > steps, timeout=30_000)
    end(widgets[1], qtbot)


def test_a_reopened_dock_shows_preview_divider_and_pause(viewer, qtbot):
    add_pair(viewer)
    dock, widget = open_dock(viewer)
    widget.train()
    wait_for_preview(viewer, qtbot)
    widget.run_panel.split.click()
    widget.run_panel.pause_button.click()
    viewer.window.remove_dock_widget(dock)
    _, again = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    assert again.run_panel.split.isChecked() and again.run_panel.pause_button.text() == "Resume"
    assert is_there(viewer, PREVIEW)() and is_there(viewer, RAW)()
    again.run_panel.divider.setValue(250)
    assert viewer.layers[RAW].data.shape[-1] == 16
    end(again, qtbot)
    assert len(viewer.layers) == 2


@pytest.mark.parametrize("paused", [False, True], ids=["training", "paused"])
def test_a_closing_window_ends_the_run(make_napari_viewer, qtbot, paused):
    viewer = make_napari_viewer()
    add_pair(viewer)
    widget = begin(viewer)
    session = widget.session
    wait_for_preview(viewer, qtbot)
    widget.run_panel.split.click()
    if paused:
        widget.run_panel.pause_button.click()
        qtbot.wait(300)
    viewer.close()
    qtbot.waitUntil(lambda: not session.running, timeout=10_000)


class ClosedByHand(QCloseEvent):
    """The event of a window that the user closes."""

    def spontaneous(self):
        return True


def test_a_window_closed_by_the_user_asks_first(make_napari_viewer, qtbot, monkeypatch):
    asked = []

    class Dialog:
        def __init__(self, *_, extra_info, **__):
            asked.append(extra_info)

        def exec_(self):
            return QDialog.Rejected

    monkeypatch.setattr(qt_main_window, "ConfirmCloseDialog", Dialog)
    viewer = make_napari_viewer()
    add_pair(viewer)
    widget = begin(viewer)
    wait_for_preview(viewer, qtbot)
    event, steps = ClosedByHand(), len(widget.session.curve)
    viewer.window._qt_window.closeEvent(event)
    assert len(asked) == 1 and "napari-n2n: training" in asked[0] and not event.isAccepted()
    qtbot.waitUntil(lambda: len(widget.session.curve) > steps, timeout=30_000)
    end(widget, qtbot)


def test_an_error_during_training_leaves_nothing_behind(viewer, qtbot, monkeypatch, shown):
    fail, forward = threading.Event(), CompactUNet.forward

    def full(self, image):
        if fail.is_set():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, image)

    monkeypatch.setattr(CompactUNet, "forward", full)
    add_pair(viewer)
    widget = begin(viewer)
    wait_for_preview(viewer, qtbot)
    widget.run_panel.split.click()
    fail.set()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=30_000)
    qtbot.wait(100)
    assert "not enough memory" in shown[0] and shown[0] == widget.status.text()
    assert [layer.name for layer in viewer.layers] == ["first", "second"]
    assert widget.train_button.isEnabled() and not widget.run_panel.pause_button.isEnabled()
    assert not widget.run_panel.progress.isVisible()


def test_a_model_that_learns_its_error_shows_the_error_map_under_the_result(
    viewer, qtbot, tmp_path
):
    add_pair(viewer)
    _, widget = open_dock(viewer)
    widget.form.error_map.value = "on"
    widget.form.steps.value = 3
    widget.train()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
    names = [layer.name for layer in viewer.layers]
    assert names == ["first", "second", "first + second error", "first + second denoised"], (
        widget.status.text()
    )
    error = viewer.layers["first + second error"]
    assert error.colormap.name == "magma" and (np.asarray(error.data) > 0).all()
    widget.model_actions.image_button.save(tmp_path / "saved.ome.tif")
    saved = tmp_path / "saved.ome.tif"
    qtbot.waitUntil(saved.exists, timeout=30_000)
    shown = np.asarray(viewer.layers["first + second denoised"].data)
    np.testing.assert_array_equal(Acquisition.open(saved).plane(0), shown)
