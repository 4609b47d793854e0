"""Choosing recordings and settings in the Train dock, in a real napari window."""

import shutil
import zipfile
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
from conftest import blobs, drop, noisy
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QFileDialog

from napari_n2n import load
from napari_n2n.training.estimate import TimeEstimate
from napari_n2n.widgets.forms import model_actions
from napari_n2n.widgets.sessions import measuring

SCENE = blobs((64, 64))


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def fixed_estimate(monkeypatch):
    """Replace the timing of training steps, which has tests of its own, by a fixed result."""
    monkeypatch.setattr(measuring, "estimate_time", lambda *_: TimeEstimate(0.1, 5, 1500, 1, "cpu"))


def open_train(viewer):
    return viewer.window.add_plugin_dock_widget("napari-n2n", "Train")[1]


def add(viewer, *seeds, gain=1.0):
    return [viewer.add_image(gain * noisy(SCENE, seed), name=f"n{seed}") for seed in seeds]


def wait_until_measured(widget, qtbot):
    def check():
        assert widget.measuring.recordings is not None and not widget.measuring.busy
        assert widget.measuring.problem or widget.measuring.estimate is not None

    qtbot.waitUntil(check, timeout=60_000)


def offered_fixes(widget):
    return {name for name, made in widget.findings.buttons.items() if not made.isHidden()}


def test_a_chosen_pair_is_measured_at_once_and_timed(viewer, qtbot, fixed_estimate):
    add(viewer, 1, 2)
    widget = open_train(viewer)
    assert widget.findings.noise_words.text() == "Measuring the noise ..."
    wait_until_measured(widget, qtbot)
    assert "ADU in A and B" in widget.findings.noise_words.text()
    assert "L2 finds its mean" in widget.loss_words.text() and not offered_fixes(widget)
    assert "At most 3 min on this computer (CPU, 100 ms per step)" in widget.form.time_words.text()
    widget.form.preset.value = "quick"
    assert "At most 48 s" in widget.form.time_words.text()


def test_the_axes_of_a_file_that_napari_opened_are_offered_and_can_be_corrected(
    viewer, qtbot, fixed_estimate, tmp_path
):
    for seed in (1, 2):
        movie = np.stack([[noisy(SCENE, (seed, t, c)) for c in range(2)] for t in range(3)])
        path = tmp_path / f"{seed}.tif"
        tifffile.imwrite(path, movie, imagej=True, metadata={"axes": "TCYX"})
        viewer.open(path)
    assert viewer.layers[0].axis_labels == ("-4", "-3", "-2", "-1"), "napari keeps no axes"
    widget = open_train(viewer)
    wait_until_measured(widget, qtbot)
    assert widget.measuring.problem is None and len(widget.measuring.measured.reports) == 2
    field = widget.picker.axes
    assert not field.native.isHidden() and "TCYX (from the file)" in field.native.placeholderText()
    field.value = "TZYX"
    wait_until_measured(widget, qtbot)
    assert widget.measuring.first.axes == "TZYX" and len(widget.measuring.measured.reports) == 1


def test_an_unused_graphics_card_is_reported_with_the_install_command(
    viewer, qtbot, fixed_estimate, monkeypatch
):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(torch.version, "cuda", None)
    add(viewer, 1, 2)
    widget = open_train(viewer)
    wait_until_measured(widget, qtbot)
    assert "pip install --force-reinstall torch" in widget.form.time_words.text()
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    widget.form.preset.value = "quick"
    assert "pip install" not in widget.form.time_words.text()


def test_a_late_measurement_of_another_choice_is_dropped(viewer, qtbot, fixed_estimate):
    add(viewer, 1, 2)
    viewer.add_image(noisy(SCENE, 3, sigma=60), name="worse")
    widget = open_train(viewer)
    qtbot.waitUntil(lambda: widget.measuring.first is not None, timeout=60_000)
    widget.layer_b.value = viewer.layers["worse"]
    assert widget.measuring.busy
    wait_until_measured(widget, qtbot)
    assert widget.measuring.measured.reports[0].noise_b == pytest.approx(60, rel=0.2)


