"""The Denoise dock in a real napari window."""

from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import zarr
from conftest import blobs, drop, noisy, wait_until_ready
from magicgui.backends._qtpy.widgets import QFILE_DIALOG_MODES
from magicgui.types import FileDialogMode

from napari_n2n import Acquisition, denoise
from napari_n2n.denoising.predictor import Predictor
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.error_model import ErrorModel
from napari_n2n.model.network import CompactUNet
from napari_n2n.stats.affine import Affine
from napari_n2n.widgets.sessions.session import session_of
from napari_n2n.widgets.sessions.training_job import Outcome
from napari_n2n.widgets.sessions.training_session import TrainingSession

torch.manual_seed(0)
MODEL = Denoiser((CompactUNet(1, 8, 2),), {"name": "compact", "width": 8}, (Affine(0.01, -1),))
STACK = np.stack([noisy(blobs((48, 40)), seed) for seed in range(4)])
PLACE = {"scale": (2, 0.5, 0.5), "translate": (1, 3, 3), "units": ("s", "um", "um")}
LOOKS = {"axis_labels": ("t", "y", "x"), "contrast_limits": (90, 500), "colormap": "green"}
LOOK = {"contrast_limits": (90, 500), "colormap": "green"}


def expected(*sources, axes="TYX"):
    return denoise(MODEL, *sources, axes=axes, device="cpu")


CLEAN = expected(STACK)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def model(tmp_path):
    return MODEL.save(tmp_path / "model.n2n")


def open_dock(viewer, model=None, out=None):
    dock, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    widget.device.value = "cpu"
    if model is not None:
        widget.model.file.value = model
    if out is not None:
        widget.out.value = out
    return dock, widget


def run(widget, qtbot, button=None):
    (button or widget.button).click()
    assert widget.session.running and not widget.button.isEnabled(), widget.status.text()
    wait_until_ready(qtbot, widget)


def says(widget, words):
    return lambda: words in widget.status.text()


def some_done(widget):
    return lambda: widget.status.text()[0] in "123"


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_result_has_the_position_of_its_source_and_fills(viewer, qtbot, model, parts, tmp_path):
    source = viewer.add_image(STACK, name="cells", rotate=5, **PLACE, **LOOKS)
    out = tmp_path / "clean.ome.zarr"
    _, widget = open_dock(viewer, model, out)
    viewer.dims.set_point(0, 1)
    widget.button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=20_000)
    result = viewer.layers["cells denoised (unfinished)"]
    assert np.isnan(result.data).all() and result.data.shape == STACK.shape
    for name in ("scale", "translate", "rotate", "shear", "units", "contrast_limits"):
        np.testing.assert_array_equal(getattr(result, name), getattr(source, name))
    assert result.colormap.name == "green"
    middle = source.data_to_world((0, 24, 20))
    assert np.isnan(
        result.get_value(middle, world=True)
    )  # transparent: the source is visible below
    parts.release(3)
    qtbot.waitUntil(says(widget, "2 of 4"), timeout=20_000)
    assert widget.progress.isVisibleTo(widget) and widget.progress.value() == 500
    # The screen shows what was written, with and without moving the slider.
    value = pytest.approx(CLEAN[0, 24, 20], rel=1e-5)
    qtbot.waitUntil(lambda: result.get_value(middle, world=True) == value, timeout=5_000)
    viewer.dims.set_point(0, source.data_to_world((1, 24, 20))[0])
    assert np.isfinite(result.data[1]).all() and np.isnan(result.data[3]).all()
    parts.release(10)
    wait_until_ready(qtbot, widget)
    assert result.name == "cells denoised" and isinstance(result.data, zarr.Array)
    np.testing.assert_allclose(np.asarray(result.data), CLEAN, rtol=1e-5)
    assert Path(result.data.store.root) == out and "Saved as" in widget.status.text()


