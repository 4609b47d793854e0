"""Every corruption has the statistics that its description promises."""

import numpy as np
import pytest
from conftest import blobs, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_n2n import Acquisition
from napari_n2n.simulate.additive import Brown, Camera, Gaussian, Poisson
from napari_n2n.simulate.corruption import value_range
from napari_n2n.simulate.registry import NOISES, parse
from napari_n2n.simulate.replacement import Bernoulli, Impulse, Text
from napari_n2n.simulate.write import simulate_by_planes

SCENE = blobs((128, 128))
COLOURS = np.stack([blobs((64, 64), seed) for seed in range(3)])
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None)


def rng_of(seed):
    return np.random.default_rng(seed)


def each_noise(**chosen):
    return pytest.mark.parametrize(
        "noise", [kind() for kind in NOISES.values()], ids=list(NOISES), **chosen
    )


@few
@given(
    seed=seeds,
    noise=st.one_of(
        st.builds(Gaussian, st.floats(0, 100)),
        st.builds(Brown, st.floats(0, 100), st.floats(0.1, 3)),
        st.builds(Poisson, st.floats(1, 1000)),
        st.builds(Camera, st.floats(0.1, 4), st.floats(0, 5), st.floats(0, 100)),
    ),
)
def test_additive_noise_has_zero_mean(seed, noise):
    difference = noise.apply(SCENE, rng_of(seed)) - SCENE
    grain = 4 * np.pi * getattr(noise, "width", 0) ** 2 + 1  # pixels that share one draw
    error = difference.std() * np.sqrt(grain / SCENE.size)
    assert abs(difference.mean()) <= 6 * error + 1e-4


@few
@given(seed=seeds, sigma=st.floats(0.1, 1000), width=st.floats(0.1, 3))
def test_gaussian_and_brown_have_the_given_standard_deviation(seed, sigma, width):
    flat = np.zeros((256, 256), np.float32)
    assert Gaussian(sigma).apply(flat, rng_of(seed)).std() == pytest.approx(sigma, rel=0.02)
    blurred = Brown(sigma, width).apply(flat, rng_of(seed)).std()
    assert blurred == pytest.approx(sigma, rel=0.03 + 0.03 * width)


@few
@given(seed=seeds, width=st.floats(0.9, 2.5))
def test_brown_neighbours_are_correlated_as_the_blur_predicts(seed, width):
    noise = Brown(25, width).apply(np.zeros((400, 400), np.float32), rng_of(seed))
    expected = np.exp(-1 / (4 * width**2))
    for axis in (0, 1):
        ahead, behind = (np.moveaxis(noise, axis, 0)[part] for part in (np.s_[1:], np.s_[:-1]))
        lag = (ahead * behind).mean() / (noise**2).mean()
        assert lag == pytest.approx(expected, abs=0.03)


def test_brown_is_as_strong_at_the_border_as_inside():
    noise = Brown(10, 3).apply(np.zeros((400, 64, 64), np.float32), rng_of(0))
    assert noise[:, :2].std() == pytest.approx(10, rel=0.05)


@few
@given(seed=seeds, photons=st.floats(1, 200))
def test_photon_noise_grows_with_the_square_root_of_the_light(seed, photons):
    image = np.repeat(np.uint8([51, 255]), 20_000).reshape(2, 200, 100)
    dim, bright = Poisson(photons).apply(image, rng_of(seed))
    assert dim.var() == pytest.approx(255**2 / photons * 0.2, rel=0.12)
    assert bright.var() == pytest.approx(255**2 / photons, rel=0.12)


@few
@given(seed=seeds, gain=st.floats(0.1, 4), read=st.floats(0, 5))
def test_a_camera_has_its_photon_transfer_curve(seed, gain, read):
    flat = np.full((200, 200), 100 + 50 * gain)
    noise = Camera(gain, read, 100).apply(flat, rng_of(seed))
    assert noise.mean() == pytest.approx(100 + 50 * gain, rel=0.01)
    assert noise.var() == pytest.approx(gain**2 * (50 + read**2), rel=0.05)


@few
@given(seed=seeds, share=st.floats(0, 0.6))
def test_text_covers_the_given_fraction_and_keeps_the_rest(seed, share):
    clean = np.full((256, 256), 300.0, np.float32)
    noisy, hit = Text(share).with_mask(clean, rng_of(seed), data_range=(100, 200))
    assert share <= hit.mean() <= share + 0.04
    np.testing.assert_array_equal(hit, noisy != clean)
    assert not hit.any() or (100 <= noisy[hit].min() and noisy[hit].max() <= 200)


