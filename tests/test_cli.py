import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from conftest import blobs, noisy

from napari_n2n import Acquisition, cli, load

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


def test_inspect_prints_words(monkeypatch, capsys, folder):
    status, out, _ = call(monkeypatch, capsys, "inspect", folder / "a.tif", folder / "b.tif")
    assert status == 0 and "L2" in out and "noise" in out


def test_train_denoise_and_score_from_files(monkeypatch, capsys, folder, tmp_path):
    a, b, truth = (folder / f"{name}.tif" for name in ("a", "b", "truth"))
    model, clean = tmp_path / "cells.n2n", tmp_path / "clean.ome.zarr"
    status, _, err = call(monkeypatch, capsys, "train", a, b, "-o", model, "--steps", 60)
    assert status == 0, err
    assert load(model).record["steps"] == 60
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


def test_a_score_without_the_input_is_null_with_a_reason(monkeypatch, capsys, folder):
    words = ("score", folder / "truth.tif", "--against", folder / "b.tif", "--json")
    figures = json.loads(call(monkeypatch, capsys, *words)[1])
    assert figures["psnr_reference_free"] is None and "--input" in figures["reason"]


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "a.tif", "missing.tif"),
        ("inspect", "a.tif", "a.tif"),
        ("inspect", "a.tif"),
        ("inspect", "a.tif", "b.tif", "--axes", "ZYX"),
        ("train", "a.tif", "b.tif", "-o", "model.n2n"),
        ("train", "a.tif", "b.tif", "-o", "other.txt"),
        ("train", "a.tif", "b.tif", "-o", "new.n2n", "--loss", "l3"),
        ("train", "a.tif", "b.tif", "-o", "new.n2n", "--steps", "0"),
        ("train", "a.tif", "b.tif", "-o", "new.n2n", "--resume"),
        ("train", "a.tif", "b.tif", "-o", "new.n2n", "--device", "tpu"),
        ("denoise", "a.tif", "b.tif", "-o", "clean.tif"),
        ("denoise", "model.n2n", "a.tif", "-o", "clean.xyz"),
        ("denoise", "model.n2n", "a.tif", "-o", "truth.tif"),
        ("score", "a.tif", "--against", "missing.tif"),
        ("nonsense",),
    ],
)
def test_bad_input_ends_with_status_2_and_one_line(monkeypatch, capsys, folder, words):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    status, out, err = call(monkeypatch, capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_ctrl_c_keeps_a_usable_model_and_resume_goes_on(folder, tmp_path):
    model = tmp_path / "cells.n2n"
    command = [sys.executable, "-c", "from napari_n2n.cli import main; main()", "train"]
    command += [str(folder / "a.tif"), str(folder / "b.tif"), "-o", str(model), "--device", "cpu"]
    run = subprocess.Popen([*command, "--minutes", "10"], stderr=subprocess.PIPE, text=True)
    for line in run.stderr:
        if line.startswith("training"):
            break
    time.sleep(1)
    os.kill(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 0 and "--resume" in err
    steps = load(model).record["steps"]
    assert steps > 0
    subprocess.run([*command, "--steps", str(steps + 5), "--resume"], check=True, timeout=120)
    assert load(model).record["steps"] == steps + 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.n2n"]


def test_the_demo_writes_model_result_and_picture(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("napari_n2n.demo.MINUTES", 0.05)
    status, out, _ = call(monkeypatch, capsys, "demo", "-o", tmp_path)
    assert status == 0 and "PSNR" in out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"cells.n2n", "cells.ome.zarr", "before_after.png"}
    assert np.isfinite(Acquisition.open(tmp_path / "cells.ome.zarr").plane(0)).all()
