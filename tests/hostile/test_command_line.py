"""The command line in odd circumstances: signals, terminals that are closed or plain, and bugs."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings

import numpy as np
import pytest
import tifffile
from conftest import blobs, noisy

from napari_n2n import TrainingSettings, cli, load, train
from napari_n2n.cli import commands, last_resort, signals, terminal, train_run
from napari_n2n.errors import BadInput
from napari_n2n.io.run_lock import locked
from napari_n2n.model.denoiser import Denoiser
from napari_n2n.training import fit

STATUS = {"SIGINT": 130, "SIGTERM": 143}
N2N = (sys.executable, "-m", "napari_n2n")


@pytest.fixture(scope="module")
def model(pair):
    """A model that was hardly trained: what it computes does not matter here."""
    return train(pair, TrainingSettings(steps=1, patch=32, batch=1, device="cpu"))


@pytest.fixture
def folder(tmp_path, model, monkeypatch):
    for seed, name in enumerate("ab"):
        tifffile.imwrite(tmp_path / f"{name}.tif", noisy(blobs((96, 96)), seed))
    model.save(tmp_path / "model.n2n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command line in this process; returns exit status, stdout, stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["napari-n2n", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        return leave.value.code, *capsys.readouterr()

    return run


def when_called(monkeypatch, owner, name, act):
    """Act before a function is called."""
    function = getattr(owner, name)

    def acting(*args, **options):
        act()
        return function(*args, **options)

    monkeypatch.setattr(owner, name, acting)


def failing(error):
    def fail(*args, **options):
        raise error

    return fail


# -- signals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STATUS)
def test_a_signal_during_training_keeps_the_model_and_the_run_resumes(
    monkeypatch, call, folder, name
):
    words = ("train", "a.tif", "b.tif", "-o", "new.n2n", "--patch", 32, "--batch", 1)
    with monkeypatch.context() as patch:
        kill = lambda: os.kill(os.getpid(), getattr(signal, name))  # noqa: E731
        when_called(patch, train_run, "describe_step", kill)
        patch.setattr("napari_n2n.cli.signals._ECHO_SECONDS", 60)
        status, _, err = call(*words, "--steps", 10**6)
    assert status == STATUS[name], err
    assert "stopping" in err and "continue with --resume" in err
    steps = load("new.n2n").record.steps
    assert load("new.n2n").record.stopped and steps > 0
    status, _, err = call(*words, "--steps", steps + 3, "--resume")
    assert status == 0 and load("new.n2n").record.steps == steps + 3, err
    assert {path.name for path in folder.iterdir()} == {"a.tif", "b.tif", "model.n2n", "new.n2n"}


COMMANDS = {
    "inspect": ("inspect a.tif b.tif", "napari_n2n.noise.measure.measure_with_curves"),
    "train opens": ("train a.tif b.tif -o x.n2n", "napari_n2n.cli.commands.open_sources"),
    "train measures": ("train a.tif b.tif -o x.n2n", "napari_n2n.noise.measure.measure_channels"),
    "denoise": ("denoise model.n2n a.tif -o x.tif", "napari_n2n.io.tiff_writer.Writer.write"),
    "split": ("split t.npy --axes TYX -o .", "napari_n2n.io.tiff_writer.Writer.write"),
    "simulate": (
        "simulate a.tif --noise gaussian:9 -o .",
        "napari_n2n.io.tiff_writer.Writer.write",
    ),
    "score": ("score a.tif --against b.tif", "napari_n2n.quality.score.score_result"),
    "spot": ("spot a.tif a.tif b.tif --at 1,2", "napari_n2n.quality.spot_check.open_pairs"),
    "demo": ("demo -o shown", "napari_n2n.cli.demo.train"),
}  # fmt: skip


@pytest.mark.parametrize("name", STATUS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_ends_every_command_and_leaves_nothing_behind(
    monkeypatch, call, folder, command, name
):
    np.save("t.npy", np.stack([noisy(blobs((64, 64)), seed) for seed in range(4)]))
    before = sorted(folder.iterdir())
    words, where = COMMANDS[command]

    def signalled(*args, **options):
        os.kill(os.getpid(), getattr(signal, name))
        raise ImportError("some code turns the interruption into another error")

    monkeypatch.setattr(where, signalled)
    status, out, err = call(*words.split())
    assert (status, out) == (STATUS[name], "") and err.splitlines()[-1] == "interrupted", err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "command",
    [
        "train a.tif b.tif -o taken.n2n --overwrite",
        "export model.n2n -o taken.zip --overwrite",
        "inspect a.tif b.tif --plot taken.png",
    ],
)
def test_a_folder_in_place_of_the_output_is_refused_before_the_work(
    monkeypatch, call, folder, command
):
    monkeypatch.setattr(fit, "take_step", None)
    taken = next(word for word in command.split() if word.startswith("taken"))
    (folder / taken).mkdir()
    status, out, err = call(*command.split())
    assert (status, out) == (2, "") and err == f"error: {taken}: is a folder: choose another name\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a folder that is used")
def test_a_deleted_current_folder_is_named(call, folder, monkeypatch):
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    status, _, err = call("denoise", folder / "model.n2n", folder / "a.tif", "-o", folder / "x.tif")
    assert status == 2 and err.startswith("error: the current folder: no longer exists")


def test_an_interruption_that_code_swallows_still_ends_the_run(monkeypatch, call, folder):
    def swallowed():
        with pytest.raises(signals.Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)

    when_called(monkeypatch, commands, "open_sources", swallowed)
    status, _, err = call("train", "a.tif", "b.tif", "-o", "new.n2n", "--steps", 2)
    assert status == 143 and err.splitlines()[-1] == "interrupted", err


def test_the_second_signal_ends_at_once(monkeypatch):
    ended = []
    monkeypatch.setattr(signals.os, "_exit", ended.append)
    asked = signals.Signals()
    asked.handle()
    asked.stop_gently(lambda: None)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)  # forwarded by the program that started this one
    assert asked.stop.is_set() and not ended
    monkeypatch.setattr(signals, "_ECHO_SECONDS", 0)
    os.kill(os.getpid(), signal.SIGINT)
    assert ended == [130]


def test_a_signal_while_the_program_ends_does_not_change_its_status():
    script = """
        import os, signal, threading, time
        from napari_n2n import cli

        def late():
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(100)

        def run(words):
            threading.Thread(target=late).start()  # Python waits for it
            return 3

        cli._run = run
        cli.main()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (3, "")