@pytest.mark.usefixtures("fixed_date")
def test_a_cancelled_run_is_resumed_in_another_window_with_the_same_bytes(
    viewer, make_napari_viewer_proxy, qtbot, model, parts, tmp_path
):
    viewer.add_image(STACK, name="cells", **PLACE, **LOOKS)
    out, whole = tmp_path / "clean.ome.zarr", tmp_path / "whole.ome.zarr"
    _, widget = open_dock(viewer, model, out)
    widget.button.click()
    parts.release(3)
    qtbot.waitUntil(says(widget, "2 of 4"), timeout=20_000)
    widget.cancel_button.click()
    parts.release(100)
    wait_until_ready(qtbot, widget)
    assert widget.button.text() == "Resume" and "kept" in widget.status.text()
    assert not out.exists() and len(viewer.layers) == 2
    viewer.close()
    viewer = make_napari_viewer_proxy()
    viewer.add_image(STACK, name="cells", **PLACE, **LOOKS)
    _, widget = open_dock(viewer, model, out)
    assert widget.button.text() == "Resume" and "unfinished" in widget.status.text()
    run(widget, qtbot)
    widget.out.value = whole
    assert widget.button.text() == "Denoise"
    run(widget, qtbot)
    assert files(out) == files(whole) and len(viewer.layers) == 3


