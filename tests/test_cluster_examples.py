"""The files in examples/cluster, the Dockerfile and the page on clusters work as they are."""

import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile
import typer.main
from conftest import blobs, noisy

import napari_n2n
from napari_n2n.cli.commands import app

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "cluster"
PAGE = ROOT / "docs" / "cluster.md"
NEEDS_BASH = pytest.mark.skipif(os.name == "nt", reason="needs bash and signals")


def commands(path):
    """The words of every call of napari-n2n and dask in a file, also in examples in comments."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    code = r"(?: {4}|(?:#|//) {4}).*" if path.suffix == ".md" else r"(?!#|//).*|(?:#|//) {4}.*"
    for line in re.findall(f"^(?:{code})$", text, re.MULTILINE):
        call = r"(?<![\w/.-])(napari-n2n|dask)(?:\.sif|:cuda)? ([a-z]+) (.*)"
        found = re.search(call, line.partition("  #")[0])
        if found and "--entrypoint" not in line:
            yield [found[1], found[2], *re.findall(r"[^\s\"'&]+", found[3])]


def options_of(words):
    """The options that a command accepts."""
    if words[0] == "dask":
        distributed = pytest.importorskip("distributed")
        from distributed.cli import dask_scheduler, dask_worker

        assert distributed.__version__
        known = {"worker": dask_worker.main, "scheduler": dask_scheduler.main}[words[1]]
    else:
        known = typer.main.get_command(app).commands[words[1]]
    return {option for one in known.params for option in (*one.opts, *one.secondary_opts)}


@pytest.mark.parametrize(
    "path",
    [*sorted(EXAMPLES.iterdir()), PAGE],
    ids=lambda path: path.name,
)
def test_every_command_and_option_exists(path):
    found = list(commands(path))
    assert found or path.name == "slurm_workers.py"
    for words in found:
        options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert options <= options_of(words), words


def program(node, name, command):
    """Let a script find this command of the shell under a name."""
    (node / "bin" / name).write_text(f"#!/bin/sh\n{command}\n")
    (node / "bin" / name).chmod(0o755)


# Processes without torch, for what only the scripts decide.
TRAINS_UNTIL_SIGTERM = "trap 'exit 143' TERM; touch m.n2n.checkpoint; while :; do sleep 0.1; done"
WAITS_UNTIL_SIGTERM = """\
trap 'echo ended >> workers; exit' TERM
echo began >> workers
while :; do sleep 0.1; done
"""


@pytest.fixture
def node(tmp_path, denoiser, monkeypatch):
    """A folder with a model and recordings, and the commands that the examples call."""
    denoiser.save(tmp_path / "cells.n2n")
    (tmp_path / "raw").mkdir()
    for number in range(2):
        tifffile.imwrite(tmp_path / "raw" / f"{number}.tif", noisy(blobs((64, 64)), number))
    for seed, name in enumerate("ab"):
        tifffile.imwrite(tmp_path / f"{name}.tif", noisy(blobs((64, 64)), seed))
    programs = tmp_path / "bin"
    programs.mkdir()
    own = Path(napari_n2n.__file__).parents[1]
    program(tmp_path, "napari-n2n", f'exec {shlex.quote(sys.executable)} -m napari_n2n "$@"')
    program(tmp_path, "scontrol", f'echo "$@" >> {tmp_path}/requeued')
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{own}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@NEEDS_BASH
@pytest.mark.parametrize(("name", "requeued"), [("SIGUSR2", ["requeue 17"]), ("SIGTERM", [])])
def test_a_training_whose_time_is_up_is_requeued_and_a_cancelled_one_is_not(node, name, requeued):
    if name == "SIGTERM":
        program(node, "napari-n2n", TRAINS_UNTIL_SIGTERM)
    words = "train a.tif b.tif -o m.n2n --resume --patch 32 --batch 1 --device cpu --steps"
    job = ["bash", str(EXAMPLES / "requeued.sbatch"), "napari-n2n", *words.split()]
    environment = os.environ | {"SLURM_JOB_ID": "17"}
    # A session of its own: its signals do not reach this process.
    run = subprocess.Popen([*job, "100000"], env=environment, start_new_session=True)
    end = time.monotonic() + 120
    while not list(node.glob("m.n2n.checkpoint*")) and time.monotonic() < end:
        time.sleep(0.1)
    run.send_signal(getattr(signal, name))
    assert run.wait(timeout=120) == 143
    log = node / "requeued"
    assert (log.read_text().splitlines() if log.exists() else []) == requeued
    if name == "SIGUSR2":
        assert napari_n2n.load(node / "m.n2n").record.stopped


@NEEDS_BASH
def test_a_task_of_a_job_array_denoises_its_file(node):
    job = ["bash", str(EXAMPLES / "requeued.sbatch"), str(EXAMPLES / "denoise_nth.sh")]
    environment = os.environ | {"SLURM_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "1"}
    run = subprocess.run([*job, "cells.n2n", "raw", "clean"], env=environment, timeout=120)
    assert run.returncode == 0 and not (node / "requeued").exists()
    assert [file.name for file in (node / "clean").iterdir()] == ["1.tif"]
    program(node, "napari-n2n", "exit 0")
    environment["SLURM_ARRAY_TASK_ID"] = "5"  # more tasks than files
    assert subprocess.run([*job, "cells.n2n", "raw", "clean"], env=environment).returncode != 0


def test_the_example_of_dask_jobqueue_runs(node, monkeypatch):
    distributed = pytest.importorskip("distributed")

    class SLURMCluster(distributed.LocalCluster):
        """The workers of a job, without SLURM."""

        def __init__(self, *, cores, processes, memory, walltime):
            assert cores == processes  # one thread for each worker
            options = {"threads_per_worker": 1, "dashboard_address": None}
            super().__init__(n_workers=0, processes=False, **options)

        def adapt(self, *, minimum_jobs, maximum_jobs):
            self.scale(1)

    module = ModuleType("dask_jobqueue")
    module.SLURMCluster = SLURMCluster
    monkeypatch.setitem(sys.modules, "dask_jobqueue", module)
    frames = np.stack([noisy(blobs((64, 64)), seed) for seed in range(2)])
    napari_n2n.denoise("cells.n2n", frames, axes="TYX", out="movie.ome.zarr", device="cpu")
    runpy.run_path(str(EXAMPLES / "slurm_workers.py"), run_name="__main__")
    assert napari_n2n.Acquisition.open("clean.ome.zarr").shape == frames.shape


@NEEDS_BASH
@pytest.mark.parametrize("status", [0, 2])
def test_the_cards_of_a_computer_denoise_one_recording(node, status):
    pytest.importorskip("distributed")
    program(node, "nvidia-smi", "echo 0")
    if status == 0:
        program(node, "dask", f'exec {shlex.quote(sys.executable)} -m dask "$@"')
    else:
        program(node, "dask", WAITS_UNTIL_SIGTERM)
        # Ends after both, scheduler and worker, have begun.
        ready = 'until [ "$(wc -l < workers)" = 2 ]; do sleep 0.1; done'
        program(node, "napari-n2n", f"touch workers; {ready}; exit {status}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"DEVICE": "cpu", "PORT": str(port)}
    script = ["bash", str(EXAMPLES / "cards.sh"), "cells.n2n", "a.tif", "clean.tif"]
    run = subprocess.Popen(script, env=environment, start_new_session=True)
    try:
        assert run.wait(timeout=280) == status
        assert (node / "clean.tif").exists() == (status == 0)
        end = time.monotonic() + 10
        while status and not (node / "workers").read_text() == "began\n" * 2 + "ended\n" * 2:
            assert time.monotonic() < end, "the script has ended, its workers have not"
            time.sleep(0.02)
    finally:  # with scheduler and workers, if the script has not ended them
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)


@pytest.mark.skipif(shutil.which("snakemake") is None, reason="needs Snakemake")
def test_snakemake_trains_and_denoises_every_file(node):
    (node / "cells.n2n").unlink()
    words = ["snakemake", "--snakefile", str(EXAMPLES / "Snakefile"), "--cores", "1"]
    words += ["--config", "train=--steps 3 --patch 32 --batch 1"]
    run = subprocess.run(words, capture_output=True, text=True, timeout=250)
    assert run.returncode == 0, run.stderr
    assert sorted(file.name for file in (node / "clean").iterdir()) == ["0.tif", "1.tif"]


def test_the_image_gets_every_file_that_it_copies():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    lines = re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE)
    copied = {word for line in lines for word in line.split()}
    assert copied - {"."} <= kept and "." in copied
    # What a wheel is made from; see pyproject.toml.
    assert {"src", "sample_data", "napari.yaml", "pyproject.toml", "README.md", "LICENSE"} <= kept
    assert all((ROOT / name).exists() for name in kept)
