"""The error of the results is learned without a clean image."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import blobs, noisy
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_n2n import Pair, TrainingSettings, load, train
from napari_n2n.denoising.denoise import denoise
from napari_n2n.training.cross_fit import HalfMask, _Squares, _View

SCENE = blobs((192, 192), 3)
SETTINGS = TrainingSettings(steps=60, patch=64, batch=2, device="cpu", error_map="on")
QUICK = SETTINGS.model_copy(update={"steps": 12, "patch": 32, "batch": 1})


@pytest.fixture(scope="module")
def views():
    return [noisy(SCENE, seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def model(views):
    return train(Pair.open(*views), SETTINGS)


@pytest.fixture(scope="module")
def small_pair(views):
    return Pair.open(*(view[:128, :128] for view in views))


@pytest.fixture(scope="module")
def quick_model(small_pair):
    return train(small_pair, QUICK)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(32, 300), columns=st.integers(32, 300))
def test_every_pixel_is_held_out_from_one_of_the_two_networks(rows, columns):
    plane = slice(0, rows), slice(0, columns)
    first, second = (HalfMask((rows, columns), half).mask(*plane) for half in (0, 1))
    assert (first != second).all()
    assert 0.3 < first.mean() < 0.7
    for axis in (0, 1):  # every row and every column has pixels of both
        assert first.any(axis).all() and second.any(axis).all()
    part = slice(rows // 3, rows), slice(columns // 4, columns // 2)
    assert (first[part] == HalfMask((rows, columns), 0).mask(*part)).all()


def test_the_error_of_a_featureless_result_is_fitted():
    noise = SimpleNamespace(levels=(0.0, 1.0), variances=(4.0, 4.0))
    flat, squares = np.full((64, 64), 7.0), np.random.default_rng(0).normal(0, 1, (64, 64)) ** 2
    found = _Squares()
    found.add_view(_View(flat, flat, squares, np.ones_like(flat)), squares, noise)
    assert found.weights() == pytest.approx((squares.mean() / 4, 0, 0), rel=1e-6)


def test_the_expected_error_is_that_against_the_clean_image(model, views):
    error = model.record.error_of(0)
    one, two = (denoise(model, view, device="cpu") for view in views)
    mean = (one + two) / 2
    for result, expected, psnr, scatter in (
        (one, error.expected(one), error.psnr, error.psnr_se),
        (mean, error.expected(mean, np.stack([one, two])), error.psnr_mean, error.psnr_mean_se),
    ):
        distance = np.abs(result - SCENE)
        assert (distance <= expected).mean() == pytest.approx(0.68, abs=0.08)
        assert (distance <= 2 * expected).mean() == pytest.approx(0.95, abs=0.04)
        true = 10 * np.log10(model.record.data_range[0] ** 2 / np.mean(distance**2))
        assert abs(true - psnr) < 3 * scatter < 3


def test_the_learned_error_is_stored_with_the_model(model, tmp_path):
    assert load(model.save(tmp_path / "m.n2n")).record.error == model.record.error


def test_the_weights_are_those_of_a_run_without_error_map(quick_model, small_pair):
    alone = train(small_pair, QUICK.model_copy(update={"error_map": "off"}))
    assert alone.fingerprint() == quick_model.fingerprint() and alone.record.error == []


def test_if_outliers_hide_the_error_the_reason_is_given(views):
    quick = SETTINGS.model_copy(update={"steps": 2, "loss": "l1"})
    record = train(Pair.open(*views), quick).record
    assert record.error == [None] and "outliers" in record.error_reason


@pytest.mark.parametrize("until", [0.2, 0.5, 0.9])
def test_a_run_that_is_stopped_at_any_time_resumes_to_the_same_model(
    quick_model, small_pair, tmp_path, monkeypatch, until
):
    monkeypatch.setattr("napari_n2n.training.fit._YIELD_SECONDS", 0.0)
    stop = threading.Event()

    def end(step):
        if step.progress > until:
            stop.set()

    kept = {"checkpoint": tmp_path / "c"}
    part = train(small_pair, QUICK, end, stop=stop, **kept)
    assert part.record.stopped and part.record.error == [None]
    assert "stopped" in part.record.error_reason
    whole = train(small_pair, QUICK, resume=True, **kept)
    assert whole.fingerprint() == quick_model.fingerprint()
    assert whole.record.error == quick_model.record.error != [None]
    assert not whole.record.stopped
