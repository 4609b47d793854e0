"""The loss `likelihood` finds the signal behind outliers and detector limits."""

import numpy as np
import pytest
import torch
from conftest import blobs
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_n2n import Pair, TrainingSettings, denoise, measure_noise, train
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.training.likelihood import (
    MeasuredNoise,
    expectation,
    most_likely,
    of_residuals,
    ordinary,
    squared,
    squared_error,
)
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.normalisation import Batch

DRAWS = 30_000
CPU = torch.device("cpu")


def noise(variance=(100.0, 100.0), share=0.0, lower_limit=None, spread=40.0, stuck=(0.0, 0.0)):
    """Noise of a detector for 0 to 255 ADU; `variance` at both ends."""
    model = NoiseModel((0.0, 255.0), variance, share, (0.0, 255.0), lower_limit, stuck)
    return MeasuredNoise.of(model, spread, CPU)


def with_outliers(targets, share, rng):
    hit = rng.random(np.shape(targets)) < share
    return np.where(hit, rng.uniform(0, 255, np.shape(targets)), targets)


def converged(measured, targets, limits=(-np.inf, np.inf), steps=60):
    """Return the number to which a network without inputs converges."""
    y = torch.as_tensor(np.clip(targets, *limits), dtype=torch.float32)
    censored = (y >= limits[1]).float() - (y <= limits[0]).float()
    return float(most_likely(measured, y, censored, steps))


@settings(max_examples=6, deadline=None)
@given(
    clean=st.floats(20, 235),
    sigma=st.floats(1, 6),
    share=st.floats(0.02, 0.85),
    seed=st.integers(0, 999),
)
def test_outliers_of_any_value_do_not_move_the_result(clean, sigma, share, seed):
    rng = np.random.default_rng(seed)
    targets = clean + rng.normal(0, sigma, DRAWS)
    targets = with_outliers(targets, share, rng)
    found = converged(noise((sigma**2, sigma**2), share), targets)
    assert found == pytest.approx(clean, abs=0.3 + sigma / 8)


@settings(max_examples=6, deadline=None)
@given(
    clean=st.floats(-10, 275),
    limits=st.sampled_from([(0, 255), (37.5, np.inf), (-np.inf, 200)]),
    seed=st.integers(0, 999),
)
def test_values_beyond_a_limit_of_the_detector_keep_their_mean(clean, limits, seed):
    sigma = 12.0
    clean = float(np.clip(clean, limits[0] - sigma, limits[1] + sigma))
    targets = clean + np.random.default_rng(seed).normal(0, sigma, DRAWS)
    found = converged(noise((sigma**2, sigma**2)), targets, limits, steps=250)
    assert found == pytest.approx(clean, abs=12 * sigma / np.sqrt(DRAWS))
    if limits[1] - sigma < clean:
        left_out = targets[targets < limits[1]].mean()  # what leaving saturated pixels out finds
        assert left_out < clean - 3


@settings(max_examples=6, deadline=None)
@given(clean=st.floats(40, 215), stuck=st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)))
def test_dead_and_hot_pixels_at_the_limits_do_not_move_the_result(clean, stuck):
    rng = np.random.default_rng(0)
    targets = clean + rng.normal(0, 10, DRAWS)
    which = rng.random(DRAWS)
    targets = np.where(which < stuck[0], 0, np.where(which > 1 - stuck[1], 255, targets))
    found = converged(noise(stuck=stuck), targets, (0, 255))
    assert found == pytest.approx(clean, abs=0.5)


@pytest.mark.parametrize("away", [0.5, 20.0, 29.9, 30.1, 1e3, 1e6])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_expectation_beyond_a_limit_is_beyond_it(away, side):
    signal, variance = torch.tensor([50.0]), torch.tensor([4.0])
    limit = signal + side * away * 2
    expected = expectation(signal, limit, torch.tensor([side]), variance)
    beyond = float(side * (expected - limit))
    assert 0 <= beyond < 2 / min(away, 1)


def test_weights_do_not_bias_the_mean_of_photon_noise():
    targets = 3.0 * np.random.default_rng(0).poisson(1.5, DRAWS)
    assert converged(noise((1.0, 766.0)), targets) == pytest.approx(4.5, abs=0.1)


def test_no_gradient_goes_through_weights_and_expectations():
    f = torch.tensor([40.0, 250.0, 3.0], requires_grad=True)
    y, censored = torch.tensor([50.0, 255.0, 0.0]), torch.tensor([0.0, 1.0, -1.0])
    measured = noise((50.0, 400.0), share=0.1)
    squared(measured, f, y, censored, 0.5).sum().backward()
    still = f.detach()
    variance = of_residuals(measured, still, y, censored, 0.5)
    weight = ordinary(measured, still, y, censored, variance) / variance
    expected = 2 * weight * (still - expectation(still, y, censored, variance))
    torch.testing.assert_close(f.grad, expected)