def test_the_same_image_twice_offers_fixes(viewer, qtbot, fixed_estimate):
    movie = da.from_array(np.stack([noisy(SCENE, seed) for seed in range(6)]))
    viewer.add_image(movie, name="movie", axis_labels=("t", "y", "x"))
    viewer.add_image(movie, name="copy", axis_labels=("t", "y", "x"))
    widget = open_train(viewer)
    wait_until_measured(widget, qtbot)
    assert "same image" in widget.loss_words.text() and offered_fixes(widget) == {"split", "other"}
    widget.findings.buttons["split"].click()
    assert widget.picker.axis.value == "T" and widget.layer_b.native.isHidden()
    wait_until_measured(widget, qtbot)
    assert "movie" in widget.measuring.measured.pairs[0].first.name
    assert widget.measuring.measured.pairs[0].first.shape == (3, 64, 64) and not offered_fixes(
        widget
    )


def test_two_scenes_are_not_a_pair_and_no_noise_is_shown(viewer, qtbot, fixed_estimate):
    for seed in range(2):
        viewer.add_image(noisy(blobs((128, 128), seed), seed), name=f"scene {seed}")
    widget = open_train(viewer)
    wait_until_measured(widget, qtbot)
    assert widget.loss_words.text().startswith("⚠ scene 0 and scene 1 do not show the same scene")
    assert widget.findings.noise_words.text() == "" and "\n" not in widget.loss_words.text()
    assert offered_fixes(widget) == {"other"}


def test_a_brighter_b_can_be_swapped_with_a(viewer, qtbot, fixed_estimate):
    scene = blobs((128, 128))
    viewer.add_image(noisy(scene, 1), name="dim")
    viewer.add_image(1.5 * noisy(scene, 2), name="bright")
    widget = open_train(viewer)
    wait_until_measured(widget, qtbot)
    assert offered_fixes(widget) == {"swap"}
    widget.findings.buttons["swap"].click()
    assert (widget.layer_a.value.name, widget.layer_b.value.name) == ("bright", "dim")
    assert widget.file_a.value == widget.file_b.value == Path()


def test_displaced_layers_are_cropped_to_their_overlap(viewer, qtbot, fixed_estimate):
    scene, looks = blobs((120, 120)), {"scale": (0.5, 0.5), "translate": (3, 1), "units": "um"}
    viewer.add_image(da.from_array(noisy(scene[:100, :100], 1)), name="here", **looks)
    viewer.add_image(noisy(scene[4:104, 6:106], 2), name="moved", **looks)
    widget = open_train(viewer)
    wait_until_measured(widget, qtbot)
    assert offered_fixes(widget) == {"crop"}
    widget.findings.buttons["crop"].click()
    layers = widget.picker.recordings().sources
    assert [layer.name for layer in layers] == ["here cropped", "moved cropped"]
    for layer in layers:
        assert isinstance(layer.data, da.Array) and layer.data.shape == (96, 94)
        np.testing.assert_allclose(layer.translate, (3 + 4 * 0.5, 1 + 6 * 0.5))
    wait_until_measured(widget, qtbot)
    assert widget.measuring.measured.reports[0].shift == pytest.approx((0, 0), abs=0.5)
    assert not offered_fixes(widget)


def test_displaced_files_are_cropped_too_and_stay_lazy(viewer, qtbot, fixed_estimate, tmp_path):
    scene, paths = blobs((120, 120)), [tmp_path / "here.tif", tmp_path / "moved.tif"]
    for path, (y, x) in zip(paths, ((0, 0), (4, 6)), strict=True):
        view = np.stack([noisy(scene[y : y + 100, x : x + 100], (y, k)) for k in range(2)])
        sizes = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}
        tifffile.imwrite(path, view, ome=True, metadata=sizes)
    widget = open_train(viewer)
    drop(widget, *paths)
    wait_until_measured(widget, qtbot)
    assert offered_fixes(widget) == {"crop"}
    widget.findings.buttons["crop"].click()
    layers = widget.picker.recordings().sources
    assert [layer.name for layer in layers] == ["here cropped", "moved cropped"]
    for layer in layers:
        assert isinstance(layer.data, da.Array) and layer.data.shape == (2, 96, 94)
        assert layer.scale[2] == 0.5 and layer.axis_labels == ("z", "y", "x")
    wait_until_measured(widget, qtbot)
    assert not offered_fixes(widget)


