"""Whether a run uses the neighbours of each plane, and what it reports."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs, noisy

from napari_n2n import Pair, TrainingSettings, measure_noise, open_pairs, train
from napari_n2n.training.dimensions import choose_dimensions
from napari_n2n.training.estimate import estimate_time

SHORT = TrainingSettings(steps=2, patch=32, batch=8, device="cpu")


@pytest.fixture(scope="module")
def volume():
    """Two recordings of a volume whose planes are alike, and their noise."""
    scene = np.broadcast_to(blobs((48, 48)), (6, 48, 48))
    pair = Pair.open(*(noisy(scene, seed) for seed in (1, 2)), axes="ZYX")
    return pair, measure_noise(pair)


def chosen(volume, correlation=0.9, **settings):
    pair, report = volume
    return choose_dimensions(
        TrainingSettings(**settings), [pair], [replace(report, depth_correlation=correlation)]
    )


def test_neighbouring_planes_are_used_where_they_are_alike(volume):
    assert volume[1].depth_correlation > 0.9
    alike, different = chosen(volume), chosen(volume, 0.3)
    assert (alike.count, different.count) == (3, 2)
    assert "0.90: each is denoised with its neighbours" in alike.reason
    assert "0.30: too little in common" in different.reason


def test_the_settings_decide_first(volume):
    assert chosen(volume, dims=2).count == 2
    assert chosen(volume, 0.3, dims=3).count == 3


def test_planes_are_trained_alone_where_neighbours_were_not_shown_to_help(volume):
    pair, report = volume
    assert chosen(volume, None).count == 2
    assert chosen(volume, start="cold").count == 2
    assert chosen(volume, loss="l0").count == 2
    single = Pair.single(np.asarray(pair.first.data), axes="ZYX")
    assert choose_dimensions(TrainingSettings(), [single], [measure_noise(single)]).count == 2
    assumed = Pair.open(*(np.asarray(one.data) for one in pair.acquisitions))
    assert choose_dimensions(TrainingSettings(), [assumed], [report]).count == 2


def test_all_channels_are_trained_alike(volume):
    pair, report = volume
    other = replace(report, depth_correlation=0.2)
    assert choose_dimensions(TrainingSettings(), [pair, pair], [report, other]).count == 2


def test_a_volume_trains_with_its_neighbours_and_the_form_says_why(volume, caplog):
    pair, report = volume
    with caplog.at_level("INFO", "napari_n2n"):
        model = train(pair, SHORT, reports=[report])
    assert model.dims == 3 and model.record.settings["dims"] == "auto"
    assert "3 dimensions: Neighbouring planes have a correlation of" in caplog.text
    assert "with its neighbours" in estimate_time([pair], SHORT, [report]).planes


def test_training_continues_with_the_dimensions_of_a_model(volume, tmp_path):
    pair, report = volume
    path = str(train(pair, SHORT, reports=[report]).save(tmp_path / "volumes.n2n"))
    alone = replace(report, depth_correlation=0.1)
    assert choose_dimensions(TrainingSettings(start=path), [pair], [alone]).count == 3


def test_movies_of_several_channels_are_trained_plane_by_plane():
    scene = np.broadcast_to(blobs((48, 48)), (6, 48, 48))
    stacks = [np.stack([noisy(scene, seed), noisy(scene, seed + 9)], 1) for seed in (1, 2)]
    pairs = open_pairs(stacks, axes="TCYX")
    reports = [measure_noise(pair) for pair in pairs]
    assert choose_dimensions(TrainingSettings(), pairs, reports).count == 2
