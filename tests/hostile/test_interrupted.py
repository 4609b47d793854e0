"""What is left of an interrupted run is verified: computed again or refused, never wrong pixels."""

import errno
import json
import os
import shutil
from itertools import count
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
from conftest import copied, refused

from napari_n2n import Acquisition, denoise, denoise_folder
from napari_n2n.denoising.denoise import denoise_by_shards
from napari_n2n.denoising.folder import FolderJob, denoise_fields_of_view
from napari_n2n.denoising.plan import make_plan
from napari_n2n.io.crash_safe import Journal, journal_path, read_journal
from napari_n2n.io.writers import copy
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.model.network import CompactUNet
from napari_n2n.simulate.registry import parse
from napari_n2n.simulate.write import simulate_by_planes
from napari_n2n.stats.affine import Affine

STACK = np.random.default_rng(0).normal(100, 5, (6, 40, 48)).astype(np.float32)
OPTIONS = {"axes": "TYX", "device": "cpu"}
ENDINGS = pytest.mark.parametrize("ending", [".ome.zarr", ".tif", ".ome.tif"])


def model(seed):
    torch.manual_seed(seed)
    architecture = {"name": "compact", "width": 4, "depth": 1}
    return Denoiser((CompactUNet(1, 4, 1),), architecture, (Affine(0.01, -1),))


@pytest.fixture(scope="module")
def small():
    return model(0)


def run_of(denoiser, stack, out, **options):
    plan = make_plan(denoiser, stack, axes="TYX")
    return denoise_by_shards(denoiser, plan, out, device="cpu", **options)


def interrupted(denoiser, stack, out, shards=3, **options):
    """Close a run after some shards; return the unfinished result."""
    run = run_of(denoiser, stack, out, **options)
    growing = [next(run) for _ in range(shards + 1)][-1].growing
    run.close()
    return growing


def pixels(path):
    return np.squeeze(Acquisition.open(path, axes="TYX").read((slice(None),) * 3))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def a_shard(growing):
    """A file with pixels of the first frame."""
    return growing if growing.is_file() else growing / "0" / "c" / "0" / "0" / "0"


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-100 if path.suffix == "" else len(content) // 8] ^= 1
    path.write_bytes(content)


# -- resume ---------------------------------------------------------------------------------------


@ENDINGS
@pytest.mark.parametrize("damage", [cut, empty, flip, os.unlink])
def test_damaged_shards_of_an_unfinished_result_are_computed_again(tmp_path, small, ending, damage):
    out = tmp_path / f"out{ending}"
    damage(a_shard(interrupted(small, STACK, out)))
    denoise(small, STACK, out=out, resume=True, **OPTIONS)
    np.testing.assert_array_equal(pixels(out), denoise(small, STACK, **OPTIONS))
    assert out.name in names(tmp_path) and not journal_path(out).exists()


@ENDINGS
def test_an_interrupted_movie_of_many_small_frames_continues(tmp_path, small, ending):
    movie = np.random.default_rng(1).normal(100, 5, (100, 40, 48)).astype(np.float32)
    out = tmp_path / f"out{ending}"
    growing = interrupted(small, movie, out, shards=40)  # three frames in each
    done = len(read_journal(journal_path(out)).done)
    assert growing.exists() and 10 < done < 20
    run = run_of(small, movie, out, resume=True)
    steps = list(run)
    progress = [step.progress for step in steps]
    assert progress == sorted(progress) and progress[-1] == 1 and len(steps) > 34 - done
    assert steps[0].total == 34
    np.testing.assert_array_equal(pixels(out), denoise(small, movie, **OPTIONS))


@ENDINGS
@pytest.mark.parametrize("claimed", [True, False])
def test_a_run_killed_before_its_first_shard_leaves_nothing_behind(
    tmp_path, small, ending, claimed
):
    out, aside = tmp_path / f"out{ending}", tmp_path / "aside"
    run = run_of(small, STACK, out)
    left = [next(run).growing, journal_path(out)]
    aside.mkdir()
    for path in left:  # what the end of the run would remove, and a kill would not
        path.rename(aside / path.name)
    run.close()
    for path in left:
        (aside / path.name).rename(path)
    aside.rmdir()
    if not claimed:
        header = json.loads(left[1].read_text())
        left[1].write_text(json.dumps(header | {"file": None}) + "\n")
    denoise(small, STACK, out=out, resume=True, **OPTIONS)
    assert names(tmp_path) == [out.name]


