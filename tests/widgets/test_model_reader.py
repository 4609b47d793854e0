"""Model files opened in a real napari window, as a drop or File > Open does."""

import pytest
from conftest import blobs, noisy

from napari_n2n.model.record import ModelRecord
from napari_n2n.widgets.forms.model_picker import provenance


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


def drop(viewer, path):
    """Open a file as napari does when it is dropped: with the only reader that knows it."""
    assert viewer.open(path, plugin=None) == []


def is_open(viewer, name):
    return any(name in title for title in viewer.window.dock_widgets)


def test_a_dropped_model_opens_denoise_with_it(viewer, denoiser, shown, tmp_path):
    viewer.add_image(noisy(blobs(), 1), name="cells")
    path = denoiser.save(tmp_path / "cells.n2n")
    drop(viewer, path)
    assert is_open(viewer, "Denoise") and not shown
    _, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    assert widget.model.chosen().fingerprint() == denoiser.fingerprint()
    assert "trained on" in widget.model.card.text() and len(viewer.layers) == 1


def test_another_model_replaces_the_first_in_the_same_dock(viewer, denoiser, tmp_path):
    _, widget = viewer.window.add_plugin_dock_widget("napari-n2n", "Denoise")
    for name in ("one", "two"):
        drop(viewer, denoiser.save(tmp_path / name))
        assert widget.model.file.value.name == f"{name}.n2n"


def test_a_file_that_is_not_a_model_is_refused_in_one_line(viewer, shown, tmp_path):
    path = tmp_path / "bad.n2n"
    path.write_text("no model")
    drop(viewer, path)
    (line,) = shown
    assert "bad.n2n" in line and "damaged" in line and "\n" not in line
    assert not viewer.layers and not is_open(viewer, "Denoise")


@pytest.mark.parametrize(
    ("versions", "words"), [({}, None), ({"torch": "2.5"}, "torch 2.5"), ({"python": "3"}, None)]
)
def test_the_card_of_a_model_shows_the_versions_that_it_names(versions, words):
    assert dict(provenance(ModelRecord(versions=versions))).get("made with") == words
