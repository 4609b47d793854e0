"""The Train dock in a real napari window."""

import math
from dataclasses import replace
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import zarr
from conftest import blobs, noisy
from PIL import Image
from qtpy.QtWidgets import QFileDialog

from napari_n2n import Acquisition, load
from napari_n2n.io.written_by import read_provenance
from napari_n2n.model.network import CompactUNet
from napari_n2n.training.fit import TrainingStep
from napari_n2n.training.losses import LOSSES
from napari_n2n.widgets.plots import TrainingCurve
from napari_n2n.widgets.sessions.session import session_of
from napari_n2n.widgets.sessions.spot_checking import SpotChecking
from napari_n2n.widgets.sessions.training_session import thinned

SCENE = blobs((64, 64))


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


def add_pair(viewer, wrap=np.asarray, shape=(64, 64)):
    scene = blobs(shape)
    for name, seed in (("first", 1), ("second", 2)):
        viewer.add_image(
            wrap(noisy(scene, seed)),
            name=name,
            scale=(0.5,) * len(shape),
            translate=(3,) * len(shape),
            units="um",
            contrast_limits=(90, 500),
        )


def open_dock(viewer, **limit):
    """Open the dock with the settings of a run of 3 short steps, or another limit."""
    dock, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    for name, value in (limit or {"steps": 3}).items():
        getattr(widget.form, name).value = value
    widget.device.value = "cpu"
    widget.form.patch.value, widget.form.batch.value = 32, 2
    return dock, widget


def ended(widget):
    def check():
        assert not widget.session.running

    return check


def test_a_script_trains_and_gets_its_layer(viewer, qtbot):
    add_pair(viewer)
    _, widget = open_dock(viewer, minutes=60)
    assert (widget.layer_a.value.name, widget.layer_b.value.name) == ("first", "second")
    widget.train()
    assert not widget.train_button.isEnabled() and widget.stop_button.isEnabled()
    qtbot.waitUntil(
        lambda: bool(widget.session.curve) and widget.session.curve[-1].step >= 30, timeout=120_000
    )
    widget.stop_button.click()
    qtbot.waitUntil(ended(widget), timeout=60_000)
    result, source = viewer.layers["first + second denoised"], viewer.layers["first"]
    assert isinstance(result.data, zarr.Array) and result.data.shape == (64, 64)
    for name in ("scale", "translate", "rotate", "shear", "units", "contrast_limits"):
        np.testing.assert_array_equal(getattr(result, name), getattr(source, name))
    result.contrast_limits = (110, 300)
    assert tuple(source.contrast_limits) == (110, 300)  # one setting for both
    clean = np.asarray(result.data)
    assert np.mean((clean - SCENE) ** 2) < np.mean((source.data - SCENE) ** 2)
    assert widget.train_button.isEnabled() and widget.save_button.isEnabled()


