"""Programs that embed the package: arrays in and out, typed, with progress and cancelling."""

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import blobs, noisy, refused

import napari_n2n as n2n

CONSUMER = """
from pathlib import Path

import numpy as np

import napari_n2n as n2n


def clean(a: np.ndarray, b: np.ndarray, shares: list[float]) -> np.ndarray:
    def on_step(step: n2n.TrainingStep | n2n.DenoisingProgress) -> None:
        shares.append(step.progress)

    quick = n2n.TrainingSettings(steps=2, patch=32, batch=1, device="cpu")
    try:
        return n2n.denoise_pair(a, b, settings=quick, on_step=on_step, cancelled=lambda: False)
    except n2n.Cancelled:
        return a


def apply(model: Path, a: np.ndarray) -> tuple[np.ndarray, Path]:
    steps: list[n2n.DenoisingStep] = []
    inside = n2n.denoise(model, a, axes="YX", device="cpu")
    written = n2n.denoise(
        str(model), a, out=model.with_suffix(".tif"), device="cpu", on_step=steps.append
    )
    assert steps[-1].done == steps[-1].total
    return inside, written
"""


@pytest.fixture
def consumer(tmp_path):
    file = tmp_path / "consumer.py"
    file.write_text(CONSUMER)
    return file


def typed_strictly(file):
    """Run mypy; other packages are left out, because checking them takes a minute."""
    options = ["--strict", "--config-file=", "--follow-imports=silent", "--no-site-packages"]
    options += ["--ignore-missing-imports", "--cache-dir", os.devnull]
    source = Path(n2n.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(file)],
        env=os.environ | {"MYPYPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_program_that_embeds_the_package_passes_mypy_strict(consumer):
    checked = typed_strictly(consumer)
    assert checked.returncode == 0, checked.stdout
    consumer.write_text(CONSUMER + "\nx: int = n2n.denoise('m.n2n', 1, out='a.tif')\nn2n.clean\n")
    checked = typed_strictly(consumer)
    assert "Incompatible types" in checked.stdout and '"clean"' in checked.stdout


def test_arrays_go_in_and_come_out_without_files(consumer, denoiser, tmp_path, monkeypatch):
    found = importlib.util.spec_from_file_location("consumer", consumer)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    a, b = (noisy(blobs((64, 64)), seed) for seed in (1, 2))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    shares = []
    result = module.clean(a, b, shares)
    assert result.shape == a.shape and result.dtype == np.float32
    assert shares[-1] == 1.0 and shares.count(1.0) == 2  # of the training, and of the denoising
    assert not list(Path().iterdir())
    inside, written = module.apply(denoiser.save(tmp_path / "m.n2n"), a)
    np.testing.assert_allclose(n2n.Acquisition.open(written).plane(0), inside, rtol=1e-6)
    with refused("output"):
        n2n.denoise(tmp_path / "m.n2n", a, out=tmp_path / "m.n2n" / "inside.tif")


def test_a_result_in_memory_reports_every_plane_and_can_be_cancelled(denoiser):
    movie = np.stack([noisy(blobs((64, 64)), seed) for seed in range(5)])
    steps = []
    n2n.denoise(denoiser, movie, axes="TYX", on_step=steps.append)
    assert [(step.done, step.total) for step in steps] == [(k, 5) for k in range(1, 6)]
    steps.clear()
    with pytest.raises(n2n.Cancelled):
        n2n.denoise(
            denoiser, movie, axes="TYX", on_step=steps.append, cancelled=lambda: len(steps) == 2
        )
    assert len(steps) == 2
    with pytest.raises(n2n.Cancelled):
        n2n.denoise_pair(movie[0], movie[1], cancelled=lambda: True)


@pytest.mark.filterwarnings("error:The given NumPy array is not writable")
def test_the_modes_of_torch_that_the_caller_has_set_change_neither_run_nor_result():
    images = [noisy(blobs((64, 64)), seed) for seed in (1, 2)]
    for image in images:
        image.flags.writeable = False
    quick = n2n.TrainingSettings(steps=2, patch=32, batch=1, device="cpu")
    expected = n2n.denoise_pair(*images, settings=quick)
    for mode in torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        seen: list[bool] = []

        def on_step(_, seen=seen):
            seen.append(torch.is_grad_enabled())

        with mode:
            found = n2n.denoise_pair(*images, settings=quick, on_step=on_step)
        np.testing.assert_array_equal(found, expected)
        assert set(seen) == {isinstance(mode, torch.autocast)}  # callbacks see the caller's mode


def test_the_log_says_which_axes_were_assumed(caplog):
    with caplog.at_level(logging.INFO, "napari_n2n"):
        n2n.Acquisition.open(np.zeros((5, 64, 64), np.float32))
        n2n.Acquisition.open(np.zeros((5, 32, 32), np.float32), axes="TYX")
    assert "array: its axes are unlabelled: (5, 64, 64) is taken as ZYX" in caplog.text
    assert "(5, 32, 32)" not in caplog.text
