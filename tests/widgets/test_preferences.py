"""The plugin's page in napari's preferences, and the docks that use its values."""

import npe2
import numpy as np
import pytest
import torch
from conftest import blobs, noisy, wait_until_ready
from napari import settings as napari_settings

from napari_n2n import Acquisition
from napari_n2n.defaults import MEMORY
from napari_n2n.denoising.predictor import Predictor
from napari_n2n.model.device import use_threads
from napari_n2n.training.settings import TrainingSettings
from napari_n2n.widgets.preferences import preferences


@pytest.fixture
def page(plugin_settings, npe2pm):
    """The page, with its values stored in a temporary folder."""
    npe2pm.register(npe2.PluginManifest.from_distribution("napari-n2n"))
    return napari_settings.get_plugin_settings("napari-n2n")


def test_every_preference_has_a_default(page):
    untouched = preferences()
    assert (untouched.device, untouched.threads, untouched.folder) == ("auto", 0, None)
    assert untouched.preset == TrainingSettings().preset
    assert untouched.memory * 10**9 == MEMORY and untouched.path_for("cells") is None


def test_preferences_are_stored_and_docks_open_with_them(page, make_napari_viewer):
    page.computing.device, page.computing.memory = "cpu", 2.5
    page.training.preset = "quick"
    napari_settings._clear_plugin_settings_cache()  # as a new start of napari
    viewer = make_napari_viewer()
    _, denoise = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    _, train = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    assert (denoise.device.value, denoise.memory.value) == ("cpu", 2.5)
    assert (train.device.value, train.form.preset.value) == ("cpu", "quick")


def test_a_result_without_a_path_is_saved_in_the_folder_for_results(
    page, make_napari_viewer, qtbot, denoiser, monkeypatch, tmp_path
):
    page.results.folder, page.computing.threads = str(tmp_path / "results"), 3
    viewer = make_napari_viewer()
    viewer.add_image(noisy(blobs(), 1), name="day 1/cell: A")
    _, dock = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    dock.model.choose(denoiser.save(tmp_path / "model"))
    dock.device.value = "cpu"
    compute, used = Predictor.compute, []

    def counted(*given):
        used.append(torch.get_num_threads())
        return compute(*given)

    monkeypatch.setattr(Predictor, "compute", counted)
    dock.button.click()
    wait_until_ready(qtbot, dock)
    (kept,) = (tmp_path / "results").iterdir()
    assert kept.name == "day 1_cell_ A denoised.ome.zarr" and str(kept) in dock.status.text()
    assert np.isfinite(Acquisition.open(kept).plane(0)).all()
    assert set(used) == {3}
    assert dock.overwrite_button.isVisibleTo(dock)


def test_all_cores_are_used_again_when_the_limit_is_removed():
    before = torch.get_num_threads()
    use_threads(before + 1)
    assert torch.get_num_threads() == before + 1
    use_threads(0)
    assert torch.get_num_threads() == before


def test_training_saves_its_results_in_that_folder_and_overwrites_nothing(
    page, make_napari_viewer, qtbot, tmp_path
):
    results = tmp_path / "results"
    page.results.folder = str(results)
    viewer = make_napari_viewer()
    for name, seed in (("first", 1), ("second", 2)):
        viewer.add_image(noisy(blobs(), seed), name=name)
    _, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Train")
    widget.form.steps.value, widget.device.value = 3, "cpu"
    widget.form.patch.value, widget.form.batch.value = 32, 1
    for _ in range(2):
        widget.picker.layer_a.value, widget.picker.layer_b.value = viewer.layers[:2]
        widget.train()
        qtbot.waitUntil(lambda: not widget.session.running, timeout=60_000)
        assert f"kept in {results}" in widget.status.text()
    names = ["first + second denoised 2.ome.zarr", "first + second denoised.ome.zarr"]
    assert sorted(path.name for path in results.iterdir()) == names
