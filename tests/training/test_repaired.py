"""Hot pixels and offsets are repaired in training and denoising if the user asks for it."""

import json
import shlex

import numpy as np
import pytest
import tifffile
import torch
from conftest import blobs, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_n2n import Pair, TrainingSettings, cli, denoise, load, open_pairs, train
from napari_n2n.denoising.plan import make_plan
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.detector_map import DetectorMap
from napari_n2n.training.block_cache import BlockCache
from napari_n2n.training.held_out import HeldOut, HeldOutMask
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.normalisation import normalise
from napari_n2n.training.patches import Patches
from napari_n2n.training.repaired import repaired

SIDE = 96
SCENE = blobs((SIDE, SIDE), 3)
RNG = np.random.default_rng(2)
HOT = RNG.random((SIDE, SIDE)) < 0.01
COLUMNS = 15 * RNG.normal(size=SIDE)
PATTERN = COLUMNS + np.where(HOT, RNG.uniform(600, 3000, HOT.shape), 0)
QUICK = {"steps": 20, "patch": 32, "batch": 4, "loss": "l2", "device": "cpu"}


def recorded(seed, pattern=PATTERN, scene=SCENE, sigma=6.0):
    noise = np.random.default_rng((seed, 5)).normal(0, sigma, scene.shape)
    return np.round(scene + pattern + noise).astype(np.uint16)


def two(**options):
    return [recorded(seed, **options) for seed in (1, 2)]


def some_map(seed):
    rng = np.random.default_rng(seed)
    return DetectorMap(
        rng.random((20, 30)) < 0.1,
        rng.normal(size=30).astype(np.float32),
        rng.normal(size=20).astype(np.float32),
        rng.normal(size=(20, 30)).astype(np.float32) if seed % 2 else None,
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), data=st.data())
def test_corrected_pixels_do_not_depend_on_the_region_that_is_read(seed, data):
    values = np.random.default_rng((seed, 1)).integers(0, 4000, (3, 20, 30)).astype(np.uint16)
    whole = Acquisition.open(values, axes="TYX").corrected(some_map(seed))
    region = []
    for length in whole.shape:
        start = data.draw(st.integers(0, length - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, length))))
    every = tuple(slice(0, length) for length in whole.shape)
    expected = whole.read(every)[tuple(region)]
    np.testing.assert_allclose(whole.read(tuple(region)), expected, rtol=1e-5, atol=1e-3)
    cropped = whole.cropped(*region[1:])
    part = cropped.read((region[0], slice(0, None), slice(0, None)))
    np.testing.assert_allclose(part, expected, rtol=1e-5, atol=1e-3)


def test_offsets_are_subtracted_and_bad_pixels_have_the_mean_of_their_neighbours():
    bad = np.zeros((8, 8), bool)
    bad[3, 4] = bad[0, 0] = True
    ramp = np.add.outer(10.0 * np.arange(8), np.arange(8))
    columns = np.arange(8, dtype=np.float32)
    detector = DetectorMap(bad, columns, np.zeros(8, np.float32))
    values = np.where(bad, 9000, ramp + columns)
    values[6, 6] = 60_000
    read = Acquisition.open(values.astype(np.uint16)).corrected(detector)
    assert read.dtype == np.float32 and read.saturation == 65535
    result = read.plane(0)
    good = ~bad
    good[6, 6] = False
    np.testing.assert_allclose(result[good], ramp[good], atol=1e-4)
    assert result[3, 4] == pytest.approx(ramp[3, 4], abs=0.1) and result[0, 0] < 30


def test_the_map_of_a_detector_is_the_mean_over_all_fields_of_view():
    one, two, three = (some_map(seed) for seed in (1, 2, 3))
    mean = DetectorMap.of_fields([one, two, three], fields=4)
    assert np.array_equal(mean.bad, one.bad.astype(int) + two.bad + three.bad >= 2)
    np.testing.assert_allclose(mean.columns, (one.columns + two.columns + three.columns) / 4)
    np.testing.assert_allclose(mean.rows, (one.rows + two.rows + three.rows) / 4)
    np.testing.assert_allclose(mean.pixels, (one.pixels + three.pixels) / 4)
    assert DetectorMap.of_fields([two], fields=4).pixels is None


