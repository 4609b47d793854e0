"""Shards as tasks on a dask.distributed cluster of real processes."""

import json
import os
import pickle
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
import zarr
from conftest import blobs, noisy, refused

import napari_n2n
from napari_n2n import Acquisition, BadInput, Cancelled, denoise
from napari_n2n.denoising import cluster as on_cluster
from napari_n2n.denoising import cluster_worker
from napari_n2n.io.ngff_writer import halve

distributed = pytest.importorskip("distributed")
SOURCES = Path(napari_n2n.__file__).parents[1]


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
    workers = list(cluster.workers.values())
    assert len(workers) == 2 and len(cluster.scheduler_info["workers"]) == 2

    def lose_one(step):
        if step.done == 6:
            workers[0].close_gracefully()  # no other worker is started in its place
            os.kill(workers[0].process.pid, signal.SIGKILL)

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


def test_a_file_without_the_address_of_a_scheduler_is_refused(tmp_path, denoiser, scene):
    file = tmp_path / "cluster.json"
    for content in (None, "{", '{"workers": 1}'):
        if content:
            file.write_text(content)
        with refused("cluster", match=r"cluster.json: has no address .* --scheduler-file"):
            denoise(denoiser, scene, out=tmp_path / "a.tif", scheduler=str(file))


def test_a_run_on_a_cluster_can_be_cancelled_and_resumed(tmp_path, denoiser, cluster):
    stack = np.stack([noisy(blobs((64, 64)), seed) for seed in range(6)])
    file, out = tmp_path / "cluster.json", tmp_path / "clean.tif"
    file.write_text(json.dumps({"address": cluster.scheduler_address}))
    options = {"axes": "TYX", "device": "cpu", "scheduler": str(file), "out": out}
    done = []
    with pytest.raises(Cancelled):
        denoise(
            denoiser,
            stack,
            on_step=lambda step: done.append(step.done),
            cancelled=lambda: done[-1] == 2,
            **options,
        )
    assert done[-1] == 2 and not out.exists()
    assert denoise(denoiser, stack, resume=True, **options) == out


