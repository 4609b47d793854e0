"""Whether a spot of a result is real, on scenes whose truth is known."""

import numpy as np
import pytest
from conftest import blobs, refused
from scipy import ndimage

from napari_n2n import SpotCheck

SIDE, READ = 256, 5.0


def points(places, heights, side=SIDE):
    """Points of light of a standard deviation of 1.5 pixels."""
    scene = np.zeros((side, side))
    scene[tuple(np.transpose(places))] = heights
    return ndimage.gaussian_filter(scene, 1.5) * 2 * np.pi * 1.5**2


def recorded(clean, seed, blur=0.0):
    """Photons and read noise, after a shared smooth background; neighbours share the noise."""
    rng = np.random.default_rng(seed)
    noise = rng.poisson(clean) - clean + rng.normal(0, READ, clean.shape)
    return (clean + ndimage.gaussian_filter(noise, blur)).astype(np.float32)


def grid(step=32, side=SIDE):
    ticks = range(step // 2, side, step)
    return [(y, x) for y in ticks for x in ticks]


# Structure that is much wider than a spot and its surroundings.
BACKGROUND = 50 + 20 * np.sin(np.indices((SIDE, SIDE)).sum(axis=0) / 60)


def opened(clean, *, result=None, blur=0.0, a=0.0, b=0.0, seed=0):
    """A check of a result that holds the noise of both recordings, smoothed."""
    views = [recorded(clean, 2 * seed + k, blur) + more for k, more in enumerate((a, b))]
    smooth = ndimage.gaussian_filter(np.mean(views, axis=0), 1.5) if result is None else result
    return SpotCheck.open(smooth, *views, error=np.full_like(smooth, 4.0)), smooth


@pytest.fixture(scope="module")
def lit():
    """Points of 60 ADU on a grid."""
    return opened(BACKGROUND + points(grid(), 60.0))[0]


def test_points_of_light_are_found_in_both_recordings(lit):
    found = [lit.at(y, x) for y, x in grid()]
    assert [one.verdict for one in found].count("shown") >= 0.95 * len(found)
    line = max(found, key=lambda one: one.together).line()
    assert "expected errors); A " in line and "; B " in line and "Both recordings show it" in line
    assert "\n" not in line and "± 4 ADU" in line


@pytest.mark.parametrize("blur", [0.0, 0.8])
def test_the_brightest_specks_of_noise_are_not_called_real(blur):
    check, result = opened(BACKGROUND, blur=blur)
    detail = result - ndimage.gaussian_filter(result, 6)
    peaks = detail == ndimage.maximum_filter(detail, 9)
    specks = sorted(zip(*np.nonzero(peaks), strict=True), key=lambda place: -detail[place])[:60]
    found = [check.at(int(y), int(x)).verdict for y, x in specks]
    assert "shown" not in found and found.count("noise") > 20, found


@pytest.mark.parametrize("blur", [0.0, 0.8])
def test_the_standard_errors_are_those_of_repeated_recordings(blur):
    check, _ = opened(BACKGROUND, blur=blur)
    heights = [
        [one.above / one.above_error for one in check.at(*place, size=5).recordings]
        for place in grid(16)
    ]
    assert np.std(heights, axis=0) == pytest.approx(1, abs=0.15)
    assert abs(np.corrcoef(np.transpose(heights))[0, 1]) < 0.2


def test_a_spot_that_only_one_recording_shows_is_named():
    check, _ = opened(BACKGROUND, a=points([(100, 120)], 300.0))
    one = check.at(100, 120)
    assert one.verdict == "one_recording" and "Only A shows it" in one.line()


def test_a_spot_that_the_network_invented_is_not_believed():
    invented = ndimage.gaussian_filter(BACKGROUND, 1.5) + points([(100, 120)], 60.0)
    check, _ = opened(BACKGROUND, result=invented)
    one = check.at(100, 120)
    assert one.verdict == "contradicted" and "do not believe it" in one.line()


def test_a_spot_that_the_network_removed_is_reported():
    spot = points([(100, 120)], 60.0)
    check, _ = opened(BACKGROUND + spot, result=BACKGROUND)
    one = check.at(100, 120)
    assert one.verdict == "removed" and "lacks a detail" in one.line()


def test_a_dark_hole_is_judged_as_a_bright_spot_is():
    check, _ = opened(3 * BACKGROUND + 100 - points([(100, 120)], 90.0))
    one = check.at(100, 120)
    assert one.verdict == "shown" and "below its surroundings" in one.line()


def test_a_hot_pixel_which_both_recordings_show_is_not_called_real():
    hot = np.zeros((SIDE, SIDE))
    places = np.random.default_rng(0).integers(8, SIDE - 8, (12, 2))
    hot[tuple(places.T)] = 400
    check, _ = opened(BACKGROUND + 100, a=hot, b=hot)
    found = [check.at(int(y), int(x)).verdict for y, x in places]
    assert found.count("detector") >= 11 and "shown" not in found, found


def test_displaced_recordings_are_compared_at_the_same_place_of_the_scene():
    clean = (
        np.pad(BACKGROUND, 22, mode="reflect")
        + 20 * blobs((300, 300)) / 100
        + np.pad(points([(100, 120)], 150.0), 22)
    )
    a, b = recorded(clean, 0)[5:], recorded(clean, 1)[:-5]
    check = SpotCheck.open(ndimage.gaussian_filter(a, 1.5), a, b)
    one = check.at(117, 142)
    assert one.verdict == "shown" and one.recordings[1].value > 100
    assert {check.at(y, 142).verdict for y in (1, 293)} >= {"unknown"}


def test_channels_and_planes_have_their_own_places():
    spot = points([(40, 50)], 150.0, 96)
    clean = np.full((2, 3, 96, 96), 60.0) + np.arange(96) / 5
    clean[1, 2] += spot
    a, b = recorded(clean, 1), recorded(clean, 2)
    check = SpotCheck.open(ndimage.gaussian_filter(a, (0, 0, 1, 1)), a, b, axes="CZYX")
    assert check.at(1, 2, 40, 50).verdict == "shown"
    assert check.at(1, 1, 40, 50).verdict != "shown" != check.at(0, 2, 40, 50).verdict
    assert check.at(1, 2, 40, 50).place == {"C": 1, "Z": 2, "Y": 40, "X": 50}
    with refused("option", match="C, Z, Y, X|axes CZYX"):
        check.at(40, 50)
    with refused("option", match="0 to 95 along Y"):
        check.at(1, 2, 96, 50)


def test_a_result_of_another_shape_is_refused():
    with refused("shape"):
        SpotCheck.open(BACKGROUND[:100], recorded(BACKGROUND, 1), recorded(BACKGROUND, 2))


@pytest.mark.parametrize("average", [False, True])
def test_a_brighter_recording_is_compared_on_the_scale_of_the_result(average):
    clean = BACKGROUND + points(grid(), 60.0)
    a, b = recorded(clean, 1), 3 * recorded(clean, 2)
    result = ndimage.gaussian_filter(2 * clean if average else clean, 1.0)
    one = SpotCheck.open(result, a, b).at(112, 112)
    assert one.verdict == "shown"
    for recording in one.recordings:
        assert abs(recording.above - one.above) < 4 * recording.above_error
        assert recording.above_error == pytest.approx((1 + average) * 3.2, rel=0.5)
