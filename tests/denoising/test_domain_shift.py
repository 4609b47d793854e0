"""Acquisitions unlike those of the training get a warning, others do not."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from conftest import blobs, noisy

from napari_n2n import Acquisition, Pair, measure_noise
from napari_n2n.denoising.domain_shift import differences
from napari_n2n.model.record import ModelRecord
from napari_n2n.simulate.additive import Camera

SCENE = blobs((160, 160))
CAMERA = Camera(gain=2, read=2, offset=90)


def photo(light=1.0, camera=CAMERA, seed=1):
    """Return the scene as a camera records it under more or less light."""
    clean = camera.offset + light * (SCENE - 90)
    return camera.apply(clean, np.random.default_rng(seed))


def model_of(a, b):
    """Return a stand-in for a model trained on a pair, with its record."""
    report = measure_noise(Pair.open(a, b)).as_dict()
    values = [float(min(a.min(), b.min())), float(max(a.max(), b.max()))]
    return SimpleNamespace(record=ModelRecord(values=[values], noise=[report]))


MODEL = model_of(photo(seed=1), photo(seed=2))


def without_calibration(model):
    """Return the model as an older version wrote it."""
    noise = [{k: v for k, v in one.items() if k != "noise_excess"} for one in model.record.noise]
    return SimpleNamespace(record=model.record.model_copy(update={"noise": noise}))


def twice_the_gain(image, model):
    """Return what a detector would have recorded with twice the gain, at the same light."""
    black = model.record.noise[0]["pedestal"] or 0.0
    return black + 2 * (image.astype(np.float64) - black)


def warnings_of(model, *images):
    opened = [Acquisition.open(image, name="mine") for image in images]
    return list(differences(model, [[one] for one in opened]))


@pytest.mark.parametrize("light", [0.3, 1.0, 1.3])
def test_the_same_camera_gets_no_warning_at_another_brightness(light):
    assert warnings_of(MODEL, photo(light, seed=3)) == []
    assert warnings_of(without_calibration(MODEL), photo(light, seed=3)) == []


def test_twice_the_gain_gets_a_warning():
    (text,) = warnings_of(MODEL, photo(light=0.5, camera=Camera(gain=4, read=2, offset=90), seed=3))
    assert "noise is about" in text


@pytest.mark.parametrize("light", [0.02, 0.1])
def test_few_photons_on_a_dark_background_are_like_their_own_training(light):
    rng = np.random.default_rng(0)
    a, b = (3 + 20 * rng.poisson(light * (SCENE - 100)).astype(np.float32) for _ in "AB")
    model = model_of(a, b)
    assert warnings_of(model, a) == warnings_of(model, b) == []
    assert warnings_of(without_calibration(model), a) == []
    assert warnings_of(model, twice_the_gain(a, model))


def test_both_acquisitions_of_unequal_exposures_are_like_their_own_training():
    a, b = photo(seed=1), 300 + 3 * np.mean([photo(seed=seed) for seed in range(2, 11)], axis=0)
    model = model_of(a, b)
    model.record.values[0] = (0.0, 1e4)
    assert warnings_of(model, a) == warnings_of(model, b) == []
    assert warnings_of(model, noisy(a, 3, 30))


def test_fine_detail_of_the_scene_is_not_mistaken_for_noise():
    scene = SCENE + np.random.default_rng(0).choice((-20, 20), SCENE.shape)
    model = model_of(noisy(scene, 1, 5), noisy(scene, 2, 5))
    assert warnings_of(model, noisy(scene, 3, 5)) == []


def real_acquisitions(folder):
    """Return parts of some acquisitions of every real scene, the first two being a pair."""
    part = np.s_[..., :320, :320]
    frames = tifffile.imread(folder / "scmos" / "filaments_20frames.tif")[part]
    scenes = {one.name: sorted(one.glob("capture_*.tif")) for one in (folder / "fmd").iterdir()}
    assert scenes
    return {"sCMOS": frames[:4]} | {
        name: [tifffile.imread(path)[part] for path in paths] for name, paths in scenes.items()
    }


def test_real_scenes_are_like_their_own_training_and_unlike_twice_the_gain(real_data):
    for scene, acquisitions in real_acquisitions(real_data).items():
        model = model_of(*acquisitions[:2])
        for one in acquisitions:
            assert warnings_of(model, one) == [], scene
            assert warnings_of(without_calibration(model), one) == [], scene
        rows, columns = (length // 2 for length in acquisitions[0].shape)
        for part in (np.s_[:rows, :columns], np.s_[rows:, :columns], np.s_[rows:, columns:]):
            assert warnings_of(model, acquisitions[0][part]) == [], scene
        louder = warnings_of(model, twice_the_gain(acquisitions[0], model))
        assert any("noise is about" in text for text in louder), scene


@pytest.mark.parametrize(("gain", "light"), [(16, 1.0), (0.2, 1.0)])
def test_another_gain_gets_a_warning_although_the_values_are_the_same(gain, light):
    other = photo(light, Camera(gain=gain, read=2 if gain > 1 else 0.2, offset=90), seed=3)
    (text,) = warnings_of(MODEL, np.clip(other, 90, float(photo().max())))
    assert text.startswith("mine: its noise is about") and "train on acquisitions like" in text


def test_an_average_of_many_frames_gets_a_warning():
    images = [photo(seed=seed) for seed in range(9)]
    (text,) = warnings_of(MODEL, np.mean(images, axis=0))
    found, trained = (float(part.split(" ADU")[0]) for part in text.split("about ")[1:])
    assert trained / found == pytest.approx(3, rel=0.15)


def test_other_values_get_a_warning_in_every_channel():
    first, second = (
        text for text in warnings_of(MODEL, 100 * SCENE, 100 * SCENE) if "values" in text
    )
    assert "values from" in first and first == second


def test_an_older_model_of_correlated_noise_gives_no_warning():
    model = without_calibration(MODEL)
    model.record.noise[0]["noise_correlation"] = (0.6, 0.6)
    assert warnings_of(model, SCENE) == []
    assert warnings_of(SimpleNamespace(record=ModelRecord()), SCENE) == []
