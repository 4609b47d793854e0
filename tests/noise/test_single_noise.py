"""The noise of one recording: what is measured, and what is not."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_n2n import Pair, measure_noise
from napari_n2n.errors import BadInput
from napari_n2n.noise.known_noise import read_noise
from napari_n2n.noise.single_noise import measure_single

SIDE = 256


def blobs(seed=0):
    """A scene of soft blobs on a dark background, 20 to 220 ADU."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter((rng.random((SIDE, SIDE)) > 0.999).astype(float), 6)
    return 20 + 200 * image / image.max()


def report_of(image):
    return measure_single(Pair.single(image.astype(np.float32)))


@settings(max_examples=3, deadline=None)
@given(gain=st.floats(0.5, 4), seed=st.integers(0, 100))
def test_photon_gain_and_noise_are_right_within_their_errors(gain, seed):
    scene, rng = blobs(seed), np.random.default_rng(seed)
    report = report_of(rng.poisson(scene / gain) * gain)
    noise = float(np.sqrt(np.mean(gain * scene)))
    assert abs(report.noise_a - noise) < max(4 * report.errors["noise_a"], 0.08 * noise)
    if report.photon_gain is None:
        assert report.errors["photon_gain"] > gain / 5
    else:
        assert report.photon_gain == pytest.approx(gain, rel=0.3)
    assert report.method == "pixels"
    assert not report.warnings


@pytest.mark.parametrize("width", [0.7, 1.5, 3.0])
def test_correlated_noise_is_found_and_the_advice_is_to_record_two(width):
    noise = gaussian_filter(np.random.default_rng(1).normal(size=(SIDE, SIDE)), width)
    report = report_of(blobs() + 10 * noise / noise.std())
    assert report.method == "images"
    assert report.noise_correlation is not None
    expected = np.exp(-1 / (4 * width**2))
    assert report.noise_correlation[0] == pytest.approx(expected, abs=0.12)
    assert "correlated_noise" in {one.code for one in report.warnings}


def test_noise_of_rows_is_not_taken_for_white_noise():
    rng = np.random.default_rng(2)
    rows = rng.normal(0, 8, (SIDE, 1))
    report = report_of(blobs() + rows + rng.normal(0, 8, (SIDE, SIDE)))
    assert report.method == "images"
    assert report.warnings


def test_correlation_is_unknown_if_fine_structure_fills_the_field():
    rng = np.random.default_rng(3)
    texture = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 1.5)
    contrast = 60 * (1 + gaussian_filter(rng.normal(size=(SIDE, SIDE)), 20) * 20)
    report = report_of(200 + contrast * texture / texture.std() + rng.normal(0, 2, (SIDE, SIDE)))
    assert report.noise_correlation is None or report.method == "images"
    assert {one.code for one in report.warnings} & {"correlation_unknown", "correlated_noise"}


@pytest.mark.parametrize("side", [64, 128])
def test_noise_is_not_determined_rather_than_wrong_where_spots_fill_the_field(side):
    rng = np.random.default_rng(8)
    spots = gaussian_filter((rng.random((side, side)) > 0.97).astype(float), 1.2)
    report = report_of(20 + 200 * spots / spots.max() + rng.normal(0, 3, (side, side)))
    assert report.noise_a is None
    assert "noise_a" not in report.errors
    assert "correlation_unknown" in {one.code for one in report.warnings}
    assert report.line().startswith("Noise not determined")


def test_noise_of_a_small_image_is_known():
    rng = np.random.default_rng(9)
    report = report_of(blobs()[:64, :64] + rng.normal(0, 15, (64, 64)))
    assert report.noise_a == pytest.approx(15, abs=3 * report.errors["noise_a"])
    assert report.errors["noise_a"] < 2
    assert report.method == "pixels"


def test_noise_of_two_recordings_can_be_given(tmp_path):
    scene, rng = blobs(), np.random.default_rng(4)
    of_pair = measure_noise(Pair.open(*(rng.poisson(scene).astype(np.float32) for _ in "ab")))
    path = tmp_path / "noise.json"
    path.write_text(json.dumps(of_pair.as_dict()))
    recording = Pair.single(rng.poisson(scene).astype(np.float32))
    (report,) = read_noise(path, [recording])
    assert report.noise_model == of_pair.noise_model
    assert report.method == "pixels"


def test_a_file_that_is_no_noise_report_is_refused(tmp_path):
    path = tmp_path / "noise.json"
    path.write_text('{"loss": "l2"}')
    with pytest.raises(BadInput, match=r"noise\.json: not a noise report"):
        read_noise(path, [Pair.single(blobs().astype(np.float32))])


def test_single_recordings_and_pairs_are_measured_by_one_function():
    rng = np.random.default_rng(6)
    recording = Pair.single(rng.poisson(blobs()).astype(np.float32))
    assert measure_noise(recording) == measure_single(recording)


def test_border_of_zeros_is_no_noise():
    scene, rng = blobs(), np.random.default_rng(5)
    image = rng.poisson(scene).astype(np.float32)
    inside = report_of(image)
    image[:60] = 0
    bordered = report_of(image)
    assert bordered.photon_gain == pytest.approx(inside.photon_gain, rel=0.15)


def test_saturated_recording_has_no_known_noise():
    image = np.full((40, 40), 7.0)
    image[:, 6:] = 8.0
    report = report_of(image)
    assert report.noise_a is None
    assert {one.code for one in report.warnings} & {"correlation_unknown"}
