"""Simulated noise is measured correctly, and the advice follows from it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from conftest import blobs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from napari_n2n import Pair, measure_noise
from napari_n2n.noise.advice import one_side
from napari_n2n.noise.correlation import autocorrelation
from napari_n2n.noise.measure import measure_with_curves
from napari_n2n.noise.mixture import _SHARES, _best, _likelihood, _peaks, fit_mixture
from napari_n2n.noise.outliers import _clustered
from napari_n2n.noise.panels import panels
from napari_n2n.noise.photon_transfer import transfer_curve
from napari_n2n.noise.report_file import report_in_json
from napari_n2n.noise.sample import Sample
from napari_n2n.simulate.registry import parse
from napari_n2n.simulate.samples import sample

WHOLE = tifffile.imread(sample("cells", "truth")).astype(np.float64)
TRUTH = WHOLE[:384, :384]  # large enough for most figures, and half of the time
ELECTRONS = (TRUTH - 100) / 2.2
seeds = st.integers(0, 10_000)


def camera(gain, offset, read, exposure, seed, truth=TRUTH):
    """Two acquisitions of the sample scene; read noise in electrons."""
    rng, electrons = np.random.default_rng((seed, 1)), (truth - 100) / 2.2
    return [
        gain * (rng.poisson(exposure * electrons) + rng.normal(0, read, truth.shape)) + offset
        for _ in range(2)
    ]


def gaussian(sigma, seed, blur=0.0, truth=TRUTH):
    rng = np.random.default_rng((seed, 2))
    views = []
    for _ in range(2):
        noise = rng.normal(size=truth.shape)
        noise = ndimage.gaussian_filter(noise, blur) if blur else noise
        views.append(truth + sigma * noise / noise.std())
    return views


def hit(views, share, seed):
    """Replace a share of the pixels of each view by random values."""
    rng = np.random.default_rng((seed, 3))
    low, high = WHOLE.min(), WHOLE.max()
    return [
        np.where(rng.random(v.shape) < share, rng.uniform(low, high, v.shape), v) for v in views
    ]


def measured(views):
    return measure_noise(Pair.open(*views))


@settings(max_examples=3, deadline=None)
@given(
    gain=st.floats(0.3, 8),
    offset=st.floats(0, 300),
    read=st.floats(1.2, 3),
    exposure=st.floats(0.5, 2),
    seed=seeds,
)
def test_camera_gain_and_read_noise_are_measured(gain, offset, read, exposure, seed):
    report = measured(camera(gain, offset, read, exposure, seed))
    assert report.photon_gain == pytest.approx(gain, rel=0.05)
    assert report.read_noise == pytest.approx(gain * read, rel=0.15)
    # An error from eight groups is itself off by a third: 6 of them are passed once in 2000 times.
    assert report.pedestal == pytest.approx(offset, abs=6 * report.errors["pedestal"])
    assert report.signal_dependent
    assert report.skewness > 0
    assert report.outlier_share < 0.005
    assert report.loss == "l2"


@settings(max_examples=3, deadline=None)
@given(
    photons=st.floats(0.05, 20),
    gain=st.sampled_from((1, 2.2, 37)),
    offset=st.sampled_from((0, 100)),
    seed=seeds,
)
def test_few_counted_photons_are_neither_outliers_nor_clipping(photons, gain, offset, seed):
    rng = np.random.default_rng((seed, 4))
    rate = photons * ELECTRONS / ELECTRONS.mean()
    report = measured([gain * rng.poisson(rate) + offset for _ in range(2)])
    assert report.loss == "l2" and report.outlier_share == 0 and report.clipping_shift == 0
    assert report.photon_gain == pytest.approx(gain, rel=0.05)
    # As above: an error from eight groups is itself off by a third.
    assert report.pedestal == pytest.approx(offset, abs=max(6 * report.errors["pedestal"], 1e-3))
    assert report.warnings == () and report.missing_share == 0


def test_outliers_within_the_reach_of_the_noise_move_the_mean():
    # A range of 90 ADU and noise of 10: most outliers are no farther than noise may be.
    rng, share = np.random.default_rng(3), 0.26
    scene = 20 + 60 * (TRUTH - TRUTH.min()) / np.ptp(TRUTH)
    views = [scene + rng.normal(0, 10, scene.shape) for _ in range(2)]
    views = [np.where(rng.random(v.shape) < share, rng.uniform(0, 90, v.shape), v) for v in views]
    report = measured(views)
    true = share * float(np.sqrt(np.mean((45 - scene) ** 2)))
    assert report.outlier_shift == pytest.approx(true, rel=0.4)
    assert report.loss == "likelihood"


@pytest.mark.parametrize("sign", [-1, 1])
def test_bright_and_dark_outliers_are_distinguished(sign):
    rng = np.random.default_rng(0)
    views = [
        np.where(rng.random(v.shape) < 0.02, v + sign * rng.uniform(100, 300, v.shape), v)
        for v in gaussian(3, 5)
    ]
    report = measured(views)
    assert report.outlier_brighter == pytest.approx(float(sign > 0), abs=0.05)
    assert ("bright" if sign > 0 else "dark") in report.reason
    assert measured(hit(gaussian(3, 5), 0.02, 1)).outlier_brighter == pytest.approx(0.5, abs=0.2)


@settings(max_examples=3, deadline=None)
@example(share=0.762, sigma=1.0, seed=94)  # noise in A flattens the line that matches B to A
@given(share=st.floats(0.001, 0.9), sigma=st.floats(0.5, 2), seed=seeds)
def test_the_share_of_outliers_is_measured(share, sigma, seed):
    report = measured(hit(gaussian(sigma, seed, truth=WHOLE), share, seed))
    assert report.outlier_share == pytest.approx(share, abs=min(0.02, 0.25 * share))


@pytest.mark.parametrize(("cells", "share"), [(0.0005, 0.1), (0.0001, 0.6)])
def test_impulses_over_dark_areas_are_not_mistaken_for_light(cells, share):
    # Bright impulses raise the brightness around them: it must not be mistaken for the scene.
    rng, shape = np.random.default_rng(1), TRUTH.shape
    discs = ndimage.gaussian_filter((rng.random(shape) < cells).astype(float), 10)
    discs = ndimage.gaussian_filter((discs > 0.3 * discs.max()).astype(float), 1.2)
    texture = 1 + 2 * ndimage.gaussian_filter(rng.normal(size=shape), 2)
    light = np.maximum(20 + 1000 * discs * texture, 1)
    views = [4 * rng.poisson(light / 4) + rng.normal(0, 8, shape) for _ in range(2)]
    top = 1.2 * np.quantile(light, 0.999)
    views = [np.where(rng.random(shape) < share, rng.uniform(0, top, shape), v) for v in views]
    report = measured(views)
    assert report.pulse_share == 0 and report.loss == "likelihood"
    assert report.outlier_share == pytest.approx(share, rel=0.25)


@settings(max_examples=3, deadline=None)
@given(width=st.floats(0.6, 3), seed=seeds)
def test_the_correlation_length_is_measured(width, seed):
    report = measured(gaussian(8, seed, blur=width))
    assert report.correlation_length == pytest.approx((width, width), rel=0.2)
    assert "correlated_noise" in {warning.code for warning in report.warnings}
    assert report.loss == "l2" and report.training_factor > 1
    assert not {warning.code for warning in report.warnings} & {"duplicate", "drift", "shift"}


@pytest.mark.parametrize("name", ["rows", "columns"])
def test_rows_that_flicker_are_named_and_are_neither_smoothing_nor_drift(name):
    a, b = (
        view + np.random.default_rng(seed).normal(0, 3, (384, 1))
        for seed, view in enumerate(camera(2.2, 100, 1.4, 0.2, 0))
    )
    report = measured([a, b] if name == "rows" else [a.T, b.T])
    warnings = {warning.code: warning.message for warning in report.warnings}
    assert f"Whole {name} flicker" in warnings["correlated_noise"] and "drift" not in warnings
    assert f"whole {name}" in report.reason


@settings(max_examples=3, deadline=None)
@given(
    width=st.floats(0.5, 1.5), gain=st.floats(0.6, 1.8), frames=st.sampled_from((1, 4)), seed=seeds
)
def test_the_gain_between_two_exposures_is_measured(width, gain, frames, seed):
    a, *others = (gaussian(8, seed + view, blur=width)[0] for view in range(1 + frames))
    assert measured([a, gain * np.mean(others, axis=0)]).gain_ratio == pytest.approx(gain, rel=0.05)


def test_the_error_of_the_noise_contains_that_of_the_gain():
    # In a flat scene the gain is known to 4 % only, which makes the noise uncertain by 2 %.
    flat = 1000 + 0.4 * (blobs((128, 128)).astype(np.float64) - 200)
    noises, errors = [], []
    for seed in range(12):
        a, b = camera(2.2, 100, 1.4, 1.0, seed, truth=flat)
        report = measured([a, 1.3 * b])
        assert report.gain_ratio == pytest.approx(1.3, rel=0.15)
        noises.append(report.noise_a)
        errors.append(report.errors["noise_a"])
    assert np.std(noises) < 1.3 * np.median(errors)


def test_a_gain_that_text_hides_is_null_with_the_reason():
    clean, rng, text = blobs((256, 256)).astype(np.float64), np.random.default_rng(0), "text:0.4"
    a, b = (parse(text).apply(clean + rng.normal(0, 15, clean.shape), rng) for _ in range(2))
    report = measured([a, 1.3 * b])
    assert report.gain_ratio is None and report.offset is None
    assert "gain_ratio" not in report.errors
    assert "could not be measured" in next(w.message for w in report.warnings if w.code == "gain")
    assert ("B against A", "gain could not be determined") in list(report.rows())


@settings(max_examples=3, deadline=None)
@given(dy=st.floats(-2, 2), dx=st.floats(-2, 2), seed=seeds)
def test_the_shift_is_measured(dy, dx, seed):
    moved = ndimage.shift(TRUTH, (dy, dx), order=3, mode="reflect")
    rng = np.random.default_rng(seed)
    a, b = (scene + rng.normal(0, 5, scene.shape) for scene in (TRUTH, moved))
    assert Pair.open(a, b).shift == pytest.approx((dy, dx), abs=0.1)


@settings(max_examples=3, deadline=None)
@given(sigma=st.floats(20, 60), blur=st.floats(0, 2), seed=seeds)
def test_strong_noise_is_not_mistaken_for_a_shift(sigma, blur, seed):
    assert np.hypot(*Pair.open(*gaussian(sigma, seed, blur=blur)).shift) < 0.3


@settings(max_examples=3, deadline=None)
@given(sigma=st.floats(1, 20), seed=seeds)
def test_gaussian_noise_shows_no_other_kind(sigma, seed):
    report = measured(gaussian(sigma, seed))
    assert (report.noise_a, report.noise_b) == pytest.approx((sigma, sigma), rel=0.05)
    assert abs(report.skewness) < 0.1
    assert max(report.noise_correlation) < 0.05
    assert report.outlier_share == 0
    assert report.photon_gain is None and report.read_noise is None
    assert report.signal_dependent is False
    assert report.warnings == ()


def test_fine_structures_are_not_mistaken_for_skewed_noise():
    rng = np.random.default_rng(0)
    textures = [ndimage.gaussian_filter(rng.normal(size=(256, 256)), s) for s in (12, 1.2)]
    coarse, fine = (texture / texture.std() for texture in textures)
    scene = np.maximum(1000 + 250 * coarse + 200 * fine, 100)
    report = measured([scene + np.sqrt(5 * scene) * rng.normal(size=scene.shape) for _ in "AB"])
    assert report.photon_gain == pytest.approx(5, rel=0.1)
    assert abs(report.skewness) < 0.15  # as a part of the third power of the noise level


@pytest.mark.parametrize(
    ("share", "loss"),
    [
        (0.0, "l2"),
        (0.05, "likelihood"),
        (0.3, "likelihood"),
        (0.7, "likelihood"),
        (0.85, "likelihood"),
    ],
)
def test_outliers_decide_between_the_losses(share, loss):
    report = measured(hit(gaussian(2, 1), share, 1))
    assert report.loss == loss
    if share:
        assert "pixels are hit" in report.reason


def test_patches_are_distinguished_from_single_pixels():
    rng = np.random.default_rng(0)
    views = []
    for view in gaussian(2, 3):
        patches = ndimage.zoom((rng.random((48, 48)) < 0.1).astype(float), 8, order=0) > 0
        views.append(np.where(patches, 230.0, view))
    report = measured(views)
    assert report.outliers_clustered and report.loss == "l1"
    assert not measured(hit(gaussian(2, 3), 0.1, 3)).outliers_clustered


@pytest.mark.parametrize(("part", "clustered"), [(0.0, False), (0.15, True)])
def test_patches_are_noticed_among_many_outliers_of_single_pixels(part, clustered):
    rng = np.random.default_rng(0)

    def outliers(length):
        """Where 70 % of squares are hit, and whether in A (1) or in B (-1)."""
        shape = 1, 256 // length, 256 // length
        found = rng.random(shape) < 0.7, rng.choice((-1, 1), shape)
        return (values.repeat(length, 1).repeat(length, 2) for values in found)

    in_patch = (rng.random((1, 64, 64)) < part).repeat(4, 1).repeat(4, 2)
    both = zip(outliers(4), outliers(1), strict=True)
    far, difference = (np.where(in_patch, patches, single) for patches, single in both)
    assert _clustered(far, SimpleNamespace(difference=difference)) == clustered


def test_offsets_of_columns_are_fully_correlated_along_them_also_if_rounded():
    columns = np.rint(0.7 * np.random.default_rng(0).normal(size=(1, 1, 256)))
    difference = np.repeat(columns, 256, axis=1)
    found = autocorrelation(difference, np.ones(difference.shape, bool), 1.0).of_neighbours
    assert found == pytest.approx((1, 0), abs=0.15) and found[0] > 0.99


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.8])
def test_the_most_likely_share_of_outliers_is_theirs(share):
    peak, one, both = np.eye(3)
    counts = (1 - share) ** 2 * peak + 2 * share * (1 - share) * one + share**2 * both
    likely = _likelihood(10_000 * counts, peak[None], _SHARES, one, both)
    assert _SHARES[likely.argmax()] == pytest.approx(share, rel=0.1, abs=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.8])
def test_the_search_for_the_most_likely_noise_misses_no_better_one(share, monkeypatch):
    rng, searched = np.random.default_rng(0), []

    def in_whole_grid(values, widths, one, both, *known):
        """Search every place, too."""
        found = _best(values, widths, one, both, *known)
        scores = _likelihood(values.counts, _peaks(widths, values.edges), _SHARES, one, both)
        searched.append((found[0], scores.max()))
        return found

    monkeypatch.setattr("napari_n2n.noise.mixture._best", in_whole_grid)
    scene = rng.uniform(50, 200, 5000)
    views = [scene + rng.normal(0, 5, scene.size) for _ in range(2)]
    for view in views:
        hit = rng.random(scene.size) < share
        view[hit] = rng.uniform(0, 255, hit.sum())
    fit_mixture(*views, (0.0, 255.0))
    found, best = np.transpose(searched)
    assert found == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("share", [0.05, 0.25])
@pytest.mark.parametrize("sigma", [0, 5])
def test_text_calls_for_l1_and_is_not_correlated_noise(sigma, share):
    text = parse(f"text:{share}")
    views = [
        text.apply(view.astype(np.float32), np.random.default_rng(k))
        for k, view in enumerate(gaussian(sigma, 4, truth=WHOLE))
    ]
    report = measured(views)
    assert report.loss == "l1"
    assert report.outlier_share == pytest.approx(share, rel=0.2)
    assert abs(report.median_shift) < report.noise_a
    codes = {warning.code for warning in report.warnings}
    assert not codes & {"correlated_noise", "other_scene"}


@pytest.mark.parametrize("kind", ["impulse:0.05", "text:0.1"])
def test_correlated_noise_is_distinguished_from_outliers_on_top_of_it(kind):
    views = [
        parse(kind).apply(view.astype(np.float32), np.random.default_rng(k))
        for k, view in enumerate(gaussian(8, 3, blur=1.5))
    ]
    report = measured(views)
    assert report.loss == ("l1" if "text" in kind else "likelihood")
    assert "correlated_noise" in {warning.code for warning in report.warnings}
    assert report.correlation_length == pytest.approx((1.5, 1.5), rel=0.25)


@pytest.mark.parametrize(("value", "words"), [(0, "read 0)"), (60, "read 60)")])
def test_the_reason_names_the_value_of_missing_pixels(value, words):
    rng = np.random.default_rng(0)
    views = [np.where(rng.random(v.shape) < 0.03, value, v + 50) for v in gaussian(3, 0)]
    assert words in measured(views).reason


@settings(max_examples=3, deadline=None)
@given(share=st.floats(0.01, 0.5), sigma=st.floats(0, 15), seed=seeds)
def test_missing_pixels_are_distinguished_from_dark_ones(share, sigma, seed):
    rng = np.random.default_rng((seed, 6))
    views = [np.where(rng.random(v.shape) < share, 0.0, v) for v in gaussian(sigma, seed)]
    report = measured(views)
    assert report.missing_share == pytest.approx(share, abs=0.02)
    assert report.outlier_share == pytest.approx(share, abs=0.02)
    assert report.loss == ("l1" if report.missing_share < 0.45 else "l2")
    assert "missing (they read 0)" in report.reason
    assert ("missing" in {found.code for found in report.warnings}) == (report.loss == "l2")


@pytest.mark.parametrize("borders", [1, 4])
def test_a_black_border_of_both_acquisitions_is_not_missing(borders):
    views = [view - 100 for view in camera(2.2, 100, 1.6, 5, 0)]
    for view in views:
        for _ in range(borders):
            view[:20] = 0
            view[:] = np.rot90(view).copy()
    report = measured(views)
    assert report.missing_share == 0 and report.loss == "l2"


def test_zero_is_not_chosen_as_the_most_common_value():
    rng = np.random.default_rng(0)
    views = [np.where(rng.random(v.shape) < 0.3, 0, v) for v in hit(gaussian(5, 1), 0.3, 1)]
    report = measured(views)
    assert report.outlier_share > 0.45 and report.loss == "l2"
    assert "missing" in {warning.code for warning in report.warnings}


def test_figures_that_outliers_hide_are_not_determined():
    words = dict(measured(hit(gaussian(2, 1), 0.1, 1)).rows())
    assert words["not determined"] == "motion, drift"
    most = measured(hit(gaussian(0, 1), 0.9, 1))
    assert most.noise_correlation is None and most.correlation_length is None
    assert dict(most.rows())["not determined"] == "correlation, motion, drift"
    assert "motion" in dict(measured(gaussian(2, 1)).rows())["not detected"]


def test_overlapping_averages_are_flagged():
    rng = np.random.default_rng(0)
    one, two, three = (TRUTH + rng.normal(0, 10, TRUTH.shape) for _ in range(3))
    report = measured([(one + two) / 2, (two + three) / 2])
    assert "duplicate" in {warning.code for warning in report.warnings}
    assert report.shared_noise == pytest.approx(0.5, abs=0.15)


def test_motion_is_flagged():
    a, b = camera(2.2, 100, 1.6, 5, 0)
    b[100:160, 200:260] = b[100:160, 212:272]
    assert "motion" in {warning.code for warning in measured([a, b]).warnings}


@pytest.mark.parametrize("exposure", [5, 20])
def test_a_large_part_that_moves_is_neither_text_nor_a_shift_of_the_stage(exposure):
    a, b = camera(2.2, 100, 1.6, exposure, 0)
    b[75:255, 112:292] = b[75:255, 124:304].copy()
    report = measured([a, b])
    assert {warning.code for warning in report.warnings} == {"motion"}
    assert report.shift == (0, 0)
    assert 0.1 < report.moved_share < 0.4
    assert report.outlier_share < 0.002 and report.loss == "l2"


def test_drift_is_flagged():
    a, b = camera(2.2, 100, 1.6, 5, 0)
    b = b * np.linspace(0.7, 1.3, b.shape[1])
    assert "drift" in {warning.code for warning in measured([a, b]).warnings}


@settings(max_examples=3, deadline=None)
@example(sigma=39.0, level=0.0, seed=0)  # nearly as well explained by photons
@given(sigma=st.floats(15, 40), level=st.floats(0, 15), seed=seeds)
def test_the_shift_by_clipping_at_zero_is_measured(sigma, level, seed):
    rng = np.random.default_rng((seed, 5))
    signal = level + (TRUTH - TRUTH.min()) / np.ptp(TRUTH) * 150
    views = [np.clip(np.round(signal + rng.normal(0, sigma, TRUTH.shape)), 0, 255) for _ in "AB"]
    report = measured([view.astype(np.uint8) for view in views])
    ratio = signal / sigma
    raised = sigma * stats.norm.pdf(ratio) - signal * stats.norm.sf(ratio)
    darkest = raised[signal <= np.quantile(signal, 0.1)].mean()
    assert report.clipping_shift == pytest.approx(darkest, rel=0.15)
    assert "clipped" in {warning.code for warning in report.warnings}
    assert report.photon_gain is None and report.signal_dependent is not True


def test_noise_cut_off_at_zero_calls_for_the_likelihood():
    rng = np.random.default_rng(0)
    views = [np.clip(WHOLE - WHOLE.min() + rng.normal(0, 40, WHOLE.shape), 0, None) for _ in "AB"]
    report = measured(views)
    assert report.loss == "likelihood" and "cut off at zero" in report.reason


def test_camera_noise_cut_off_at_zero_is_flagged():
    a, b = (np.clip(v - 98, 0, 255).astype(np.uint8) for v in camera(2.2, 100, 2, 1, 0))
    report = measured([a, b])
    assert report.black_share > 0.02
    assert "clipped" in {warning.code for warning in report.warnings}
    assert report.photon_gain == pytest.approx(2.2, rel=0.1)


def test_standard_errors_agree_with_the_scatter_of_figures():
    reports = []
    for seed in range(8):
        a, b = camera(2.2, 100, 2, 1, seed, WHOLE)
        rng = np.random.default_rng(seed)
        b = 300 + 3 * (b - 100) + rng.normal(0, 40, b.shape)
        reports.append(measured(hit([a], 0.003, seed) + hit([b], 0.003, seed + 99)))
    # The scatter of eight figures has itself a standard error of 27 %.
    figures = ("noise_a", "noise_b", "gain_ratio", "photon_gain", "skewness", "outlier_share")
    for name in (*figures, "snr", "resolution"):
        scatter = np.std([getattr(report, name) for report in reports], ddof=1)
        said = np.median([report.errors[name] for report in reports])
        assert said / 2.5 < scatter < 2.5 * said, name


def test_standard_errors_of_a_camera_agree_with_the_scatter_of_its_figures():
    samples = [Sample.of(Pair.open(*camera(2.2, 100, 4, 1, seed))) for seed in range(8)]
    curves = [transfer_curve(one, np.ones(one.a.shape, bool)) for one in samples]
    for name in ("photon_gain", "read_noise", "pedestal", "skewness", "median_shift"):
        scatter = np.std([getattr(curve, name) for curve in curves], ddof=1)
        said = np.median([curve.errors[name] for curve in curves])
        assert said / 2.5 < scatter < 2.5 * said, name


@pytest.mark.parametrize("step", [1, 16])
def test_the_step_of_pixel_values_is_that_of_a_however_b_is_stored(step):
    a, b = (np.rint(view) for view in gaussian(20, 0))
    found = Sample.of(Pair.open(a.astype(np.uint16), (step * b).astype(np.uint16)))
    assert found.quantum == 1


def test_an_amplifier_of_b_that_bends_differently_adds_no_noise():
    rng, smooth = np.random.default_rng(0), ndimage.gaussian_filter(TRUTH, 8)
    light = 100 + 1000 * (smooth - smooth.min()) / np.ptp(smooth)
    a, b = (light + rng.normal(0, 3, light.shape) for _ in range(2))
    one = Sample.of(Pair.open(a, b + 10 * np.sin(light / 150)))
    assert np.median(transfer_curve(one, one.valid).variance) == pytest.approx(9, rel=0.15)


@pytest.mark.parametrize("gain", [0.5, 2.2])
def test_the_robust_variance_of_integers_is_that_of_the_noise(gain):
    views = [np.rint(view) for view in camera(gain, 100, 2, 1, 0)]
    one = Sample.of(Pair.open(*views))
    curve = transfer_curve(one, np.ones(one.a.shape, bool))
    assert curve.robust_variance == pytest.approx(curve.variance, rel=0.2)


@pytest.mark.parametrize(
    ("brighter", "side"), [(1.0, "bright"), (0.0, "dark"), (0.5, None), (0.2, None), (0.8, None)]
)
def test_outliers_on_both_sides_are_not_called_bright_or_dark(brighter, side):
    assert one_side(brighter) == side


@pytest.mark.parametrize(("side", "known"), [(127, False), (128, True)])
def test_the_error_of_a_shift_is_known_for_planes_of_128_pixels(side, known):
    report = measured(gaussian(9, 1, truth=TRUTH[:side, :160]))
    assert ("shift" in report.errors) is known


def test_a_figure_is_rounded_to_its_error_and_without_one_to_three_digits():
    report = measured(gaussian(9, 1))
    known = replace(report, noise_a=9.0123, errors={"noise_a": 0.03})
    assert known.with_error("noise_a") == "9.01 ± 0.03"
    assert replace(known, errors={}).with_error("noise_a") == "9.01"


def test_the_histogram_of_integer_pixels_has_whole_bins_and_the_height_of_its_gaussian():
    views = [np.rint(view).astype(np.uint16) for view in gaussian(4, 1)]
    _, histogram, _, _ = panels(*measure_with_curves(Pair.open(*views)))
    pixels, bell = histogram.series
    steps = np.diff(pixels.x) * np.sqrt(2)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    assert max(bell.y) == pytest.approx(max(pixels.y), rel=0.1)


def test_figures_of_two_channels_are_listed_after_those_of_the_first():
    reports = [measured(gaussian(sigma, 0, truth=TRUTH[:128, :128])) for sigma in (10, 30)]
    found = report_in_json(reports, [None, None])
    assert found["noise_a"] == reports[0].noise_a
    assert [one["noise_a"] for one in found["channels"]] == [one.noise_a for one in reports]


def test_every_warning_contains_a_fix():
    a, b = gaussian(8, 1, blur=2)
    for warning in measured([a, 1.3 * b]).warnings:
        assert len(warning.message.split(". ")) + warning.message.count(":") >= 2


def test_stacks_are_measured_from_a_few_planes():
    rng = np.random.default_rng(0)
    scene = np.stack([blobs((128, 128), seed) for seed in range(10)])
    report = measured([scene + rng.normal(0, 9, scene.shape) for _ in range(2)])
    assert report.noise_a == pytest.approx(9, rel=0.05)


@pytest.mark.parametrize(
    ("scene", "correlated"),
    [
        ("Confocal_FISH", False),
        ("Confocal_BPAE_G", False),
        ("TwoPhoton_MICE", False),
        ("TwoPhoton_BPAE_R", False),
        ("WideField_BPAE_R", True),
    ],
)
def test_real_scenes_call_for_l2(real_data, scene, correlated):
    folder = real_data / "fmd" / scene
    report = measure_noise(Pair.open(folder / "capture_1.tif", folder / "capture_2.tif"))
    assert report.loss == "l2"
    assert report.skewness > 0
    codes = {warning.code for warning in report.warnings}
    assert ("correlated_noise" in codes) is correlated
    assert not codes & {"duplicate", "motion"}


@pytest.mark.parametrize("smoothed", [0, 1])
def test_a_smoothed_recording_is_named(smoothed):
    views = gaussian(20, 1)
    views[smoothed] = ndimage.gaussian_filter(views[smoothed], 3)
    (warning,) = (one for one in measured(views).warnings if one.code == "smoothed")
    assert warning.message.startswith("AB"[smoothed])


def test_a_longer_exposure_is_not_mistaken_for_a_smoothed_recording():
    a, b = gaussian(20, 1)[0], gaussian(2, 2)[0]
    assert "smoothed" not in {warning.code for warning in measured([a, b]).warnings}


@pytest.mark.parametrize("sigma", [0.7, 3])
def test_the_correlation_of_noise_in_whole_steps_is_right(sigma):
    # Many differences are zero, and have no sign: the others agree more often.
    rng = np.random.default_rng(1)
    noise = [ndimage.gaussian_filter(rng.normal(size=(1, 256, 256)), (0, 0.7, 0.7)) for _ in "AB"]
    a, b = (np.round(50.3 + sigma * one / one.std()) for one in noise)
    apart = a - b
    true = np.mean(apart[:, 1:] * apart[:, :-1]) / np.mean(apart**2)
    found = autocorrelation(apart, np.ones(apart.shape, bool), 1.0).of_neighbours
    assert found == pytest.approx((true, true), abs=0.05)