def test_folders_of_several_fields_of_view_train_one_model(viewer, qtbot, tmp_path):
    for seed, name in ((1, "a"), (2, "b")):
        (tmp_path / name).mkdir()
        for field in range(2):
            np.save(tmp_path / name / f"{field}.npy", noisy(blobs((64, 64), field), seed))
    widget = open_train(viewer)
    drop(widget, tmp_path / "a", tmp_path / "b")
    assert widget.source.value == "folders"
    wait_until_measured(widget, qtbot)
    assert len(widget.measuring.measured.pairs) == 2
    assert len(widget.measuring.measured.reports) == 1
    widget.form.steps.value, widget.device.value = 3, "cpu"
    widget.form.wanted.value = "each"
    widget.train()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
    names = [
        f"{whose} denoised" for k in (0, 1) for whose in (f"a {k} + b {k}", f"a {k}", f"b {k}")
    ]
    assert [layer.name for layer in viewer.layers] == names
    (tmp_path / "b" / "1.npy").unlink()
    widget.picker.changed.emit()
    assert "1.npy: has no file of the same name" in widget.loss_words.text()


def test_typed_axes_apply_to_folders_too(viewer, qtbot, tmp_path):
    for seed, name in ((1, "a"), (2, "b")):
        (tmp_path / name).mkdir()
        for field in range(2):
            stack = np.stack([noisy(blobs((64, 64), z), (seed, z)) for z in range(6)])
            np.save(tmp_path / name / f"{field}.npy", stack.reshape(3, 2, 64, 64))
    widget = open_train(viewer)
    drop(widget, tmp_path / "a", tmp_path / "b")
    widget.picker.axes.value = "zcyx"
    wait_until_measured(widget, qtbot)
    widget.form.steps.value, widget.device.value = 2, "cpu"
    widget.train()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
    shapes = [layer.data.shape for layer in viewer.layers]  # a layer for each field and channel
    assert shapes == [(3, 64, 64)] * 4


def test_the_positions_in_two_files_train_one_model_or_one_is_chosen(viewer, qtbot, tmp_path):
    for seed, name in ((1, "a"), (2, "b")):
        with tifffile.TiffWriter(tmp_path / f"{name}.ome.tif", ome=True) as file:
            for place in range(2):
                view = noisy(blobs((64, 64), place), (seed, place))
                file.write(view, metadata={"Name": f"position {place}"})
    widget = open_train(viewer)
    drop(widget, tmp_path / "a.ome.tif", tmp_path / "b.ome.tif")
    images = widget.picker.images
    assert images.native.isVisibleTo(widget)
    assert images.native.currentText() == "all 2, as fields of view"
    assert len(widget.picker.recordings().fields) == 2
    wait_until_measured(widget, qtbot)
    widget.form.steps.value, widget.device.value = 2, "cpu"
    widget.train()
    assert "a.ome.tif + b.ome.tif: 2 images as fields of view" in widget.chosen.text()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
    assert widget.session.denoiser.record.fields_of_view == 2
    assert [layer.name for layer in viewer.layers] == [f"a_{n} + b_{n} denoised" for n in "01"]
    images.value = "1"
    assert widget.picker.chosen() == [tmp_path / "a.ome.tif#1", tmp_path / "b.ome.tif#1"]
    widget.picker.choose(widget.picker.recordings())  # as a reopened dock does
    assert (images.value, widget.file_a.value) == ("1", tmp_path / "a.ome.tif")
    widget.file_b.value = tmp_path / "other.tif"
    assert not images.native.isVisibleTo(widget)