def test_a_checkpoint_is_saved_on_request_and_the_run_continues(monkeypatch, call, folder):
    saved = []

    def ask():
        saved.append((folder / "new.n2n.checkpoint").exists())
        if len(saved) == 4:
            os.kill(os.getpid(), signal.SIGUSR1)

    when_called(monkeypatch, fit, "take_step", ask)
    words = ("train", "a.tif", "b.tif", "-o", "new.n2n", "--patch", 32, "--batch", 1)
    status, _, err = call(*words, "--steps", 8)
    assert status == 0 and load("new.n2n").record.steps == 8, err
    assert saved == [False] * 4 + [True] * 4


def test_nohup_keeps_a_run_alive_when_its_terminal_is_closed():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signals.Signals().handle()
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


# -- terminals --------------------------------------------------------------------------------


def run_shell(folder, line, **env):
    """Run a shell line in which $N2N is the command line; returns status, stdout, stderr."""
    environment = os.environ | {"N2N": " ".join(N2N), "OMP_NUM_THREADS": "1"} | env
    run = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, timeout=120
    )
    return run.returncode, run.stdout.decode(), run.stderr.decode()


def test_a_plain_terminal_gets_plain_characters(folder):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain |= {"PYTHONIOENCODING": "ascii", "COLUMNS": "20"}
    status, out, err = run_shell(folder, "$N2N inspect a.tif b.tif", **plain)
    assert status == 0 and "20" in out and "+-" in out and out.isascii(), err


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("set -o pipefail; $N2N inspect a.tif b.tif --json | true", 141, ""),
        ("$N2N inspect a.tif b.tif --json >&-", 2, "standard output: is closed"),
        ("$N2N inspect a.tif b.tif --json >/dev/full", 2, "standard output: No space left"),
        ("$N2N denoise model.n2n a.tif -o new.tif 2>&- >&- <&-", 0, ""),
        ("$N2N train a.tif b.tif -o x.n2n --json >&-", 2, "standard output: is closed"),
    ],
)
def test_closed_and_full_streams(folder, line, status, says):
    if "/dev/full" in line and not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    got, out, err = run_shell(folder, line)
    assert (got, out) == (status, "") and says in err and err.count("\n") == bool(says), err
    assert not (folder / "x.n2n").exists()  # refused before the work
    if "new.tif" in line:
        assert tifffile.imread(folder / "new.tif").shape == (96, 96)


