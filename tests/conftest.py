"""A small scene that every test may use, a model trained on it for a moment, and patience."""

import gc
import os
import shlex
import signal
import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import settings
from scipy import ndimage

from napari_n2n import BadInput, Pair, TrainingSettings, cli, load, train
from napari_n2n.denoising.predictor import Predictor
from napari_n2n.io.writers import copy
from napari_n2n.model.stack_network import StackUNet

# A slow machine is no failure: a test has pytest's time limit, not one for each example.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

HANDLERS = {
    getattr(signal, name): signal.getsignal(getattr(signal, name))
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK", "SIGUSR1")
    if hasattr(signal, name)
}


def pytest_collection_finish():
    """Exclude the imported modules from garbage collection: napari collects at each removed layer.

    A collection visits a million objects of torch and napari, half a second each time, and frees
    none of them.
    """
    gc.collect()
    gc.freeze()


def blobs(shape=(96, 96), seed=0):
    """A smooth scene with structure of several sizes, 100 to about 400 ADU."""
    rng = np.random.default_rng(seed)
    fine, coarse = (ndimage.gaussian_filter(rng.normal(size=shape), s) for s in (2, 6))
    scene = fine / fine.std() + coarse / coarse.std()
    return (100 + 60 * np.maximum(scene + 1, 0)).astype(np.float32)


def stack_network(width, depth, norm=True):
    """A network for volumes with weights between its planes, which are 0 before training."""
    network = StackUNet(1, width, depth, norm)
    for exchange in (*network.before_down, *network.before_up, *network.before_skip):
        torch.nn.init.normal_(exchange.maps.weight, std=0.3)
    return network


def noisy(scene, seed, sigma=20.0):
    """A float acquisition of a scene."""
    return (scene + np.random.default_rng((seed, 77)).normal(0, sigma, scene.shape)).astype(
        np.float32
    )


@contextmanager
def refused(code, match=None):
    """Expect `BadInput` for this cause, in one line; `match` is a regular expression for it."""
    with pytest.raises(BadInput, match=match) as refusal:
        yield refusal
    assert refusal.value.code == code, refusal.value
    assert "\n" not in str(refusal.value)


def copied(image, out, **options):
    """The run that writes an acquisition to a file."""
    return copy(image, [(image, out)], **options)


@pytest.fixture(scope="session")
def scene():
    return blobs()


@pytest.fixture(scope="session")
def pair(scene):
    return Pair.open(noisy(scene, 1), noisy(scene, 2))


@pytest.fixture(scope="session")
def denoiser(pair):
    return train(pair, TrainingSettings(steps=60, patch=64, batch=1, device="cpu"))


@cache
def installed_plugins(paths):
    from npe2 import PluginManifest

    return list(PluginManifest.discover(paths))


@pytest.fixture(autouse=True)
def quick_viewers(request, monkeypatch):
    """Save half of the time that napari needs to open each of 300 viewers."""
    if "make_napari_viewer" not in request.fixturenames:
        yield
        return
    from napari._qt.widgets.qt_welcome import QtWelcomeWidget
    from napari.settings import NapariSettings
    from npe2 import PluginManifest

    installed_plugins(())

    def read_before(paths=()):
        for found in installed_plugins(tuple(paths)):
            yield found._replace(manifest=found.manifest and found.manifest.model_copy(deep=True))

    # The manifests are read from their files once per process, not for each viewer.
    monkeypatch.setattr(PluginManifest, "discover", read_before)
    # The welcome page would be written again for each of 180 shortcuts of a new viewer.
    monkeypatch.setattr(QtWelcomeWidget, "refresh", lambda *_: None, raising=False)
    # napari would write its own settings, five times for each viewer.
    monkeypatch.setattr(NapariSettings, "save", lambda *_: None)
    # Each removed layer would start a garbage collection.
    monkeypatch.setattr("napari._vispy.canvas.gc", SimpleNamespace(collect=lambda: 0))
    # A dock that asks how long a run takes times one step, instead of steps for a second.
    monkeypatch.setattr("napari_n2n.training.estimate._WARM_UP", 0)
    monkeypatch.setattr("napari_n2n.training.estimate._MOST_STEPS", 1)
    # A step trains on 2 patches, not on 16.
    for module in ("estimate", "prepare"):
        monkeypatch.setattr(f"napari_n2n.training.{module}.batch_size", lambda settings, dims: 2)
    yield
    gc.freeze()  # the modules that this viewer imported too