def test_an_unnamed_result_can_be_resumed_until_the_choice_changes(viewer, qtbot, model, parts):
    viewer.add_image(STACK, name="cells", **LOOKS)
    _, widget = open_dock(viewer, model)
    widget.button.click()
    parts.release(2)
    qtbot.waitUntil(some_done(widget), timeout=20_000)
    widget.cancel_button.click()
    parts.release(1)
    wait_until_ready(qtbot, widget)
    assert widget.button.text() == "Resume"
    parts.release(3)
    run(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == ["cells", "cells denoised"]
    widget.button.click()
    widget.cancel_button.click()  # before anything is done
    wait_until_ready(qtbot, widget)
    assert widget.button.text() == "Denoise" and len(viewer.layers) == 2
    parts.release(2)
    widget.button.click()
    qtbot.waitUntil(some_done(widget), timeout=20_000)
    widget.cancel_button.click()
    parts.release(1)
    wait_until_ready(qtbot, widget)
    widget.axes.value = "ZYX"
    assert widget.button.text() == "Denoise"


def test_an_existing_output_is_overwritten_only_on_request(viewer, qtbot, model, shown, tmp_path):
    viewer.add_image(STACK, name="cells", **LOOKS)
    out = tmp_path / "clean.tif"
    _, widget = open_dock(viewer, model, out)
    assert not widget.overwrite_button.isVisibleTo(widget)
    out.write_bytes(b"precious")
    widget.button.click()
    assert "exists" in shown[-1] and "Overwrite" in shown[-1] and "--" not in shown[-1]
    assert out.read_bytes() == b"precious" and widget.button.isEnabled()
    widget.out.value = tmp_path / "clean.jpg"
    widget.button.click()
    assert "ending" in shown[-1] and not widget.overwrite_button.isVisibleTo(widget)
    widget.out.value = out
    assert widget.overwrite_button.isVisibleTo(widget) and "exists" in widget.status.text()
    run(widget, qtbot, widget.overwrite_button)
    result = viewer.layers["cells denoised"]
    np.testing.assert_allclose(np.asarray(result.data), CLEAN, rtol=1e-5)


def test_the_result_layer_can_be_removed_while_it_fills(
    viewer, qtbot, model, parts, shown, tmp_path
):
    viewer.add_image(STACK, name="cells", **LOOKS)
    out = tmp_path / "clean.ome.zarr"
    _, widget = open_dock(viewer, model, out)
    widget.button.click()
    parts.release(2)
    qtbot.waitUntil(says(widget, "1 of 4"), timeout=20_000)
    viewer.layers.remove(viewer.layers[-1])
    parts.release(10)
    wait_until_ready(qtbot, widget)
    assert not shown and len(viewer.layers) == 1 and Acquisition.open(out).shape == STACK.shape


def test_lazy_and_multiscale_layers_are_denoised(viewer, qtbot, model):
    layers = {
        "dask": da.from_array(STACK),
        "zarr": zarr.array(STACK),
        "multiscale": [STACK, STACK[:, ::2, ::2]],
    }
    _, widget = open_dock(viewer, model)
    for name, data in layers.items():
        viewer.add_image(data, name=name, **LOOKS)
        widget.picker.layer_a.value = viewer.layers[name]
        run(widget, qtbot)
        result = viewer.layers[f"{name} denoised"]
        np.testing.assert_allclose(np.asarray(result.data), CLEAN, rtol=1e-5)


def test_a_large_result_becomes_multiscale_and_keeps_its_display(
    viewer, qtbot, model, monkeypatch, tmp_path
):
    monkeypatch.setattr("napari_n2n.widgets.layers.growing_layer._LARGE", 300)
    source = viewer.add_image(noisy(blobs((320, 330)), 1), name="field", scale=(0.5, 0.5), **LOOK)
    viewer.add_points(name="on top")
    _, widget = open_dock(viewer, model, tmp_path / "clean.ome.zarr")

    def darken(event):
        if "unfinished" in event.value.name:
            event.value.gamma = 0.7

    viewer.layers.events.inserted.connect(darken)
    run(widget, qtbot)
    assert {layer.name for layer in viewer.layers} == {"field", "on top", "field denoised"}
    result = viewer.layers["field denoised"]
    assert result.multiscale and [level.shape for level in result.data] == [(320, 330), (160, 165)]
    assert result.gamma == 0.7 and result.colormap.name == "green"
    np.testing.assert_array_equal(result.extent.world, source.extent.world)
    expected_values = expected(source.data, axes="YX")
    np.testing.assert_allclose(np.asarray(result.data[0]), expected_values, rtol=1e-5)


def test_a_result_has_the_axis_order_of_its_source(viewer, qtbot, model):
    looks = LOOKS | {"axis_labels": ("y", "x", "t")}
    data, scale = np.moveaxis(STACK, 0, -1), (0.5, 0.5, 2)
    viewer.add_image(data, rgb=False, name="cells", scale=scale, **looks)
    _, widget = open_dock(viewer, model)
    run(widget, qtbot)
    result = viewer.layers["cells denoised"]
    np.testing.assert_array_equal(result.scale, scale)
    clean = np.moveaxis(np.asarray(result.data), -1, 0)
    np.testing.assert_allclose(clean, CLEAN, rtol=1e-5)


def test_files_are_denoised_and_averaged_without_layers(viewer, qtbot, model, tmp_path):
    a, b = (tmp_path / f"{name}.zarr" for name in "ab")
    pixels = [noisy(blobs((64, 64)), seed) for seed in (1, 2)]
    for path, values in zip((a, b), pixels, strict=True):
        zarr.save_array(path, values)
    _, widget = open_dock(viewer, model)
    widget.picker.source.value = "folders"
    assert widget.picker.file_a.mode.name == "EXISTING_DIRECTORY"
    widget.picker.file_a.value = a
    run(widget, qtbot)
    widget.picker.file_b.value = b
    run(widget, qtbot)
    one, both = viewer.layers
    assert (one.name, both.name) == ("a denoised", "a + b denoised")
    assert both.contrast_limits[0] < np.mean(both.data) < both.contrast_limits[1]
    np.testing.assert_allclose(np.asarray(both.data), expected(*pixels, axes="YX"), rtol=1e-5)


def test_a_tiff_becomes_a_layer_when_it_is_complete(viewer, qtbot, model, parts, tmp_path):
    viewer.add_image(STACK[:1], name="cells", **PLACE, **LOOKS)
    _, widget = open_dock(viewer, model, tmp_path / "clean.tif")
    widget.button.click()
    qtbot.waitUntil(says(widget, "0 of 1"), timeout=20_000)
    assert len(viewer.layers) == 1
    parts.release(1)
    wait_until_ready(qtbot, widget)
    result = viewer.layers["cells denoised"]
    assert result.data.shape == (1, 48, 40)
    np.testing.assert_array_equal(result.scale, PLACE["scale"])


def test_a_folder_of_recordings_is_denoised_file_by_file_and_resumed(
    viewer, qtbot, model, parts, shown, tmp_path
):
    raw, clean = tmp_path / "raw", tmp_path / "clean"
    raw.mkdir()
    for number, frame in enumerate(STACK):
        tifffile.imwrite(raw / f"{number}.tif", frame)
    _, widget = open_dock(viewer, model)
    drop(widget, raw)
    assert widget.picker.source.value == "folders"
    widget.button.click()
    assert "Choose a folder for the results" in shown[-1]
    widget.out.value = clean
    widget.button.click()
    parts.release(2)
    qtbot.waitUntil(says(widget, "2.tif, 3 of 4"), timeout=20_000)
    widget.cancel_button.click()
    parts.release()
    wait_until_ready(qtbot, widget)
    assert "Stopped. The finished part is kept" in widget.status.text()
    assert widget.button.text() == "Resume" and not widget.overwrite_button.isHidden()
    parts.release(9)
    run(widget, qtbot)
    assert "Saved as" in widget.status.text() and not len(viewer.layers)
    for number, frame in enumerate(STACK):
        found = tifffile.imread(clean / f"{number}.tif")
        np.testing.assert_allclose(found, expected(frame, axes="YX"), rtol=1e-6)
    widget.picker.changed.emit()
    assert "4 of 4 results exist: choose another" in widget.status.text()
    drop(widget, tmp_path / "raw")
    widget.out.value = raw
    widget.button.click()
    assert "contains the recordings" in shown[-1]


def test_every_problem_is_reported_in_one_line(viewer, qtbot, model, shown, tmp_path):
    _, widget = open_dock(viewer)
    widget.button.click()
    assert "Choose a model" in shown[-1]
    bad = tmp_path / "bad.n2n"
    bad.write_text("no model")
    widget.model.file.value = bad
    assert "bad.n2n" in widget.model.card.text().replace("\u200b", "")
    widget.button.click()
    assert "bad.n2n" in shown[-1] and "damaged" in shown[-1] and "\n" not in shown[-1]
    widget.model.file.value = model
    widget.button.click()
    assert "Open an image" in shown[-1]
    viewer.add_image(STACK[:, None], name="cells")
    run(widget, qtbot)
    assert "axes" in shown[-1] and "as in Axes" in shown[-1] and "--" not in shown[-1]
    assert widget.status.text() == shown[-1] and not widget.cancel_button.isVisibleTo(widget)
    widget.axes.value = "tzyx"
    run(widget, qtbot)
    assert viewer.layers["cells denoised"].data.shape == (4, 1, 48, 40)


def test_a_full_disk_is_reported_and_the_run_can_be_resumed(
    viewer, qtbot, model, shown, monkeypatch, tmp_path
):
    viewer.add_image(STACK, name="cells", **LOOKS)
    compute, calls = Predictor.compute, []

    def full(*given):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return compute(*given)

    monkeypatch.setattr(Predictor, "compute", full)
    _, widget = open_dock(viewer, model, tmp_path / "clean.ome.zarr")
    run(widget, qtbot)
    assert "No space left" in shown[-1] and "free some disk space" in shown[-1]
    assert widget.button.text() == "Resume"
    run(widget, qtbot)
    assert viewer.layers[-1].name == "cells denoised" and len(viewer.layers) == 2


def test_an_output_that_would_replace_the_recording_is_refused(
    viewer, qtbot, model, shown, tmp_path
):
    movie = tmp_path / "movie.ome.zarr"
    denoise(MODEL, STACK, axes="TYX", out=movie, device="cpu")
    before = files(movie)
    (tmp_path / "link").symlink_to(tmp_path)
    _, widget = open_dock(viewer, model)
    drop(widget, movie)
    for out in (movie, tmp_path / "link" / "movie.ome.zarr", movie / "result.ome.zarr"):
        shown.clear()
        widget.out.value = out
        widget.overwrite()
        assert len(shown) == 1 and "the input" in shown[0] and "\n" not in shown[0]
        assert widget.status.text() == shown[0] and not widget.session.running
    assert files(movie) == before


def test_a_recording_and_a_model_that_vanish_during_a_run_are_reported_once(
    viewer, qtbot, model, shown, parts, tmp_path
):
    movie, broken = np.concatenate([STACK, STACK]), [False]  # two frames are read ahead

    def frame(block, block_info=None):
        if broken[0]:
            raise FileNotFoundError(2, "No such file or directory", "movie.zarr/0/2.0.0")
        return block

    lazy = da.from_array(movie, chunks=(1, -1, -1)).map_blocks(frame, dtype=movie.dtype)
    viewer.add_image(lazy, name="cells", **LOOKS)
    _, widget = open_dock(viewer, model, tmp_path / "clean.tif")
    widget.button.click()
    parts.release(2)
    qtbot.waitUntil(some_done(widget), timeout=20_000)
    broken[0] = True
    model.write_bytes(b"another model")
    parts.release(9)
    wait_until_ready(qtbot, widget)
    assert len(shown) == 1 and "\n" not in shown[0] and widget.status.text() == shown[0]
    assert "No such file" in shown[0]
    broken[0] = False
    model.unlink()
    MODEL.save(model)
    widget.model.file.value = model
    run(widget, qtbot)
    assert len(shown) == 1 and "Saved as" in widget.status.text()
    np.testing.assert_allclose(tifffile.imread(tmp_path / "clean.tif")[:4], CLEAN, rtol=1e-6)


def test_the_model_just_trained_is_offered_first_with_its_card(viewer, qtbot, denoiser):
    _, widget = open_dock(viewer)
    assert "train a model" in widget.model.card.text()
    training = session_of(widget.viewer, TrainingSession)
    training.denoiser = denoiser
    training.finished.emit(Outcome(count=1, complete=False, folder=None))
    assert widget.model.which.value == "just trained" and widget.model.chosen() is denoiser
    card = widget.model.card.text()
    for words in ("trained on", "L2 - mean", "ADU", "dB on held-out blocks", "torch 2"):
        assert words in card
    viewer.add_image(100 * blobs((64, 64)), name="bright")
    run(widget, qtbot)
    assert "bright: values from" in widget.warnings.text() and "⚠" in widget.warnings.text()


def test_a_recording_unlike_the_training_is_reported_when_it_is_chosen(
    viewer, qtbot, denoiser, model, tmp_path
):
    viewer.add_image(noisy(blobs(), 3), name="like it")
    viewer.add_image(noisy(blobs(), 3, sigma=2), name="quiet")
    _, widget = open_dock(viewer, denoiser.save(tmp_path / "trained"))
    widget.picker.layer_a.value = viewer.layers["quiet"]
    qtbot.waitUntil(lambda: "quiet: its noise is about" in widget.warnings.text(), timeout=20_000)
    with qtbot.waitSignal(widget.comparing.found, timeout=20_000):
        widget.picker.layer_a.value = viewer.layers["like it"]
    assert widget.warnings.text() == ""
    widget.picker.layer_a.value = viewer.layers["quiet"]
    with qtbot.waitSignal(widget.comparing.found, timeout=20_000):
        widget.model.choose(model)  # without a record of its training
    assert widget.warnings.text() == ""


def test_a_run_continues_while_its_dock_is_closed(viewer, qtbot, model, parts):
    viewer.add_image(STACK, name="cells", **LOOKS)
    dock, widget = open_dock(viewer, model)
    widget.button.click()
    viewer.window.remove_dock_widget(dock)
    _, again = open_dock(viewer)
    assert again.session.running and not again.button.isEnabled()
    parts.release(10)
    wait_until_ready(qtbot, again)
    assert viewer.layers[-1].name == "cells denoised"


def test_closing_the_window_ends_a_run_within_one_shard(make_napari_viewer, qtbot, model, parts):
    viewer = make_napari_viewer()
    viewer.add_image(STACK, name="cells", **LOOKS)
    dock, widget = open_dock(viewer, model)
    session = widget.session
    widget.button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=20_000)
    viewer.window.remove_dock_widget(dock)
    viewer.close()
    parts.release(1)  # the present shard, but no further one
    qtbot.waitUntil(lambda: not session.running, timeout=10_000)


