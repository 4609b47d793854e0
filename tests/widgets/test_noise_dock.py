"""The Noise dock in a real napari window."""

import json

import dask.array as da
import numpy as np
import pytest
from conftest import blobs, noisy, wait_until_ready
from qtpy.QtWidgets import QFileDialog
from scipy import ndimage

SCENE = blobs((128, 128))


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


def open_dock(viewer):
    return viewer.window.add_plugin_dock_widget("napari-n2n", "Noise")


def add_pair(viewer, b=None):
    viewer.add_image(da.from_array(noisy(SCENE, 1)), name="first")
    viewer.add_image(noisy(SCENE, 2) if b is None else b, name="second")


def measure(widget, qtbot):
    widget.button.click()
    assert not widget.button.isEnabled() and not widget.cancel_button.isHidden()
    wait_until_ready(qtbot, widget)


def test_the_loss_the_figures_and_the_plots_are_shown(viewer, qtbot):
    add_pair(viewer)
    _, widget = open_dock(viewer)
    assert not widget.plots and widget.loss.isHidden()
    measure(widget, qtbot)
    assert "L2" in widget.loss.text() and "averages out" in widget.status.text()
    noise = widget.figures.text().split("noise in A")[1].split("±")[0].rpartition(">")[2]
    assert float(noise) == pytest.approx(20, rel=0.05)
    titles = [plot.panel.title for plot in widget.plots]
    assert len(titles) == 4 and titles[0] == "Photon-transfer curve"
    assert len(viewer.layers) == 2


def test_warnings_name_a_fix_and_fit_a_narrow_dock(viewer, qtbot):
    rng = np.random.default_rng(0)
    for view in "ab":
        noise = ndimage.gaussian_filter(rng.normal(size=SCENE.shape), 1.5)
        name = f"a long name that a microscope has made up for its recording {view}"
        viewer.add_image(SCENE + 20 * noise / noise.std(), name=name)
    _, widget = open_dock(viewer)
    measure(widget, qtbot)
    assert not widget.warnings.isHidden()
    assert "turn off smoothing" in widget.warnings.text()
    assert widget.widget().minimumSizeHint().width() <= 280


def test_two_scenes_are_not_a_pair_and_no_figures_are_shown(viewer, qtbot):
    add_pair(viewer, b=noisy(blobs((128, 128), seed=7), 2))
    _, widget = open_dock(viewer)
    measure(widget, qtbot)
    assert widget.warnings.text().startswith("⚠ first and second do not show the same scene")
    assert "\n" not in widget.warnings.text() and not widget.plots
    texts = (widget.loss, widget.status, widget.figures)
    assert all(part.isHidden() for part in (*texts, widget.save_button))


def test_cancel_stops_the_measurement(viewer, qtbot):
    add_pair(viewer)
    _, widget = open_dock(viewer)
    widget.button.click()
    widget.cancel_button.click()
    assert widget.button.isEnabled() and widget.picker.isEnabled()
    widget.picker.layer_b.value = viewer.layers["first"]
    widget.picker.layer_b.value = viewer.layers["second"]
    qtbot.wait(1500)
    assert widget.loss.isHidden() and not widget.measuring.busy
    measure(widget, qtbot)
    assert "L2" in widget.loss.text() and widget.cancel_button.isHidden()


def test_choosing_another_pair_clears_the_last_measurement(viewer, qtbot):
    add_pair(viewer)
    _, widget = open_dock(viewer)
    measure(widget, qtbot)
    measure(widget, qtbot)
    assert len(widget.plots) == 4
    viewer.add_image(noisy(SCENE, 3), name="third")
    assert widget.plots and not widget.figures.isHidden()
    widget.picker.layer_b.value = viewer.layers["third"]
    assert not widget.plots and widget.figures.isHidden() and widget.loss.isHidden()
    wait_until_ready(qtbot, widget)
    assert len(widget.plots) == 4 and widget.measuring.measured.pairs[0].first.name == "first"


def test_new_pixels_in_a_layer_are_measured_again(viewer, qtbot):
    add_pair(viewer)
    _, widget = open_dock(viewer)
    measure(widget, qtbot)
    before = widget.figures.text()
    viewer.layers["second"].data = noisy(SCENE, 5, 60)
    qtbot.waitUntil(lambda: widget.figures.text() not in ("", before), timeout=30_000)
    assert len(widget.plots) == 4


def test_files_are_measured_without_layers(viewer, qtbot, tmp_path):
    _, widget = open_dock(viewer)
    widget.picker.source.value = "files"
    for edit, seed in ((widget.picker.file_a, 1), (widget.picker.file_b, 2)):
        np.save(tmp_path / f"{seed}.npy", noisy(SCENE, seed))
        edit.value = tmp_path / f"{seed}.npy"
    measure(widget, qtbot)
    assert len(widget.plots) == 4 and not viewer.layers


def test_an_error_is_shown_and_the_button_stays_enabled(viewer, qtbot, shown):
    _, widget = open_dock(viewer)
    widget.button.click()
    assert "two noisy recordings" in shown[-1] and widget.button.isEnabled()
    add_pair(viewer, b=np.zeros((64, 64), np.float32))
    measure(widget, qtbot)
    assert "shape" in shown[-1] and shown[-1] == widget.status.text() and not widget.plots
    assert "\n" not in shown[-1]


