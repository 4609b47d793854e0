import weakref
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
import zarr
from conftest import blobs, noisy, refused, stack_network
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_n2n import Acquisition, Pair, TrainingSettings, denoise, open_pairs, train
from napari_n2n.denoising.denoise import denoise_by_shards
from napari_n2n.denoising.plan import make_plan
from napari_n2n.denoising.predictor import Predictor
from napari_n2n.denoising.tiles import tiles
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.network import CompactUNet
from napari_n2n.quality.score import score_result
from napari_n2n.stats.affine import Affine

torch.manual_seed(0)
UNTRAINED = Denoiser((CompactUNet(1, 8, 2),), {"name": "compact", "width": 8}, (Affine(0.01, -1),))
POOLED = Denoiser(  # as in models of volumes from before
    (CompactUNet(1, 4, 1, dims=3, flat=1),),
    {"name": "compact", "width": 4, "depth": 1, "dims": 3, "flat": 1},
    (Affine(0.01, -1),),
)
STACKED = Denoiser((stack_network(4, 1),), {"name": "stack"}, (Affine(0.01, -1),))


def in_tiles(denoiser, stack, sides, axes, turns=False):
    """Denoise a whole stack in tiles of given sides."""
    work = make_plan(denoiser, stack, axes=axes, turns=turns)
    predictor = Predictor(denoiser, work, torch.device("cpu"), 10**9, tile=sides)
    region = tuple(slice(0, length) for length in stack.shape)
    return predictor.compute(region, predictor.read(region))


@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 150),
    columns=st.integers(1, 150),
    size=st.integers(16, 160),
    seed=st.integers(0, 9),
    turns=st.booleans(),
)
def test_tiled_equals_whole(rows, columns, size, seed, turns):
    plane = np.random.default_rng(seed).normal(100, 50, (rows, columns)).astype(np.float32)
    whole = in_tiles(UNTRAINED, plane, (4096, 4096), "YX", turns)
    tiled = in_tiles(UNTRAINED, plane, (size, size), "YX", turns)
    spread = max(float(np.ptp(plane)), 1e-3)
    np.testing.assert_allclose(tiled, whole, atol=1e-4 * spread)


@settings(max_examples=10, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 20), st.integers(1, 60), st.integers(1, 60)),
    sides=st.tuples(st.integers(1, 20), st.integers(8, 60), st.integers(8, 60)),
    denoiser=st.sampled_from((POOLED, STACKED)),
)
def test_tiled_equals_whole_in_volumes(shape, sides, denoiser):
    volume = np.random.default_rng(0).normal(100, 50, shape).astype(np.float32)
    whole = in_tiles(denoiser, volume, (99, 99, 99), "ZYX")
    tiled = in_tiles(denoiser, volume, sides, "ZYX")
    np.testing.assert_allclose(tiled, whole, atol=1e-4 * max(float(np.ptp(volume)), 1e-3))


@settings(max_examples=10, deadline=None)
@given(
    cells=st.tuples(*[st.integers(1, 6)] * 3),
    sides=st.integers(8, 40),
    denoiser=st.sampled_from((UNTRAINED, POOLED, STACKED)),
)
def test_the_result_is_that_of_the_bare_network_also_at_the_edges(cells, sides, denoiser):
    stride = denoiser.stride
    shape = tuple(n * step for n, step in zip(cells[-len(stride) :], stride, strict=True))
    image = np.random.default_rng(0).normal(100, 50, shape).astype(np.float32)
    bare = denoiser.apply(torch.from_numpy(image[None]), 0, False)[0]
    result = in_tiles(denoiser, image, (sides,) * len(stride), "ZYX"[-len(stride) :])
    np.testing.assert_allclose(result, bare, atol=1e-4 * max(float(np.ptp(image)), 1e-3))


@pytest.mark.parametrize("denoiser", [UNTRAINED, STACKED], ids=["planes", "volumes"])
def test_with_augmentation_a_rotated_recording_gives_the_rotated_result(denoiser):
    shape = (8, 64, 96)[-denoiser.dims :]
    image = np.random.default_rng(0).normal(100, 50, shape).astype(np.float32)
    clean = denoise(denoiser, image, axes="ZYX"[-denoiser.dims :], turns=True, device="cpu")
    for turn in (lambda x: np.rot90(x, 1, (-2, -1)), lambda x: np.flip(x, -1)):
        turned = np.ascontiguousarray(turn(image))
        again = denoise(denoiser, turned, axes="ZYX"[-denoiser.dims :], turns=True, device="cpu")
        np.testing.assert_allclose(again, turn(clean), atol=1e-3)
        plain = denoise(denoiser, turned, axes="ZYX"[-denoiser.dims :], device="cpu")
        assert np.abs(plain - turn(clean)).max() > 0.1


