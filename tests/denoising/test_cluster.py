"""Shards as tasks on a dask.distributed cluster of real processes."""

import os
import pickle
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import tifffile
import torch
from conftest import blobs, noisy, refused

from napari_n2n import Acquisition, BadInput, denoise
from napari_n2n.denoising import cluster as on_cluster

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def test_a_cluster_that_loses_a_worker_gives_the_same_bytes(
    tmp_path, denoiser, cluster, monkeypatch, fixed_date
):
    stack = np.stack([noisy(blobs((96, 96)), seed) for seed in range(24)]).astype(np.uint16)
    source = tmp_path / "stack.tif"
    tifffile.imwrite(source, stack, metadata={"axes": "TYX"}, compression="zlib")
    options = {"axes": "TYX", "device": "cpu"}
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers: the number of threads decides how sums round
    alone = denoise(denoiser, source, out=tmp_path / "alone.ome.zarr", **options)
    torch.set_num_threads(before)
    workers = {worker["id"]: worker for worker in cluster.scheduler_info["workers"].values()}
    pids = [worker.process.pid for worker in cluster.workers.values()]
    assert len(workers) == 2

    def lose_one(step):
        if step.done == 6:
            os.kill(pids[0], signal.SIGKILL)

    together = denoise(
        denoiser,
        source,
        out=tmp_path / "together.ome.zarr",
        scheduler=cluster.scheduler_address,
        on_step=lose_one,
        **options,
    )
    files = [path.relative_to(alone) for path in alone.rglob("*") if path.is_file()]
    names = {path.relative_to(together) for path in together.rglob("*") if path.is_file()}
    assert len(files) > 24 and set(files) == names
    for file in files:
        if file.name != "zarr.json":  # it holds the name of the image
            same = (alone / file).read_bytes() == (together / file).read_bytes()
            assert same, file


def test_an_address_without_a_cluster_is_refused(tmp_path, denoiser, scene, monkeypatch):
    monkeypatch.setattr("napari_n2n.denoising.cluster._TIMEOUT", 0.3)
    with refused("cluster"):
        denoise(denoiser, scene, out=tmp_path / "a.tif", scheduler="tcp://127.0.0.1:9")
    assert not list(tmp_path.iterdir())


def test_an_invalid_address_ends_the_command_with_one_line(tmp_path, denoiser):
    denoiser.save(tmp_path / "model.n2n")
    np.save(tmp_path / "a.npy", blobs((64, 64)))
    words = ["denoise", "model.n2n", "a.npy", "-o", "clean.tif", "--scheduler", "nowhere"]
    script = (
        "from napari_n2n.denoising import cluster; cluster._TIMEOUT = 0.3; "
        "from napari_n2n.cli import main; main()"
    )
    command = [sys.executable, "-c", script, *words]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    *_, last = run.stderr.splitlines()
    assert run.returncode == 2 and last.startswith("error: --scheduler nowhere: no scheduler")