def test_the_plots_use_the_theme(viewer, qtbot):
    add_pair(viewer)
    _, widget = open_dock(viewer)
    measure(widget, qtbot)

    def background():
        return widget.plots[0].plot.backgroundBrush().color().lightness()

    viewer.theme = "dark"
    dark = background()
    viewer.theme = "light"
    assert dark < 100 < background()


def test_a_dock_can_be_closed_during_a_measurement(viewer, qtbot):
    add_pair(viewer)
    dock, widget = open_dock(viewer)
    widget.button.click()
    viewer.window.remove_dock_widget(dock)
    _, again = open_dock(viewer)
    measure(again, qtbot)
    assert len(again.plots) == 4


def test_a_reopened_dock_shows_the_last_measurement(viewer, qtbot):
    add_pair(viewer)
    dock, widget = open_dock(viewer)
    measure(widget, qtbot)
    figures = widget.figures.text()
    viewer.window.remove_dock_widget(dock)
    _, again = open_dock(viewer)
    assert again.figures.text() == figures and len(again.plots) == 4


def test_every_channel_is_measured_if_the_axes_are_given(viewer, qtbot):
    for seed in (1, 2):
        channels = [noisy(SCENE, seed, sigma) for sigma in (20, 40)]
        viewer.add_image(np.stack([channels]), name=f"n{seed}")
    _, widget = open_dock(viewer)
    widget.picker.axes.value = "tcyx"
    measure(widget, qtbot)
    assert not widget.channel.native.isHidden() and len(widget.channel.choices) == 2
    before = widget.figures.text()
    widget.channel.value = 1
    assert widget.figures.text() != before and len(widget.plots) == 4


def test_train_and_noise_docks_share_their_measurements(viewer, qtbot):
    add_pair(viewer)
    viewer.add_image(noisy(SCENE, 3), name="third")
    _, widget = open_dock(viewer)
    widget.picker.layer_b.value = viewer.layers["third"]
    measure(widget, qtbot)
    widget.train_button.click()
    _, train = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    assert train.layer_b.value.name == "third"
    assert train.measuring.measured is widget.measuring.measured is not None
    widget.picker.layer_b.value = viewer.layers["second"]
    assert not widget.plots
    widget.picker.layer_b.value = viewer.layers["third"]
    assert len(widget.plots) == 4


def test_hot_pixels_are_named_and_marked_where_they_are(viewer, qtbot):
    hot = np.random.default_rng(3).random(SCENE.shape) < 0.005
    for seed in (1, 2):
        view = noisy(SCENE, seed, 5) + np.where(hot, 1500, 0)
        viewer.add_image(view[None], name=f"n{seed}", scale=(3, 0.5, 0.5), translate=(0, 7, 9))
    _, widget = open_dock(viewer)
    assert widget.hot_button.isHidden()
    measure(widget, qtbot)
    assert f"{hot.sum()} hot pixels" in widget.warnings.text()
    assert "Hot pixels" in widget.warnings.text()  # the field of the form, not the option
    assert not widget.hot_button.isHidden()
    widget.hot_button.click()
    assert len(viewer.layers) == 3
    points = viewer.layers["hot pixels of n1"]
    expected = np.argwhere(hot) * 0.5 + (7, 9)
    assert np.allclose(np.asarray(points.data), expected)
    assert points.units == viewer.layers["n1"].units[1:]
    widget.picker.layer_b.value = viewer.layers["n1"]
    assert widget.hot_button.isHidden()


def test_a_saved_report_is_the_noise_of_one_recording(viewer, qtbot, tmp_path, monkeypatch):
    add_pair(viewer)
    _, widget = open_dock(viewer)
    assert widget.save_button.isHidden()
    measure(widget, qtbot)
    chosen = [str(tmp_path / "noise"), ""]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: chosen)
    widget.save_button.click()
    saved = tmp_path / "noise.json"
    qtbot.waitUntil(saved.exists, timeout=10_000)
    written = json.loads(saved.read_text())
    assert [one["name"] for one in written["recordings"]] == ["first", "second"]
    _, train = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    assert train.picker.noise.native.isHidden()
    train.picker.kind.value = "one recording only"
    train.picker.noise.value = saved
    qtbot.waitUntil(lambda: train.measuring.measured is not None, timeout=60_000)
    assert train.findings.noise_words.text().endswith("(from noise.json)")
    assert "that of noise.json" in train.findings.loss_words.text()
    recipe = train._recipe()
    assert f"--single --noise {saved}" in recipe.as_command()
    assert f"reports=n2n.read_noise_report({str(saved)!r}, pairs))" in recipe.as_python()
    saved.write_text("{}")
    train.measuring.measure(train.picker.recordings(), again=True)
    qtbot.waitUntil(lambda: train.measuring.problem is not None, timeout=60_000)
    assert f"⚠ {saved}: not a noise report" in train.findings.loss_words.text()