def test_a_run_in_one_window_leaves_another_window_alone(make_napari_viewer, qtbot, model, parts):
    viewers = [make_napari_viewer(), make_napari_viewer()]
    for viewer in viewers:
        viewer.add_image(STACK, name="cells", **LOOKS)
    one, other = (open_dock(viewer, model)[1] for viewer in viewers)
    one.button.click()
    parts.release(2)
    qtbot.waitUntil(some_done(one), timeout=20_000)
    assert other.button.isEnabled() and not other.session.running
    other.button.click()
    other.cancel_button.click()
    parts.release(9)
    for widget in (one, other):
        wait_until_ready(qtbot, widget)
    assert "Done" in one.status.text() and "Stopped" in other.status.text()
    assert viewers[0].layers[-1].name == "cells denoised"


def test_two_windows_do_not_write_to_the_same_output(
    make_napari_viewer, qtbot, model, parts, shown, tmp_path
):
    out = tmp_path / "clean.tif"
    viewers = [make_napari_viewer(), make_napari_viewer()]
    for viewer in viewers:
        viewer.add_image(STACK, name="cells", **LOOKS)
    one, other = (open_dock(viewer, model, out)[1] for viewer in viewers)
    one.button.click()
    parts.release(2)
    qtbot.waitUntil(some_done(one), timeout=20_000)
    other.button.click()
    wait_until_ready(qtbot, other)
    assert len(shown) == 1 and "\n" not in shown[0] and other.status.text() == shown[0]
    assert "another" in shown[0].lower()
    parts.release(9)
    wait_until_ready(qtbot, one)
    assert len(shown) == 1 and "Saved as" in one.status.text()
    np.testing.assert_allclose(tifffile.imread(out), CLEAN, rtol=1e-6)


