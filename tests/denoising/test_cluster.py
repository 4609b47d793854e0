"""Shards as tasks on a dask.distributed cluster of real processes."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import torch
from conftest import blobs, noisy, refused

from napari_n2n import denoise

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def test_a_cluster_that_loses_a_worker_gives_the_same_bytes(
    tmp_path, denoiser, cluster, monkeypatch
):
    stack = np.stack([noisy(blobs((256, 256)), seed) for seed in range(24)]).astype(np.uint16)
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
    command = [sys.executable, "-c", "from napari_n2n.cli import main; main()", *words]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    *_, last = run.stderr.splitlines()
    assert run.returncode == 2 and last.startswith("error: --scheduler nowhere: no scheduler")