def test_a_problem_in_a_later_field_of_view_is_shown(viewer, qtbot, fixed_estimate, tmp_path):
    scene = blobs((120, 120))
    for name, shift in (("a", 0), ("b", 7)):
        (tmp_path / name).mkdir()
        for field in range(2):
            start = shift * field
            view = noisy(scene[start : start + 100, :100], (field, shift))
            np.save(tmp_path / name / f"{field}.npy", view)
    widget = open_train(viewer)
    drop(widget, tmp_path / "a", tmp_path / "b")
    wait_until_measured(widget, qtbot)
    assert "⚠ 1: The acquisitions are displaced" in widget.loss_words.text()
    assert not offered_fixes(widget)


def test_a_folder_of_movies_is_split_file_by_file(viewer, qtbot, fixed_estimate, tmp_path):
    (tmp_path / "movies").mkdir()
    for number in range(2):
        frames = np.stack([noisy(blobs((64, 64), number), seed) for seed in range(4)])
        np.save(tmp_path / "movies" / f"{number}.npy", frames)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    widget.picker.kind.value = "frames of one stack"
    drop(widget, tmp_path / "movies")
    wait_until_measured(widget, qtbot)
    assert len(widget.measuring.measured.pairs) == 2
    assert widget.measuring.measured.pairs[1].first.shape == (2, 64, 64)
    widget.form.steps.value, widget.device.value = 2, "cpu"
    widget.train()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
    assert len(viewer.layers) == 2
    viewer.window.remove_dock_widget(dock)
    dock, again = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    assert again.picker.recordings() == widget.session.recipe.recordings
    words = again.form.time_words
    qtbot.waitUntil(lambda: "ms per step" in words.text(), timeout=30_000)
    viewer.window.remove_dock_widget(dock)
    shutil.rmtree(tmp_path / "movies")
    gone = open_train(viewer)
    assert gone.form.steps.value == 2 and gone.file_a.value == Path()


def test_one_layer_chosen_twice_is_refused_before_data_are_read(viewer, fixed_estimate):
    add(viewer, 1, 2)
    widget = open_train(viewer)
    widget.layer_b.value = widget.layer_a.value
    assert "both 'n1'" in widget.loss_words.text() and "under Pair" in widget.loss_words.text()
    assert not widget.measuring.busy


def test_unlabelled_axes_are_asked_for(viewer, qtbot, fixed_estimate):
    for seed in (1, 2):
        viewer.add_image(np.stack([[noisy(SCENE, seed)] * 2] * 2), name=f"n{seed}")
    widget = open_train(viewer)
    assert widget.picker.axes.native.isHidden()
    wait_until_measured(widget, qtbot)
    assert "say which are time" in widget.loss_words.text()
    assert not widget.picker.axes.native.isHidden()
    widget.picker.axes.value = "tcyx"
    wait_until_measured(widget, qtbot)
    assert len(widget.measuring.measured.reports) == 2
    assert "Channel 1: Noise" in widget.findings.noise_words.text()


def test_more_than_two_recordings_can_be_used(viewer, qtbot, fixed_estimate, tmp_path):
    layers = add(viewer, 1, 2, 3)
    widget = open_train(viewer)
    np.save(tmp_path / "fourth.npy", noisy(SCENE, 4))
    widget.picker.more_recordings.add(layers[2], tmp_path / "fourth.npy")
    assert widget.picker.recordings().sources == (*layers, tmp_path / "fourth.npy")
    wait_until_measured(widget, qtbot)
    assert len(widget.measuring.measured.pairs[0].acquisitions) == 4
    viewer.layers.remove("n3")
    assert len(widget.picker.recordings().sources) == 3
    widget.picker.more_recordings.remove_button.click()
    assert (
        len(widget.picker.recordings().sources) == 2
        and widget.picker.more_recordings.list.isHidden()
    )


