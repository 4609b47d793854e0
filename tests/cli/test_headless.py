"""A computer without a screen needs neither napari nor Qt nor the packages of the plots."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import tifffile
from conftest import blobs, noisy

ROOT = Path(__file__).parents[2]
# What only docks and plots import; requirements-headless.txt leaves it out.
FOR_SCREENS = {"magicgui", "matplotlib", "napari", "psygnal", "pyqtgraph", "qtpy", "superqt"}

RUN = """
import json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

MISSING = set(sys.argv[1].split())
sys.meta_path.insert(0, Missing())
from napari_n2n.cli import main
for line in sys.stdin:
    sys.argv = json.loads(line)
    try:
        main()
    except SystemExit as leave:
        print("status", leave.code, flush=True)
"""

COMMANDS = """
napari-n2n simulate scene.tif --noise gaussian:9 -o pair
napari-n2n inspect pair/scene_a.tif pair/scene_b.tif --hot-pixels hot.csv
napari-n2n train a.tif b.tif -o model.n2n --steps 3 --patch 32 --batch 1 --device cpu
napari-n2n denoise model.n2n a.tif b.tif -o clean.ome.zarr --device cpu
napari-n2n score clean.ome.zarr --against b.tif
napari-n2n split movie.tif -o halves
napari-n2n inspect a.tif b.tif --plot noise.png
napari-n2n demo -o demo
napari-n2n --version
"""


def without_screens(folder, commands):
    """Run commands in one process that cannot import what only screens need."""
    missing = FOR_SCREENS | {"npe2", "PyQt5", "PyQt6", "PySide6", "vispy"}
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "QT_API", "QT_QPA_PLATFORM", "MPLBACKEND")
    words = [re.findall(r"\S+", line) for line in commands.strip().splitlines()]
    return subprocess.run(
        [sys.executable, "-c", RUN, " ".join(missing)],
        input="\n".join(map(str, words)).replace("'", '"'),
        env={name: value for name, value in os.environ.items() if name not in screens},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_every_command_runs_without_napari_qt_and_matplotlib(tmp_path):
    scene = blobs((96, 96))
    tifffile.imwrite(tmp_path / "scene.tif", scene)
    for seed, name in enumerate("ab"):
        tifffile.imwrite(tmp_path / f"{name}.tif", noisy(scene, seed))
    movie = np.stack([noisy(scene, seed) for seed in range(4)])
    options = {"metadata": {"axes": "TYX"}, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "movie.tif", movie, **options)
    run = without_screens(tmp_path, COMMANDS)
    status = [int(number) for number in re.findall(r"^status (\d+)$", run.stdout, re.MULTILINE)]
    assert status == [0, 0, 0, 0, 0, 0, 2, 2, 0], run.stderr
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    fix = "needs matplotlib, which is not installed: pip install matplotlib"
    assert errors == [f"error: --plot: {fix}", f"error: demo: {fix}"]
    assert (tmp_path / "clean.ome.zarr" / "zarr.json").exists()
    assert not (tmp_path / "demo").exists()  # refused before the training


def test_the_list_for_computers_without_a_screen_has_all_other_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "requirements-headless.txt").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    needed = {
        line
        for line in project["dependencies"]
        if re.match(r"[\w-]+", line).group() not in FOR_SCREENS
    }
    assert len(needed) == len(project["dependencies"]) - len(FOR_SCREENS)
    assert listed == needed | set(project["optional-dependencies"]["distributed"])