@settings(max_examples=10, deadline=None)
@given(cut=st.lists(st.integers(1, 119), max_size=3, unique=True), shift=st.integers(-5, 5))
def test_a_result_is_the_same_however_it_is_cut_into_shards(cut, shift):
    big = blobs((130, 100), 4)
    a, b = noisy(big[5:125], 1), noisy(big[5 + shift : 125 + shift], 2)
    work = make_plan(UNTRAINED, a, b)
    predictor = Predictor(UNTRAINED, work, torch.device("cpu"), 10**9)

    def part(start, stop):
        region = slice(start, stop), slice(0, 100)
        return predictor.compute(region, predictor.read(region))

    edges = [0, *sorted(cut), 120]
    parts = [part(*ends) for ends in pairwise(edges)]
    np.testing.assert_allclose(np.concatenate(parts), part(0, 120), atol=1e-2)


@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    first=st.tuples(st.integers(0, 50), st.integers(0, 50)),
    size=st.integers(1, 300),
    halo=st.integers(0, 70),
    stride=st.sampled_from([1, 4, 8, 32]),
)
def test_tiles_cover_every_pixel_once(shape, first, size, halo, stride):
    count = np.zeros(shape, int)
    region = tuple(slice(min(a, b - 1), b) for a, b in zip(first, shape, strict=True))
    for tile in tiles(region, shape, (size,) * 2, (halo,) * 2, (stride,) * 2):
        count[tile.write] += 1
        for (start, stop), keep, write in zip(tile.read, tile.keep, tile.write, strict=True):
            assert (stop - start) % stride == 0
            assert start + keep.start == write.start and start + keep.stop == write.stop
    assert (count[region] == 1).all() and count.sum() == count[region].size


def test_the_mean_of_two_results_is_closer_to_the_scene_than_either_result(denoiser, pair, scene):
    a, b = (one.plane(0) for one in pair.acquisitions)

    def error(image):
        return float(np.mean((image - scene) ** 2))

    single, both = denoise(denoiser, a, device="cpu"), denoise(denoiser, a, b, device="cpu")
    assert error(both) < error(single) < 0.5 * error(a)
    assert both.dtype == np.float32


def test_each_acquisition_comes_back_in_its_own_gain(denoiser, scene):
    bright = denoise(denoiser, 1.2 * noisy(scene, 5), device="cpu")
    gain = np.polyfit(scene.ravel(), bright.ravel(), 1)[0]
    assert 1.0 < gain < 1.3


def test_shifted_acquisitions_are_averaged_in_register(denoiser):
    big = blobs((120, 120), 4)
    a, b = noisy(big[8:108, 8:108], 1), noisy(big[4:104, 10:110], 2)
    both = denoise(denoiser, a, b, device="cpu")
    assert both.shape == a.shape
    alone = denoise(denoiser, a, device="cpu")
    scene = big[8:108, 8:108]
    inner = (slice(0, -4), slice(2, None))
    assert np.mean((both - scene)[inner] ** 2) < np.mean((alone - scene)[inner] ** 2)


@pytest.mark.parametrize("ending", [".ome.zarr", ".tif", ".ome.tif"])
def test_results_keep_shape_axes_and_pixel_size(tmp_path, denoiser, ending):
    source = tmp_path / "stack.ome.tif"
    stack = np.stack([noisy(blobs((70, 90)), seed) for seed in range(3)]).astype(np.uint16)
    metadata = {
        "axes": "TYX",
        "PhysicalSizeX": 0.2,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.25,
        "PhysicalSizeYUnit": "µm",
    }
    tifffile.imwrite(source, stack, metadata=metadata)
    out = denoise(denoiser, source, out=tmp_path / f"clean{ending}", device="cpu")
    result = Acquisition.open(out)
    assert (result.shape, result.axes) == (stack.shape, "TYX")
    assert result.scale[1:] == pytest.approx((0.25, 0.2))
    assert result.units[1:] == ("micrometer", "micrometer")
    np.testing.assert_allclose(
        result.read((slice(None),) * 3), denoise(denoiser, source, device="cpu"), rtol=1e-6
    )
    assert not list(tmp_path.glob("*.partial"))


def test_ome_zarr_results_have_a_pyramid(tmp_path, denoiser):
    out = denoise(denoiser, noisy(blobs((300, 520)), 1), out=tmp_path / "big.zarr", device="cpu")
    group = zarr.open_group(out, mode="r")
    shapes = [
        group[data["path"]].shape for data in group.attrs["ome"]["multiscales"][0]["datasets"]
    ]
    assert shapes == [(300, 520), (150, 260), (75, 130)]


