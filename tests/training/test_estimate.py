"""How long a run takes, as estimated before it and as presets limit it."""

import numpy as np
import pytest
import torch
from conftest import blobs, noisy, refused

from napari_n2n import Pair, TrainingSettings, measure_noise, open_pairs, train
from napari_n2n.training.estimate import estimate_time
from napari_n2n.training.settings import PRESETS

SHORT = TrainingSettings(steps=12, patch=32, batch=2, device="cpu", seed=5)


def weights(denoiser):
    return denoiser.networks[0].state_dict().values()


def test_a_preset_limits_the_steps_of_a_run(pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.schedule.VIEWS", 0)
    monkeypatch.setattr("napari_n2n.training.schedule.SHORTEST_RUN", 20)
    settings = SHORT.model_copy(update={"steps": None})
    steps = {
        name: train(pair, settings.model_copy(update={"preset": name})).record.steps
        for name in PRESETS
    }
    assert steps == {"quick": 6, "balanced": 20, "thorough": 60}


def test_the_time_of_a_run_is_estimated_before_it_begins(pair):
    report = measure_noise(pair)
    estimated = estimate_time([pair], SHORT, [report])
    assert estimated.timed > 0 and estimated.device == "cpu"
    assert estimated.seconds(SHORT) == pytest.approx(12 * estimated.step_seconds, rel=0.1)
    free = SHORT.model_copy(update={"steps": None})
    quick, thorough = (
        estimated.seconds(free.model_copy(update={"preset": name}))
        for name in ("quick", "thorough")
    )
    assert thorough == pytest.approx(10 * quick)
    assert estimated.seconds(free.model_copy(update={"minutes": 1e-4})) == pytest.approx(0.006)


def test_volumes_and_channels_are_timed_as_they_are_trained():
    scene = blobs((20, 64, 64))
    stacks = [np.stack([noisy(scene, seed), noisy(scene, seed + 9)]) for seed in (1, 2)]
    pairs = open_pairs(stacks, axes="CZYX")
    reports = [measure_noise(pair) for pair in pairs]
    settings = SHORT.model_copy(update={"dims": 3, "channels": "separate", "batch": 8})
    estimated = estimate_time(pairs, settings, reports)
    assert estimated.channels == 2
    assert estimated.seconds(settings) == pytest.approx(24 * estimated.step_seconds, rel=0.1)
    flat = Pair.open(*(noisy(blobs((64, 64)), seed) for seed in (1, 2)))
    with refused("option"):
        estimate_time([flat], settings, reports[:1])


def test_an_estimate_changes_no_other_run(pair):
    before = train(pair, SHORT)
    estimate_time([pair], SHORT.model_copy(update={"seed": 8}), [measure_noise(pair)])
    assert all(
        torch.equal(one, other)
        for one, other in zip(weights(before), weights(train(pair, SHORT)), strict=True)
    )