@pytest.mark.parametrize("asked", ["file_a", "out", "model file", "folder for results"])
def test_files_and_folders_can_be_chosen_in_a_dialog(viewer, model, monkeypatch, tmp_path, asked):
    (tmp_path / "raw").mkdir()
    np.save(tmp_path / "raw" / "a.npy", STACK)
    _, widget = open_dock(viewer)
    widget.picker.source.value = "files"
    if asked == "folder for results":
        drop(widget, tmp_path / "raw")
    row, mode, answer = {
        "file_a": (widget.picker.file_a, "r", tmp_path / "raw" / "a.npy"),
        "out": (widget.out, "w", tmp_path / "clean.ome.zarr"),
        "model file": (widget.model.file, "r", model),
        "folder for results": (widget.out, "d", tmp_path / "clean"),
    }[asked]
    asks = {kind: lambda *_: pytest.fail("asked for something else") for kind in FileDialogMode}
    asks[FileDialogMode(mode)] = lambda *_: str(answer) if mode == "d" else (str(answer), "")
    for kind, ask in asks.items():
        monkeypatch.setitem(QFILE_DIALOG_MODES, kind, ask)
    row.choose_btn.native.click()
    assert row.value == answer


def test_long_names_do_not_widen_the_dock(viewer, qtbot, model):
    name = "a_long_name_that_microscope_made_up_for_its_recording_number_1234"
    viewer.add_image(STACK, name=name, **LOOKS)
    _, widget = open_dock(viewer, model, Path("/") / name / name / f"{name}.jpg")
    widget.button.click()
    assert name in widget.status.text() and widget.widget().minimumSizeHint().width() <= 290
    picker = widget.picker
    fields = (picker.layer_a, picker.layer_b, picker.file_a, picker.file_b, widget.axes, widget.out)
    assert all(field.tooltip for field in fields)