@contextmanager
def scheduler_with_worker(tmp_path, **environment):
    """A scheduler, and a worker in another folder; yield the address and both processes."""
    file = tmp_path / "scheduler.json"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = ["--scheduler-file", str(file)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": elsewhere}
    commands = (
        ["distributed.cli.dask_scheduler", *found, "--port", "0", "--no-dashboard"],
        ["distributed.cli.dask_worker", *found, "--nthreads", "1", "--no-nanny"],
    )
    started = []
    try:
        for command in commands:
            own = {**os.environ, **environment} if "worker" in command[0] else None
            started.append(subprocess.Popen([sys.executable, "-m", *command], env=own, **quiet))
        with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
            address = client.scheduler.address
        yield address, started
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def test_a_worker_in_another_folder_writes_where_the_client_looks(
    tmp_path, denoiser, cluster, monkeypatch
):
    stack = np.stack([noisy(blobs((64, 64)), seed) for seed in range(3)])
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", stack, metadata={"axes": "TYX"}, photometric="minisblack")
    for out in ("clean.ome.zarr", "clean.tif"):
        options = {"scheduler": cluster.scheduler_address, "device": "cpu"}
        first = denoise(denoiser, "a.tif", out=out, **options)
        assert first == tmp_path / out
        clean = Acquisition.open(first).read((slice(None),) * 3)
        np.testing.assert_allclose(clean, denoise(denoiser, "a.tif", device="cpu"), rtol=1e-5)
        assert denoise(denoiser, "a.tif", out=out, resume=True, **options) == first


def test_a_worker_without_the_package_is_named_in_one_line(tmp_path, denoiser, scene):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys; sys.modules['napari_n2n'] = None")
    out = tmp_path / "clean.tif"
    with scheduler_with_worker(tmp_path, PYTHONPATH=str(hidden)) as (address, _):
        with refused("cluster", match=r"worker tcp.*lacks this napari-n2n.*napari_n2n"):
            denoise(denoiser, scene, out=out, scheduler=address, device="cpu")
    assert sorted(path.name for path in tmp_path.iterdir() if "clean" in path.name) == []


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("source", r"does not see .*a\.tif"),
        ("result", "does not see .* as it is here"),
        ("shards", "is not visible here"),
    ],
)
def test_a_worker_that_cannot_do_the_job_is_named(
    tmp_path, denoiser, scene, monkeypatch, problem, words
):
    tifffile.imwrite(tmp_path / "a.tif", scene)
    find = on_cluster._problem

    def elsewhere(path, header, dims, token, inputs, version):
        """What a worker finds that has other disks."""
        if problem == "source":
            (tmp_path / "a.tif").rename(tmp_path / "gone")
        place = tmp_path / "none" / "x.tif" if problem == "result" else path
        return find(place, header, dims, token, inputs, version)

    if problem == "shards":
        monkeypatch.setattr("napari_n2n.io.tiff.Writer.has_size", lambda *_: False)
        monkeypatch.setattr(on_cluster, "_LOOKS", 2)
    else:
        monkeypatch.setattr(on_cluster, "_problem", elsewhere)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as threads,
        refused("cluster", match=words),
    ):
        denoise(
            denoiser,
            tmp_path / "a.tif",
            out=tmp_path / "clean.tif",
            scheduler=threads.scheduler_address,
            device="cpu",
        )
    assert not (tmp_path / "clean.tif").exists()


def test_a_lost_scheduler_ends_the_run_with_one_line_and_a_resumable_result(
    tmp_path, denoiser, monkeypatch
):
    monkeypatch.setattr(on_cluster, "_TIMEOUT", 2)
    stack = np.stack([noisy(blobs((128, 128)), seed) for seed in range(20)])
    out = tmp_path / "clean.ome.zarr"
    options = {"axes": "TYX", "device": "cpu"}
    with scheduler_with_worker(tmp_path) as (address, (scheduler, _)):

        def lose(step):
            if step.done == 3:
                scheduler.kill()

        with refused("cluster", match="connection to the scheduler was lost.*--resume"):
            denoise(denoiser, stack, out=out, scheduler=address, on_step=lose, **options)
    denoise(denoiser, stack, out=out, resume=True, **options)
    assert Acquisition.open(out).shape == stack.shape


def test_a_worker_with_another_version_says_which(tmp_path):
    header = Acquisition.open(np.zeros((8, 8))).header
    problem = on_cluster._problem(tmp_path / "a.tif", header, 2, "abc", [], "9.9")
    assert re.search("has napari-n2n .*, and 9.9 runs here: install", problem)


def test_an_error_from_a_worker_keeps_its_code():
    error = pickle.loads(pickle.dumps(BadInput("a.tif: is bad: fix it", "not_finite")))
    assert (str(error), error.code) == ("a.tif: is bad: fix it", "not_finite")