def test_libraries_neither_print_nor_warn_on_the_terminal(monkeypatch, call, folder):
    def chatter():
        print("from a library")
        print("from a library, too", file=sys.stderr)
        warnings.warn(f"a library warns {time.monotonic()}", stacklevel=1)
        logging.getLogger("library").error("a library logs")

    when_called(monkeypatch, commands, "list_fields", chatter)
    status, out, err = call("inspect", "a.tif", "b.tif", "--json")
    assert (status, err) == (0, "") and isinstance(json.loads(out), dict)
    status, out, err = call("inspect", "a.tif", "b.tif", "--json", "-v")
    assert status == 0 and json.loads(out) and "error: library: a library logs\n" in err
    assert err.count("from a library") == 2 and "a library warns" in err


def test_quiet_prints_errors_only(call, folder):
    words = ("train", "a.tif", "b.tif", "--steps", 2, "--patch", 32, "--batch", 1, "-o")
    assert call(*words, "new.n2n", "-q") == (0, "", "")
    status, _, err = call(*words, "new.n2n", "-q")
    assert status == 2 and err.startswith("error: new.n2n: already exists")


def test_train_and_denoise_print_one_json_object(call, folder):
    words = ("train", "a.tif", "b.tif", "--steps", 2, "--patch", 32, "--batch", 1, "-o")
    status, out, err = call(*words, "new.n2n", "--json", "--progress", "json")
    assert status == 0 and json.loads(out)["steps"] == 2 and out.count("\n") == 1
    shown = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert shown and shown[-1]["progress"] == 1.0
    status, out, _ = call("denoise", "new.n2n", "a.tif", "-o", "new.tif", "--json")
    assert status == 0 and json.loads(out)["output"] == "new.tif"


@pytest.mark.parametrize(
    "words, written",
    [
        ("export model.n2n -o model.zip", ["model.zip"]),
        ("split two.tif -o parts", ["parts/two_even.tif", "parts/two_odd.tif"]),
        ("simulate a.tif --noise gaussian:5 -o pair", ["pair/a_a.tif", "pair/a_b.tif"]),
    ],
)
def test_commands_that_make_other_files_print_their_names_as_json(call, folder, words, written):
    tifffile.imwrite(
        "two.tif", np.stack([tifffile.imread(f"{v}.tif") for v in "ab"]), metadata={"axes": "TYX"}
    )
    status, out, _ = call(*words.split(), "--json")
    printed = json.loads(out)
    assert status == 0 and printed.get("outputs", [printed.get("output")]) == written
    assert all((folder / name).is_file() for name in written)


def test_json_has_null_for_numbers_that_are_not_finite(capsys):
    with terminal.TERMINAL.opened():
        terminal.print_json({"a": np.float32("nan"), "b": [float("inf"), 1], "c": np.arange(2)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1], "c": [0, 1]}


# -- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("writable", [True, False])
def test_a_bug_ends_in_two_lines_and_a_log_with_the_traceback(
    monkeypatch, call, folder, tmp_path_factory, writable
):
    logs = tmp_path_factory.mktemp("logs")
    place = logs / "log" if writable else folder / "a.tif" / "log"
    monkeypatch.setattr(last_resort, "user_log_path", lambda *args, **options: place)
    monkeypatch.setattr(last_resort.tempfile, "gettempdir", lambda: str(logs / "temporary"))
    monkeypatch.setattr(commands, "list_fields", failing(KeyError("a\nkey")))
    status, out, err = call("inspect", "a.tif", "b.tif")
    first, second = err.splitlines()
    assert (status, out) == (70, "") and "KeyError" in first
    log = second.rpartition(": ")[2]
    assert log.startswith(str(place if writable else logs / "temporary"))
    text = open(log, encoding="utf-8").read()
    assert "Traceback" in text and "Python 3." in text and "napari-n2n" in text


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (BadInput("a\nb.tif: is\x1b[31m damaged", "unreadable"), r"b.tif: is\x1b[31m"),
        (MemoryError(), "not enough memory: set a smaller --memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: ..."), "not enough memory"),
        (OSError(28, "No space left on device", "out.tif"), "out.tif: No space left on device"),
        (PermissionError(13, "Permission denied", "o"), "o: Permission denied: choose a folder"),
    ],
)  # fmt: skip
def test_errors_that_users_can_correct_are_one_line(monkeypatch, call, folder, error, says):
    monkeypatch.setattr(commands, "list_fields", failing(error))
    status, out, err = call("inspect", "a.tif", "b.tif")
    assert (status, out) == (2, "") and says in err and err.count("\n") == 1


