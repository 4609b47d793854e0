"""A folder of recordings is denoised file by file, and goes on where it was stopped."""

import copy
import os
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
import zarr
from conftest import blobs, noisy, refused

from napari_n2n import Acquisition, denoise, denoise_folder
from napari_n2n.cli import main
from napari_n2n.denoising.folder import FolderJob, denoise_fields_of_view
from napari_n2n.io import fingerprint
from napari_n2n.io.crash_safe import journal_path


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for number in range(3):
        tifffile.imwrite(folder / f"cell {number}.tif", noisy(blobs((64, 64), number), number))
    return folder


@pytest.fixture
def another(denoiser):
    (network,) = denoiser.networks
    changed = copy.deepcopy(network)
    with torch.no_grad():
        next(changed.parameters()).mul_(0.9)
    return replace(denoiser, networks=(changed,))


def pixels(path):
    return Acquisition.open(path).plane(0)


def stopped_within(number, denoiser, job, shards=0, **options):
    """Close a run once it has done so many shards of a recording."""
    run = denoise_fields_of_view(denoiser, job, **options)
    for _ in job.fields:  # each is opened first
        next(run)
    name = job.results[number].name
    while (step := next(run)).name != name:
        pass
    for _ in range(shards):
        assert next(run).name == step.name
    run.close()


def test_every_recording_has_its_result_and_a_tiff_gives_a_tiff(denoiser, folder, tmp_path):
    np.save(folder / "other.npy", noisy(blobs((72, 64)), 9))
    results = denoise_folder(denoiser, folder, out=tmp_path / "clean")
    names = [f"cell {number}.tif" for number in range(3)]
    assert [path.name for path in results] == [*names, "other.ome.zarr"]
    for path, name in zip(results, [*names, "other.npy"], strict=True):
        np.testing.assert_allclose(pixels(path), denoise(denoiser, folder / name), rtol=1e-6)
    there = sorted(path.name for path in (tmp_path / "clean").iterdir())
    assert there == [".napari-n2n.journal", *names, "other.ome.zarr"]


