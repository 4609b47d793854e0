import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from typing import Literal, get_args, get_origin

import hypothesis
import numpy as np
import pytest
import tifffile
import typer
from conftest import blobs, noisy
from hypothesis import given
from hypothesis import strategies as st
from skimage import io

from napari_n2n import Acquisition, TrainingSettings, cli, load
from napari_n2n.cli import options
from napari_n2n.cli.commands import app
from napari_n2n.pair.recordings import Recordings
from napari_n2n.recipe import Recipe

INSPECT_KEYS = {
    "loss",
    "reason",
    "warnings",
    "shift",
    "gain_ratio",
    "offset",
    "photon_gain",
    "read_noise",
    "skewness",
    "outlier_share",
    "noise_correlation",
    "correlation_length",
    "noise_a",
    "noise_b",
    "saturated_share",
    "resolution",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, denoiser):
    folder = tmp_path_factory.mktemp("cli")
    scene = blobs((96, 96))
    for name, seed in (("a", 1), ("b", 2)):
        tifffile.imwrite(folder / f"{name}.tif", noisy(scene, seed))
    tifffile.imwrite(folder / "truth.tif", scene)
    denoiser.save(folder / "model.n2n")
    return folder


def call(monkeypatch, capsys, *words):
    """Run the command line in this process; returns exit status, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["napari-n2n", *(str(word) for word in words)])
    with pytest.raises(SystemExit) as leave:
        cli.main()
    out, err = capsys.readouterr()
    return leave.value.code, out, err


def test_inspect_prints_one_json_object(monkeypatch, capsys, folder):
    status, out, _ = call(
        monkeypatch, capsys, "inspect", folder / "a.tif", folder / "b.tif", "--json"
    )
    report = json.loads(out)
    assert status == 0 and set(report) >= INSPECT_KEYS
    assert report["noise_a"] == pytest.approx(20, rel=0.1)
    transfer = report["curves"]["photon_transfer"]
    assert len(transfer["mean"]) == len(transfer["variance"]) == len(transfer["robust_variance"])
    assert np.median(transfer["variance"]) == pytest.approx(400, rel=0.2)
    assert report["curves"]["noise_correlation"]["x"][0] == 1


def test_inspect_prints_the_loss_and_the_noise(monkeypatch, capsys, folder):
    status, out, _ = call(monkeypatch, capsys, "inspect", folder / "a.tif", folder / "b.tif")
    assert status == 0 and re.match(r"loss +L2: ", out)
    for view in "AB":
        level = re.search(rf"^noise in {view} +([0-9.]+)", out, re.MULTILINE)
        assert float(level[1]) == pytest.approx(20, rel=0.1)


def test_inspect_of_two_scenes_gives_no_figures(monkeypatch, capsys, folder, tmp_path):
    tifffile.imwrite(tmp_path / "other.tif", noisy(blobs((96, 96), seed=7), 2))
    words = ("inspect", folder / "a.tif", tmp_path / "other.tif")
    status, out, _ = call(monkeypatch, capsys, *words)
    assert status == 0 and out.startswith("other_scene: ") and "noise in A" not in out
    table = tmp_path / "t.csv"
    found = json.loads(call(monkeypatch, capsys, *words, "--json", "--table", table)[1])
    assert ",no pair," in table.read_text()
    assert found.keys() >= INSPECT_KEYS and found["noise_a"] is found["loss"] is None
    assert "do not show the same scene" in found["reason"]


def test_inspect_of_one_file_describes_it(monkeypatch, capsys, tmp_path):
    path = tmp_path / "a.ome.tif"
    steps = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "PhysicalSizeZ": 0.5}
    axes = {"axes": "CZYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(path, np.zeros((2, 3, 40, 50), "u2"), metadata=axes | steps)
    status, out, _ = call(monkeypatch, capsys, "inspect", path)
    assert status == 0 and "C 2, Z 3, Y 40, X 50" in out and "DAPI, GFP" in out
    assert "Z 0.5, Y 0.1, X 0.1 micrometer" in out and "--split T" in out
    result = json.loads(call(monkeypatch, capsys, "inspect", path, "--json")[1])
    (read,) = result["recordings"]
    assert result["loss"] is None and read["shape"] == [2, 3, 40, 50] and read["dtype"] == "uint16"
    assert read["pixel_size"]["Z"] == {"size": 0.5, "unit": "micrometer"}
    path.write_bytes(path.read_bytes()[:20000])
    status, out, err = call(monkeypatch, capsys, "inspect", path)
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_inspect_of_several_single_files_prints_the_noise_of_each(monkeypatch, capsys, tmp_path):
    for number, sigma in enumerate((5, 20)):
        scene = np.tile(np.linspace(100, 300, 192, dtype=np.float32), (192, 1))
        np.save(tmp_path / f"cell{number}.npy", noisy(scene, 0, sigma))
    out = call(monkeypatch, capsys, "inspect", tmp_path)[1]
    first, second = (out.index(f"cell{number}.npy") for number in range(2))
    assert out[first:second].count("\nnoise  ") == out[second:].count("\nnoise  ") == 1
    result = json.loads(call(monkeypatch, capsys, "inspect", tmp_path, "--json")[1])
    levels = [one["noise"][0]["noise_a"] for one in result["recordings"]]
    assert levels == pytest.approx([5, 20], rel=0.2)


def test_inspect_of_one_file_lists_the_images_in_it(monkeypatch, capsys, tmp_path):
    path = tmp_path / "a.tif"
    for shape in ((20, 30), (6, 40, 50)):
        tifffile.imwrite(path, np.ones(shape, "u2"), append=True, photometric="minisblack")
    out = call(monkeypatch, capsys, "inspect", path)[1]
    assert re.search(r"image 0 .*Y 20, X 30\nimage 1 .*Y 40, X 50, read\n", out)


def test_inspect_of_a_pair_describes_each_recording(monkeypatch, capsys, folder):
    words = ("inspect", folder / "a.tif", folder / "b.tif")
    assert call(monkeypatch, capsys, *words)[1].count("Y 96, X 96") == 2
    recordings = json.loads(call(monkeypatch, capsys, *words, "--json")[1])["recordings"]
    assert [one["name"] for one in recordings] == ["a", "b"]


def test_inspect_draws_the_noise(monkeypatch, capsys, folder, tmp_path):
    plot = tmp_path / "plots" / "noise.png"
    words = ("inspect", folder / "a.tif", folder / "b.tif", "--plot", plot, "--json")
    status, out, _ = call(monkeypatch, capsys, *words)
    assert status == 0 and json.loads(out)["loss"] == "l2"
    height, width, _ = io.imread(plot).shape
    assert width > 1000 and height > 800


@pytest.mark.parametrize("side", [32, 64])
def test_inspect_works_on_a_tiny_field_of_view(monkeypatch, capsys, tmp_path, side):
    views = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for seed, path in enumerate(views):
        np.save(path, noisy(blobs((side, side)), seed))
    plot = tmp_path / "noise.png"
    status, out, _ = call(monkeypatch, capsys, "inspect", *views, "--json", "--plot", plot)
    assert status == 0 and json.loads(out)["noise_a"] > 0 and plot.exists()


def test_train_denoise_and_score_from_files(monkeypatch, capsys, folder, tmp_path):
    a, b, truth = (folder / f"{name}.tif" for name in ("a", "b", "truth"))
    model, clean = tmp_path / "cells.n2n", tmp_path / "clean.ome.zarr"
    status, _, err = call(monkeypatch, capsys, "train", a, b, "-o", model, "--steps", 5)
    assert "noise: Noise that averages out to the signal: L2 finds its mean." in err
    assert status == 0, err
    assert load(model).record.steps == 5
    assert call(monkeypatch, capsys, "denoise", model, a, "-o", clean)[0] == 0
    assert Acquisition.open(clean).shape == (96, 96)
    status, out, _ = call(
        monkeypatch,
        capsys,
        *("score", clean, "--against", b, "--input", a, "--truth", truth, "--json"),
    )
    figures = json.loads(out)
    assert status == 0
    assert {"psnr_reference_free", "psnr_reference_free_se", "residual_correlation"} <= set(figures)
    assert figures["psnr"] > 10 and 0 < figures["ssim"] <= 1


def test_an_error_map_is_written_beside_the_result(monkeypatch, capsys, folder, tmp_path):
    a, b, model = folder / "a.tif", folder / "b.tif", tmp_path / "m.n2n"
    out, error = tmp_path / "out.tif", tmp_path / "error.tif"
    words = ("train", a, b, "-o", model, "--steps", 5, "--error-map", "on")
    status, _, err = call(monkeypatch, capsys, *words)
    assert status == 0 and "PSNR on pixels not trained on" in err
    assert not list(tmp_path.glob("*.checkpoint*"))
    words = ("denoise", model, a, b, "-o", out, "--error", error)
    status, text, _ = call(monkeypatch, capsys, *words, "--json")
    assert status == 0 and json.loads(text)["error"] == str(error)
    shown, expected = (np.asarray(Acquisition.open(path).data) for path in (out, error))
    assert (expected > 0).all() and (expected < 20).mean() > 0.5 and shown.shape == expected.shape
    status, _, err = call(monkeypatch, capsys, *words[:-1], out, "--overwrite")
    assert status == 2 and "is also the result" in err


def test_a_score_without_the_input_is_null_with_a_reason(monkeypatch, capsys, folder):
    words = ("score", folder / "truth.tif", "--against", folder / "b.tif", "--json")
    figures = json.loads(call(monkeypatch, capsys, *words)[1])
    assert figures["psnr_reference_free"] is None and "--input" in figures["reason"]


def test_one_recording_is_enough_with_single(monkeypatch, capsys, tmp_path):
    model, known = tmp_path / "one.n2n", tmp_path / "noise.json"
    scene = np.pad(blobs((96, 96)), 64, mode="linear_ramp", end_values=100)  # smooth around it
    for name, seed in (("a", 1), ("b", 2)):
        tifffile.imwrite(tmp_path / f"{name}.tif", noisy(scene, seed))
    both = tmp_path / "a.tif", tmp_path / "b.tif"
    known.write_text(call(monkeypatch, capsys, "inspect", *both, "--json")[1])
    words = ("train", tmp_path / "a.tif", "--single", "--steps", "2", "-o", model)
    for more in ((), ("--noise", known, "--overwrite")):
        status, _, shown = call(monkeypatch, capsys, *words, *more)
        assert status == 0 and "each pixel is predicted without its own noise" in shown
    (record,) = load(model).record.noise
    assert record["method"] == "pixels"


def test_noise_of_one_recording_is_printed(monkeypatch, capsys, tmp_path):
    smooth = 100 + 20 * np.hypot(*np.mgrid[-2:2:96j, -2:2:96j])
    tifffile.imwrite(tmp_path / "a.tif", noisy(smooth, 1, sigma=10))
    _, printed, _ = call(monkeypatch, capsys, "inspect", tmp_path / "a.tif", "--json")
    figures = json.loads(printed)
    assert figures["loss"] is None and "more certainty" in figures["reason"]
    single = figures["single"][0]
    assert single["noise_a"] == pytest.approx(10, rel=0.1) and single["read_noise"] is None


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("inspect", "a.tif", "missing.tif"), "missing.tif: no such file"),
        (("inspect", "a.tif", "https://host/b.tif"), "https://host/b.tif: only OME-Zarr"),
        (("inspect", "a.tif", "a.tif"), "is the same image as"),
        (("inspect", "a.tif", "--plot", "noise.png"), "one acquisition is not a pair"),
        (("train", "a.tif", "-o", "new.n2n"), "train on the single recording (--single)"),
        (("train", "a.tif", "-o", "new.n2n", "--single", "--split", "T"), "--single and --split"),
        (("train", "a.tif", "b.tif", "-o", "new.n2n", "--noise", "n.json"), "add --single"),
        (("train", "a.tif", "-o", "new.n2n", "--single", "--noise", "no.json"), "no.json: No such"),
        (("inspect", "a.tif", "b.tif", "--axes", "ZYX"), "axes 'ZYX'"),
        (("inspect", "a.tif", "b.tif", "--plot", "noise.pdf"), "noise.pdf: unknown ending"),
        (("train", "a.tif", "b.tif", "-o", "model.n2n"), "model.n2n: already exists"),
        (("train", "a.tif", "b.tif", "-o", "other.txt"), "other.txt: unknown ending"),
        (("train", "a.tif", "b.tif", "-o", "new.n2n", "--loss", "l3"), "l3"),
        (("train", "a.tif", "b.tif", "-o", "new.n2n", "--steps", "0"), "--steps"),
        (("train", "a.tif", "b.tif", "-o", "new.n2n", "--learning-rate", "0"), "--learning-rate 0"),
        (("train", "a.tif", "b.tif", "-o", "new.n2n", "--dims", "4"), "'4' is not one of"),
        (("train", "a.tif", "b.tif", "-o", "new.n2n", "--memory", "0"), "0: not a size"),
        (("denoise", "model.n2n", "a.tif", "-o", "new.tif", "--memory", "lots"), "not a size"),
        (("denoise", "model.n2n", "a.tif", "-o", "new.tif", "--dtype", "uint8"), "uint8"),
        (("train", "a.tif", "b.tif", "-o", "new.n2n", "--device", "tpu"), "tpu"),
        (("denoise", "a.tif", "b.tif", "-o", "clean.tif"), "not a napari-n2n model"),
        (("denoise", "model.n2n", "a.tif", "-o", "clean.xyz"), "clean.xyz: unknown ending"),
        (("denoise", "model.n2n", "a.tif", "-o", "truth.tif"), "truth.tif: already exists"),
        (("score", "a.tif", "--against", "missing.tif"), "missing.tif: no such file"),
        (("simulate", "truth.tif", "--noise", "salt:0.1", "-o", "."), "'salt:0.1': unknown"),
        (
            ("simulate", "truth.tif", "--noise", "gaussian:much", "-o", "."),
            "'gaussian:much': cannot be read",
        ),
        (
            ("simulate", "truth.tif", "--noise", "text:1.5", "-o", "."),
            "'text:1.5': text: share 1.5",
        ),
        (
            ("simulate", "missing.tif", "--noise", "gaussian:25", "-o", "."),
            "missing.tif: no such file",
        ),
        (("simulate", "truth.tif", "--noise", "gaussian:25", "-o", ".", "--seed", "-1"), "--seed"),
        (("simulate", "truth.tif", "-o", "."), "--noise"),
        (("nonsense",), "nonsense"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_line(monkeypatch, capsys, folder, words, cause):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    status, out, err = call(monkeypatch, capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and cause in err and err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("name", TrainingSettings.model_fields)
@given(data=st.data())
@hypothesis.settings(max_examples=8, deadline=None)
def test_every_copied_setting_is_read_again(name, data):
    field = TrainingSettings.model_fields[name]
    value = data.draw(values_of(field).filter(lambda value: value != field.default))
    settings = TrainingSettings(**{name: value})
    recipe = Recipe(Recordings(("a.tif", "b.tif")), settings)
    parsed = []

    def validate(values):
        parsed.append(validated(values))
        raise typer.Exit

    with pytest.MonkeyPatch.context() as patch:
        validated = options._validated
        patch.setattr(options, "_validated", validate)
        command = next(line for line in recipe.as_command().splitlines() if line[0] != "#")
        _, *words = shlex.split(command)
        assert app(words, standalone_mode=False) == 0
    assert parsed == [settings]
    (arguments,) = re.findall(r"TrainingSettings\((.*)\)\)", recipe.as_python())
    assert eval(f"TrainingSettings({arguments})") == settings


def values_of(field):
    """Any value that a field of the settings allows."""
    kind = next(one for one in (*get_args(field.annotation), field.annotation) if one is not None)
    if get_origin(field.annotation) is Literal:
        return st.sampled_from(get_args(field.annotation))
    if kind is str:
        if field.title == "Device":
            return st.sampled_from(("cpu", "cuda", "cuda:1", "mps"))
        return st.sampled_from(("warm", "cold", "my model.n2n"))
    if issubclass(kind, int):
        lowest = next(limit.ge for limit in field.metadata if hasattr(limit, "ge"))
        highest = next(limit.le for limit in field.metadata if hasattr(limit, "le"))
        any_value, step = st.integers(lowest, highest), 10**5  # bytes; whole MB are copied as such
        if highest < 10 * step:
            return any_value
        return any_value | st.integers(-(-lowest // step), highest // step).map(step.__mul__)
    return st.floats(1e-9, 0.999)


def test_warnings_of_libraries_stay_off_the_terminal(folder):
    description = "<?xml version='1.0'?><OME><Image></Pixels></OME>"  # tifffile logs a warning
    tifffile.imwrite(folder / "odd.tif", blobs(), description=description, metadata=None)
    command = [sys.executable, "-c", "from napari_n2n.cli import main; main()", "inspect"]
    command += [str(folder / "odd.tif"), str(folder / "b.tif")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2 and run.stderr.startswith("error: "), run.stderr
    assert run.stderr.count("\n") == 1, run.stderr


def test_simulate_writes_a_pair_that_inspect_reads(monkeypatch, capsys, tmp_path):
    truth = np.stack([blobs((64, 64), seed) for seed in range(3)])
    metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(
        tmp_path / "cells.tif", truth, imagej=True, resolution=(4, 4), metadata=metadata
    )
    words = ("simulate", tmp_path / "cells.tif", "--noise", "gaussian:10", "-o", tmp_path / "pair")
    assert call(monkeypatch, capsys, *words)[0] == 0
    views = [tmp_path / "pair" / f"cells_{view}.tif" for view in "ab"]
    a, b = (Acquisition.open(path) for path in views)
    assert a.scale == b.scale == (2.0, 0.25, 0.25) and a.data.dtype == np.float32
    noise_a, noise_b = (view.data.compute() - truth for view in (a, b))
    assert noise_a.std() == pytest.approx(10, rel=0.05)
    assert abs(np.corrcoef(noise_a.ravel(), noise_b.ravel())[0, 1]) < 0.05
    assert call(monkeypatch, capsys, "inspect", *views)[0] == 0

    status, _, err = call(monkeypatch, capsys, *words)
    assert status == 2 and "already exists" in err and err.count("\n") == 1
    before = views[0].read_bytes()
    assert call(monkeypatch, capsys, *words, "--overwrite", "--seed", 1)[0] == 0
    assert views[0].read_bytes() != before
    assert call(monkeypatch, capsys, *words, "--overwrite")[0] == 0
    assert views[0].read_bytes() == before


def test_one_stack_is_split_into_even_and_odd_frames(monkeypatch, capsys, tmp_path):
    scene = blobs((64, 64))
    stack = np.stack([noisy(scene, seed).astype(np.uint16) for seed in range(5)])
    path, model = tmp_path / "run.tif", tmp_path / "run.n2n"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TYX"})
    assert call(monkeypatch, capsys, "split", path, "-o", tmp_path / "halves")[0] == 0
    for name, frames in (("even", [0, 2]), ("odd", [1, 3])):
        half = Acquisition.open(tmp_path / "halves" / f"run_{name}.tif")
        assert half.axes == "TYX" and half.dtype == np.uint16
        np.testing.assert_array_equal(half.read((slice(None),) * 3), stack[frames])
    words = ["train", path, "--split", "T", "-o", model, "--steps", 3, "--memory", "300MB"]
    assert call(monkeypatch, capsys, *words)[0] == 0
    assert load(model).record.settings["memory"] == 300_000_000
    status, _, err = call(monkeypatch, capsys, "split", path, "--axis", "Z", "-o", tmp_path)
    assert status == 2 and "has no axis 'Z'" in err
    status, _, err = call(monkeypatch, capsys, *words[:-1], "lots", "--overwrite")
    assert status == 2 and "lots: not a size: write it as 500MB or 4GB" in err


def test_a_killed_denoising_resumes_to_the_same_bytes(
    monkeypatch, capsys, folder, tmp_path, fixed_date
):
    stack = np.stack([noisy(blobs((256, 256)), seed) for seed in range(30)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, metadata={"axes": "TYX"})
    script = "from napari_n2n.cli import main; main()"
    words = ["denoise", str(folder / "model.n2n"), str(tmp_path / "stack.tif")]
    words += ["--axes", "TYX", "--device", "cpu", "-o"]
    whole, killed = tmp_path / "whole.tif", tmp_path / "killed.tif"
    assert call(monkeypatch, capsys, *words, whole)[0] == 0
    run = subprocess.Popen([sys.executable, "-c", script, *words, str(killed)])
    journal = tmp_path / "killed.tif.napari-n2n.journal"
    while run.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 3):
        time.sleep(0.01)
    run.kill()
    run.wait()
    assert journal.exists() and not killed.exists()
    assert call(monkeypatch, capsys, *words, killed, "--resume")[0] == 0
    same = killed.read_bytes() == whole.read_bytes()
    assert same
    assert not journal.exists()


def test_ctrl_c_keeps_a_usable_model_and_resume_continues(monkeypatch, capsys, folder, tmp_path):
    model = tmp_path / "cells.n2n"
    words = ["train", str(folder / "a.tif"), str(folder / "b.tif"), "-o", str(model)]
    words += ["--device", "cpu", "--patch", "32", "--batch", "2"]
    script = "from napari_n2n.cli import main; main()"
    run = subprocess.Popen(
        [sys.executable, "-c", script, *words, "--minutes", "10"], stderr=subprocess.PIPE, text=True
    )
    for line in run.stderr:
        if line.startswith("training"):
            break
    time.sleep(1)
    os.kill(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "--resume" in err
    steps = load(model).record.steps
    assert steps > 0
    assert call(monkeypatch, capsys, *words, "--steps", steps + 5, "--resume")[0] == 0
    assert load(model).record.steps == steps + 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.n2n"]


def test_the_demo_writes_model_result_and_picture(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("napari_n2n.cli.demo.MINUTES", 0.01)
    status, out, _ = call(monkeypatch, capsys, "demo", "-o", tmp_path)
    assert status == 0 and "PSNR" in out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"cells.n2n", "cells.ome.zarr", "before_after.png"}
    assert np.isfinite(Acquisition.open(tmp_path / "cells.ome.zarr").plane(0)).all()


def test_an_output_that_cannot_be_written_is_refused_before_training(
    monkeypatch, capsys, folder, tmp_path
):
    (tmp_path / "file").write_text("no folder")
    output = tmp_path / "file" / "cells.n2n"
    words = ("train", folder / "a.tif", folder / "b.tif", "-o", output, "--steps", 2)
    status, _, err = call(monkeypatch, capsys, *words)
    assert status == 2 and "step" not in err and err.count("\n") == 1
    assert call(monkeypatch, capsys, "inspect", tmp_path)[2].count("cannot read such files") == 1


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("train", "a.tif", "b.tif"), "napari-n2n train --help"),
        (("denoise", "model.n2n", "a.tif", "-o", "c.tif", "--fast"), "napari-n2n denoise --help"),
        (("nonsense",), "napari-n2n --help"),
        (("train", "a.tif", "-o", "new.n2n"), "--split T"),
    ],
)
def test_an_error_names_the_fix(monkeypatch, capsys, folder, words, fix):
    monkeypatch.chdir(folder)
    assert fix in call(monkeypatch, capsys, *words)[2]


def test_no_command_shows_the_help(monkeypatch, capsys):
    status, out, err = call(monkeypatch, capsys)
    assert (status, err) == (0, "") and "denoise" in out


@pytest.mark.parametrize(
    "command", ["train", "denoise", "split", "simulate", "score", "spot", "inspect"]
)
def test_every_argument_of_a_command_is_explained(monkeypatch, capsys, command):
    status, out, _ = call(monkeypatch, capsys, command, "--help")
    arguments = out.partition("Arguments:")[2].partition("Options:")[0]
    assert status == 0 and arguments
    assert all(
        len(line.split(">")[-1].split("[")[0].strip()) > 8
        for line in arguments.splitlines()
        if ">" in line
    )


def test_spot_prints_a_verdict_for_every_place(monkeypatch, capsys, folder):
    images = [folder / f"{name}.tif" for name in ("truth", "a", "b")]
    words = ("spot", *images, "--at", "40,50", "--at", "60,20", "--size", "5")
    status, out, _ = call(monkeypatch, capsys, *words)
    assert status == 0 and [line[:10] for line in out.splitlines()] == ["Y 40, X 50", "Y 60, X 20"]
    status, out, _ = call(monkeypatch, capsys, *words, "--error", images[0], "--json")
    first, second = json.loads(out)["spots"]
    assert status == 0 and first["place"] == {"Y": 40, "X": 50} and second["size"] == 5
    assert {"verdict", "words", "standard_errors", "expected_errors"} <= set(first)
    for at, cause in (("4", "one number for each"), ("a,b", "--at 120,88"), ("1,96", "0 to 95")):
        status, out, err = call(monkeypatch, capsys, "spot", *images, "--at", at)
        assert (status, out) == (2, "") and cause in err


def test_train_uses_only_the_pixels_inside_a_mask(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scene, inside = blobs((96, 96)), np.zeros((96, 96), np.uint8)
    inside[20:70, 20:70] = 255
    for seed, name in enumerate("ab"):
        tifffile.imwrite(f"{name}.tif", noisy(scene, seed))
    tifffile.imwrite("mask.tif", inside)
    io.imsave("small.png", inside[:50], check_contrast=False)
    words = "train a.tif b.tif -o m.n2n --steps 3 --patch 32 --batch 1 --device cpu".split()

    def run(*more):
        monkeypatch.setattr("sys.argv", ["napari-n2n", *words, *more])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        return leave.value.code, capsys.readouterr().err

    assert run("--mask", "small.png")[0] == 2
    code, said = run("--mask", "mask.tif")
    assert code == 0 and "only inside mask, 27.1% of the pixels" in said
    code, said = run("--mask", "mask.tif", "--resume")
    assert code == 0 and "already finished" in said
    code, said = run("--resume")  # without the mask it is another run
    assert code == 2 and "another mask" in said
    code, said = run("--mask", "mask.tif", "--mask", "mask.tif", "--overwrite")
    assert code == 2 and "2 masks for 1 fields of view" in said
