"""Intensities of any size are matched, and blank planes do not spoil the training units."""

import numpy as np
import pytest
from conftest import blobs, noisy
from scipy import ndimage

from napari_n2n import Pair
from napari_n2n.simulate.additive import Brown
from napari_n2n.training.normalisation import normalise


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e5, 1e12])
def test_the_gain_is_measured_at_values_of_any_size(size):
    a, b = (noisy(blobs((96, 96)), seed, 10) for seed in (1, 2))
    pair = Pair.open(size * a, 1.3 * size * b)
    assert pair.matches[1].gain == pytest.approx(1.3, rel=0.02)
    assert pair.shift == pytest.approx((0, 0), abs=0.2)
    assert pair.noise == pytest.approx((10 * size, 13 * size), rel=0.1)


def test_a_blank_first_plane_does_not_spoil_the_training_units():
    pairs = []
    for field in range(5):
        stacks = [
            np.stack([noisy(blobs((64, 64), field), seed + k) for k in range(4)]) for seed in (1, 9)
        ]
        whole = normalise([Pair.open(*stacks)])[0].scale.gain
        for stack in stacks:
            stack[0] = 0
        pairs.append(Pair.open(*stacks))
    assert normalise(pairs)[0].scale.gain == pytest.approx(whole, rel=0.3)


@pytest.mark.parametrize("gain", [0.7, 1.3])
def test_noise_in_a_does_not_make_b_look_dimmer(gain):
    # The means of A's bins are noisy: uncorrected, the line is 3 % too flat here.
    clean = blobs((256, 256)).astype(np.float64)
    strong = 6 * clean.std()
    found = [
        Pair.open(noisy(clean, seed, strong), gain * noisy(clean, seed + 99, strong / 3))
        for seed in range(8)
    ]
    gains = [pair.matches[1].gain for pair in found]
    assert np.mean(gains) == pytest.approx(gain, rel=0.015)


def test_grainy_noise_in_b_does_not_make_it_look_brighter():
    # Binned by the plain mean of both surroundings, the noisier one would.
    clean, gains = blobs((192, 192), 1).astype(np.float64), []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        a, b = (Brown(part * float(clean.std()), 1.0).apply(clean, rng) for part in (1, 2))
        gains.append(Pair.open(a, 1.3 * b).matches[1].gain)
    assert np.mean(gains) == pytest.approx(1.3, rel=0.1)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_few_tiny_bright_beads_do_not_hide_the_gain(number):
    # They filled the range of the bins: all cells were in one, and the gain of 1.3 read 1.0.
    rng, cells = np.random.default_rng(number), blobs((192, 192)) / 10
    beads = np.zeros(cells.shape)
    beads[tuple(rng.integers(10, 182, (2, number)))] = 1
    scene = cells + 3e5 * ndimage.gaussian_filter(beads, 1.5)
    a, b = (rng.poisson(scene) for _ in range(2))
    assert Pair.open(a, 1.3 * b).matches[1].gain == pytest.approx(1.3, rel=0.02)


def test_the_brightest_pixels_count_alike_wherever_they_are():
    dim, gains = blobs((64, 256)), []
    for y in (6, 62):
        for x in (6, 66, 130, 194, 250):
            scene = dim.copy()
            scene[y - 6 : y + 6, x - 6 : x + 6] += 1000
            pair = Pair.open(noisy(scene, 1, 10), 1.3 * noisy(scene, 2, 10))
            gains.append(pair.matches[1].gain)
    assert gains == pytest.approx([1.3] * 10, rel=0.02)