@few
@given(seed=seeds, share=st.floats(0, 1))
def test_impulses_replace_the_given_fraction_by_values_of_the_whole_range(seed, share):
    clean = np.full((300, 300), -1.0)
    noisy, hit = Impulse(share).with_mask(clean, rng_of(seed), data_range=(0, 100))
    assert hit.mean() == pytest.approx(share, abs=0.01)
    np.testing.assert_array_equal(hit, noisy != -1)
    if hit.sum() > 10_000:
        quartiles = np.percentile(noisy[hit], (0, 25, 50, 75, 100))
        np.testing.assert_allclose(quartiles, (0, 25, 50, 75, 100), atol=3)


@few
@given(seed=seeds, share=st.floats(0, 1))
def test_missing_pixels_are_zero_and_in_the_mask(seed, share):
    noisy, hit = Bernoulli(share).with_mask(SCENE, rng_of(seed))
    assert hit.mean() == pytest.approx(share, abs=0.02)
    np.testing.assert_array_equal(noisy, np.where(hit, 0, SCENE))


@each_noise()
def test_two_calls_are_independent_and_a_seed_repeats_them(noise):
    rng = rng_of(0)
    a, b = (noise.apply(SCENE, rng) for _ in range(2))
    assert a.dtype == np.float32 and a.shape == SCENE.shape
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(a, noise.apply(SCENE, rng_of(0)))
    if type(noise) in (Gaussian, Brown, Camera):
        assert abs(np.corrcoef((a - SCENE).ravel(), (b - SCENE).ravel())[0, 1]) < 0.06


@each_noise()
def test_the_clean_image_is_not_changed(noise):
    before = COLOURS.copy()
    noise.apply(COLOURS, rng_of(0), channels=True)
    np.testing.assert_array_equal(COLOURS, before)


@pytest.mark.parametrize("noise", [Text(), Impulse(), Bernoulli()], ids=str)
def test_a_replaced_pixel_is_replaced_in_all_colours(noise):
    noisy, hit = noise.with_mask(COLOURS, rng_of(0), channels=True, data_range=(0, 255))
    assert hit.shape == (1, 64, 64)
    np.testing.assert_array_equal((noisy != COLOURS).all(axis=0), hit[0])
    np.testing.assert_array_equal((noisy != COLOURS).any(axis=0), hit[0])
    planes = noise.with_mask(COLOURS, rng_of(0), data_range=(0, 255))[1]
    assert planes.shape == COLOURS.shape and (planes[0] != planes[1]).any()


@pytest.mark.parametrize("noise", [Gaussian((0, 50)), Camera(1, (0, 50))])
@few
@given(seed=seeds)
def test_a_range_draws_a_level_for_every_image(noise, seed):
    flat, rng = np.zeros((64, 64), np.float32), rng_of(seed)
    levels = [noise.apply(flat, rng).std() for _ in range(12)]
    assert np.ptp(levels) > 5 and max(levels) < 55
    one = noise.with_drawn_level(rng)
    assert one.apply(flat, rng).std() == pytest.approx(one.apply(flat, rng).std(), rel=0.1)


@few
@given(seed=seeds)
def test_a_range_of_gains_and_widths_draws_one_for_every_image(seed):
    flat, rng = np.full((64, 64), 1000, np.float32), rng_of(seed)
    gains = [np.var(Camera((1, 9), 0).apply(flat, rng)) / 1000 for _ in range(12)]
    assert 0.9 < min(gains) < max(gains) < 10 and np.ptp(gains) > 1
    grains = [Brown(9, (0.5, 3)).apply(flat, rng) - 1000 for _ in range(30)]
    beside = [np.mean(noise[:, 1:] * noise[:, :-1]) / np.var(noise) for noise in grains]
    assert np.ptp(beside) > 0.1


def test_nothing_is_clipped_or_quantised():
    black = np.zeros((64, 64), np.uint8)
    noisy = Gaussian(25).apply(black, rng_of(0))
    assert noisy.min() < -50 and not np.array_equal(noisy, np.round(noisy))


