"""The statistic that each loss converges to, with a single number as the network."""

import numpy as np
import pytest
import torch

from napari_n2n.training.losses import LOSSES, l0_gamma, masked_mean, power

DRAWS = 200_000


def minimiser(loss, targets, grid):
    """Return the number of a grid with the smallest mean loss over all targets."""
    targets = torch.as_tensor(targets, dtype=torch.float32)
    means = [float(loss(torch.full_like(targets, value), targets).mean()) for value in grid]
    return grid[int(np.argmin(means))]


def impulses(clean, share, draws=DRAWS, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(draws) < share, rng.random(draws), clean)


@pytest.mark.parametrize(("name", "found"), [("l2", 135), ("l1", 150), ("l0", 150)])
def test_the_textbook_example(name, found):
    targets = np.repeat([150.0, 0.0], [90_000, 10_000])
    grid = np.arange(0, 201, 1.0)
    loss = LOSSES[name].per_pixel
    assert minimiser(lambda f, y: loss(f, y, 1.0), targets, grid) == found


@pytest.mark.parametrize("clean", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_l2_drifts_to_grey_under_impulses(clean, share):
    grid = np.linspace(0, 1, 501)
    found = minimiser(LOSSES["l2"].held_out, impulses(clean, share), grid)
    assert found == pytest.approx((1 - share) * clean + share / 2, abs=0.004)


@pytest.mark.parametrize(
    ("clean", "share", "found"),
    [(0.1, 0.5, 0.1), (0.5, 0.9, 0.5), (0.0, 0.7, 0.286), (1.0, 0.7, 0.714), (1.0, 0.4, 1.0)],
)
def test_l1_is_exact_until_half_of_the_pixels_are_hit(clean, share, found):
    grid = np.linspace(0, 1, 501)
    measured = minimiser(LOSSES["l1"].held_out, impulses(clean, share), grid)
    assert measured == pytest.approx(found, abs=0.005)


@pytest.mark.parametrize(
    ("share", "gamma", "found"),
    [
        (0.7, 2.0, 0.380),
        (0.7, 1.5, 0.349),
        (0.7, 1.0, 0.286),
        (0.7, 0.7, 0.100),
        (0.9, 2.0, 0.460),
        (0.9, 1.0, 0.445),
        (0.9, 0.5, 0.432),
        (0.9, 0.3, 0.425),
        (0.9, 0.1, 0.100),
    ],
)
def test_annealed_l0_moves_from_the_mean_to_the_mode(share, gamma, found):
    grid = np.linspace(0, 1, 201)
    targets = impulses(0.1, share)
    measured = minimiser(lambda f, y: power(f, y, gamma), targets, grid)
    assert measured == pytest.approx(found, abs=0.02)


def test_l0_keeps_its_gradient_while_it_anneals():
    for progress in (0.0, 0.5, 1.0):
        prediction = torch.tensor([1.0], requires_grad=True)
        LOSSES["l0"].per_pixel(prediction, torch.tensor([0.0]), progress).sum().backward()
        assert float(prediction.grad) == pytest.approx(1.0, abs=0.01)
    assert l0_gamma(1.0) > 0


def test_l0_has_finite_gradients_in_half_precision_and_at_perfect_hits():
    prediction = torch.zeros(4, dtype=torch.bfloat16, requires_grad=True)
    LOSSES["l0"].per_pixel(prediction, torch.zeros(4), 1.0).sum().backward()
    assert torch.isfinite(prediction.grad).all()


def test_pixels_of_weight_zero_do_not_count():
    loss, weight = torch.tensor([1.0, 5.0, torch.inf]), torch.tensor([1.0, 1.0, 0.0])
    assert float(masked_mean(torch.where(weight > 0, loss, 9.0), weight)) == 3.0
