"""What "Copy as Python" and "Copy as command" give."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from conftest import blobs, noisy, refused
from napari.layers import Image

from napari_n2n import (
    Acquisition,
    TrainingSettings,
    train,
)
from napari_n2n.pair.recordings import Recordings
from napari_n2n.recipe import Recipe

SHORT = TrainingSettings(steps=12, patch=32, batch=2, device="cpu", seed=5, memory=600_000_000)


@pytest.fixture
def movie(tmp_path):
    frames = np.stack([noisy(blobs((64, 64)), seed) for seed in range(4)])
    path = tmp_path / "a movie.tif"
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"})
    return path


def same(one, other):
    states = (model.networks[0].state_dict() for model in (one, other))
    return all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_both_texts_reproduce_the_weights(movie, typed):
    recordings = Recordings((movie,), split="T")
    here = train(recordings.pairs(), SHORT)
    recipe = Recipe(recordings, SHORT)
    script, shell = typed(recipe.as_python()), typed(recipe.as_command())
    assert same(here, script) and same(here, shell)
    assert script.record.settings == shell.record.settings == SHORT.model_dump()


def test_both_texts_name_the_card(movie):
    recipe = Recipe(Recordings((movie,), split="T"), TrainingSettings(device="cuda:1"))
    assert recipe.as_python().count("device='cuda:1'") == 2
    assert recipe.as_command().count("--device cuda:1") == 2


def test_a_text_says_what_to_replace_if_a_layer_has_no_file():
    layers = tuple(SimpleNamespace(name=name) for name in ("first one", "second"))
    recipe = Recipe(Recordings(layers, axes="TYX"), TrainingSettings(minutes=2))
    script, shell = recipe.as_python(), recipe.as_command()
    assert "[viewer.layers['first one'], viewer.layers['second']], axes='TYX'" not in script
    assert "viewer.layers['first one']" in script and "napari's console" in script
    assert "Save the layer 'second' as second.tif" in shell and "'first one.tif'" in shell
    assert all("differ from run to run" in text for text in (script, shell))
    compile(script, "script", "exec")


def test_an_unchanged_layer_is_replaced_by_its_file(movie, monkeypatch):
    layer = Image(tifffile.imread(movie), name="a movie")
    monkeypatch.setattr(Image, "source", SimpleNamespace(path=str(movie)))
    recipe = Recipe(Recordings((layer, layer)), SHORT)
    assert str(movie) in recipe.as_python() and "viewer" not in recipe.as_python()
    layer.data = layer.data + 1
    assert "viewer.layers['a movie']" in recipe.as_python()


def test_the_texts_denoise_each_recording_alone_too(tmp_path, typed):
    paths = []
    for seed in (1, 2):
        paths.append(tmp_path / f"{seed}.npy")
        np.save(paths[-1], noisy(blobs((64, 64)), seed))
    recipe = Recipe(Recordings(tuple(paths)), SHORT, "each")
    assert recipe.results() == [tuple(paths), (paths[0],), (paths[1],)]
    for text in (recipe.as_python(), recipe.as_command()):
        typed(text)
        first, second = (Acquisition.open(f"clean_{k}.ome.zarr").plane(0) for k in (1, 2))
        assert not np.array_equal(first, second)


def test_folders_are_copied_as_their_fields_of_view(tmp_path, typed):
    folders = [tmp_path / name for name in ("before it", "after")]
    for number, folder in enumerate(folders):
        folder.mkdir()
        for field, side in (("one", 64), ("two", 72)):
            np.save(folder / f"{field}.npy", noisy(blobs((side, side)), number))
    recordings = Recordings(tuple(folders))
    recipe = Recipe(recordings, SHORT, "each")
    assert recordings.fields[1] == tuple(folder / "two.npy" for folder in folders)
    assert len(recipe.results()) == 6
    here = train(recordings.pairs(), SHORT)
    for text in (recipe.as_python(), recipe.as_command()):
        assert same(here, typed(text))
        shapes = [Acquisition.open(f"clean_{end}.ome.zarr").shape for end in ("0", "1", "1_2")]
        assert shapes == [(64, 64), (72, 72), (72, 72)]


def test_every_movie_in_a_folder_is_split(movie):
    fields = Recordings((movie.parent,), split="T")
    assert [pair.first.shape for pair in fields.pairs()] == [(2, 64, 64)]
    with refused("single"):
        Recordings((movie.parent,)).pairs()


def test_the_texts_write_the_error_map_of_each_result(tmp_path, typed):
    paths = [tmp_path / f"{seed}.npy" for seed in (1, 2)]
    for seed, path in enumerate(paths):
        np.save(path, noisy(blobs((64, 64)), seed))
    settings = SHORT.model_copy(update={"error_map": "on"})
    recipe = Recipe(Recordings(tuple(paths)), settings)
    for text in (recipe.as_python(), recipe.as_command()):
        typed(text)
        assert (Acquisition.open("clean_error.ome.zarr").plane(0) > 0).all()


def test_the_texts_correct_by_the_dark_frames(tmp_path, typed):
    rng, paths = np.random.default_rng(0), [tmp_path / f"{name}.npy" for name in "abd"]
    for seed, path in enumerate(paths[:2]):
        np.save(path, noisy(blobs((64, 64)), seed))
    dark = rng.normal(100, 2, (8, 64, 64))
    dark[:, 20, 30] += 500
    np.save(paths[2], dark.astype(np.float32))
    recipe = Recipe(Recordings(tuple(paths[:2]), dark=(paths[2],)), SHORT)
    for text in (recipe.as_python(), recipe.as_command()):
        detector = typed(text).record.detector_of(0)
        assert detector is not None and detector.bad[20, 30]


def test_the_option_for_one_recording_has_no_value():
    recipe = Recipe(Recordings(("a.tif",), single=True), TrainingSettings(seed=3))
    assert recipe.as_command().startswith("napari-n2n train a.tif -o model.n2n --single --seed 3\n")