@pytest.mark.parametrize(
    ("ending", "kind"), [(".ome.tif", "uint16"), (".ome.zarr", "float32"), ("", "uint16")]
)
def test_the_image_is_saved_with_its_metadata(viewer, qtbot, tmp_path, monkeypatch, ending, kind):
    for seed in (1, 2):
        stack = np.stack([noisy(SCENE, (seed, k)) for k in range(2)]).astype(np.uint16)
        metadata = {"axes": "CYX", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm"}
        metadata |= {"Channel": {"Name": ["DAPI", "GFP"]}}
        path = tmp_path / f"{seed}.ome.tif"
        tifffile.imwrite(path, stack, metadata=metadata, photometric="minisblack")
        viewer.open(path)
    _, widget = open_dock(viewer)
    saving = widget.model_actions.image_button
    assert not saving.isEnabled()
    widget.train_button.click()
    qtbot.waitUntil(ended(widget), timeout=60_000)

    def ask(_parent, title, suggested, formats):
        assert "denoised" in title and suggested.endswith("denoised.ome.tif")
        (chosen,) = (
            one for one in formats.split(";;") if kind in one and (ending or "TIFF") in one
        )
        return str(tmp_path / f"clean{ending}"), chosen

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    saving.click()
    qtbot.waitUntil(lambda: saving.isEnabled(), timeout=30_000)
    saved = Acquisition.open(tmp_path / f"clean{ending or '.ome.tif'}")
    assert (saved.axes, saved.dtype) == ("CYX", np.dtype(kind))
    assert saved.header.steps["X"] == (0.2, "micrometer")
    assert [channel.name for channel in saved.channels] == ["DAPI", "GFP"]
    result = np.asarray(viewer.layers[-1].data)
    np.testing.assert_allclose(saved.data.compute(), result, atol=0.51 if kind == "uint16" else 0)
    assert read_provenance(saved.path)["model"]


def test_the_result_of_files_with_channels_is_a_layer_for_each_channel(viewer, qtbot, tmp_path):
    _, widget = open_dock(viewer)
    widget.source.value = "files"
    for edit, seed in ((widget.file_a, 1), (widget.file_b, 2)):
        path = tmp_path / f"{seed}.ome.tif"
        stack = np.stack([noisy(SCENE, (seed, k)) for k in range(2)])
        channels = {"Name": ["DAPI", "GFP"], "Color": [0x0000FFFF, 0x00FF00FF]}
        metadata = {"axes": "CYX", "PhysicalSizeX": 0.2, "Channel": channels}
        tifffile.imwrite(path, stack, metadata=metadata, photometric="minisblack")
        edit.value = path
    widget.train_button.click()
    qtbot.waitUntil(ended(widget), timeout=60_000)
    names = [f"{name} 1 + 2 denoised" for name in ("DAPI", "GFP")]
    assert [layer.name for layer in viewer.layers] == names
    colours = [layer.colormap.colors[-1][:3].tolist() for layer in viewer.layers]
    assert colours == [[0, 0, 1], [0, 1, 0]]
    for layer in viewer.layers:
        assert (layer.blending, layer.scale[-1]) == ("additive", 0.2)
        clean = np.asarray(layer.data)
        assert clean.shape == SCENE.shape and np.corrcoef(clean.flat, SCENE.flat)[0, 1] > 0.8
    assert widget.model_actions.image_button.isEnabled()
    assert not widget.spots.isHidden()
    widget.spots.button.click()
    session_of(viewer, SpotChecking).check(layer.data_to_world((20, 30)))
    qtbot.waitUntil(lambda: "Y 20, X 30" in widget.spots.answer.text(), timeout=30_000)


def test_an_image_never_replaces_a_recording(viewer, qtbot, tmp_path, shown):
    _, widget = open_dock(viewer)
    widget.source.value = "files"
    for edit, seed in ((widget.file_a, 1), (widget.file_b, 2)):
        tifffile.imwrite(tmp_path / f"{seed}.tif", noisy(SCENE, seed))
        edit.value = tmp_path / f"{seed}.tif"
    before = (tmp_path / "1.tif").read_bytes()
    widget.train_button.click()
    qtbot.waitUntil(ended(widget), timeout=60_000)
    widget.model_actions.image_button.save(tmp_path / "1.tif", overwrite=True)
    assert len(shown) == 1 and (tmp_path / "1.tif").read_bytes() == before
    (tmp_path / "old.ome.zarr").mkdir()
    widget.model_actions.image_button.save(tmp_path / "old.ome.zarr", overwrite=True)
    assert shown[-1].endswith("already exists: choose another name")


def test_an_empty_dock_says_only_what_to_choose_and_what_the_preset_does(viewer):
    _, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    assert widget.loss_words.text() == "" and "Choose two noisy" in widget.status.text()
    assert widget.form.time_words.text().startswith("Preset balanced. For most recordings")


def test_only_formats_that_can_store_the_pixels_are_offered(viewer):
    _, widget = open_dock(viewer)
    result = SimpleNamespace(result=SimpleNamespace(source=np.zeros((64, 64), np.float16)))
    names = " ".join(widget.model_actions.image_button.formats(result))
    assert names.count("TIFF") == 1 and "OME-Zarr, float16 like the recording" in names


def test_the_dock_explains_why_the_noise_calls_for_a_loss(viewer, qtbot):
    add_pair(viewer)
    _, widget = open_dock(viewer)
    assert "noise decides" in widget.loss_words.text()
    widget.train_button.click()
    qtbot.waitUntil(ended(widget), timeout=60_000)
    assert "L2 finds its mean" in widget.loss_words.text()
    assert "pixels to train on" in widget.loss_words.text()
    widget.loss.value = "l1"
    assert "calls for L2" in widget.loss_words.text()
    widget.loss.value = "auto"
    widget.layer_b.value = viewer.layers[-1]
    assert "noise decides" in widget.loss_words.text()


@pytest.mark.parametrize("wrap", [da.from_array, zarr.array], ids=["dask", "zarr"])
def test_lazy_stacks_are_trained_on(viewer, qtbot, wrap):
    add_pair(viewer, wrap, (3, 64, 64))
    _, widget = open_dock(viewer)
    widget.train_button.click()
    qtbot.waitUntil(ended(widget), timeout=60_000)
    assert viewer.layers[-1].data.shape == (3, 64, 64)


def test_files_train_without_layers(viewer, qtbot, tmp_path):
    _, widget = open_dock(viewer)
    widget.source.value = "files"
    for edit, seed in ((widget.file_a, 1), (widget.file_b, 2)):
        np.save(tmp_path / f"{seed}.npy", noisy(SCENE, seed))
        edit.value = tmp_path / f"{seed}.npy"
    widget.train_button.click()
    qtbot.waitUntil(ended(widget), timeout=60_000)
    assert viewer.layers[-1].name == "1 + 2 denoised"


def test_stop_keeps_the_model_and_save_writes_it(viewer, qtbot, tmp_path):
    add_pair(viewer)
    _, widget = open_dock(viewer, minutes=60)
    widget.train_button.click()
    qtbot.waitUntil(lambda: len(widget.session.curve) > 1, timeout=30_000)
    widget.stop_button.click()
    qtbot.waitUntil(ended(widget), timeout=30_000)
    assert len(viewer.layers) == 3
    widget.save(tmp_path / "model.n2n")
    assert load(tmp_path / "model.n2n").record.stopped


def test_stop_also_ends_the_denoising_after_the_training(viewer, qtbot, parts):
    parts.release(2)
    add_pair(viewer, shape=(4, 64, 64))
    _, widget = open_dock(viewer)
    widget.run_panel.preview.click()  # a preview is computed like a part of the result
    widget.train_button.click()
    qtbot.waitUntil(lambda: "1 of 4" in widget.status.text(), timeout=60_000)
    result = viewer.layers["first + second denoised (unfinished)"]
    assert np.isfinite(result.data[0]).all() and np.isnan(result.data[2]).all()
    assert widget.run_panel.progress.value() == 250 and widget.run_panel.progress.text().startswith(
        "25%"
    )
    widget.stop_button.click()
    parts.release(9)
    qtbot.waitUntil(ended(widget), timeout=30_000)
    assert "Denoising was stopped" in widget.status.text() and widget.save_button.isEnabled()
    assert result in viewer.layers and np.isnan(result.data[3]).all()


def test_a_run_discarded_while_its_result_fills_leaves_nothing(viewer, qtbot, parts):
    parts.release(2)
    add_pair(viewer, shape=(4, 64, 64))
    _, widget = open_dock(viewer)
    widget.run_panel.preview.click()
    widget.train_button.click()
    qtbot.waitUntil(lambda: "1 of 4" in widget.status.text(), timeout=60_000)
    assert len(viewer.layers) == 3
    widget.session.discard()
    parts.release(9)
    qtbot.waitUntil(ended(widget), timeout=30_000)
    assert [layer.name for layer in viewer.layers] == ["first", "second"]
    assert not widget.save_button.isEnabled() and "Discarded" in widget.status.text()


def test_the_same_layer_twice_is_refused_before_anything_starts(viewer, shown):
    add_pair(viewer)
    _, widget = open_dock(viewer)
    widget.layer_b.value = widget.layer_a.value
    widget.train()
    assert "both 'first'" in shown[0]
    assert not widget.session.running and widget.train_button.isEnabled()


def test_an_error_in_the_background_is_shown_and_enables_the_button(
    viewer, qtbot, monkeypatch, shown
):
    def full(self, image):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(CompactUNet, "forward", full)
    add_pair(viewer)
    _, widget = open_dock(viewer)
    widget.train_button.click()
    qtbot.waitUntil(ended(widget), timeout=30_000)
    assert "not enough memory" in shown[0] and shown[0] == widget.status.text()
    assert widget.train_button.isEnabled() and len(viewer.layers) == 2
    widget.form.batch.value = 4
    assert "not enough memory" not in widget.status.text()


def test_during_a_run_a_summary_replaces_the_forms(viewer, qtbot):
    add_pair(viewer)
    _, widget = open_dock(viewer, minutes=0.02)
    assert widget.chosen.isHidden() and not widget.form.isHidden()
    widget.loss.value = "l1"
    widget.train_button.click()
    assert all(part.isHidden() for part in widget.choices)
    qtbot.waitUntil(lambda: "calls for L2" in widget.chosen.text(), timeout=30_000)
    assert widget.chosen.text().startswith(f"Training on first + second with {LOSSES['l1'].title}")
    qtbot.waitUntil(ended(widget), timeout=60_000)
    assert widget.chosen.isHidden() and not any(part.isHidden() for part in widget.choices)


def test_a_reopened_dock_finds_the_running_session(viewer, qtbot):
    add_pair(viewer)
    dock, widget = open_dock(viewer, minutes=60)
    widget.loss.value = "l1"
    widget.train_button.click()
    qtbot.waitUntil(lambda: bool(widget.session.curve), timeout=30_000)
    viewer.window.remove_dock_widget(dock)
    _, again = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    assert again.session is widget.session and again.stop_button.isEnabled()
    assert again.picker.isHidden() and LOSSES["l1"].title in again.chosen.text()
    again.stop_button.click()
    qtbot.waitUntil(ended(again), timeout=30_000)
    assert len(viewer.layers) == 3


def test_menus_follow_the_viewer(viewer):
    _, widget = open_dock(viewer)
    assert widget.layer_a.value is None
    add_pair(viewer)
    assert len(widget.layer_a.choices) == 2
    viewer.layers.remove("first")
    assert widget.layer_a.value is None, "nothing is chosen instead of a deleted layer"
    assert [layer for layer in widget.layer_a.choices if layer] == [viewer.layers["second"]]
    assert "A: the layer 'first' was deleted" in widget.loss_words.text()
    viewer.add_image(noisy(blobs(), 5), name="third")
    assert widget.layer_a.value is None and widget.layer_b.value == viewer.layers["second"]
    widget.layer_a.value = viewer.layers["third"]
    assert None not in widget.layer_a.choices and "deleted" not in widget.loss_words.text()
    viewer.layers.clear()
    add_pair(viewer)
    assert (widget.layer_a.value, widget.layer_b.value) == tuple(viewer.layers)


def test_closing_the_window_while_training_ends_cleanly(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    add_pair(viewer)
    _, widget = open_dock(viewer, minutes=60)
    session = widget.session
    widget.train_button.click()
    qtbot.waitUntil(lambda: bool(session.curve), timeout=30_000)
    viewer.close()
    qtbot.waitUntil(lambda: not session.running, timeout=10_000)


def test_the_sample_opens_as_a_ready_pair(viewer):
    viewer.open_sample("napari-n2n", "timelapse")
    _, widget = open_dock(viewer)
    assert (widget.layer_a.value.name, widget.layer_b.value.name) == ("timelapse_a", "timelapse_b")


def test_a_missing_device_is_refused_before_the_run(viewer, qtbot, monkeypatch, shown):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    add_pair(viewer)
    monkeypatch.setattr(
        "napari_n2n.widgets.forms.fields.device_names", lambda: ["auto", "cpu", "cuda"]
    )
    _, widget = open_dock(viewer)
    widget.device.value = "cuda"
    widget.train_button.click()
    assert "'cuda': not available" in shown[0] and not widget.session.running
    widget.device.value = "cpu"
    widget.train_button.click()
    qtbot.waitUntil(ended(widget), timeout=60_000)
    assert len(viewer.layers) == 3


def test_a_long_curve_is_thinned_and_keeps_every_validation():
    curve = []
    for k in range(1, 10_001):
        held_out = 1 / (k // 500 + 1)
        curve.append(TrainingStep(k, k / 1e4, k, 1e4 - k, 1 / k, held_out, 20.0, 0.1))
        if len(curve) > 2000:
            curve[:] = thinned(curve)
    assert len(curve) <= 2000 and curve[-1].step >= 9990
    assert [step.step for step in curve] == sorted({step.step for step in curve})
    validations = {step.held_out: step.step for step in reversed(curve)}
    assert sorted(validations.values()) == [1, *range(500, 10_001, 500)]


def drawn(line):
    return [] if line.yData is None else list(line.yData)


@pytest.mark.parametrize("span", [1.0005, 1.02, 1.5, 3, 15, 400])
def test_the_axis_of_the_error_has_enough_marks(qtbot, span):
    curve = TrainingCurve()
    qtbot.addWidget(curve)
    axis = curve.getAxis("left")
    low, high = math.log10(0.7), math.log10(0.7 * span)
    marked = [value for _, values in axis.tickValues(low, high, 150) for value in values]
    seen = {word for word in axis.tickStrings(marked, 1.0, 1.0) if word}
    assert 2 <= len(seen) <= 30
    if span < 20:
        assert len(seen) == len(marked), "no number is repeated"
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in marked if span < 20)


def test_the_curve_shows_the_psnr_and_without_one_the_held_out_error(qtbot):
    curve = TrainingCurve()
    qtbot.addWidget(curve)
    curve.show()
    steps = [TrainingStep(k, k / 9, k, 9 - k, 1 / k, 0.5 / k, 20.0 + k, 0.1) for k in range(1, 9)]
    curve.show_steps(steps)
    assert curve.getAxis("right").isVisible()
    assert drawn(curve.psnr) == [step.psnr for step in steps] and drawn(curve.held_out) == []
    curve.show_steps([replace(step, psnr=None) for step in steps])
    assert not curve.getAxis("right").isVisible()
    assert drawn(curve.held_out) == [step.held_out for step in steps] and drawn(curve.psnr) == []


def test_a_picture_shows_raw_beside_denoised(make_napari_viewer_proxy, qtbot, tmp_path, shown):
    viewer = make_napari_viewer_proxy(show=True)
    add_pair(viewer)
    _, widget = open_dock(viewer)
    controls = widget.run_panel.comparison
    controls.picture_button.click()  # asks for no file name
    assert len(shown) == 1 and "a denoised image or a preview is not visible" in shown[0]
    widget.train_button.click()
    qtbot.waitUntil(ended(widget), timeout=60_000)
    controls.split.click()  # the picture does not depend on the divider
    visible = [layer.visible for layer in viewer.layers]
    controls.save_picture(tmp_path / "cells")
    assert [layer.visible for layer in viewer.layers] == visible
    picture = np.asarray(Image.open(tmp_path / "cells.png")).astype(float)
    half = (picture.shape[1] - 6) // 2
    before, after = picture[:, :half], picture[:, half + 6 :]
    assert (picture[:, half : half + 6] == 255).all() and before.shape == after.shape
    assert before.std() > 10 and after.std() > 10 and np.abs(before - after).mean() > 2
    assert len(shown) == 1


def test_one_recording_is_enough(viewer, qtbot, tmp_path):
    scene = blobs((160, 160))
    tifffile.imwrite(tmp_path / "only.tif", noisy(scene, 1))
    viewer.open(tmp_path / "only.tif")
    _, widget = open_dock(viewer)
    widget.picker.kind.value = "one recording only"
    assert widget.layer_b.native.isHidden()
    qtbot.waitUntil(lambda: widget.measuring.measured is not None, timeout=60_000)
    assert "Noise" in widget.findings.noise_words.text()
    widget.train()
    qtbot.waitUntil(ended(widget), timeout=60_000)
    clean = np.asarray(viewer.layers["only denoised"].data)
    assert np.mean((clean - scene) ** 2) < np.mean((viewer.layers["only"].data - scene) ** 2)
    command = widget.session.recipe.as_command()
    assert "only.tif -o model.n2n --single" in command
    assert "No PSNR: one recording does not show how much of it is noise" in widget.status.text()
