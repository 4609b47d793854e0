"""A model is told from one that learned from other recordings."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import blobs, noisy

from napari_n2n import Acquisition, Pair, measure_noise
from napari_n2n.denoising.domain_shift import differences, noise_level
from napari_n2n.model.record import ModelRecord
from napari_n2n.simulate.additive import Camera

SCENE = blobs((160, 160))
CAMERA = Camera(gain=2, read=2, offset=90)


def photo(light=1.0, camera=CAMERA, seed=1):
    """The scene as a camera takes it under more or less light."""
    clean = camera.offset + light * (SCENE - 90)
    return camera.apply(clean, np.random.default_rng(seed))


def model_of(a, b):
    """What is known of a model that learned from a pair."""
    report = measure_noise(Pair.open(a, b)).as_dict()
    values = [float(a.min()), float(a.max())]
    return SimpleNamespace(record=ModelRecord(values=[values], noise=[report]))


MODEL = model_of(photo(seed=1), photo(seed=2))


def said(model, *images):
    opened = [Acquisition.open(image, name="mine") for image in images]
    return list(differences(model, [[one] for one in opened]))


@pytest.mark.parametrize("light", [0.3, 1.0, 1.3])
def test_the_same_camera_is_at_home_at_any_brightness_that_was_learned(light):
    assert said(MODEL, photo(light, seed=3)) == []


@pytest.mark.parametrize(("gain", "light"), [(16, 1.0), (0.2, 1.0)])
def test_another_gain_is_noticed_although_the_values_are_the_same(gain, light):
    other = photo(light, Camera(gain=gain, read=2 if gain > 1 else 0.2, offset=90), seed=3)
    (words,) = said(MODEL, np.clip(other, 90, float(photo().max())))
    assert words.startswith("mine: a noise of about") and "train on recordings like" in words


def test_an_average_of_many_frames_is_noticed():
    (words,) = said(MODEL, np.mean([photo(seed=seed) for seed in range(9)], axis=0))
    assert "noise" in words


def test_other_values_are_noticed_in_every_channel():
    first, second = said(MODEL, 100 * SCENE, 100 * SCENE)[::2]
    assert "values from" in first and first == second


def test_nothing_is_said_of_a_noise_that_one_image_does_not_tell():
    model = model_of(photo(seed=1), photo(seed=2))
    model.record.noise[0]["noise_correlation"] = (0.6, 0.6)
    assert said(model, SCENE) == []
    assert said(SimpleNamespace(record=ModelRecord()), SCENE) == []


@pytest.mark.parametrize("sigma", [3.0, 20.0, 80.0])
def test_the_noise_of_one_image_is_about_right(sigma):
    assert noise_level(noisy(SCENE, 1, sigma)) == pytest.approx(sigma, rel=0.3)
