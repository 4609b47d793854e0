"""When a run ends, its learning rate, and the size of its batches."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import blobs, noisy

from napari_n2n import Acquisition, Pair, TrainingSettings
from napari_n2n.model.network import to_stabilised
from napari_n2n.model.record import HeldOutScore
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.training.estimate import TimeEstimate
from napari_n2n.training.normalisation import normalise, stabilise
from napari_n2n.training.patches import batch_size, patch_side
from napari_n2n.training.schedule import Schedule, learning_rate, usual_steps
from napari_n2n.training.state import History

WHITE, CORRELATED = (SimpleNamespace(training_factor=factor) for factor in (1.0, 2.0))


def schedule(**settings):
    return Schedule.of(TrainingSettings(**settings), [WHITE], 10**6, 10**5)


def test_the_learning_rate_warms_up_stays_and_falls_to_zero():
    assert learning_rate(2.0, 0, 0.0) == pytest.approx(2 / 50)
    assert learning_rate(2.0, 24, 0.1) == pytest.approx(1.0)
    assert learning_rate(2.0, 49, 0.1) == learning_rate(2.0, 5000, 0.6) == 2.0
    assert learning_rate(2.0, 5000, 0.8) == pytest.approx(1.0)
    assert learning_rate(2.0, 5000, 1.0) == pytest.approx(0.0)


def test_usual_steps_follow_the_pixels_within_limits_and_double_with_correlated_noise():
    assert usual_steps([WHITE], 10**6, 10**5) == 400 * 10
    assert usual_steps([WHITE], 1, 10**5) == 1500
    assert usual_steps([WHITE], 10**9, 10**5) == 6000
    assert usual_steps([WHITE, CORRELATED], 10**6, 10**5) == 2 * 400 * 10


def test_a_run_ends_at_whichever_limit_comes_first():
    assert schedule(steps=200).progress(History(step=50)) == 0.25
    both = schedule(steps=200, minutes=2)
    assert both.progress(History(step=50, seconds=90)) == 0.75
    assert both.progress(History(step=150, seconds=12)) == 0.75
    assert both.progress(History(step=10, seconds=500)) == 1.0


@pytest.mark.parametrize(("preset", "steps"), [("quick", 1200), ("balanced", 4000)])
def test_a_run_without_limits_ends_at_its_plateau_or_after_the_usual_steps(preset, steps):
    unlimited = schedule(preset=preset)
    assert unlimited.progress(History(step=steps // 2)) == pytest.approx(0.5)
    assert unlimited.progress(History(step=500, end=1000)) == 0.5


def scores(*errors):
    return [
        HeldOutScore(step=step, seconds=0, loss=None, held_out=error, psnr=None, psnr_se=None)
        for step, error in enumerate(errors)
    ]


def test_a_plateau_is_three_validations_without_improvement():
    balanced = schedule()
    assert balanced.has_plateaued(scores(5, 4, 3, 3, 3, 3))
    assert not balanced.has_plateaued(scores(5, 4, 3, 3, 3))
    assert not balanced.has_plateaued(scores(5, 4, 3, 3, 3, 2.9))
    assert balanced.has_plateaued(scores(5, 4, 3, 3, 3, 2.9999)), "a difference by chance"


def test_a_long_curve_must_be_flat_for_a_third_of_it():
    falling = list(np.linspace(10, 3, 20))
    assert not schedule().has_plateaued(scores(*falling, *[3] * 5))
    assert schedule().has_plateaued(scores(*falling, *[3] * 12))


def test_correlated_noise_and_thorough_runs_wait_longer():
    settings = TrainingSettings(preset="thorough")
    patient = Schedule.of(settings, [CORRELATED], 10**6, 10**5)
    assert patient.patience == 6
    flat = scores(5, 4, 3, *[3] * 17)
    assert schedule().has_plateaued(flat) and not patient.has_plateaued(flat)


def test_the_estimate_counts_channels_networks_presets_and_time_limits():
    estimate = TimeEstimate(0.1, 5, usual_steps=1000, channels=2, device="cpu")
    assert estimate.seconds(TrainingSettings()) == pytest.approx(106)
    assert estimate.seconds(TrainingSettings(preset="quick")) == pytest.approx(0.3 * 106)
    assert estimate.seconds(TrainingSettings(steps=100)) == pytest.approx(2 * 10.6)
    assert estimate.seconds(TrainingSettings(minutes=0.5)) == 60
    both = TrainingSettings(steps=100, error_map="on")
    assert estimate.seconds(both) == pytest.approx(3 * 2 * 10.6)
    assert estimate.range(TrainingSettings()) == pytest.approx((106, 106))
    uneven = replace(estimate, quick_seconds=0.05, slow_seconds=0.2)
    assert uneven.range(TrainingSettings()) == pytest.approx((53, 212))
    assert uneven.range(TrainingSettings(minutes=1)) == pytest.approx((53, 120))


def test_patches_fit_into_the_smallest_stack_in_multiples_of_the_stride():
    pairs = [
        Pair.open(*(noisy(blobs(shape), seed) for seed in (1, 2))) for shape in ((96, 50), (70, 96))
    ]
    assert patch_side(pairs, TrainingSettings(patch=64), (8, 8)) == (64, 48)
    volume = [Acquisition.open(noisy(blobs((9, 64, 64)), seed), axes="ZYX") for seed in (1, 2)]
    sides = patch_side([Pair.open(*volume)], TrainingSettings(patch=32, dims=3), (4, 4, 4))
    assert sides == (8, 32, 32)
    assert batch_size(TrainingSettings(batch=12), 2) == 12
    assert [batch_size(TrainingSettings(batch=n), 3) for n in (4, 32)] == [1, 4]


def test_normalised_units_have_black_at_zero_and_a_deviation_of_one(pair):
    (found,) = normalise([pair])
    plane = pair.first.plane(0)
    normal = found.scale(plane)
    assert np.percentile(normal, 1) == pytest.approx(0, abs=0.2)
    assert normal.std() == pytest.approx(1, rel=0.1)
    assert found.mean == pytest.approx(normal.mean(), abs=0.15)
    assert found.values[0] >= plane.min() and found.values[1] <= plane.max()


@pytest.mark.parametrize(
    ("levels", "variances", "gain", "dark"),
    [
        ((10, 10_010), (24, 20_024), 2, 4),
        ((10, 10_010), (20, 20_020), 2, 2),
        ((-10, 9_990), (20, 20_020), 2, 20),
        ((10, 10_010), (20_000, 20), 0, 20_000),
    ],
    ids=["read noise", "photons alone", "below black", "noise that falls with the light"],
)
def test_dim_and_bright_places_have_the_same_noise_for_the_network(
    pair, levels, variances, gain, dark
):
    """Without read noise, a tenth of the darkest variance is that at black."""
    (found,) = normalise([pair])
    black = found.scale.inverse(0.0)
    model = NoiseModel(tuple(black + one for one in levels), variances, 0.0, (0.0, 0.0), None)
    curve = stabilise([pair], found, model)
    assert curve.gain == pytest.approx(gain * found.scale.gain)
    assert curve.dark == pytest.approx(dark * found.scale.gain**2, rel=1e-4)
    image = torch.from_numpy(found.scale(pair.first.plane(0)))
    assert float(to_stabilised(image, torch.tensor(curve)).std()) == pytest.approx(1, rel=0.05)