def test_dropped_files_are_chosen_and_opened_lazily(viewer, qtbot, fixed_estimate, tmp_path):
    paths = [tmp_path / f"{seed}.tif" for seed in (1, 2, 3)]
    for seed, path in enumerate(paths):
        tifffile.imwrite(path, noisy(SCENE, seed))
    widget = open_train(viewer)
    drop(widget, *paths)
    assert widget.picker.recordings().sources == tuple(paths) and not viewer.layers
    wait_until_measured(widget, qtbot)
    assert len(widget.measuring.measured.pairs[0].acquisitions) == 3
    drop(widget, *paths[1:])
    assert widget.picker.recordings().sources == tuple(paths[1:])
    drop(widget, paths[0])
    assert widget.picker.recordings().sources == (*paths[1:], paths[0])


def test_menus_follow_the_names_of_layers(viewer):
    add(viewer, 1, 2)
    widget = open_train(viewer)
    viewer.layers["n1"].name = "before"
    menu = widget.picker.layer_a.native
    assert {menu.itemText(row) for row in range(menu.count())} == {"before", "n2"}
    assert widget.picker.layer_a.value.name == "before"


def test_a_copied_script_says_that_the_run_was_stopped(viewer, qtbot):
    add(viewer, 1, 2)
    widget = open_train(viewer)
    widget.form.steps.value = 100_000
    widget.train()
    qtbot.waitUntil(lambda: bool(widget.session.curve), timeout=60_000)
    widget.stop_button.click()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
    assert "# The run in napari was stopped early" in widget.session.recipe.as_python()
    assert "# The run in napari was stopped early" in widget.session.recipe.as_command()


def test_settings_that_do_not_fit_the_data_are_reported_above_the_train_button(viewer, qtbot):
    add(viewer, 1, 2)
    widget = open_train(viewer)
    widget.form.dims.value = 3
    wait_until_measured(widget, qtbot)
    assert "is a single plane: train on planes" in widget.form.time_words.text()
    widget.form.section.toggleButton().click()
    assert not widget.form.section.content().isHidden()
    assert widget.widget().minimumSizeHint().width() <= 300


def test_every_field_of_the_form_reaches_the_settings(viewer):
    widget = open_train(viewer)
    form = widget.form
    fields = {"loss": "l1", "preset": "thorough", "minutes": 3.0, "steps": 70, "dims": 3}
    fields |= {"channels": "separate", "device": "cpu", "memory": 2.0, "seed": 4}
    fields |= {"patch": 96, "batch": 8}
    for name, value in fields.items():
        getattr(form, name).value = value
    settings = form.settings().model_dump()
    assert {name: settings[name] for name in fields} == fields | {"memory": 2 * 10**9}


def copied(button):
    button.click()
    return QGuiApplication.clipboard().text()


def test_without_recordings_nothing_is_copied(viewer, shown):
    QGuiApplication.clipboard().setText("unchanged")
    assert copied(open_train(viewer).model_actions.command_button) == "unchanged"
    assert len(shown) == 1 and "Open two" in shown[0]


def test_only_the_model_is_trained_if_no_result_is_wanted(viewer, qtbot):
    add(viewer, 1, 2)
    widget = open_train(viewer)
    widget.form.wanted.value, widget.form.steps.value = "none", 3
    widget.device.value = "cpu"
    widget.train()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
    assert widget.session.denoiser is not None and len(viewer.layers) == 2
    assert "Save the model" in widget.status.text()
    assert widget.save_button.isEnabled() and "n2n.denoise" not in copied(
        widget.model_actions.python_button
    )


