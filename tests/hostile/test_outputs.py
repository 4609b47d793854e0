"""Nothing is lost: not the inputs, not a neighbour's files, not the result of another run."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import tifffile
import zarr
from conftest import refused

from napari_n2n import Acquisition
from napari_n2n.io import run_lock
from napari_n2n.io.crash_safe import write_atomically
from napari_n2n.io.fingerprint import fingerprint
from napari_n2n.io.output_path import check_keeps_inputs, output_path
from napari_n2n.io.run_lock import lock_path, locked

IMAGE = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)

# -- one run at a time ----------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from napari_n2n.io.run_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `out.tif`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out.tif")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_learns_who_writes(tmp_path, holder):
    with (
        refused("busy", match=f"process {holder.pid} on .* is writing it"),
        locked(tmp_path / "out.tif"),
    ):
        pass
    assert lock_path(tmp_path / "out.tif").exists(), "the refused run deleted the lock"
    with locked(tmp_path / "other.tif"):
        pass


def test_a_killed_process_blocks_no_later_run_and_leaves_no_lock(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert lock_path(tmp_path / "out.tif").exists()
    with locked(tmp_path / "out.tif"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_second_thread_is_refused_also_where_the_disk_has_no_locks(tmp_path, monkeypatch, caplog):
    def no_locks(_handle):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_lock, "_try_lock", no_locks)
    refusals = []

    def second():
        with (
            refused("busy", match="another run of this program") as refusal,
            locked(tmp_path / "x" / ".." / "out.tif"),
        ):
            pass
        refusals.append(refusal)

    (tmp_path / "x").mkdir()
    with locked(tmp_path / "out.tif"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert refusals and "its disk has no locks" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def count_up(path, rounds):
    for _ in range(rounds):
        while True:
            try:
                with locked(path):
                    value = int(path.read_text())
                    path.write_text(str(value + 1))
                break
            except ValueError:  # BadInput: another process has it
                continue


def test_no_two_processes_hold_a_lock_while_its_file_comes_and_goes(tmp_path):
    (tmp_path / "count").write_text("0")
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    crowd = [context.Process(target=count_up, args=(tmp_path / "count", 50)) for _ in range(4)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert (tmp_path / "count").read_text() == "200"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_a_disk_too_full_for_a_lock_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_lock, "_write_holder", full)
    out = tmp_path / "new" / "out.tif"
    with pytest.raises(OSError, match="No space") as error, locked(out):
        pass
    assert error.value.filename == str(out) and not list(tmp_path.iterdir())


def test_a_file_that_is_not_a_lock_is_kept(tmp_path):
    theirs = lock_path(tmp_path / "out.tif")
    theirs.write_text("my notes")
    with refused("output", match="is not a lock"), locked(tmp_path / "out.tif"):
        pass
    assert theirs.read_text() == "my notes"


def test_folders_made_for_a_run_that_fails_are_removed(tmp_path):
    with pytest.raises(OSError, match="full"), locked(tmp_path / "a" / "b" / "out.tif"):
        raise OSError("full")
    assert not list(tmp_path.iterdir())


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["x" * 240 + ".tif", "ü" * 120 + ".ome.zarr", "s3://bucket/x.ome.zarr", "..", "a\0b.tif"],
)
def test_a_name_that_the_disk_cannot_store_is_refused_before_the_work(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused("output"):
        output_path(name)
    output_path("x" * 230 + ".tif")


@pytest.mark.parametrize("name", ["CON", "aux.tif", "nul.ome.zarr", "com1.tif", "x. ", "x" * 240])
def test_names_that_windows_reserves_are_refused_there(tmp_path, name, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with refused("output"):
        output_path(f"/c/{name}")
    output_path("/c/console.tif")


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert output_path("~/out.tif") == tmp_path / "out.tif"


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    with refused("output", match="is a file"):
        output_path(tmp_path / "file" / "deep" / "out.tif")


# -- inputs ---------------------------------------------------------------------------------------


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """Recordings in the current folder, with links to them."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", IMAGE)
    os.link("a.tif", "hard.tif")
    os.symlink("a.tif", "soft.tif")
    (tmp_path / "folder").mkdir()
    os.symlink(tmp_path, "folder/up")
    tifffile.imwrite("folder/c.tif", IMAGE)
    group = zarr.open_group("store.ome.zarr", mode="w")
    group.create_array("0", data=IMAGE)
    os.symlink("store.ome.zarr", "linked.zarr")
    np.save("b.npy", IMAGE)
    return tmp_path