@pytest.mark.parametrize("seed", [0, 1])
def test_a_map_is_the_same_after_it_was_stored(seed):
    before = some_map(seed)
    after = DetectorMap.from_dict(json.loads(json.dumps(before.as_dict())))
    assert np.array_equal(before.bad, after.bad)
    for name in ("columns", "rows", "pixels"):
        one, other = getattr(before, name), getattr(after, name)
        assert (one is None) == (other is None)
        assert one is None or np.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize(
    "change", [{"bad": [-1]}, {"bad": [600]}, {"rows": [0.0]}, {"shape": [10**6, 10**6]}]
)
def test_a_map_that_does_not_fit_is_refused(change):
    with pytest.raises(ValueError, match="map"):
        DetectorMap.from_dict(some_map(1).as_dict() | change)


def drawn(pairs):
    """Batches of training and validation."""
    scales, masks, cpu = normalise(pairs), [HeldOutMask((SIDE, SIDE), 0)], torch.device("cpu")
    cache = BlockCache(
        pairs, masks, scales, side=(32, 32), drawn=1, seed=0, device=cpu, memory=10**8
    )
    batches = [Patches(cache).draw(step, 16) for step in range(6)]
    cache.close()
    scored = HeldOut(pairs, masks, scales, LOSSES["l2"], stride=(4, 4), device=cpu).batches
    return scales[0].scale, [*batches, *(batch for _, batch in scored)]


def test_no_hot_pixel_is_an_input_or_a_target():
    pair = Pair.open(*two())
    assert len(pair.pattern.hot) > 0.9 * HOT.sum()
    brightest = float(SCENE.max()) + 40
    for pairs, clean in (([pair], False), (repaired([pair]), True)):
        scale, batches = drawn(pairs)
        limit = scale(brightest)
        assert all((batch.input < limit).all() for batch in batches) == clean
        assert all((batch.target[batch.weight > 0] < limit).all() for batch in batches) == clean
    bad = pair.corrected().bad_pixels(slice(0, SIDE), slice(0, SIDE))
    assert (HOT & bad).sum() == len(pair.pattern.hot)
    held = next(batch for batch in batches if batch.weight.shape[-2:] == (SIDE, SIDE))
    assert not held.weight[0, 0][torch.from_numpy(bad)].any()


@pytest.fixture(scope="module")
def models():
    pair = Pair.open(*two())
    return {
        how: train(pair, TrainingSettings(fixed_pattern=how, **QUICK)) for how in ("keep", "repair")
    }


def test_a_model_repairs_recordings_only_if_asked(models, tmp_path):
    new = recorded(3)
    for how, model in models.items():
        result = np.asarray(denoise(load(model.save(tmp_path / how)), new))
        at_hot = np.median(np.abs(result - SCENE)[HOT])
        assert (at_hot < 60) == (how == "repair"), at_hot
    off = [np.asarray(denoise(models[how], new)) - SCENE for how in ("keep", "repair")]
    lines = [np.diff(np.median(one, axis=0)).std() for one in off]
    assert lines[1] < 0.7 * lines[0]


def test_the_map_is_in_the_model_and_the_recordings_are_described_unchanged(models):
    assert models["keep"].record.detector_of(0) is None
    detector = models["repair"].record.detector_of(0)
    assert detector.bad.sum() >= 0.9 * HOT.sum() and detector.has_offsets
    assert [one.dtype for one in models["repair"].record.acquisitions] == ["uint16", "uint16"]


def test_planes_of_another_size_are_denoised_without_repair_and_a_warning(models):
    part = recorded(3)[:64, :80]
    plan = make_plan(models["repair"], part)
    (warning,) = (one for one in plan.warnings if "not repaired" in one)
    assert "64x80" in warning and "96x96" in warning
    assert plan.scenes[0].acquisitions[0].detector is None


