"""Training images from one recording: the prediction of a pixel ignores its noise."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.ndimage import gaussian_filter

import napari_n2n as n2n
from napari_n2n.errors import BadInput
from napari_n2n.model.building import build_network
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.noise.single_noise import measure_single
from napari_n2n.training.normalisation import Batch
from napari_n2n.training.prepare import prepare
from napari_n2n.training.resampling import Resampling, correlated

NETWORK = build_network({"name": "compact", "channels": 1}, 0).eval()
CPU = torch.device("cpu")


def noise_model(correlation=()):
    return NoiseModel((0.0, 1.0), (0.5, 1.0), 0.0, (0.0, 1.0), None, correlation=correlation)


def batch_of(images):
    one = torch.ones(len(images), 1, 1, 1)
    seen = torch.ones_like(images)
    return Batch(images, images, seen, torch.zeros_like(images, dtype=torch.bool), one, 0 * one)


def images(seed):
    return torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_input_does_not_depend_on_what_was_recorded_in_the_target_pixels(seed):
    resampling = Resampling.of("pixels", noise_model(), NETWORK, CPU)
    first = resampling.draw(NETWORK, batch_of(images(seed)), (seed, 1))
    counted = first.weight > 0
    other = torch.where(counted, images(seed) + 100, images(seed))
    second = resampling.draw(NETWORK, batch_of(other), (seed, 1))
    assert torch.equal(second.weight, first.weight)
    assert torch.equal(second.input, first.input)
    assert torch.equal(second.target[counted], first.target[counted] + 100)
    assert 0.1 < counted.float().mean() < 0.3


def test_same_seed_gives_the_same_images_and_another_one_others():
    resampling = Resampling.of("pixels", noise_model(), NETWORK, CPU)
    first, same, other = (
        resampling.draw(NETWORK, batch_of(images(0)), (0, k)).input for k in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_new_noise_has_the_measured_variance_and_correlation():
    along = (1.0, 0.6, 0.2), (1.0, 0.3, 0.0)
    flat = torch.zeros(4, 1, 256, 256)
    resampling = Resampling.of("images", noise_model(along), NETWORK, CPU)
    batch = resampling.draw(NETWORK, batch_of(flat), (0, 0))
    noise = (batch.input - batch.target)[:, 0].numpy()
    level = float(batch.target.mean())
    assert noise.var() == pytest.approx(np.interp(level, (0, 1), (0.5, 1.0)), rel=0.05)
    for axis, values in zip((1, 2), along, strict=True):
        for lag in (1, 2):
            ahead = noise.take(range(lag, 256), axis)
            behind = noise.take(range(256 - lag), axis)
            found = (ahead * behind).mean() / noise.var()
            assert found == pytest.approx(values[lag], abs=0.05)


def test_white_noise_is_left_as_it_is():
    white = images(1)
    assert correlated(white, ()) is white


def scene_and_recording(correlation_width=0.0):
    rng = np.random.default_rng(0)
    scene = gaussian_filter((rng.random((96, 96)) > 0.99).astype(float), 2)
    scene = 100 + 300 * scene / scene.max()
    noise = rng.normal(size=scene.shape)
    if correlation_width:
        noise = gaussian_filter(noise, correlation_width)
    return scene, (scene + 40 * noise / noise.std()).astype(np.float32)


# One recording shows correlated noise far less well.
@pytest.mark.parametrize(("width", "left"), [(0.0, 0.25), (1.2, 0.75)])
def test_one_recording_is_denoised(width, left):
    scene, recording = scene_and_recording(width)
    model = n2n.train(n2n.Pair.single(recording), n2n.TrainingSettings(steps=20))
    result = n2n.denoise(model, recording)
    assert np.mean((result - scene) ** 2) < left * np.mean((recording - scene) ** 2)
    assert abs(float(result.mean() - recording.mean())) < 6  # a seventh of the noise
    assert model.record.score is not None
    assert model.record.score.psnr is None
    assert "one recording" in (model.record.score_reason or "")


@pytest.mark.parametrize(
    ("width", "start", "part"), [(0.0, "auto", 0.5), (0.0, "cold", 1.0), (1.2, "auto", 1.0)]
)
def test_noise_that_is_the_target_in_every_step_is_learned_slowly(width, start, part):
    pair = n2n.Pair.single(scene_and_recording(width)[1])
    settings = n2n.TrainingSettings(start=start, learning_rate=1e-3)
    parts = prepare([pair], settings, [measure_single(pair)], 2)
    parts.cache.close()
    assert parts.peak_rate == pytest.approx(part * 1e-3)


def test_training_on_one_recording_resumes_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.fit._YIELD_SECONDS", 0.0)
    pair = n2n.Pair.single(scene_and_recording()[1])
    short = n2n.TrainingSettings(steps=12, patch=32, batch=1, start="cold", device="cpu")
    whole, stop = n2n.train(pair, short), threading.Event()
    kept = {"checkpoint": tmp_path / "run.checkpoint"}
    half = n2n.train(pair, short, lambda step: step.step >= 5 and stop.set(), stop=stop, **kept)
    assert half.record.stopped and half.record.steps == 5
    given = [replace(measure_single(pair), source="noise.json")]
    with pytest.raises(BadInput, match="another noise report"):
        n2n.train(pair, short, resume=True, reports=given, **kept)
    rest = n2n.train(pair, short, resume=True, **kept)
    for one, other in zip(
        whole.networks[0].parameters(), rest.networks[0].parameters(), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "options", [{"error_map": "on"}, {"fixed_pattern": "repair"}], ids=["error map", "repair"]
)
def test_settings_that_need_two_recordings_are_refused(options):
    pair = n2n.Pair.single(scene_and_recording()[1])
    with pytest.raises(BadInput, match="one recording"):
        n2n.train(pair, n2n.TrainingSettings(steps=1, **options))


def test_correlated_noise_is_refused_with_a_loss_that_starts_from_random_weights():
    pair = n2n.Pair.single(scene_and_recording(1.2)[1])
    with pytest.raises(BadInput, match="pretrained network"):
        n2n.train(pair, n2n.TrainingSettings(steps=1, loss="l0"))


@pytest.mark.parametrize("width", [0.0, 1.2])
def test_one_recording_of_a_movie_is_denoised_with_its_neighbouring_frames(width):
    scene = blobs((96, 96))
    rng = np.random.default_rng(3)
    noise = np.stack([rng.normal(size=scene.shape) for _ in range(6)])
    if width:
        noise = ndimage.gaussian_filter(noise, (0, width, width))
    truth = np.stack([np.roll(scene, step, axis=1) for step in range(6)])
    movie = (truth + 40 * noise / noise.std()).astype(np.float32)
    pair = n2n.Pair.single(movie, axes="TYX")
    errors = []
    for dims in (2, 3):
        model = n2n.train(pair, n2n.TrainingSettings(steps=2, dims=dims, batch=8))
        errors.append(np.sqrt(np.mean((n2n.denoise(model, movie, axes="TYX") - truth) ** 2)))
    assert errors[1] < 0.9 * errors[0]