@ENDINGS
@pytest.mark.parametrize("theirs", ["text", "folder", "zarr", "tiff"])
def test_a_foreign_file_in_place_of_the_unfinished_result_is_kept(tmp_path, small, ending, theirs):
    out = tmp_path / f"out{ending}"
    growing = interrupted(small, STACK, out)
    (shutil.rmtree if growing.is_dir() else os.unlink)(growing)
    if theirs == "text":
        growing.write_text("precious")
    elif theirs == "folder":
        growing.mkdir()
        (growing / "precious").touch()
    elif theirs == "zarr":
        list(copied(Acquisition.open(STACK, axes="TYX"), tmp_path / "their.ome.zarr"))
        (tmp_path / "their.ome.zarr").rename(growing)
    else:
        tifffile.imwrite(growing, STACK)
    denoise(small, STACK, out=out, resume=True, **OPTIONS)
    np.testing.assert_array_equal(pixels(out), denoise(small, STACK, **OPTIONS))
    assert names(tmp_path) == sorted([out.name, growing.name])


def test_a_changed_recording_is_not_resumed(tmp_path, small):
    out, source = tmp_path / "out.tif", tmp_path / "a.tif"
    for before, after in ((source, source), (STACK, STACK + 1)):
        tifffile.imwrite(source, STACK, metadata={"axes": "TYX"})
        interrupted(small, before, out, overwrite=True)
        changed = STACK.copy()
        changed[1, 0, 0] += 1  # not among the sampled pixels
        tifffile.imwrite(source, changed, metadata={"axes": "TYX"})
        with refused("resume", match="acquisitions have changed"):
            denoise(small, after, out=out, resume=True, **OPTIONS)
    with refused("resume", match="another model"):
        denoise(model(1), STACK, out=out, resume=True, **OPTIONS)
    denoise(small, STACK, out=out, resume=True, **OPTIONS)


def replace_by_a_copy(source):
    """Replace a file by a copy with another time, as ``cp`` without ``-p`` does."""
    source.write_bytes(source.read_bytes())
    os.utime(source, ns=(1, 1))


def test_a_run_continues_on_a_copy_of_its_recording_with_another_time(tmp_path, small, monkeypatch):
    out, source = tmp_path / "out.tif", tmp_path / "a.tif"
    tifffile.imwrite(source, STACK, metadata={"axes": "TYX"})
    interrupted(small, source, out)
    replace_by_a_copy(source)
    with monkeypatch.context() as patch:
        patch.setattr("napari_n2n.io.fingerprint._MOST_BYTES", 1000)
        with refused("resume", match=r"another time .*cp -p"):
            denoise(small, source, out=out, resume=True, **OPTIONS)
    denoise(small, source, out=out, resume=True, **OPTIONS)
    np.testing.assert_array_equal(pixels(out), denoise(small, STACK, **OPTIONS))


def test_a_moved_recording_and_unfinished_result_are_resumed(tmp_path, small):
    (tmp_path / "a").mkdir()
    tifffile.imwrite(tmp_path / "a" / "raw.tif", STACK, metadata={"axes": "TYX"})
    interrupted(small, tmp_path / "a" / "raw.tif", tmp_path / "a" / "out.ome.zarr")
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copy2)
    shutil.rmtree(tmp_path / "a")
    run = run_of(small, tmp_path / "b" / "raw.tif", tmp_path / "b" / "out.ome.zarr", resume=True)
    done = [step.done for step in run]
    assert done[:5] == [0, 1, 2, 3, 4] and names(tmp_path / "b") == ["out.ome.zarr", "raw.tif"]


@ENDINGS
def test_resume_starts_continues_and_then_has_nothing_to_do(tmp_path, small, ending):
    out = tmp_path / f"out{ending}"
    assert len(list(run_of(small, STACK, out, resume=True))) > 6
    before = out.stat().st_mtime_ns
    run = run_of(small, STACK, out, resume=True)
    assert list(run) == [] and run.result == out
    assert (out.stat().st_mtime_ns, names(tmp_path)) == (before, [out.name])
    with refused("exists"):  # the result of another recording
        denoise(small, STACK + 1, out=out, resume=True, **OPTIONS)
    with refused("exists"):
        denoise(model(1), STACK, out=out, resume=True, **OPTIONS)


@ENDINGS
def test_a_crash_after_the_result_has_its_name_leaves_nothing_to_do(
    tmp_path, small, ending, monkeypatch
):
    out = tmp_path / f"out{ending}"

    def crash(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "remove", crash)
        with pytest.raises(KeyboardInterrupt):
            denoise(small, STACK, out=out, **OPTIONS)
    assert len(names(tmp_path)) == 2
    assert list(run_of(small, STACK, out, resume=True)) == []
    assert names(tmp_path) == [out.name]