@settings(max_examples=10, deadline=None)
@given(
    off=st.floats(0, 25),
    sigma=st.floats(1, 10),
    share=st.floats(0.02, 0.7),
    seed=st.integers(0, 999),
)
def test_structure_that_the_network_has_not_learned_yet_is_not_an_outlier(off, sigma, share, seed):
    rng = np.random.default_rng(seed)
    clean = rng.uniform(60, 195, (4, 1, 128, 128))
    predicted = clean + rng.normal(0, off, clean.shape)
    targets = clean + rng.normal(0, sigma, clean.shape)
    targets = with_outliers(targets, share, rng)
    f, y = (torch.as_tensor(one, dtype=torch.float32) for one in (predicted, targets))
    measured, inside = noise((sigma**2, sigma**2), share), torch.zeros_like(f)
    found = squared_error(measured, y - f, measured.variance(f), inside)
    assert float(found) == pytest.approx(off**2, abs=0.35 * (off**2 + sigma**2) + 1)


def test_the_variance_follows_the_level():
    measured = noise((10.0, 520.0))
    levels = torch.tensor([-50.0, 0.0, 127.5, 255.0, 510.0])
    expected = torch.tensor([10.0, 10.0, 265.0, 520.0, 1030.0])
    torch.testing.assert_close(measured.variance(levels), expected)


def batch(input, target, gain=1.0, offset=0.0, saturated=255.0):
    weight = torch.ones_like(target)
    units = (torch.full((1, 1, 1, 1), value) for value in (gain, offset))
    return Batch(input, target, weight, target * gain + offset >= saturated, *units)


def test_the_loss_does_not_depend_on_the_units():
    rng = torch.Generator().manual_seed(0)
    images = [256 * torch.rand(2, 1, 8, 8, generator=rng) for _ in "AB"]
    scaled = [(image - 30) / 50 for image in images]
    loss = LOSSES["likelihood"].measured(
        NoiseModel((0.0, 255.0), (9.0, 500.0), 0.1, (0.0, 255.0), 5.0), 50.0, CPU
    )
    for error in (loss.held_out_error, lambda f, b: loss.training_error(f, b, 0.4)):
        in_adu = error(images[0], batch(*images))
        torch.testing.assert_close(in_adu, error(scaled[0], batch(*scaled, 50.0, 30.0)))


def test_a_model_file_contains_the_noise_that_the_run_used():
    rng = np.random.default_rng(0)
    shape = blobs((64, 64))
    scene = 60 + 300 * (shape - shape.min()) / np.ptp(shape)
    views = [np.clip(np.round(2 * rng.poisson(scene / 2)), 0, 255).astype(np.uint8) for _ in "AB"]
    pair = Pair.open(*views)
    report = measure_noise(pair)
    model = train(pair, TrainingSettings(loss="likelihood", steps=3, device="cpu", patch=32))
    assert model.record.loss == "likelihood"
    assert model.record.noise[0]["noise_model"]["levels"] == list(report.noise_model.levels)
    assert model.record.score_reason is None


def test_dim_cells_beside_a_bright_bead_keep_their_contrast():
    rng = np.random.default_rng(1)
    cells = 3 + (blobs((96, 96)) - 100) / 15
    y, x = np.mgrid[:96, :96]
    beads = 20_000 * np.exp(-((y - 60) ** 2 + (x - 30) ** 2) / 12)
    a, b = (rng.poisson(cells + beads) + 100 + rng.normal(0, 1.5, cells.shape) for _ in range(2))
    pair = Pair.open(a.round().astype(np.uint16), b.round().astype(np.uint16))
    report = measure_noise(pair)
    assert report.loss == "likelihood" and "dim structures" in report.reason
    assert report.photon_gain == pytest.approx(1, rel=0.15)
    dim = beads < 0.1
    slopes = {}
    for loss in ("l2", "auto"):
        options = TrainingSettings(loss=loss, steps=60, batch=2, patch=64, device="cpu")
        model = train(pair, options, reports=[report])
        result = np.asarray(denoise(model, pair.first)).squeeze()
        slopes[loss] = np.polyfit(cells[dim], result[dim], 1)[0]
    assert slopes["auto"] > 0.8 > slopes["l2"] + 0.2, slopes
