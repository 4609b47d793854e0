"""The exit status of denoising tells a scheduler whether to repeat the command."""

import os
import signal

import numpy as np
import pytest
import tifffile
from conftest import blobs, noisy

from napari_n2n import cli
from napari_n2n.denoising.predictor import Predictor

STATUS = {"SIGINT": 130, "SIGTERM": 143}
# The command, its results, and how many parts are computed before the signal comes.
RUNS = {
    "one file": ("denoise model.n2n movie.tif -o clean.ome.zarr", ["clean.ome.zarr"], 3),
    "a folder": ("denoise model.n2n raw -o clean", ["clean/0.tif", "clean/1.tif"], 1),
}


@pytest.fixture
def call(monkeypatch, capsys):
    def run(words):
        monkeypatch.setattr("sys.argv", ["napari-n2n", *words.split(), "--device", "cpu"])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        return leave.value.code, capsys.readouterr().err

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch, denoiser):
    monkeypatch.chdir(tmp_path)
    denoiser.save(tmp_path / "model.n2n")
    frames = np.stack([noisy(blobs((64, 64)), seed) for seed in range(5)])
    tifffile.imwrite("movie.tif", frames, metadata={"axes": "TYX"}, photometric="minisblack")
    (tmp_path / "raw").mkdir()
    for number in range(2):
        tifffile.imwrite(tmp_path / "raw" / f"{number}.tif", frames[number])
    return tmp_path


@pytest.mark.parametrize("name", STATUS)
@pytest.mark.parametrize("what", RUNS)
def test_denoising_ended_by_a_signal_has_its_status_and_can_be_resumed(
    monkeypatch, call, folder, what, name
):
    words, results, before = RUNS[what]
    compute, computed = Predictor.compute, []

    def signalled(*given):
        if len(computed) == before:
            os.kill(os.getpid(), getattr(signal, name))
        computed.append(given)
        return compute(*given)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "compute", signalled)
        status, err = call(words)
    assert status == STATUS[name] and "continue with --resume" in err, err
    assert not (folder / results[-1]).exists()
    status, err = call(f"{words} --resume")
    assert status == 0 and all((folder / result).exists() for result in results), err
    assert call(f"{words} --resume")[0] == 0  # nothing is left to do
    assert call(words)[0] == 2  # the results exist


def test_a_scene_with_a_bad_recording_has_no_result_even_if_bad_files_are_left_out(call, folder):
    (folder / "bad.tif").write_text("not an image")
    status, err = call("denoise model.n2n movie.tif bad.tif -o clean.tif --skip-bad")
    assert status == 2 and "bad.tif" in err and not (folder / "clean.tif").exists()