def test_recordings_of_one_name_in_two_folders_are_averaged(denoiser, folder, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    for path in folder.iterdir():
        tifffile.imwrite(second / path.name, noisy(blobs((64, 64), 5), 7))
    first, *_ = denoise_folder(denoiser, folder, second, out=tmp_path / "clean")
    both = denoise(denoiser, folder / first.name, second / first.name)
    np.testing.assert_allclose(pixels(first), both, rtol=1e-6)


def test_an_interrupted_run_is_resumed(denoiser, another, folder, tmp_path):
    job = FolderJob.of([folder], tmp_path / "clean")
    stopped_within(1, denoiser, job)
    there = job.results[0].stat().st_mtime_ns
    with refused("unfinished", match="1 of 3 results"):
        denoise_folder(denoiser, folder, out=job.folder)
    with refused("resume", match="another model"):
        denoise_folder(another, folder, out=job.folder, resume=True)
    denoise_folder(denoiser, folder, out=job.folder, resume=True)
    assert job.results[0].stat().st_mtime_ns == there
    assert all(path.exists() for path in job.results)
    with refused("resume", match="another model"):
        denoise_folder(another, folder, out=job.folder, resume=True)
    with refused("resume", match="another turns"):
        denoise_folder(denoiser, folder, out=job.folder, resume=True, turns=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_interrupted_within_a_movie_is_resumed_or_overwritten(
    denoiser, another, folder, tmp_path, overwrite
):
    movie = np.stack([noisy(blobs((64, 64)), seed) for seed in range(4)])
    for path in folder.iterdir():
        tifffile.imwrite(path, movie, photometric="minisblack", metadata={"axes": "TYX"})
    job = FolderJob.of([folder], tmp_path / "clean")
    stopped_within(1, denoiser, job, shards=3)
    assert journal_path(job.results[1]).exists() and not job.results[1].exists()
    if overwrite:  # by another model, and that is stopped and resumed, too
        stopped_within(0, another, job, shards=2, overwrite=True)
    model = another if overwrite else denoiser
    denoise_folder(model, folder, out=job.folder, resume=True)
    for path in job.results:
        clean = denoise(model, folder / path.name)
        np.testing.assert_allclose(tifffile.imread(path), clean, rtol=1e-6)


def test_results_to_be_overwritten_do_not_count_as_done(denoiser, another, folder, tmp_path):
    job = FolderJob.of([folder], tmp_path / "clean")
    denoise_folder(denoiser, folder, out=job.folder)
    stopped_within(1, another, job, overwrite=True)
    denoise_folder(another, folder, out=job.folder, resume=True)
    for path in job.results:
        np.testing.assert_allclose(pixels(path), denoise(another, folder / path.name), rtol=1e-6)


def test_a_refused_option_leaves_no_files_in_the_output_folder(denoiser, folder, tmp_path):
    (tmp_path / "mine").mkdir()
    for out in (tmp_path / "clean", tmp_path / "mine"):
        with refused("option"):
            denoise_folder(denoiser, folder, out=out, dtype="int7")
        assert out.exists() == (out.name == "mine") and not list(out.glob("*"))
        assert len(denoise_folder(denoiser, folder, out=out)) == 3


def test_a_tiff_is_recognised_in_upper_and_lower_case(denoiser, folder, tmp_path):
    (folder / "cell 1.tif").rename(folder / "LOUD.TIF")
    denoise_folder(denoiser, folder, out=tmp_path / "clean")
    assert tifffile.imread(tmp_path / "clean" / "LOUD.TIF").shape == (64, 64)


def test_results_in_a_subfolder_of_the_recordings_are_not_denoised_again(denoiser, folder):
    for resume in (False, True):
        assert len(denoise_folder(denoiser, folder, out=folder / "clean", resume=resume)) == 3
    (folder / "clean" / "cell 0.tif").unlink()
    assert FolderJob.of([folder], folder / "clean").status() == (2, True)


def test_files_of_other_origin_are_not_overwritten(denoiser, folder, tmp_path):
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "cell 0.tif").write_bytes(b"somebody's")
    for resume in (False, True):
        with refused("exists"):
            denoise_folder(denoiser, folder, out=tmp_path / "clean", resume=resume)
    assert (tmp_path / "clean" / "cell 0.tif").read_bytes() == b"somebody's"


def test_new_recordings_are_added_to_a_complete_run(denoiser, folder, tmp_path, monkeypatch):
    first, *_ = denoise_folder(denoiser, folder, out=tmp_path / "clean")
    before = first.stat().st_mtime_ns
    tifffile.imwrite(folder / "late.tif", noisy(blobs((64, 64)), 4))
    read, hashed = [], fingerprint._hash_of_files
    monkeypatch.setattr(
        fingerprint, "_hash_of_files", lambda path, files: read.append(path) or hashed(path, files)
    )
    denoise_folder(denoiser, folder, out=tmp_path / "clean", resume=True)
    assert {path.name for path in read} == {"late.tif"}  # not those that are finished
    assert (tmp_path / "clean" / "late.tif").exists() and first.stat().st_mtime_ns == before


def test_a_recording_that_cannot_be_read_is_named_before_anything_is_done(
    denoiser, folder, tmp_path
):
    (folder / "cell 1.tif").write_bytes(b"no picture")
    with refused("unreadable", match=r"cell 1\.tif"):
        denoise_folder(denoiser, folder, out=tmp_path / "clean")
    assert not (tmp_path / "clean").exists()


def test_notes_beside_the_recordings_are_left_alone(denoiser, folder, tmp_path):
    for name in ("Thumbs.db", "protocol.txt", ".DS_Store", "metadata.xml"):
        (folder / name).touch()
    assert len(denoise_folder(denoiser, folder, out=tmp_path / "clean")) == 3
    (tmp_path / "notes only").mkdir()
    (tmp_path / "notes only" / "protocol.txt").touch()
    with refused("not_found"):
        denoise_folder(denoiser, tmp_path / "notes only", out=tmp_path / "other")


def test_results_neither_replace_recordings_nor_each_other(denoiser, folder, tmp_path):
    with refused("output"):
        denoise_folder(denoiser, folder, out=folder)
    for ending in ("npy", "png"):
        (folder / f"twice.{ending}").touch()
    with refused("output", match=r"twice\.png"):
        denoise_folder(denoiser, folder, out=tmp_path / "clean")
    with refused("output"):
        denoise_folder(denoiser, folder, out=folder / "twice.npy")
    zarr.create_group(tmp_path / "an image")
    for name in ("new.zarr", "an image"):
        with refused("output", match=f"{name}: is an image: choose a folder"):
            FolderJob(((folder / "cell 0.tif",),), tmp_path / name)
    assert not (tmp_path / "clean").exists()


def test_a_folder_is_denoised_from_the_command_line(
    denoiser, folder, tmp_path, monkeypatch, capsys
):
    denoiser.save(tmp_path / "model.n2n")
    words = ["denoise", tmp_path / "model.n2n", folder, "-o", tmp_path / "clean"]
    monkeypatch.setattr("sys.argv", ["napari-n2n", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code and len(list((tmp_path / "clean").glob("*.tif"))) == 3
    assert f"saved {tmp_path / 'clean'}" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code and "3 of 3 results already exist" in capsys.readouterr().err


def test_a_finished_folder_is_finished_for_copies_of_its_recordings(denoiser, folder, tmp_path):
    results = denoise_folder(denoiser, folder, out=tmp_path / "clean")
    before = [path.stat().st_mtime_ns for path in results]
    for path in folder.iterdir():
        os.utime(path, ns=(1, 1))
    denoise_folder(denoiser, folder, out=tmp_path / "clean", resume=True)
    assert [path.stat().st_mtime_ns for path in results] == before


def test_checking_a_folder_takes_a_time_in_proportion_to_its_files(tmp_path, monkeypatch):
    looked_up, stat = [], os.stat
    monkeypatch.setattr(os, "stat", lambda *path, **how: looked_up.append(1) or stat(*path, **how))

    def lookups(count):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.tif").touch()
        looked_up.clear()
        FolderJob.of([folder], tmp_path / "clean")
        return len(looked_up)

    assert lookups(80) < 2.1 * lookups(40)