# -- resume -----------------------------------------------------------------------------------


def test_one_command_starts_resumes_and_does_nothing_when_it_is_finished(call, folder):
    words = ("train", "a.tif", "b.tif", "--patch", 32, "--batch", 1, "-o", "new.n2n", "--resume")
    assert call(*words, "--steps", 2)[0] == 0
    before = (folder / "new.n2n").read_bytes()
    status, _, err = call(*words, "--steps", 2)
    assert status == 0 and "already finished" in err
    status, _, err = call(*words, "--steps", 3)
    assert status == 2 and "was trained with --steps 2" in err
    assert (folder / "new.n2n").read_bytes() == before
    for words in (("a.tif", "-o", "new.tif"), ("a.tif", "-o", "new.ome.zarr")):
        for said in ("saved", "already finished"):
            status, _, err = call("denoise", "model.n2n", *words, "--resume")
            assert status == 0 and said in err


def test_a_finished_model_of_other_recordings_is_refused(call, folder):
    words = ("--patch", 32, "--batch", 1, "--steps", 2, "--resume", "-o", "new.n2n")
    assert call("train", "a.tif", "b.tif", *words)[0] == 0
    before = (folder / "new.n2n").read_bytes()
    (folder / "b.tif").rename(folder / "moved.tif")
    status, _, err = call("train", "a.tif", "moved.tif", *words)
    assert status == 0 and "already finished" in err
    tifffile.imwrite(folder / "b.tif", noisy(blobs((96, 96)), 7))
    for seed, name in enumerate(("small", "flat")):
        tifffile.imwrite(folder / f"{name}.tif", noisy(blobs((64, 96)), seed))
    for pair, says in (
        (("a.tif", "b.tif"), "other pixels than those of b"),
        (("moved.tif", "a.tif"), "other pixels than those of moved"),  # A and B swapped
        (("small.tif", "flat.tif"), "a (96x96 float32), not on small"),
        (("a.tif", "moved.tif", "b.tif"), "2 recordings, not on 3"),
    ):
        status, _, err = call("train", *pair, *words)
        assert status == 2 and f"new.n2n: is finished, and was trained on {says}" in err
    assert (folder / "new.n2n").read_bytes() == before


def test_a_finished_model_of_channels_is_compared_with_each_of_them(call, folder):
    for seed, name in enumerate(("c", "d", "e")):
        channels = [noisy(blobs((64, 64), channel), seed) for channel in range(2)]
        tifffile.imwrite(folder / f"{name}.tif", np.stack(channels), metadata={"axes": "CYX"})
    words = ("--patch", 32, "--batch", 1, "--steps", 2, "--resume", "-o", "new.n2n")
    for channels in ("together", "separate"):
        options = (*words, "--channels", channels, "--overwrite")
        assert call("train", "c.tif", "d.tif", *options)[0] == 0
        status, _, err = call("train", "c.tif", "d.tif", *words, "--channels", channels)
        assert status == 0 and "already finished" in err
        status, _, err = call("train", "c.tif", "e.tif", *words, "--channels", channels)
        assert status == 2 and "other pixels than those of e" in err


def test_a_model_that_its_disk_cannot_hold_is_saved_elsewhere(
    monkeypatch, call, folder, tmp_path_factory
):
    elsewhere, save = tmp_path_factory.mktemp("tmp"), Denoiser.save

    def full(self, path):
        if path.is_relative_to(elsewhere):
            return save(self, path)
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(Denoiser, "save", full)
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    words = ("train", "a.tif", "b.tif", "--patch", 32, "--batch", 1, "--steps", 2, "-o", "new.n2n")
    status, _, err = call(*words)
    kept = next(elsewhere.glob("*/new.n2n"))
    assert status == 2 and "error: new.n2n: No space left on device: the model was saved" in err
    monkeypatch.undo()
    assert f"saved as {kept} instead" in err and load(kept).record.steps == 2


