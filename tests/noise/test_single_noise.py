"""The noise of one recording: what is measured, and what is not."""

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_n2n import Pair, measure_noise
from napari_n2n.errors import BadInput
from napari_n2n.noise.measure import measure_with_curves
from napari_n2n.noise.report_file import read_noise_report, write_noise_report
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
@example(gain=0.5, seed=8)  # 1.1 standard errors too high
@given(gain=st.floats(0.5, 4), seed=st.integers(0, 100))
def test_photon_gain_and_noise_are_right_within_their_errors(gain, seed):
    scene, rng = blobs(seed), np.random.default_rng(seed)
    report = report_of(rng.poisson(scene / gain) * gain)
    noise = float(np.sqrt(np.mean(gain * scene)))
    assert abs(report.noise_a - noise) < max(4 * report.errors["noise_a"], 0.08 * noise)
    error = report.errors["photon_gain"]
    if report.photon_gain is None:
        assert error > gain / 5
    else:
        assert abs(report.photon_gain - gain) < max(4 * error, 0.08 * gain) and error < gain / 3
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


@pytest.mark.parametrize(("weight", "sharpened"), [(0.0, False), (4.0, True)])
def test_a_sharpened_recording_is_named(weight, sharpened):
    recorded = np.random.default_rng(1).poisson(blobs() / 2) * 2.0
    report = report_of(recorded + weight * (recorded - gaussian_filter(recorded, 1)))
    assert ("sharpened" in {one.code for one in report.warnings}) == sharpened
    assert ("independent" in report.reason) != sharpened and report.method == "pixels"


def test_noise_of_rows_is_not_mistaken_for_white_noise():
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


@pytest.fixture(scope="module")
def of_pair(tmp_path_factory):
    """A report measured on two recordings, and its file."""
    scene, rng = blobs(), np.random.default_rng(4)
    pair = Pair.open(*(rng.poisson(scene).astype(np.float32) for _ in "ab"))
    report, curves = measure_with_curves(pair)
    path = tmp_path_factory.mktemp("noise") / "noise.json"
    write_noise_report(path, [report], [curves], [])
    return path, report


def test_noise_of_two_recordings_can_be_given(of_pair):
    path, measured = of_pair
    recording = Pair.single(np.random.default_rng(1).poisson(blobs()).astype(np.float32))
    (report,) = read_noise_report(path, recording)
    assert report.noise_model == measured.noise_model
    assert report.method == "pixels" and not report.warnings
    assert report.line().endswith("(from noise.json)")
    assert report.reason.startswith("The noise is that of noise.json.")
    assert dict(report.rows())["figures from"] == "noise.json"


def test_noise_of_another_microscope_is_warned_about(of_pair):
    recording = Pair.single((3 * np.random.default_rng(1).poisson(blobs())).astype(np.float32))
    (report,) = read_noise_report(of_pair[0], recording)
    assert [one.code for one in report.warnings] == ["other_noise"]
    assert "noise.json has 0.5" in report.warnings[0].message  # 1 / sqrt(3) at equal levels


def test_noise_measured_on_one_recording_can_be_given_for_another(tmp_path):
    first, other = (
        Pair.single(np.random.default_rng(seed).poisson(blobs(seed)).astype(np.float32))
        for seed in (1, 2)
    )
    measured = measure_single(first)
    write_noise_report(tmp_path / "one.json", [measured], [None], [])
    (report,) = read_noise_report(tmp_path / "one.json", other)
    assert (report.noise_model, report.errors) == (measured.noise_model, measured.errors)


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        (None, "not JSON"),
        ([], "not a noise report"),
        ({"loss": "l2"}, "not a noise report (noise_a: Field required)"),
        ({"noise_a": None}, "in it, the noise is not determined"),
        ({"noise_a": -1.0}, "not a noise report (noise_a"),
        ({"noise_model": {"levels": [0, 1]}}, "not a noise report (noise_model.variances"),
        ({"channels": [{}, {}]}, "noise of 2 channels, but the recording has 1"),
        ({"channels": 7}, "not a noise report"),
        ({"photon_gain": "high"}, "not a noise report (photon_gain"),
    ],
)
def test_a_file_that_is_not_a_noise_report_is_refused(of_pair, tmp_path, changed, cause):
    path = tmp_path / "wrong.json"
    whole = of_pair[1].as_dict() if changed and "loss" not in changed else {}
    text = json.dumps(whole | changed if isinstance(changed, dict) else changed)
    path.write_text(text if changed is not None else "loss: l2")
    with pytest.raises(BadInput) as refusal:
        read_noise_report(path, Pair.single(blobs()[:64, :64].astype(np.float32)))
    assert str(refusal.value).startswith(f"{path}: {cause}") and "\n" not in str(refusal.value)


def test_independent_noise_is_called_so_in_the_figures():
    rows = dict(report_of(blobs() + np.random.default_rng(7).normal(0, 5, (SIDE, SIDE))).rows())
    assert rows["correlation"].endswith("of neighbours (y, x): independent")
    assert rows["not detected"] == "outliers, saturation, lower limit"


def test_single_recordings_and_pairs_are_measured_by_one_function():
    rng = np.random.default_rng(6)
    recording = Pair.single(rng.poisson(blobs()).astype(np.float32))
    assert measure_noise(recording) == measure_single(recording)


def test_border_of_zeros_does_not_count_as_noise():
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


def test_photon_gain_is_unknown_where_two_small_areas_are_not_saturated():
    for seed in range(8):
        rng, image = np.random.default_rng(seed), np.full((64, 64), 255, np.uint8)
        image[8:24, 8:24] = rng.poisson(20, (16, 16))
        image[40:56, 40:56] = rng.poisson(180, (16, 16)).clip(0, 250)
        report = report_of(image)
        assert report.photon_gain is None and report.noise_a is None