def test_copied_script_and_command_reproduce_the_weights(viewer, qtbot, typed, tmp_path):
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for seed, path in enumerate(paths):
        tifffile.imwrite(path, noisy(SCENE, seed))
    widget = open_train(viewer)
    widget.picker.choose_paths(paths)
    fields = {"device": "cpu", "steps": 4, "patch": 32, "batch": 2, "seed": 3}
    for name, value in fields.items():
        getattr(widget.form, name).value = value
    buttons = (widget.model_actions.python_button, widget.model_actions.command_button)
    before = [copied(one) for one in buttons]
    widget.train()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=120_000)
    here = widget.session.denoiser.networks[0].state_dict()
    assert here
    assert before == [copied(one) for one in buttons]
    for text in before:
        there = typed(text).networks[0].state_dict()
        assert all(torch.equal(here[name], there[name]) for name in here)


def test_the_model_is_applied_to_another_layer_in_the_denoise_dock(viewer, denoiser):
    widget = open_train(viewer)
    assert not widget.model_actions.apply_button.isEnabled()
    widget.session.denoiser = denoiser
    widget.session.finished.emit(None)
    widget.model_actions.apply_button.click()
    _, dock = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    assert dock.model.chosen() is denoiser


def test_a_model_is_saved_where_the_dialog_says(viewer, denoiser, monkeypatch, tmp_path):
    widget = open_train(viewer)
    widget.session.denoiser = denoiser
    widget.session.finished.emit(None)
    asked = ["", str(tmp_path / "kept.n2n")]
    monkeypatch.setattr(model_actions.QFileDialog, "getSaveFileName", lambda *_: (asked.pop(0), ""))
    widget.save_button.click()
    assert not list(tmp_path.iterdir())
    widget.save_button.click()
    assert load(tmp_path / "kept.n2n").record == denoiser.record


def test_more_recordings_are_added_from_the_menu(viewer, monkeypatch, fixed_estimate, tmp_path):
    layers = add(viewer, 1, 2, 3)
    more = open_train(viewer).picker.more_recordings
    dialogs = {"getOpenFileNames": ([str(tmp_path / "4.npy")], ""), "getExistingDirectory": "5"}
    for name, answer in dialogs.items():
        monkeypatch.setattr(QFileDialog, name, lambda *_, answer=answer: answer)
    more.menu.aboutToShow.emit()
    entries = {entry.text(): entry for entry in more.menu.actions()}
    for text in ("n3", "Files ...", "Folder ..."):
        entries[text].trigger()
    assert more.sources() == [layers[2], tmp_path / "4.npy", Path("5")]


def test_the_button_for_another_b_opens_its_menu(viewer, qtbot, fixed_estimate):
    add(viewer, 1, 1, 3)
    widget = open_train(viewer)
    wait_until_measured(widget, qtbot)
    assert offered_fixes(widget) == {"other"}
    widget.findings.buttons["other"].click()
    assert widget.layer_b.native.view().isVisible()
    widget.layer_b.native.hidePopup()
    widget.layer_b.value = viewer.layers[-1]
    wait_until_measured(widget, qtbot)
    assert not offered_fixes(widget)


def test_another_b_is_offered_only_if_there_is_another_recording(viewer, qtbot, fixed_estimate):
    add(viewer, 1)
    widget = open_train(viewer)
    assert "are both 'n1'" in widget.loss_words.text() and not offered_fixes(widget)


def test_a_reopened_dock_shows_the_settings_of_the_last_run(viewer, qtbot, tmp_path):
    layers = add(viewer, 1, 2, 3)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    widget.layer_a.value = layers[2]
    chosen = {"steps": 2, "device": "cpu", "loss": "l1", "patch": 32, "memory": 0.7}
    for name, value in (chosen | {"wanted": "each"}).items():
        getattr(widget.form, name).value = value
    widget.train()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
    before = widget.form.settings()
    viewer.window.remove_dock_widget(dock)
    dock, again = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    assert again.form.settings() == before and again.form.wanted.value == "each"
    assert [layer.name for layer in again.picker.recordings().sources] == ["n3", "n2"]
    viewer.window.remove_dock_widget(dock)
    viewer.layers.remove("n3")
    assert open_train(viewer).layer_a.value.name == "n1"