def test_an_interrupted_replacement_is_resumed_without_saying_overwrite_again(tmp_path, small):
    out = tmp_path / "out.ome.zarr"
    denoise(small, STACK + 1, out=out, **OPTIONS)
    interrupted(small, STACK, out, overwrite=True)
    np.testing.assert_array_equal(pixels(out), denoise(small, STACK + 1, **OPTIONS))
    denoise(small, STACK, out=out, resume=True, **OPTIONS)
    np.testing.assert_array_equal(pixels(out), denoise(small, STACK, **OPTIONS))
    assert names(tmp_path) == [out.name]


@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True}])
def test_a_file_with_the_name_of_the_journal_is_refused_and_kept(tmp_path, small, options):
    out = tmp_path / "out.tif"
    journal_path(out).write_text("my journal")
    with refused("resume", match="is not a journal"):
        denoise(small, STACK, out=out, **options, **OPTIONS)
    assert journal_path(out).read_text() == "my journal" and len(names(tmp_path)) == 1


# -- a result is verified before it gets its name -------------------------------------------------


@ENDINGS
def test_a_result_that_lost_a_shard_while_it_was_written_does_not_get_its_name(
    tmp_path, small, ending
):
    out = tmp_path / f"out{ending}"
    run = run_of(small, STACK, out)
    for step in run:
        if step.done == 6:
            break
    damage = os.unlink if step.growing.is_dir() else cut
    damage(a_shard(step.growing))
    with refused("unfinished", match="--resume"):
        list(run)
    assert not out.exists()
    denoise(small, STACK, out=out, resume=True, **OPTIONS)
    np.testing.assert_array_equal(pixels(out), denoise(small, STACK, **OPTIONS))


@ENDINGS
def test_a_neighbours_files_survive_every_command(tmp_path, small, ending):
    out = tmp_path / f"out{ending}"
    theirs = [f"{out.name}{more}" for more in (".old", ".partial", ".journal", ".lock", "_backup")]
    for name in theirs:
        (tmp_path / name).write_text(name)
    interrupted(small, STACK, out)
    denoise(small, STACK, out=out, resume=True, **OPTIONS)
    interrupted(small, STACK, out, overwrite=True)
    denoise(small, STACK, out=out, overwrite=True, **OPTIONS)
    image = Acquisition.open(STACK, axes="TYX")
    list(copied(image, out, overwrite=True))
    simulate_by_planes(image, parse("gaussian:5"), [out], overwrite=True).finish()
    assert names(tmp_path) == sorted([out.name, *theirs])
    assert all((tmp_path / name).read_text() == name for name in theirs)


# -- two runs, inputs, late errors ----------------------------------------------------------------


@ENDINGS
@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_a_second_run_of_one_output_is_refused_and_the_first_ends_well(
    tmp_path, small, ending, options
):
    out = tmp_path / f"out{ending}"
    first = run_of(small, STACK, out, **options)
    next(first)
    next(first)
    image = Acquisition.open(STACK, axes="TYX")
    for second in (
        run_of(small, STACK, out, **options),
        simulate_by_planes(image, parse("gaussian:5"), [out], overwrite=True),
        copied(image, out, overwrite=True),
    ):
        with refused("busy"):
            next(second)
    list(first)
    np.testing.assert_array_equal(pixels(out), denoise(small, STACK, **OPTIONS))
    assert names(tmp_path) == [out.name]


