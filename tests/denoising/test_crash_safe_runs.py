"""What is on disk, and in which order, when the power fails."""

import os

import numpy as np
import pytest
import tifffile
from conftest import noisy, refused

from napari_n2n import denoise, denoise_folder
from napari_n2n.denoising.denoise import denoise_by_shards
from napari_n2n.denoising.plan import make_plan
from napari_n2n.io import ngff_writer, tiff_writer
from napari_n2n.io.crash_safe import Journal

ZARR_AND_TIFF = pytest.mark.parametrize("ending", [".ome.zarr", ".tif"])


class Disk:
    """Records, in order, what is flushed to disk, listed in a journal, and renamed.

    Attributes
    ----------
    flushed
        For every flush, the file and its size and time of change at that moment.
    """

    def __init__(self, monkeypatch):
        self.flushed, self.events = {}, []
        fsync = os.fsync

        def watched_fsync(handle):
            fsync(handle)
            status = os.fstat(handle)
            self.flushed[status.st_ino] = (status.st_size, status.st_mtime_ns)
            self.events.append(("flush", status.st_ino))

        monkeypatch.setattr(os, "fsync", watched_fsync)
        self.watch(monkeypatch, Journal, "add", "journal")
        self.watch(monkeypatch, Journal, "remove", "journal removed")
        for module in (ngff_writer, tiff_writer):
            self.watch(monkeypatch, module, "rename_into_place", "rename")

    def watch(self, monkeypatch, owner, name, event):
        call = getattr(owner, name)

        def watched(*given):
            self.events.append((event, given[1] if len(given) > 1 else given[0]))
            return call(*given)

        monkeypatch.setattr(owner, name, watched)

    def is_safe(self, path):
        """Whether a file was flushed since it was changed last."""
        status = path.stat()
        return self.flushed.get(status.st_ino) == (status.st_size, status.st_mtime_ns)


def data_files(growing):
    """The files with the pixels of the full resolution."""
    if growing.is_file():
        return [growing]
    return [path for path in (growing / "0").rglob("*") if path.is_file() and path.suffix == ""]


@ZARR_AND_TIFF
def test_a_shard_is_on_disk_before_the_journal_lists_it(
    tmp_path, denoiser, scene, ending, monkeypatch
):
    stack = np.stack([noisy(scene, seed) for seed in range(4)])
    expected = denoise(denoiser, stack, axes="TYX", device="cpu")
    plan, out = make_plan(denoiser, stack, axes="TYX"), tmp_path / f"out{ending}"
    disk, add, listed = Disk(monkeypatch), Journal.add, []

    def checked(self, name, check):
        files = data_files(step.growing)
        assert all(disk.is_safe(file) for file in files)
        if ending == ".ome.zarr":
            assert len(files) == len(self.done) + 1
        else:
            done = len(self.done)
            np.testing.assert_allclose(tifffile.imread(files[0])[done], expected[done], rtol=1e-6)
        add(self, name, check)
        listed.append(name)
        assert disk.is_safe(self.path)  # the journal itself is flushed, too

    run = denoise_by_shards(denoiser, plan, out, device="cpu")
    step = next(run)
    monkeypatch.setattr(Journal, "add", checked)
    run.finish()
    assert len(listed) >= 4


@ZARR_AND_TIFF
def test_the_result_gets_its_name_before_the_journal_goes(
    tmp_path, denoiser, scene, ending, monkeypatch
):
    disk = Disk(monkeypatch)
    out = denoise(denoiser, scene, out=tmp_path / f"out{ending}", device="cpu")
    kinds = [kind for kind, _ in disk.events]
    renamed = kinds.index("rename")
    assert kinds[-1] == "journal removed" and "journal" not in kinds[renamed:]
    assert ("flush", tmp_path.stat().st_ino) in disk.events[renamed:], "the new name is flushed"
    assert disk.events[renamed][1] == out


@ZARR_AND_TIFF
def test_a_resumed_run_keeps_the_test_time_augmentation(tmp_path, denoiser, scene, ending):
    stack = np.stack([noisy(scene, seed) for seed in range(3)])
    out = tmp_path / f"out{ending}"
    plan = make_plan(denoiser, stack, axes="TYX", turns=True)
    run = denoise_by_shards(denoiser, plan, out, device="cpu")
    next(run)
    next(run)
    run.close()
    with refused("resume", match="another turns"):
        denoise(denoiser, stack, out=out, axes="TYX", device="cpu", resume=True)
    denoise(denoiser, stack, out=out, axes="TYX", device="cpu", turns=True, resume=True)


def test_a_folder_lists_a_result_after_it_has_its_name(tmp_path, denoiser, scene, monkeypatch):
    folder = tmp_path / "raw"
    folder.mkdir()
    for number in range(2):
        np.save(folder / f"{number}.npy", noisy(scene, number))
    disk = Disk(monkeypatch)
    first, second = denoise_folder(denoiser, folder, out=tmp_path / "clean", device="cpu")
    names = [
        given.name if kind == "rename" else given.partition("\t")[0]
        for kind, given in disk.events
        if kind == "rename" or (kind == "journal" and "\t" in given)
    ]
    assert names == [first.name, first.name, second.name, second.name]