def test_each_recording_can_also_be_denoised_alone(viewer, qtbot, fixed_estimate):
    looks = {"n1": {"colormap": "green"}, "n2": {"colormap": "magenta", "translate": (4, 2)}}
    for seed, (name, more) in enumerate(looks.items(), start=1):
        viewer.add_image(noisy(SCENE, seed), name=name, contrast_limits=(80, 90 + seed), **more)
    widget = open_train(viewer)
    widget.form.wanted.value, widget.form.steps.value = "each", 3
    widget.device.value = "cpu"
    widget.train()
    qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
    for name in looks:
        clean, source = viewer.layers[f"{name} denoised"], viewer.layers[name]
        np.testing.assert_array_equal(clean.translate, source.translate)
        assert clean.contrast_limits == source.contrast_limits
        assert clean.colormap.name == source.colormap.name
    both, first, second = (np.asarray(layer.data) for layer in viewer.layers[2:])
    np.testing.assert_allclose(both, (first + second) / 2, rtol=0.02)


def test_a_model_is_exported_for_other_programs(viewer, denoiser, monkeypatch, tmp_path, qtbot):
    widget = open_train(viewer)
    assert not widget.model_actions.export_button.isEnabled()
    widget.session.denoiser = denoiser
    widget.session.finished.emit(None)
    said = []
    monkeypatch.setattr(model_actions, "show_info", said.append)
    asked = ["", str(tmp_path / "cells")]
    monkeypatch.setattr(model_actions.QFileDialog, "getSaveFileName", lambda *_: (asked.pop(0), ""))
    widget.model_actions.export_button.click()
    assert not said
    widget.model_actions.export_button.click()
    qtbot.waitUntil(lambda: len(said) == 2, timeout=60_000)
    assert said[1] == f"Saved {tmp_path / 'cells.zip'}"
    with zipfile.ZipFile(tmp_path / "cells.zip") as package:
        assert {"rdf.yaml", "weights.pt", "README.md"} <= set(package.namelist())


def test_labels_or_shapes_say_where_to_train(viewer, qtbot):
    add(viewer, 1, 2)
    widget = open_train(viewer)
    menu, rows = widget.picker.inside, widget.picker.rows
    assert not rows.isRowVisible(menu.native)
    labels = viewer.add_labels(np.zeros(SCENE.shape, np.uint8), name="cells")
    assert rows.isRowVisible(menu.native) and menu.value is None  # everywhere
    menu.value = labels
    qtbot.waitUntil(lambda: widget.measuring.problem is not None)
    assert "cells: 0 pixels" in widget.measuring.problem.message
    labels.data_setitem(tuple(np.indices((64, 40)).reshape(2, -1)), 1)  # drawn

    def inside():
        measured = widget.measuring.measured
        assert measured is not None and measured.pairs[0].mask is not None
        return measured.pairs[0].mask

    qtbot.waitUntil(lambda: bool(inside()), timeout=20_000)
    assert inside().share == 40 / 64

    box = [[10, 10], [10, 50], [50, 50], [50, 10]]
    menu.value = viewer.add_shapes([box], shape_type="polygon", name="box")
    qtbot.waitUntil(lambda: inside().image.name == "box", timeout=20_000)
    assert inside().share == pytest.approx((40 / 64) ** 2, rel=0.1)
    command = widget._recipe().as_command()
    assert "--mask box.tif" in command and "Save the mask 'box' as box.tif" in command
    viewer.layers.remove("box")
    viewer.layers.remove("cells")
    qtbot.waitUntil(lambda: widget.measuring.measured is not None, timeout=20_000)
    assert widget.measuring.measured.pairs[0].mask is None
    assert not rows.isRowVisible(menu.native)