def test_a_model_and_a_recording_can_be_dropped_on_the_dock(viewer, model, tmp_path):
    widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")[1]
    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", STACK)
        drop(widget, model, tmp_path / f"{name}.npy")
    assert widget.model.file.value == model
    assert widget.picker.chosen() == [tmp_path / "two.npy"]


def test_a_model_that_knows_its_error_also_makes_an_error_map(viewer, qtbot, model, tmp_path):
    source = viewer.add_image(STACK, name="cells", **PLACE, **LOOKS)
    _, widget = open_dock(viewer, model)
    rows = widget.picker.rows
    assert not rows.isRowVisible(widget.quantity.native)
    weights = (0.1, 0.0, 0.2)
    error = ErrorModel(
        levels=(0, 500), variances=(400, 400), whole=weights, shared=weights, psnr=30, psnr_se=1
    )
    knows = replace(MODEL, record=MODEL.record.model_copy(update={"error": [error]}))
    widget.model.file.value = knows.save(tmp_path / "knows.n2n")
    assert rows.isRowVisible(widget.quantity.native)
    assert "30.00 ± 1.00 dB" in widget.model.card.text()
    widget.quantity.value = "error"
    run(widget, qtbot)
    layer = viewer.layers["cells error"]
    shown = denoise(knows, STACK, axes="TYX", device="cpu", quantity="error")
    np.testing.assert_allclose(np.asarray(layer.data), shown, rtol=1e-4)
    assert (layer.scale == source.scale).all() and layer.contrast_limits[0] == 0
    widget.model.file.value = model
    assert widget.quantity.value == "result"