def test_the_fields_of_view_of_a_detector_share_one_map():
    fields = [
        [recorded(2 * k + s, scene=blobs((SIDE, SIDE), k)) for s in range(2)] for k in range(4)
    ]
    pairs = open_pairs(*fields)
    maps = [pair.first.detector for pair in repaired(pairs)]
    assert all(one is maps[0] for one in maps)
    assert maps[0].bad.sum() >= 0.9 * HOT.sum()
    left = [(COLUMNS - one.columns).std() for one in (maps[0], pairs[0].pattern.detector)]
    assert left[0] < left[1] < COLUMNS.std()


def dark_frames(count, own=0.0):
    rng = np.random.default_rng(9)
    frames = 100 + PATTERN + own + rng.normal(0, 3, (count, SIDE, SIDE))
    return np.round(frames).astype(np.uint16)


def test_dark_frames_give_offsets_and_hot_pixels():
    own = 6 * np.random.default_rng(8).normal(size=(SIDE, SIDE))
    views = [recorded(s, pattern=PATTERN + own) for s in (1, 2)]
    raw = Pair.open(*views)
    pair = Pair.open(*views, dark=[dark_frames(8, own)])
    assert {one.code for one in raw.findings} >= {"fixed_pattern"}
    assert not {one.code for one in pair.findings} & {"fixed_pattern"}
    detector = pair.first.detector
    assert np.array_equal(detector.bad, HOT)
    offsets = detector.columns + detector.rows[:, None] + detector.pixels
    left = (COLUMNS + own - offsets)[~HOT]
    assert left.std() < 1.5  # 3 ADU of read noise in 8 frames; 16 ADU before
    model = train(pair, TrainingSettings(**QUICK))
    assert np.array_equal(model.record.detector_of(0).bad, HOT)


def test_one_dark_frame_gives_no_offsets_of_single_pixels():
    pair = Pair.open(*two(), dark=[dark_frames(1)[0]])
    assert pair.first.detector.pixels is None and pair.first.detector.has_offsets


def test_dark_frames_of_another_camera_are_refused():
    with refused("shape", "64x96.*dark|dark.*64x96"):
        Pair.open(*two(), dark=[dark_frames(2)[:, :64]])
    with refused("shape", "one camera"):
        Pair.open(*two(), dark=[dark_frames(2), dark_frames(2)[:, :64]])


def test_the_command_line_lists_and_repairs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("napari_n2n.training.prepare.batch_size", lambda settings, dims: 2)
    for name, view in zip("ab", two(), strict=True):
        tifffile.imwrite(f"{name}.tif", view)
    tifffile.imwrite("dark.tif", dark_frames(4), photometric="minisblack")

    def run(command):
        monkeypatch.setattr("sys.argv", shlex.split(command))
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        return capsys.readouterr().out

    found = json.loads(run("napari-n2n inspect a.tif b.tif --json --hot-pixels hot.csv"))
    lines = (tmp_path / "hot.csv").read_text().splitlines()
    assert len(lines) == 1 + found["hot_pixels"] + found["dead_pixels"]
    assert found["column_offsets"] > 10 and found["row_offsets"] == 0
    assert all(HOT[tuple(map(int, line.split(",")[1:3]))] for line in lines[1:])
    dark = json.loads(run("napari-n2n inspect a.tif b.tif --json --dark dark.tif"))
    assert dark["hot_pixels"] == 0 == dark["column_offsets"]
    run("napari-n2n train a.tif b.tif -o m.n2n --steps 2 --fixed-pattern repair -q")
    run("napari-n2n train a.tif b.tif -o d.n2n --steps 2 --dark dark.tif -q")
    assert load("m.n2n").record.detector_of(0).bad.any()
    assert np.array_equal(load("d.n2n").record.detector_of(0).bad, HOT)
    run("napari-n2n denoise d.n2n a.tif -o out.tif -q")
    assert tifffile.imread("out.tif")[HOT].max() < 600