@pytest.mark.parametrize(
    ("out", "source"),
    [
        ("a.tif", "a.tif"),
        ("./folder/../a.tif", "a.tif"),
        ("folder/up/a.tif", "a.tif"),
        ("hard.tif", "a.tif"),
        ("soft.tif", "a.tif"),
        ("a.tif", "soft.tif"),
        ("a.tif", "folder/up/hard.tif"),
        ("store.ome.zarr", "store.ome.zarr"),
        ("store.ome.zarr/", "linked.zarr"),
        ("linked.zarr", "store.ome.zarr/0"),
        ("store.ome.zarr/0", "store.ome.zarr"),
        ("store.ome.zarr/clean.tif", "store.ome.zarr/0"),
        ("store.ome.zarr/new/clean.zarr", "store.ome.zarr"),
        ("linked.zarr/clean.zarr", "store.ome.zarr"),
        ("folder", "folder/up/folder/c.tif"),
    ],
)
def test_an_output_that_would_replace_or_change_an_input_is_refused(inputs, out, source):
    with refused("output", match="(is|inside|contains) the input"):
        check_keeps_inputs(output_path(out), ["b.npy", source])


@pytest.mark.parametrize("kind", ["acquisition", "zarr", "memmap", "layer"])
def test_what_was_opened_from_a_file_counts_as_that_file(inputs, kind):
    class Layer:  # as napari's
        source = type("Source", (), {"path": str(inputs / "b.npy")})

    source, out = {
        "acquisition": (Acquisition.open("a.tif"), "hard.tif"),
        "zarr": (zarr.open_group("store.ome.zarr", mode="r")["0"], "store.ome.zarr"),
        "memmap": (np.load("b.npy", mmap_mode="r"), "b.npy"),
        "layer": (Layer(), "b.npy"),
    }[kind]
    with refused("output"):
        check_keeps_inputs(output_path(out), [source])
    check_keeps_inputs(output_path("0"), [source])


def test_other_outputs_are_accepted(inputs):
    for out in (
        "clean.tif",
        "clean.ome.zarr",
        "folder/a.tif",
        "new/deep.zarr",
        "store.ome.zarr.tif",
    ):
        check_keeps_inputs(output_path(out), ["a.tif", "soft.tif", "store.ome.zarr/0", IMAGE])


# -- files of others ------------------------------------------------------------------------------


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.n2n"
    for neighbour in ("model.n2n.partial", "model.n2n.old"):
        (tmp_path / neighbour).write_text("theirs")
    write_atomically(path, b"old")

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 3


# -- changed inputs -------------------------------------------------------------------------------


def test_a_changed_recording_has_another_fingerprint_and_a_moved_one_the_same(inputs):
    before = fingerprint(Acquisition.open("a.tif"))
    os.rename("a.tif", "folder/renamed.tif")
    assert fingerprint(Acquisition.open("folder/renamed.tif")) == before
    os.utime("folder/renamed.tif", ns=(1, 1))
    touched = fingerprint(Acquisition.open("folder/renamed.tif"))
    assert touched["pixels"] == before["pixels"] and touched["file"] != before["file"]
    assert fingerprint(Acquisition.open(IMAGE + 1))["pixels"] != before["pixels"]
    store = fingerprint(Acquisition.open("store.ome.zarr/0"))
    assert store["pixels"] == before["pixels"]
    zarr.open_array("store.ome.zarr/0", mode="r+")[0, 0] = 77
    assert fingerprint(Acquisition.open("store.ome.zarr/0"))["file"] != store["file"]