def test_the_inputs_own_type_is_rounded_and_clipped(denoiser):
    a = noisy(blobs((64, 64)), 1).astype(np.uint8)
    assert denoise(denoiser, a, dtype="same", device="cpu").dtype == np.uint8


def test_existing_output_is_not_overwritten_by_default(tmp_path, denoiser, scene):
    out = tmp_path / "clean.tif"
    out.write_text("precious")
    with refused("exists"):
        denoise(denoiser, scene, out=out, device="cpu")
    assert out.read_text() == "precious"
    denoise(denoiser, scene, out=out, device="cpu", overwrite=True)
    assert tifffile.imread(out).shape == scene.shape


# Of 20 planes, 8 are read before the run begins: the first is one of them, number 10 is not.
@pytest.mark.parametrize("bad", [0, 10])
@pytest.mark.parametrize("ending", [".ome.zarr", ".tif"])
def test_a_failure_leaves_nothing_that_opens_as_a_result(tmp_path, denoiser, ending, bad):
    stack = np.stack([noisy(blobs((64, 64)), seed) for seed in range(20)])
    stack[bad, 0, 0] = np.nan
    out = tmp_path / f"clean{ending}"
    with refused("not_finite"):
        denoise(denoiser, stack, out=out, axes="TYX", device="cpu")
    assert not out.exists()
    for left in tmp_path.iterdir():
        with refused("unfinished" if left.suffix == ".partial" else "format"):
            Acquisition.open(left)
    if bad == 0:
        assert list(tmp_path.iterdir()) == []
    else:
        with refused("unfinished"):
            denoise(denoiser, stack, out=out, axes="TYX", device="cpu")


def test_too_little_disk_space_is_reported_before_anything_is_written(
    tmp_path, denoiser, scene, monkeypatch
):
    nearly = SimpleNamespace(total=10**6, used=10**6, free=5_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: nearly)
    for ending in ("ome.zarr", "tif"):
        with refused("disk"):
            denoise(denoiser, scene, out=tmp_path / f"clean.{ending}", device="cpu")
    assert not list(tmp_path.iterdir())


def test_a_full_graphics_card_gets_smaller_tiles(monkeypatch, scene, caplog):
    expected = denoise(UNTRAINED, scene, device="cpu")
    apply, failed = Denoiser.apply, []

    def limited(self, images, *how):
        if images[0].numel() > 256 * 256:
            tensor = torch.zeros(3)
            failed.append(weakref.ref(tensor))
            raise torch.OutOfMemoryError("full")
        # What the failed tile allocated is freed before the next attempt.
        assert all(reference() is None for reference in failed)
        return apply(self, images, *how)

    monkeypatch.setattr(Denoiser, "apply", limited)
    plane = np.tile(scene, (4, 4))
    with caplog.at_level("INFO", "napari_n2n"):
        small = denoise(UNTRAINED, plane, device="cpu")
    assert "out of memory: tiles of" in caplog.text
    monkeypatch.undo()
    np.testing.assert_allclose(small, denoise(UNTRAINED, plane, device="cpu"), atol=1e-2)
    assert expected.shape == scene.shape


def test_values_outside_of_the_training_data_give_a_warning(denoiser, scene):
    assert make_plan(denoiser, noisy(scene, 3)).warnings == ()
    assert "are outside" in make_plan(denoiser, 10 * scene).warnings[0]


def test_unknown_endings_and_types_are_refused(tmp_path, denoiser, scene):
    with refused("output"):
        denoise(denoiser, scene, out=tmp_path / "clean.jpg")
    with refused("option"):
        denoise(denoiser, scene, dtype="uint8")