def test_dark_frames_correct_the_recordings_and_are_copied(viewer, qtbot, fixed_estimate, tmp_path):
    hot = np.zeros(SCENE.shape, np.float32)
    hot[20, 30] = 500
    for seed in (1, 2):
        viewer.add_image(noisy(SCENE, seed) + hot, name=f"n{seed}")
    dark = np.random.default_rng(0).normal(100, 2, (8, *SCENE.shape)) + hot
    tifffile.imwrite(tmp_path / "dark.tif", dark.astype("f4"), photometric="minisblack")
    widget = open_train(viewer)
    widget.picker.dark.files.value = (tmp_path / "dark.tif",)
    assert widget.picker.dark.section.text() == "Dark frames (dark.tif)"
    wait_until_measured(widget, qtbot)
    assert widget.measuring.measured.pairs[0].first.detector.bad[20, 30]
    widget.model_actions.copy_command()
    assert f"--dark {tmp_path / 'dark.tif'}" in QGuiApplication.clipboard().text()
    widget.picker.dark.files.value = (tmp_path / "missing.tif",)
    wait_until_measured(widget, qtbot)
    assert "missing.tif: no such file" in widget.measuring.problem.message
    widget.picker.dark.paths = ()
    assert widget.picker.recordings().dark == ()


def test_training_can_start_from_a_model_file(viewer, qtbot, denoiser, tmp_path):
    path = denoiser.save(tmp_path / "own.n2n")
    add(viewer, 1, 2)
    widget = open_train(viewer)
    start = widget.form.start
    assert start.value == "auto" and not start.file.native.isVisibleTo(widget)
    start.menu.value = "a model file"
    assert start.file.native.isVisibleTo(start.native) and start.value == "auto"
    start.file.value = path
    assert widget.form.settings().start == str(path)
    assert "from own.n2n" in widget.form.section.text()
    assert f"--start {path}" in widget._recipe().as_command()
    assert f"start={str(path)!r}" in widget._recipe().as_python()
    start.file.value = tmp_path / "gone.n2n"
    qtbot.waitUntil(lambda: "gone.n2n" in widget.form.time_words.text(), timeout=20_000)
    settings = widget.form.settings()
    start.value = "cold"
    assert widget.form.settings().start == "cold"
    widget.form.choose(settings, "none")
    assert start.value == settings.start


def test_layers_are_paired_by_their_names(viewer, qtbot, fixed_estimate):
    for field in (1, 2):
        for seed, name in enumerate("ab"):
            image = noisy(blobs((64, 64), field), 10 * field + seed)
            viewer.add_image(image, name=f"cells_{field}_{name}")
        if field == 1:
            viewer.layers.move(1, 0)
            viewer.add_image(SCENE, name="other")
    widget = open_train(viewer)
    pair = (widget.layer_a.value.name, widget.layer_b.value.name)
    assert set(pair) == {"cells_1_a", "cells_1_b"}  # not the layer that comes next
    kind = widget.picker.kind
    kind.value = kind.choices[-1]
    assert "cells_2_a + cells_2_b" in widget.picker.pairs_words.text()
    assert widget.layer_a.native.isHidden() and widget.layer_b.native.isHidden()
    wait_until_measured(widget, qtbot)
    assert len(widget.measuring.measured.pairs) == 2
    recipe = widget._recipe()
    assert recipe.recordings.title == "cells_1_a + cells_1_b and 1 more pair"
    assert "cells_1_a.tif cells_1_b.tif + cells_2_a.tif cells_2_b.tif" in recipe.as_command()
    viewer.layers["cells_2_b"].name = "something"
    kinds = ("two recordings", "frames of one stack", "one recording only")
    assert kind.choices == kinds and not kind.native.isHidden()


def test_two_channels_of_one_layer_are_a_pair(viewer, qtbot, fixed_estimate):
    cameras = np.stack([noisy(SCENE, seed) for seed in (1, 2)])
    viewer.add_image(cameras, name="cameras", axis_labels=("c", "y", "x"))
    widget = open_train(viewer)
    widget.picker.split_instead()
    assert widget.picker.axis.value == "C"
    assert "C (2 channels)" in widget.picker.axis.native.currentText()
    wait_until_measured(widget, qtbot)
    names = [one.name for one in widget.measuring.measured.pairs[0].acquisitions]
    assert names == ["cameras C0", "cameras C1"]