def test_the_result_is_saved_as_a_file_with_the_button(viewer, qtbot, model, tmp_path, shown):
    source = viewer.add_image(STACK, name="movie", **PLACE, **LOOKS)
    _, widget = open_dock(viewer, model)
    saving = widget.image_button
    assert not saving.isEnabled()
    widget.button.click()
    qtbot.waitUntil(saving.isEnabled, timeout=60_000)
    saving.save(tmp_path / "clean.ome.tif")
    qtbot.waitUntil(lambda: (tmp_path / "clean.ome.tif").exists(), timeout=30_000)
    saved = Acquisition.open(tmp_path / "clean.ome.tif")
    np.testing.assert_allclose(saved.data.compute(), CLEAN, rtol=1e-5)
    assert saved.header.steps["X"] == (0.5, "micrometer") and not shown
    viewer.layers.remove(source)


def test_the_axes_are_asked_for_only_if_the_recording_does_not_name_them(viewer, qtbot, model):
    viewer.add_image(STACK, name="labelled", **LOOKS)
    _, widget = open_dock(viewer, model)
    qtbot.waitUntil(lambda: not widget.comparing.busy, timeout=20_000)
    assert widget.axes.native.isHidden()
    widget.picker.layer_a.value = viewer.add_image(STACK, name="unlabelled")
    qtbot.waitUntil(lambda: not widget.axes.native.isHidden(), timeout=20_000)


def test_one_of_several_images_in_a_file_is_denoised_by_its_name(viewer, qtbot, model, tmp_path):
    with tifffile.TiffWriter(tmp_path / "many.tif") as file:
        for side in (40, 48, 64):
            file.write(STACK[0, :side, :side] if side < 48 else noisy(blobs((side, side)), 1))
    _, widget = open_dock(viewer, model)
    widget.picker.source.value = "files"
    widget.picker.file_a.line_edit.value = f"{tmp_path / 'many.tif'}#1"
    widget.button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=60_000)
    assert viewer.layers[0].data.shape == (48, 48)