def files(folder):
    """Every file below a folder, with its bytes."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def stack(scene):
    """Three frames larger than a shard that a test may set, as a thousand-fold store would be."""
    return np.stack([noisy(blobs((300, 280)), seed) for seed in range(3)])


@pytest.mark.parametrize("ending", [".ome.zarr", ".tif"])
@pytest.mark.parametrize("failing", [1, 3, 5])
def test_an_interrupted_run_is_resumed_and_ends_with_the_same_bytes(
    tmp_path, denoiser, stack, ending, failing, monkeypatch, fixed_date
):
    monkeypatch.setattr("napari_n2n.io.writers.SHARD_SIDE", 256)
    options = {"axes": "TYX", "device": "cpu"}
    whole, broken = tmp_path / f"whole{ending}", tmp_path / f"clean{ending}"
    denoise(denoiser, stack, out=whole, **options)
    compute, calls = Predictor.compute, []

    def power_cut(self, *given):
        calls.append(1)
        if len(calls) > failing:
            raise OSError(28, "No space left on device")
        return compute(self, *given)

    monkeypatch.setattr(Predictor, "compute", power_cut)
    with pytest.raises(OSError, match="No space"):
        denoise(denoiser, stack, out=broken, **options)
    monkeypatch.setattr(Predictor, "compute", lambda *given: calls.append(1) or compute(*given))
    assert not broken.exists()
    before = len(calls)
    denoise(denoiser, stack, out=broken, resume=True, **options)
    total = 12 if ending == ".ome.zarr" else 6
    assert total - failing <= len(calls) - before <= total - failing + 2  # what was done is kept
    if ending == ".tif":
        same = whole.read_bytes() == broken.read_bytes()
    else:
        same = files(whole) == files(broken)
    assert same  # compared before, as pytest would list the bytes that differ
    assert sorted(path.name for path in tmp_path.iterdir()) == [broken.name, whole.name]


@pytest.mark.parametrize("ending", [".ome.zarr", ".tif"])
@pytest.mark.parametrize("axes", ["TCZYX", "RYX"])
def test_results_have_any_axes(tmp_path, ending, axes):
    stack = np.zeros((*range(2, len(axes)), 40, 40), np.float32)
    out = denoise(UNTRAINED, stack, out=tmp_path / f"clean{ending}", axes=axes, device="cpu")
    assert Acquisition.open(out).axes == axes


def test_a_run_reports_progress_before_its_first_shard(tmp_path, denoiser, stack):
    out = tmp_path / "clean.ome.zarr"
    run = denoise_by_shards(denoiser, make_plan(denoiser, stack, axes="TYX"), out, device="cpu")
    first = next(run)
    growing = zarr.open_array(first.growing / "0", mode="r")
    assert growing.shape == stack.shape and (first.done, first.progress) == (0, 0)
    steps = list(run)
    assert [step.done for step in steps] == [1, 2, 3, 3, 3, 3] and steps[0].total == 3
    progress = [step.progress for step in steps]
    assert progress == sorted(progress) and progress[-1] == 1
    assert progress[2] > 0.9  # the coarser levels take next to no time


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="this system does not list open files"
)
def test_a_stopped_run_leaves_no_file_open(tmp_path, denoiser, stack):
    out = tmp_path / "clean.tif"
    run = denoise_by_shards(denoiser, make_plan(denoiser, stack, axes="TYX"), out, device="cpu")
    growing = [next(run) for _ in range(2)][-1].growing
    run.close()
    opened = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    assert growing.exists() and growing not in opened


def test_an_unfinished_result_is_only_resumed_by_the_same_job(tmp_path, denoiser, stack):
    out = tmp_path / "clean.ome.zarr"
    run = denoise_by_shards(denoiser, make_plan(denoiser, stack, axes="TYX"), out, device="cpu")
    growing = [next(run) for _ in range(2)][-1].growing
    run.close()
    assert not out.exists() and growing.exists()
    with refused("unfinished"):
        Acquisition.open(growing)
    with refused("unfinished"):
        denoise(denoiser, stack, out=out, axes="TYX", device="cpu")
    with refused("resume", match="another model"):
        denoise(UNTRAINED, stack, out=out, axes="TYX", device="cpu", resume=True)
    denoise(denoiser, stack[:2], out=out, axes="TYX", device="cpu", overwrite=True)
    assert Acquisition.open(out).shape == (2, 300, 280)
    with refused("exists", match="was not made by this command"):
        denoise(denoiser, stack, out=out, axes="TYX", device="cpu", resume=True)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_chunks_that_span_many_planes_are_read_once(denoiser, stack):
    reads = []

    class Counted:
        shape, dtype, ndim = stack.shape, stack.dtype, 3
        chunks = (3, 300, 280)

        def __getitem__(self, where):
            reads.append(where)
            return stack[where]

    opened = Acquisition.open(Counted(), axes="TYX")
    work = make_plan(denoiser, opened)
    predictor = Predictor(denoiser, work, torch.device("cpu"), 10**9)
    reads.clear()
    for frame in range(3):
        predictor.read((slice(frame, frame + 1), slice(0, 300), slice(0, 280)))
    assert len(reads) == 1


def test_every_channel_is_denoised_by_its_own_statistics(scene):
    dim, bright = scene, 30 * scene + 5000
    a, b = (np.stack([noisy(dim, seed), noisy(bright, seed + 10, 600.0)]) for seed in (1, 2))
    pairs = open_pairs([a, b], axes="CYX")
    assert [pair.channel for pair in pairs] == [0, 1]
    for channels in ("together", "separate"):
        chosen = TrainingSettings(steps=20, batch=1, channels=channels, device="cpu")
        denoiser = train(pairs, chosen)
        clean = denoise(denoiser, a, axes="CYX", device="cpu")
        assert clean.shape == a.shape
        for made, raw, true in zip(clean, a, (dim, bright), strict=True):
            assert np.mean((made - true) ** 2) < 0.6 * np.mean((raw - true) ** 2)
        with refused("channels"):
            make_plan(denoiser, a[0])


def test_volumes_are_denoised_by_a_3d_network(tmp_path):
    volume = blobs((24, 64, 64), 2)
    a, b = (Acquisition.open(noisy(volume, seed, 50.0), axes="ZYX") for seed in (1, 2))
    denoiser = train(
        Pair.open(a, b), TrainingSettings(steps=30, dims=3, patch=32, batch=1, device="cpu")
    )
    assert len(denoiser.stride) == 3
    clean = denoise(denoiser, a, device="cpu")
    raw = a.read((slice(None),) * 3)
    assert np.mean((clean - volume) ** 2) < 0.5 * np.mean((raw - volume) ** 2)
    for ending in (".ome.zarr", ".tif"):
        out = denoise(denoiser, a, out=tmp_path / f"volume{ending}", device="cpu")
        stored = Acquisition.open(out, axes="ZYX").read((slice(None),) * 3)
        np.testing.assert_allclose(stored, clean, rtol=1e-4)
    with refused("axes"):
        make_plan(denoiser, noisy(volume, 3))


def test_channel_names_and_colours_are_kept(tmp_path, denoiser):
    source = tmp_path / "two.ome.tif"
    stack = np.stack([noisy(blobs((64, 64)), seed) for seed in range(2)]).astype(np.uint16)
    channels = {"Name": ["DAPI", "GFP"], "Color": [65535, -16776961]}
    tifffile.imwrite(source, stack, metadata={"axes": "CYX", "Channel": channels})
    for ending in (".ome.zarr", ".ome.tif"):
        out = denoise(denoiser, source, out=tmp_path / f"clean{ending}", device="cpu")
        kept = Acquisition.open(out).channels
        assert [channel.name for channel in kept] == ["DAPI", "GFP"]
        assert [channel.colour for channel in kept] == ["0000FF", "FF0000"]
    with tifffile.TiffFile(out) as written:
        assert 'Color="-16776961"' in written.ome_metadata, "OME's numbers of colours are signed"


def test_the_disk_space_for_a_tiff_is_that_of_its_pixels(tmp_path, monkeypatch):
    asked = {}

    def check(path, size):
        asked[path.suffix] = size

    monkeypatch.setattr("napari_n2n.denoising.resumable.check_disk_space", check)
    plane = np.zeros((40, 50), np.float32)
    for name in ("a.tif", "a.ome.zarr"):
        denoise(UNTRAINED, plane, out=tmp_path / name, axes="YX", device="cpu")
    assert asked[".tif"] == plane.nbytes > asked[".zarr"]


def test_a_stack_with_one_plane_and_a_single_plane_are_a_pair(tmp_path, denoiser):
    planes = [noisy(blobs((64, 64)), seed).astype(np.uint16) for seed in range(3)]
    np.save(tmp_path / "a.npy", planes[0][None])
    np.save(tmp_path / "b.npy", planes[1])
    np.save(tmp_path / "c.npy", planes[2])
    sources = [tmp_path / "a.npy", tmp_path / "b.npy"]
    assert Pair.open(*sources).first.shape == (64, 64)
    denoise(denoiser, *sources, out=tmp_path / "out.ome.zarr")
    assert Acquisition.open(tmp_path / "out.ome.zarr").shape == (64, 64)
    score_result(tmp_path / "c.npy", against=sources[0], source=sources[1])


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float16"])
def test_a_type_that_tiff_cannot_store_is_refused_before_the_run(tmp_path, denoiser, dtype):
    np.save(tmp_path / "a.npy", noisy(blobs((64, 64)), 0).astype(dtype))
    with refused("output", match=f"cannot store {dtype} pixels .*ome.zarr"):
        denoise(denoiser, tmp_path / "a.npy", out=tmp_path / "out.tif", dtype="same")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    denoise(denoiser, tmp_path / "a.npy", out=tmp_path / "out.ome.zarr", dtype="same")
    assert Acquisition.open(tmp_path / "out.ome.zarr").dtype == dtype
