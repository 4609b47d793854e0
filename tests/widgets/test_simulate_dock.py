"""The Simulate dock in a real napari window."""

import dask.array as da
import numpy as np
import pytest
import zarr
from conftest import blobs, wait_until_ready

from napari_n2n.generators import as_steps
from napari_n2n.simulate.registry import NOISES
from napari_n2n.widgets.forms.layer_menu import suggested_layers
from napari_n2n.widgets.sessions import simulation_session

SCENE = blobs((2, 64, 64))


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


def open_dock(viewer):
    return viewer.window.add_plugin_dock_widget("napari-n2n", "Simulate")


def test_two_noisy_copies_have_the_position_of_their_source(viewer, qtbot):
    source = viewer.add_image(
        da.from_array(SCENE),
        name="cells",
        scale=(2, 0.5, 0.5),
        translate=(1, 3, 3),
        rotate=5,
        units="um",
        contrast_limits=(90, 500),
        colormap="green",
    )
    _, widget = open_dock(viewer)
    widget.numbers["gaussian"][0].lowest.value = 10
    widget.button.click()
    wait_until_ready(qtbot, widget)
    a, b = viewer.layers["cells a"], viewer.layers["cells b"]
    assert suggested_layers(viewer, 2)[:2] == [a, b]  # by the Train dock
    for layer in (a, b):
        assert isinstance(layer.data, zarr.Array) and layer.colormap.name == "green"
        for name in ("scale", "translate", "rotate", "shear", "units", "contrast_limits"):
            np.testing.assert_array_equal(getattr(layer, name), getattr(source, name))
    noise_a, noise_b = (np.asarray(layer.data) - SCENE for layer in (a, b))
    assert noise_a.std() == pytest.approx(10, rel=0.05)
    assert abs(np.corrcoef(noise_a.ravel(), noise_b.ravel())[0, 1]) < 0.05


def test_the_ends_of_a_range_are_whole_in_the_narrowest_dock(viewer):
    _, widget = open_dock(viewer)
    field = widget.numbers["gaussian"][0]
    row, ends = field.native.layout(), (field.lowest.native, field.highest.native)
    field.native.resize(188, field.native.height())  # its width in a dock of 300 pixels
    row.activate()
    for end in ends:
        end.ensurePolished()
        assert field.native.rect().contains(end.geometry())
    assert not ends[0].geometry().intersects(row.itemAt(1).widget().geometry())


def test_only_the_parameters_of_the_chosen_noise_are_shown(viewer):
    _, widget = open_dock(viewer)
    for name, kind in NOISES.items():
        widget.noise.value = name
        shown = {
            (noise, field.label)
            for noise, fields in widget.numbers.items()
            for field in fields
            if not field.native.isHidden()
        }
        assert shown == {(name, number.label) for number in kind.parameters().values()}
        assert widget.chosen_noise() == kind()
        assert widget.noise_words.text() == kind.description


def test_the_same_seed_gives_the_same_pixels(viewer, qtbot):
    viewer.add_image(SCENE, name="cells")
    _, widget = open_dock(viewer)
    for seed in (1, 1, 2):
        widget.layer.value = viewer.layers["cells"]
        widget.seed.value = seed
        widget.button.click()
        wait_until_ready(qtbot, widget)
    _, first, _, again, _, other, _ = (np.asarray(layer.data) for layer in viewer.layers)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_an_error_is_shown_and_the_button_stays_enabled(viewer, qtbot, shown):
    _, widget = open_dock(viewer)
    widget.button.click()
    assert "clean image" in shown[-1] and widget.button.isEnabled()
    viewer.add_image(np.zeros((64, 64, 3), np.uint8), rgb=True, name="photo")
    widget.button.click()
    wait_until_ready(qtbot, widget)
    assert "colour" in shown[-1] and "colour" in widget.status.text()
    assert len(viewer.layers) == 1


def test_a_range_gives_every_plane_its_own_level(viewer, qtbot):
    viewer.add_image(np.zeros((12, 64, 64)), name="dark")
    _, widget = open_dock(viewer)
    level = widget.numbers["gaussian"][0]
    level.lowest.value, level.highest.value = 5, 50
    assert widget.chosen_noise() == NOISES["gaussian"]((5, 50))
    widget.button.click()
    wait_until_ready(qtbot, widget)
    levels = np.asarray(viewer.layers["dark a"].data).std(axis=(1, 2))
    assert 4.5 < levels.min() < levels.max() < 55 and np.ptp(levels) > 10
    level.lowest.value = 60
    widget.button.click()
    assert "is out of range" in widget.status.text() and widget.button.isEnabled()


def test_unlabelled_axes_are_asked_for(viewer, qtbot):
    viewer.add_image(np.zeros((2, 2, 64, 64)), name="unnamed")
    _, widget = open_dock(viewer)
    assert not widget.axes.native.isHidden()
    widget.button.click()
    assert "say which are time" in widget.status.text() and widget.button.isEnabled()
    widget.axes.value = "tcyx"
    widget.button.click()
    wait_until_ready(qtbot, widget)
    assert viewer.layers["unnamed b"].data.shape == (2, 2, 64, 64)
    viewer.layers.clear()
    widget.axes.value = ""
    viewer.add_image(SCENE, name="named", axis_labels=("z", "y", "x"))
    assert widget.axes.native.isHidden()


def test_cancel_ends_the_run_and_adds_no_layers(viewer, qtbot):
    viewer.add_image(np.zeros((5000, 64, 64), np.uint8), name="long")
    _, widget = open_dock(viewer)
    assert widget.cancel_button.isHidden() and widget.progress.isHidden()
    widget.button.click()
    qtbot.waitUntil(lambda: widget.progress.value() > 0, timeout=60_000)
    widget.cancel_button.click()
    wait_until_ready(qtbot, widget)
    assert widget.status.text() == "Cancelled." and len(viewer.layers) == 1
    assert widget.cancel_button.isHidden() and widget.progress.isHidden()


def test_a_run_cancelled_at_its_last_plane_leaves_nothing(viewer, qtbot, monkeypatch):
    simulate, made = simulation_session.simulate_by_planes, []
    viewer.add_image(SCENE, name="cells")
    _, widget = open_dock(viewer)

    @as_steps
    def cancelled_late(*given, **options):
        made.extend((yield from simulate(*given, **options)))
        widget.session._stop.set()  # as if pressed while the last plane is written
        return made

    monkeypatch.setattr(simulation_session, "simulate_by_planes", cancelled_late)
    widget.button.click()
    wait_until_ready(qtbot, widget)
    assert widget.status.text() == "Cancelled." and len(viewer.layers) == 1
    assert len(made) == 2 and not any(path.exists() for path in made)


def test_a_reopened_dock_can_cancel_the_run(viewer, qtbot):
    viewer.add_image(np.zeros((5000, 64, 64), np.uint8), name="long")
    dock, widget = open_dock(viewer)
    widget.button.click()
    viewer.window.remove_dock_widget(dock)
    _, again = open_dock(viewer)
    assert not again.button.isEnabled() and not again.cancel_button.isHidden()
    qtbot.waitUntil(lambda: again.progress.value() > 0, timeout=60_000)
    again.cancel_button.click()
    wait_until_ready(qtbot, again)
    assert again.status.text() == "Cancelled." and len(viewer.layers) == 1


def test_a_run_continues_while_its_dock_is_closed(viewer, qtbot):
    viewer.add_image(SCENE, name="cells")
    dock, widget = open_dock(viewer)
    widget.button.click()
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=60_000)
