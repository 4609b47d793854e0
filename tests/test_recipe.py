"""The text of a run, and how long it takes."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from conftest import blobs, noisy, refused
from napari.layers import Image

from napari_n2n import (
    Acquisition,
    Pair,
    TrainingSettings,
    measure_noise,
    open_pairs,
    train,
)
from napari_n2n.pair.recordings import Recordings
from napari_n2n.recipe import Recipe
from napari_n2n.training.estimate import estimate_time
from napari_n2n.training.settings import PRESETS

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


def test_both_texts_make_the_same_weights_again(movie, typed):
    recordings = Recordings((movie,), split="T")
    here = train(recordings.pairs(), SHORT)
    recipe = Recipe(recordings, SHORT)
    script, shell = typed(recipe.as_python()), typed(recipe.as_command())
    assert same(here, script) and same(here, shell)
    assert script.record.settings == shell.record.settings == SHORT.model_dump()


def test_a_text_says_what_to_replace_where_a_layer_is_no_file():
    layers = tuple(SimpleNamespace(name=name) for name in ("first one", "second"))
    recipe = Recipe(Recordings(layers, axes="TYX"), TrainingSettings(minutes=2))
    script, shell = recipe.as_python(), recipe.as_command()
    assert "[viewer.layers['first one'], viewer.layers['second']], axes='TYX'" not in script
    assert "viewer.layers['first one']" in script and "napari's console" in script
    assert "Save the layer 'second' as second.tif" in shell and "'first one.tif'" in shell
    assert all("differ from run to run" in text for text in (script, shell))
    compile(script, "script", "exec")


def test_a_layer_that_shows_a_file_is_named_by_the_file(movie, monkeypatch):
    layer = Image(tifffile.imread(movie), name="a movie")
    monkeypatch.setattr(Image, "source", SimpleNamespace(path=str(movie)))
    recipe = Recipe(Recordings((layer, layer)), SHORT)
    assert str(movie) in recipe.as_python() and "viewer" not in recipe.as_python()
    layer.data = layer.data + 1
    assert "viewer.layers['a movie']" in recipe.as_python()


def test_each_recording_by_itself_is_in_the_texts_too(tmp_path, typed):
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


def test_folders_stand_for_the_fields_in_them(tmp_path, typed):
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


def test_a_folder_of_movies_is_split_file_by_file(movie):
    fields = Recordings((movie.parent,), split="T")
    assert [pair.first.shape for pair in fields.pairs()] == [(2, 64, 64)]
    with refused("single"):
        Recordings((movie.parent,)).pairs()


def test_a_preset_decides_how_long_a_run_goes_on(pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.schedule.VIEWS", 0)
    monkeypatch.setattr("napari_n2n.training.schedule.SHORTEST_RUN", 20)
    settings = SHORT.model_copy(update={"steps": None})
    steps = {
        name: train(pair, settings.model_copy(update={"preset": name})).record.steps
        for name in PRESETS
    }
    assert steps == {"quick": 6, "balanced": 20, "thorough": 60}


def test_the_time_of_a_run_is_told_before_it_begins(pair):
    report = measure_noise(pair)
    told = estimate_time([pair], SHORT, [report])
    assert told.timed > 0 and told.device == "cpu"
    assert told.seconds(SHORT) == pytest.approx(12 * told.step_seconds, rel=0.1)
    free = SHORT.model_copy(update={"steps": None})
    quick, thorough = (
        told.seconds(free.model_copy(update={"preset": name})) for name in ("quick", "thorough")
    )
    assert thorough == pytest.approx(10 * quick)
    assert told.seconds(free.model_copy(update={"minutes": 1e-4})) == pytest.approx(0.006)


def test_volumes_and_channels_are_timed_as_they_are_trained():
    scene = blobs((20, 64, 64))
    stacks = [np.stack([noisy(scene, seed), noisy(scene, seed + 9)]) for seed in (1, 2)]
    pairs = open_pairs(stacks, axes="CZYX")
    reports = [measure_noise(pair) for pair in pairs]
    settings = SHORT.model_copy(update={"dims": 3, "channels": "separate", "batch": 8})
    told = estimate_time(pairs, settings, reports)
    assert told.networks == 2
    assert told.seconds(settings) == pytest.approx(24 * told.step_seconds, rel=0.1)
    flat = Pair.open(*(noisy(blobs((64, 64)), seed) for seed in (1, 2)))
    with refused("axes"):
        estimate_time([flat], settings, reports[:1])


def test_timing_a_run_leaves_the_weights_of_another_alone(pair):
    before = train(pair, SHORT)
    estimate_time([pair], SHORT.model_copy(update={"seed": 8}), [measure_noise(pair)])
    assert same(before, train(pair, SHORT))