def test_an_8_bit_image_has_the_range_of_its_type():
    assert value_range(np.uint8([[3, 9]])) == (0, 255)
    assert value_range(np.float32([[3, 9]])) == (3, 9)


def test_a_constant_image_is_refused():
    with refused("constant"):
        Poisson(30).apply(np.full((8, 8), 3.0), rng_of(0))


@each_noise()
def test_a_noise_is_parsed_from_its_own_text(noise):
    assert parse(str(noise)) == noise
    assert parse(noise.name.upper()) == noise


def test_the_notation_is_parsed():
    assert parse("gaussian:0-50") == Gaussian((0, 50))
    assert parse("brown:25:1.5") == Brown(25, 1.5)
    assert parse("camera:2:1.5") == Camera(2, 1.5, 0)
    assert parse("text:.25") == Text(0.25)
    assert str(Gaussian((0, 50))) == "gaussian:0-50"


@pytest.mark.parametrize(
    "words",
    [
        "",
        "salt:0.1",
        "gaussian:",
        "gaussian:-5",
        "gaussian:nan",
        "gaussian:50-0",
        "gaussian:25:3",
        "brown:25:0",
        "camera:1:1:90-110",
        "poisson:0",
        "camera:0:1",
        "text:25",
        "impulse:1.1",
        "bernoulli:half",
    ],
)
def test_wrong_notation_is_refused(words):
    with refused("option", match=f"^noise '{words}': "):
        parse(words)


def test_noise_uses_the_range_of_the_stack_not_of_the_plane(tmp_path):
    stack = np.stack([SCENE, np.full_like(SCENE, 50)])
    out = [tmp_path / "a.tif", tmp_path / "b.ome.zarr"]
    steps = list(simulate_by_planes(Acquisition.open(stack), Impulse(0.5), out))
    assert [step.progress for step in steps] == [0.5, 1.0]
    for path in out:
        flat = Acquisition.open(path).plane(1)
        assert flat.max() == pytest.approx(SCENE.max(), rel=0.05)


@pytest.mark.parametrize("axes", ["TCYX", "CTYX"])
def test_impulses_replace_a_pixel_in_all_channels(tmp_path, axes):
    stack = np.stack([COLOURS, 2 * COLOURS])
    stack = stack if axes == "TCYX" else stack.swapaxes(0, 1)
    clean = Acquisition.open(stack, axes=axes)
    steps = list(simulate_by_planes(clean, Impulse(0.3), [tmp_path / "a.ome.zarr"]))
    assert steps[-1].progress == 1
    noisy = Acquisition.open(tmp_path / "a.ome.zarr")
    assert noisy.axes == clean.axes
    hit = noisy.data.compute() != clean.data.compute()
    hit = np.moveaxis(hit, clean.axes.index("C"), 0)
    np.testing.assert_array_equal(hit[0], hit[1])
    np.testing.assert_array_equal(hit[0], hit[2])
    assert hit[0, 0].mean() == pytest.approx(0.3, abs=0.05)
    assert (hit[0, 0] != hit[0, 1]).any()


def test_a_cancelled_run_leaves_no_files(tmp_path):
    stack = np.stack([SCENE] * 3)
    out = [tmp_path / "a.tif", tmp_path / "b.ome.zarr"]
    run = simulate_by_planes(Acquisition.open(stack), Gaussian(5), out)
    next(run)
    run.close()
    assert list(tmp_path.iterdir()) == []


def test_a_clean_image_with_nan_is_refused(tmp_path):
    image = SCENE.copy()
    image[3, 4] = np.nan
    run = simulate_by_planes(Acquisition.open(image, name="cells"), Poisson(), [tmp_path / "a.tif"])
    with refused("not_finite", match="cells: .* of plane 0"):
        next(run)


def test_noisy_copies_of_a_named_image_have_names_of_their_own(tmp_path):
    clean = Acquisition.open(SCENE, name="cells")
    for source in (clean, "1/a.ome.zarr"):  # the second one has a name in its metadata
        folder = tmp_path / ("1" if source is clean else "2")
        folder.mkdir()
        opened = source if source is clean else Acquisition.open(tmp_path / source)
        out = [folder / f"{letter}.ome.zarr" for letter in "ab"]
        list(simulate_by_planes(opened, Gaussian(5), out))
        names = [Acquisition.open(path).own_name for path in out]
        assert names == [f"{opened.name} {letter}" for letter in "ab"]