def test_no_command_replaces_its_input(tmp_path, small, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", STACK, metadata={"axes": "TYX"})
    os.link("a.tif", "b.tif")
    content = (tmp_path / "a.tif").read_bytes()
    image = Acquisition.open("a.tif")
    os.mkdir("results")
    os.link("a.tif", "results/a.tif")
    os.mkdir("raw")
    os.link("a.tif", "raw/a.tif")
    for command in (
        lambda: denoise(small, "a.tif", out="b.tif", overwrite=True, device="cpu"),
        lambda: list(copied(image, "b.tif", overwrite=True)),
        lambda: list(simulate_by_planes(image, parse("gaussian:5"), ["b.tif"], overwrite=True)),
        lambda: denoise_folder(small, "raw", out="results", overwrite=True),
    ):
        with refused("output", match="is the input"):
            command()
    assert (tmp_path / "a.tif").read_bytes() == content
    assert names(tmp_path) == ["a.tif", "b.tif", "raw", "results"]


@ENDINGS
@pytest.mark.parametrize("bad", [0, 4])
@pytest.mark.parametrize("dtype", ["float32", "same"])
def test_a_result_with_nan_or_infinite_pixels_is_refused_with_their_place(
    tmp_path, small, ending, bad, dtype, monkeypatch
):
    stack = STACK.copy()
    stack[bad, 7, 9] = 999
    apply = Denoiser.apply

    def overflow(self, images, *how):
        return torch.where(images == 999, torch.inf, apply(self, images, *how))

    monkeypatch.setattr(Denoiser, "apply", overflow)
    out = tmp_path / f"out{ending}"
    kept = "" if bad == 0 else "kept for --resume"
    with refused("not_finite", match=f"T {bad}, Y 7, X 9.*{kept}"):
        denoise(small, stack, out=out, dtype=dtype, **OPTIONS)
    assert len(names(tmp_path)) == (0 if bad == 0 else 2) and not out.exists()
    with refused("not_finite"):
        denoise(small, stack, **OPTIONS)


def test_a_tiff_too_large_for_the_disk_leaves_no_files(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(tifffile, "imwrite", full)
    image = Acquisition.open(STACK, axes="TYX")
    with pytest.raises(OSError, match="too large") as error:
        list(simulate_by_planes(image, parse("gaussian:5"), [tmp_path / "out.tif"]))
    assert error.value.filename == str(tmp_path / "out.tif") and names(tmp_path) == []


@pytest.mark.parametrize("ending", [".ome.zarr", ".tif"])
@pytest.mark.parametrize("command", ["split", "simulate"])
def test_a_disk_that_becomes_full_at_any_moment_leaves_neither_of_two_results(
    tmp_path, monkeypatch, ending, command
):
    image = Acquisition.open(STACK, axes="TYX")
    outs = [tmp_path / "new" / f"{name}{ending}" for name in "ab"]
    for moment in count():
        calls = count()

        def full(_handle, calls=calls, moment=moment):
            if next(calls) == moment:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        if command == "split":
            run = copy(image, list(zip(image.split("T"), outs, strict=True)))
        else:
            run = simulate_by_planes(image, parse("gaussian:5"), outs)
        try:
            list(run)
        except OSError as error:
            assert error.filename in map(str, outs)
            assert names(tmp_path) == []
        else:
            break
    assert moment > 6 and names(tmp_path / "new") == [path.name for path in outs]


def test_two_results_for_which_the_disk_is_too_small_are_not_begun(tmp_path, monkeypatch):
    image = Acquisition.open(STACK, axes="TYX")
    both = STACK.nbytes
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=both - 1))
    halves = zip(image.split("T"), (tmp_path / "a.tif", tmp_path / "b.tif"), strict=True)
    with refused("disk", match="not enough disk space"):
        list(copy(image, list(halves)))
    assert names(tmp_path) == []


def test_a_simulation_that_overflows_leaves_no_files(tmp_path):
    class Overflow:
        uses_range = False

        def apply(self, planes, rng, **how):
            return planes * 1e300

    image = Acquisition.open(STACK, axes="TYX")
    with refused("not_finite"):
        list(simulate_by_planes(image, Overflow(), [tmp_path / "a.tif"]))
    assert not names(tmp_path)


# -- folders --------------------------------------------------------------------------------------


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for number in range(2):
        tifffile.imwrite(folder / f"{number}.tif", STACK[number])
    return folder


def test_a_finished_folder_has_nothing_to_do_until_a_recording_changes(tmp_path, small, raw):
    job = FolderJob.of([raw], tmp_path / "clean")
    denoise_folder(small, raw, out=job.folder, resume=True)
    before = names(job.folder)
    assert list(denoise_fields_of_view(small, job, resume=True)) == []
    assert names(job.folder) == before == [".napari-n2n.journal", "0.tif", "1.tif"]
    tifffile.imwrite(raw / "1.tif", STACK[5])
    with refused("resume", match=r"1\.tif: has changed"):
        denoise_folder(small, raw, out=job.folder, resume=True)
    denoise_folder(small, raw, out=job.folder, overwrite=True)
    expected = denoise(small, STACK[5], device="cpu")
    np.testing.assert_allclose(tifffile.imread(job.folder / "1.tif"), expected, rtol=1e-5)


def test_two_runs_never_write_to_one_folder(tmp_path, small, raw):
    job = FolderJob.of([raw], tmp_path / "clean")
    first = denoise_fields_of_view(small, job)
    next(first)
    with refused("busy", match="clean: another run"):
        denoise_folder(small, raw, out=job.folder, overwrite=True)
    with refused("busy"):  # a single run of one of its results
        for _ in first:
            if journal_path(job.results[1]).exists():
                denoise(small, STACK[0], out=job.results[1], overwrite=True, device="cpu")
    first.close()
    assert read_journal(job.journal) is not None
    denoise_folder(small, raw, out=job.folder, resume=True)
    assert names(job.folder) == [".napari-n2n.journal", "0.tif", "1.tif"]


def test_a_result_that_memory_cannot_hold_is_refused(small):
    huge = da.zeros((10**6, 10**6, 10**6), dtype=np.uint16, chunks=1000)
    with refused("memory", "does not fit into the memory: write it to a file"):
        denoise(small, huge, axes="TYX")
