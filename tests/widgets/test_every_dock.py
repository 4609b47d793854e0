"""Properties that every dock has, in a real napari window."""

import logging
from threading import Thread

import numpy as np
import pytest
import tifffile
import torch
from conftest import blobs, noisy
from napari.utils import progress
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QScrollBar,
    QWidget,
)

from napari_n2n.denoising.predictor import Predictor
from napari_n2n.widgets.sessions import measuring, simulation_session

PICKING = ("Train", "Noise", "Denoise")
COMPUTING = (*PICKING, "Simulate")
DOCKS = (*COMPUTING, "Split")
CONTROLS = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


def open_dock(viewer, name):
    return viewer.window.add_plugin_dock_widget("napari-n2n", name)[1]


def controls(widget):
    """Return all controls that the user can operate; parts inside a control are not counted."""
    found = []
    for one in widget.findChildren(QWidget):
        inside = one.parent()
        if (
            isinstance(one, CONTROLS)
            and not isinstance(one, QScrollBar)
            and not isinstance(inside, (QAbstractSpinBox, QComboBox, QAbstractItemView))
        ):
            found.append(one)
    return found


def explained(control):
    while control is not None and not control.toolTip():
        control = control.parentWidget()
    return control is not None


def press(widget, model=None):
    """Press the main button of a dock."""
    if model is not None and hasattr(widget, "model"):
        widget.model.choose(model)
    (widget.button if hasattr(widget, "button") else widget.train_button).click()


def words(widget):
    checks = getattr(widget, "findings", None)
    return widget.status.text() + (checks.loss_words.text() if checks is not None else "")


def idle(widget):
    started = getattr(widget, "session", None)
    pressed = widget.button if hasattr(widget, "button") else widget.train_button
    return pressed.isEnabled() and not (started is not None and started.running)


@pytest.mark.parametrize("name", DOCKS)
def test_every_control_has_a_tooltip_and_can_be_reached_by_keyboard(viewer, name):
    found = controls(open_dock(viewer, name))
    assert len(found) >= 4
    assert not [one for one in found if not explained(one)]
    tab = Qt.FocusPolicy.TabFocus
    assert not [one for one in found if one.focusPolicy() & tab != tab]


@pytest.mark.parametrize("name", DOCKS)
def test_a_dock_fits_a_small_screen(viewer, name):
    viewer.window.resize(1366, 768)
    for letter in "ab":
        long = f"a very long name that a microscope has made up for its recording {letter}"
        viewer.add_image(noisy(blobs((32, 32)), ord(letter)), name=long)
    widget = open_dock(viewer, name)
    assert widget.widget().minimumSizeHint().width() <= 300
    assert widget.minimumSizeHint().height() < 300  # the rest scrolls


@pytest.mark.parametrize("name", DOCKS)
def test_an_empty_viewer_is_explained(viewer, name, shown, qtbot):
    widget = open_dock(viewer, name)
    press(widget)
    assert len(shown) == 1 and idle(widget)
    assert any(word in shown[0] for word in ("first", "choose")), shown


@pytest.mark.parametrize("name", DOCKS)
def test_colour_images_are_refused_with_a_fix(viewer, name, shown, denoiser, qtbot, tmp_path):
    for letter in "ab":
        viewer.add_image(np.zeros((64, 64, 3), np.uint8), rgb=True, name=letter)
    widget = open_dock(viewer, name)
    press(widget, denoiser.save(tmp_path / "model"))
    qtbot.waitUntil(lambda: idle(widget) and "colour" in words(widget), timeout=30_000)
    assert "Split RGB" in shown[-1]
    assert len(viewer.layers) == 2