@pytest.fixture
def fixed_date(monkeypatch):
    """Results hold the date of their run: with this, two runs can give the same bytes."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture
def parts(monkeypatch):
    """A semaphore: as many parts of a result are computed as it is released."""
    compute, gate = Predictor.compute, threading.Semaphore(0)

    def when_let(*given):
        gate.acquire()
        return compute(*given)

    monkeypatch.setattr(Predictor, "compute", when_let)
    yield gate
    gate.release(1000)


@pytest.fixture
def shown(monkeypatch):
    """The errors of which napari notifies the user."""
    errors = []
    dock = "napari_n2n.widgets.dock"
    monkeypatch.setattr(f"{dock}.show_error", errors.append)
    monkeypatch.setattr(
        f"{dock}.show_with_details", lambda message, _details: errors.append(message)
    )
    return errors


@pytest.fixture(autouse=True)
def own_signals():
    """Give pytest its signals back: the command line handles them to the end of its process."""
    yield
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Type a text, as a script or into a terminal, in an empty folder; get the model it saves."""

    def run(text):
        folder = tmp_path / f"folder {len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        if "import" in text:
            exec(text, {})
        else:
            for line in text.splitlines():
                monkeypatch.setattr("sys.argv", shlex.split(line, comments=True))
                with pytest.raises(SystemExit) as leave:
                    cli.main()
                assert leave.value.code == 0, line
        assert list(folder.glob("clean*.ome.zarr/zarr.json"))
        return load("model.n2n")

    return run


def drop(dock, *paths):
    """Drop files on a dock."""
    from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
    from qtpy.QtGui import QDropEvent

    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    where = (QPointF(5, 5), Qt.DropAction.CopyAction, mime)
    dock.dropEvent(QDropEvent(*where, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier))


def wait_until_ready(qtbot, dock):
    """Wait until a dock's button may be pressed again; if it never may, say what the dock says."""

    def check():
        assert dock.button.isEnabled(), dock.status.text()

    qtbot.waitUntil(check, timeout=60_000)


@pytest.fixture
def real_data():
    """The folder with real acquisitions, where there is one."""
    folder = os.environ.get("N2N_DATA")
    if not folder:
        pytest.skip("N2N_DATA names no folder with real acquisitions")
    return Path(folder)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the files that the documentation names, and runs that end soon."""
    scene = blobs((64, 64))
    for seed, name in enumerate(("a", "b", "c", "a1", "b1", "a2", "b2")):
        tifffile.imwrite(tmp_path / f"{name}.tif", noisy(scene, seed))
    for seed, name in enumerate(("many_a", "many_b")):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            for side in (40, 48, 64):  # images of one size would be taken as a stack
                file.write(noisy(scene[:side, :side], seed))
    tifffile.imwrite(tmp_path / "clean.tif", scene)
    for seed, name in enumerate(("before", "after")):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "cell.tif", noisy(scene, seed))
    tifffile.imwrite(tmp_path / "mask.tif", np.pad(np.ones((56, 56), np.uint8), 4))
    dark = np.random.default_rng(0).normal(100, 2, (4, 64, 64)).astype(np.float32)
    tifffile.imwrite(tmp_path / "dark.tif", dark, photometric="minisblack")
    frames = np.stack([noisy(scene, seed) for seed in range(4)])
    tifffile.imwrite(
        tmp_path / "movie.tif", frames, metadata={"axes": "TYX"}, photometric="minisblack"
    )
    tifffile.imwrite(tmp_path / "stack.tif", frames, photometric="minisblack")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("napari_n2n.training.schedule.VIEWS", 0)
    monkeypatch.setattr("napari_n2n.training.schedule.SHORTEST_RUN", 3)
    monkeypatch.setattr("napari_n2n.training.prepare.batch_size", lambda settings, dims: 2)
    return tmp_path


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command line in this process: words in; exit status, stdout and stderr out."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["napari-n2n", *map(str, words)])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        return leave.value.code, *capsys.readouterr()

    return run
