"""The examples of README.md work."""

import re
import shlex
from pathlib import Path

import pytest

from napari_n2n import Acquisition, cli

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (napari-n2n .*)$", README, re.MULTILINE)


def test_the_python_example_runs(desk):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(example, {})
    assert Acquisition.open(desk / "clean.ome.zarr").shape == (64, 64)


def test_the_commands_run(desk, monkeypatch, capsys):
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        words = shlex.split(re.sub(r"\s#\s.*", "", command))  # "a.tif#2" is one word
        if any("ome.zarr" in word for word in words) and "--dims" in words:
            continue  # volumes take too long: see tests/denoising/test_denoise.py
        words = ["41,39" if word == "141,139" else word for word in words]  # in smaller images
        more = ["--overwrite"] if words[1] == "train" else []
        monkeypatch.setattr("sys.argv", [*words, *more])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        assert leave.value.code == 0, (command, capsys.readouterr().err)