@pytest.mark.parametrize("name", DOCKS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3, 9)])
def test_tiny_layers_are_computed_or_refused_in_one_line(
    viewer, name, shown, denoiser, qtbot, tmp_path, shape
):
    for seed, letter in enumerate("ab"):
        viewer.add_image(noisy(np.full(shape, 90.0), seed), name=letter)
    widget = open_dock(viewer, name)
    if name == "Train":
        widget.form.steps.value, widget.device.value = 2, "cpu"
    press(widget, denoiser.save(tmp_path / "model"))
    qtbot.waitUntil(
        lambda: idle(widget) and (bool(shown) or len(viewer.layers) > 2), timeout=60_000
    )
    assert all("\n" not in message and "Error" not in message for message in shown)


@pytest.mark.parametrize("name", COMPUTING)
def test_lack_of_memory_is_reported_and_the_button_stays_enabled(
    viewer, name, shown, denoiser, qtbot, tmp_path, monkeypatch
):
    def full(*_given, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Predictor, "compute", full)
    monkeypatch.setattr(measuring, "measure_with_curves", full)
    monkeypatch.setattr(simulation_session, "simulate_by_planes", full)
    for seed, letter in enumerate("ab"):
        viewer.add_image(noisy(blobs((64, 64)), seed), name=letter)
    widget = open_dock(viewer, name)
    press(widget, denoiser.save(tmp_path / "model"))
    qtbot.waitUntil(lambda: idle(widget) and "not enough memory" in words(widget), timeout=30_000)
    assert len(viewer.layers) == 2
    qtbot.waitUntil(lambda: not progress._all_instances, timeout=30_000)


def test_a_file_of_which_only_a_part_is_read_is_announced_once(
    viewer, monkeypatch, qtbot, tmp_path
):
    said = []
    monkeypatch.setattr("napari_n2n.widgets.dock.show_warning", said.append)
    path, other = tmp_path / "cut.tif", tmp_path / "other.npy"
    frames = [noisy(blobs((48, 64)), seed) for seed in range(10)]
    tifffile.imwrite(path, np.stack(frames[:6]), compression="deflate", metadata=None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    np.save(other, np.stack(frames[6:]))
    widget = open_dock(viewer, "Train")
    widget.picker.source.value = "files"
    widget.picker.axes.value = "TYX"
    widget.picker.file_a.value, widget.picker.file_b.value = path, other
    qtbot.waitUntil(lambda: len(said) > 0, timeout=10_000)
    log = logging.getLogger("napari_n2n")
    thread = Thread(target=lambda: log.warning("%s: set --axes", path))  # as from a background job
    thread.start()
    thread.join()
    log.warning("%s: set --axes", path)
    first, *others = said
    assert first.startswith(str(path)) and "planes that are complete" in first
    assert others == [f"{path}: set Axes"]


@pytest.mark.parametrize("name", PICKING)
def test_the_file_dialogs_choose_a_file(viewer, name, monkeypatch, qtbot, tmp_path):
    np.save(tmp_path / "a.npy", noisy(blobs((32, 32)), 1))
    widget = open_dock(viewer, name)
    widget.picker.source.value = "files"
    for edit in (widget.picker.file_a, widget.picker.file_b):
        path = str(tmp_path / "a.npy")
        monkeypatch.setattr(edit, "_show_file_dialog", lambda *_, path=path, **__: path)
        edit.choose_btn.native.click()
        assert edit.value == tmp_path / "a.npy"


@pytest.mark.parametrize("name", DOCKS)
def test_layers_can_change_right_after_a_dock_was_closed(viewer, qtbot, denoiser, tmp_path, name):
    for seed in (1, 2):
        viewer.add_image(noisy(blobs((64, 64)), seed), name=f"n{seed}")
    dock, widget = viewer.window.add_plugin_dock_widget("napari-n2n", name)
    if hasattr(widget, "model"):
        widget.model.choose(denoiser.save(tmp_path / "model"))
    qtbot.wait(300)
    viewer.window.remove_dock_widget(dock)
    with qtbot.captureExceptions() as errors:
        for gone in ("n2", "n1"):
            viewer.layers.remove(gone)
        for seed in (3, 4):
            viewer.add_image(noisy(blobs((64, 64)), seed), name=f"n{seed}")
        qtbot.wait(300)
    assert not errors