def test_an_invalid_address_ends_the_command_with_one_line(tmp_path, denoiser, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(on_cluster, "_TIMEOUT", 0.3)
    denoiser.save("model.n2n")
    np.save("a.npy", blobs((64, 64)))
    words = ["denoise", "model.n2n", "a.npy", "-o", "clean.tif", "--scheduler", "nowhere"]
    status, _, said = call(*words)
    assert status == 2 and said.splitlines()[-1].startswith("error: --scheduler nowhere: no sched")


def can_mount():
    """Return whether this process may give another one its own view of the disk."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    mount = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/tmp"]
    return subprocess.run(mount, capture_output=True).returncode == 0


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@contextmanager
def ended(processes):
    """Kill processes in the end, also those that were added to the list."""
    try:
        yield processes
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


@contextmanager
def scheduler_with_worker(tmp_path, before_worker="", **environment):
    """A scheduler in this process, and a worker process in another folder; yield both.

    `before_worker` is a shell command that changes the worker's own view of the disk.
    """
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    options = {"n_workers": 0, "dashboard_address": None, "processes": False}
    with distributed.LocalCluster(**options, protocol="tcp") as cluster, ended([]) as started:
        words = ["-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--no-nanny"]
        worker = [sys.executable, *words, "--nthreads", "1", "--no-dashboard"]
        if before_worker:
            shell = f"set -e; {before_worker}; exec {shlex.join(worker)}"
            worker = ["unshare", "-m", "sh", "-c", shell]
        environment = {**os.environ, **environment}
        started.append(subprocess.Popen(worker, env=environment, cwd=elsewhere, **QUIET))
        with distributed.Client(cluster, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        yield cluster, started[0]


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


NOT_INSTALLED = """
import importlib.metadata as metadata
def version(name, find=metadata.version):
    if name.replace("_", "-") == "napari-n2n":
        raise metadata.PackageNotFoundError(name)
    return find(name)
metadata.version = version
"""


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (NOT_INSTALLED, r"worker tcp.*: has no napari-n2n: install version \S+ there"),
        (
            "import sys; sys.modules['torch'] = None",
            r"worker tcp.*: cannot load napari-n2n \S+ \(.*torch.*\): repair its installation",
        ),
    ],
    ids=["missing", "broken"],
)
def test_a_worker_without_the_package_is_named_in_one_line(tmp_path, denoiser, scene, start, words):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(start)
    out = tmp_path / "clean.tif"
    with scheduler_with_worker(tmp_path, PYTHONPATH=f"{hidden}:{SOURCES}") as (cluster, _):
        with refused("cluster", match=words):
            address = cluster.scheduler_address
            denoise(denoiser, scene, out=out, scheduler=address, device="cpu")
    assert sorted(path.name for path in tmp_path.iterdir() if "clean" in path.name) == []


@pytest.mark.parametrize(
    ("problem", "joins", "words"),
    [
        ("gone", "before", r"worker .*: does not see .*a\.tif: use a folder"),
        ("other", "late", r"worker .*: sees another image at .*a\.tif: use a folder"),
        ("token", "late", "worker .*: does not see .* as it is here .*: use a folder"),
        ("version", "before", "worker .*: has napari-n2n .*, and 9.9 runs here: install the same"),
    ],
)
def test_a_worker_that_cannot_do_the_job_is_named(
    tmp_path, denoiser, scene, monkeypatch, problem, words, joins
):
    source, out = tmp_path / "a.tif", tmp_path / "clean.tif"
    tifffile.imwrite(source, scene)
    asked = on_cluster._check_workers

    def ask(client, needed):
        """What the workers find has changed since the client has seen it."""
        if problem == "gone":
            source.unlink()
        elif problem == "other":
            tifffile.imwrite(source, scene + 1)
        elif problem == "token":
            object.__setattr__(needed, "token", "0123abcd")
        else:
            object.__setattr__(needed, "version", "9.9")
        if joins == "before":
            asked(client, needed)

    monkeypatch.setattr(on_cluster, "_check_workers", ask)
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(processes=False, **options) as threads,
        refused("cluster", match=words),
    ):
        address = threads.scheduler_address
        denoise(denoiser, source, out=out, scheduler=address, device="cpu")
    assert not out.exists()


PRIVATE = """\
mount -t tmpfs none {store} && mkdir {store}/upper {store}/work &&
mount -t overlay overlay -o lowerdir={shared},upperdir={store}/upper,workdir={store}/work {shared}\
"""


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount file systems")
def test_a_shard_that_only_its_worker_can_read_does_not_count(
    tmp_path, denoiser, scene, monkeypatch
):
    """As in a container with a copy of the folder: it sees all files, and keeps its changes."""
    shared, store = tmp_path / "shared", tmp_path / "store"
    shared.mkdir()
    store.mkdir()
    private = PRIVATE.format(store=store, shared=shared)
    monkeypatch.setattr(cluster_worker, "_LOOKS", 4)
    np.save(shared / "a.npy", scene)
    with scheduler_with_worker(tmp_path, before_worker=private) as (cluster, _):
        address = cluster.scheduler_address
        for name in ("clean.ome.zarr", "clean.tif"):
            out = shared / name
            with refused("cluster", match=f"{name}: a worker wrote shard .* not visible here"):
                denoise(denoiser, shared / "a.npy", out=out, scheduler=address, device="cpu")
    assert [path.name for path in shared.iterdir()] == ["a.npy"]


def test_a_worker_uses_one_thread_and_gives_torch_its_threads_back(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with cluster_worker._one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_a_run_waits_for_a_new_worker_when_its_only_one_is_killed(tmp_path, denoiser, monkeypatch):
    monkeypatch.setattr(on_cluster, "_ASK_SECONDS", 0.1)
    stack = np.stack([noisy(blobs((300, 64)), seed) for seed in range(6)])
    out = tmp_path / "clean.ome.zarr"
    options = {"axes": "TYX", "device": "cpu"}
    with scheduler_with_worker(tmp_path) as (cluster, worker):

        def replace_worker(step):
            if step.done == 2 and worker.poll() is None:
                worker.kill()
                worker.wait()
                cluster.scale(1)  # a worker in this process

        address = cluster.scheduler_address
        denoise(denoiser, stack, out=out, scheduler=address, on_step=replace_worker, **options)
        assert worker.poll() is not None
    clean = np.asarray(zarr.open_array(out / "0", mode="r"))
    np.testing.assert_allclose(clean, denoise(denoiser, stack, **options), rtol=1e-5)
    coarser = np.asarray(zarr.open_array(out / "1", mode="r"))  # made by the workers, too
    np.testing.assert_allclose(coarser, halve(clean))


def test_a_cluster_without_workers_ends_the_run_after_a_time(
    tmp_path, denoiser, scene, monkeypatch
):
    monkeypatch.setattr(on_cluster, "_PATIENCE", 0)
    options = {"n_workers": 0, "dashboard_address": None, "processes": False}
    with distributed.LocalCluster(**options) as empty:
        address = empty.scheduler_address
        with refused("cluster", match="has no workers: start some with 'dask worker tcp|inproc"):
            denoise(denoiser, scene, out=tmp_path / "a.tif", scheduler=address)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there are cards")
def test_a_worker_without_the_card_is_named(tmp_path, denoiser, scene):
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(processes=False, **options) as threads:
        address = threads.scheduler_address
        with refused("cluster", match=r"worker .*: cannot compute: device 'cuda:1': not available"):
            denoise(
                *(denoiser, scene),
                **{"out": tmp_path / "a.tif", "scheduler": address, "device": "cuda:1"},
            )


def test_killed_workers_are_explained_by_their_memory():
    client = SimpleNamespace(status="running")
    with refused("cluster", match="several workers were killed .* memory: give them more"):
        with on_cluster._in_one_line(client, "tcp://a:1"):
            raise distributed.KilledWorker("n2n-1", SimpleNamespace(address="tcp://b:2"), 3)


def test_a_request_that_the_lost_scheduler_interrupts_names_the_scheduler():
    client = SimpleNamespace(status="running")  # the client has not noticed yet
    with refused("cluster", match="connection to the scheduler was lost"):
        with on_cluster._in_one_line(client, "tcp://a:1"):
            raise distributed.comm.CommClosedError("Stream is closed")


async def worker_in_this_process(address):
    return await distributed.Worker(address, nthreads=1, dashboard=False)


def test_a_lost_scheduler_ends_the_run_with_one_line_and_a_resumable_result(
    tmp_path, denoiser, monkeypatch
):
    monkeypatch.setattr(on_cluster, "_TIMEOUT", 2)
    stack = np.stack([noisy(blobs((128, 128)), seed) for seed in range(20)])
    out = tmp_path / "clean.ome.zarr"
    options = {"axes": "TYX", "device": "cpu"}
    file = tmp_path / "scheduler.json"
    words = ["-m", "distributed.cli.dask_scheduler", "--scheduler-file", str(file), "--port", "0"]
    with ended([subprocess.Popen([sys.executable, *words, "--no-dashboard"], **QUIET)]) as started:

        def lose(step):
            if step.done == 3:
                started[0].kill()

        with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
            address = client.scheduler.address
            worker = client.sync(worker_in_this_process, address)
            with refused("cluster", match="connection to the scheduler was lost.*--resume"):
                denoise(denoiser, stack, out=out, scheduler=address, on_step=lose, **options)
            client.sync(worker.close, executor_wait=False)
    denoise(denoiser, stack, out=out, resume=True, **options)
    assert Acquisition.open(out).shape == stack.shape


def test_an_error_from_a_worker_keeps_its_code():
    error = pickle.loads(pickle.dumps(BadInput("a.tif: is bad: fix it", "not_finite")))
    assert (str(error), error.code) == ("a.tif: is bad: fix it", "not_finite")