def test_a_model_whose_training_diverged_does_not_count_as_finished(call, folder):
    words = ("train", "a.tif", "b.tif", "--patch", 32, "--batch", 1, "--steps", 2, "-o", "new.n2n")
    assert call(*words)[0] == 0
    model = load("new.n2n")
    model.record = model.record.model_copy(update={"diverged": 1})
    model.save("new.n2n")
    status, _, err = call(*words, "--resume")
    assert status == 2 and "new.n2n: its training diverged at step 1" in err
    assert "--learning-rate (it was 0.0015)" in err


def test_files_beside_a_model_with_a_similar_name_are_kept(call, folder):
    others = ["m1.n2n.checkpoint", "m[1].n2n.checkpoint_backup", "m[1].n2n.checkpoint.old"]
    for name in others:
        (folder / name).write_text("mine")
    words = ("train", "a.tif", "b.tif", "--patch", 32, "--batch", 1, "--steps", 2)
    assert call(*words, "-o", "m[1].n2n")[0] == 0
    assert [(folder / name).read_text() for name in others] == ["mine"] * 3


def test_a_result_never_replaces_its_model(call, folder):
    (folder / "out.ome.zarr").mkdir()
    (folder / "model.n2n").rename(folder / "out.ome.zarr" / "model.n2n")
    words = ("denoise", "out.ome.zarr/model.n2n", "a.tif", "-o", "out.ome.zarr", "--overwrite")
    status, _, err = call(*words)
    assert status == 2 and "out.ome.zarr: contains the input out.ome.zarr/model.n2n" in err
    assert (folder / "out.ome.zarr" / "model.n2n").exists()


def test_a_tilde_is_the_home_folder(monkeypatch, call, folder, tmp_path):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert call("inspect", "~/a.tif", "~/b.tif", "--plot", "~/noise.png")[0] == 0
    assert (folder / "noise.png").exists() and not (folder / "~").exists()


def test_the_address_of_a_file_on_this_computer_is_a_path(call, folder, tmp_path):
    source, out = (folder / "a.tif").as_uri(), (tmp_path / "two words.tif").as_uri()
    status, _, err = call("denoise", folder / "model.n2n", source, "-o", out, "--device", "cpu")
    assert status == 0, err
    assert (tmp_path / "two words.tif").is_file() and not list(tmp_path.glob("file*"))


def test_the_version_is_the_same_everywhere(call):
    import napari_n2n

    assert call("--version") == (0, f"napari-n2n {napari_n2n.__version__}\n", "")


def test_a_second_training_of_the_same_model_is_refused(call, folder):
    with locked(folder / "new.n2n"):
        status, _, said = call("train", "a.tif", "b.tif", "-o", "new.n2n", "--steps", 1)
    assert status == 2 and "is writing it" in said
    assert not list(folder.glob("new.n2n*"))


def test_training_keeps_files_of_the_user_beside_the_model(call, folder):
    """Names that a pattern, or the names of checkpoints of channels, would match."""
    own = ["m1.n2n.checkpoint", "m[1].n2n.checkpoint_backup", "m[1].n2n.checkpoint.7"]
    for name in own:
        (folder / name).write_text("mine")
    options = ("--steps", 1, "--patch", 32, "--batch", 1, "--device", "cpu")
    status, _, said = call("train", "a.tif", "b.tif", "-o", "m[1].n2n", *options)
    assert status == 0, said
    assert all((folder / name).read_text() == "mine" for name in own)
    assert not (folder / "m[1].n2n.checkpoint").exists()


def test_the_terminal_says_that_only_the_complete_planes_of_a_file_are_read(call, folder):
    stack = np.random.default_rng(0).integers(0, 255, (6, 40, 50), dtype=np.uint8)
    tifffile.imwrite(folder / "cut.tif", stack, compression="deflate", metadata=None)
    content = (folder / "cut.tif").read_bytes()
    (folder / "cut.tif").write_bytes(content[: len(content) * 2 // 3])
    words = ("split", "cut.tif", "--axis", "T", "-o", "half", "--axes", "TYX")
    status, _, said = call(*words)
    assert status == 0 and "planes that are complete" in said
