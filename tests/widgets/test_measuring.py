"""Measuring the chosen recordings in the background, and timing steps on them."""

import threading
import time

import pytest
from conftest import blobs, noisy

from napari_n2n import BadInput, TrainingSettings
from napari_n2n.noise.measure import measure_channels
from napari_n2n.pair.recordings import Recordings
from napari_n2n.training.estimate import estimate_time
from napari_n2n.widgets.sessions import measuring
from napari_n2n.widgets.sessions.measuring import Measuring
from napari_n2n.widgets.sessions.session import session_of

SETTINGS = TrainingSettings(device="cpu", patch=32, batch=1)


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def timing(viewer, monkeypatch):
    """A session that times steps until it is asked to stop, and notes when it begins and ends."""
    begun, ended = threading.Event(), threading.Event()

    def endless(_pairs, _settings, _reports, cancelled):
        begun.set()
        for _ in range(3000):
            if cancelled():
                ended.set()
                break
            time.sleep(0.01)
        raise BadInput("no step was timed", "option")

    monkeypatch.setattr(measuring, "estimate_time", endless)
    layers = [viewer.add_image(noisy(blobs((64, 64)), seed), name=f"n{seed}") for seed in (1, 2)]
    session = session_of(viewer, Measuring)
    session.time(SETTINGS)
    session.measure(Recordings(tuple(layers)))
    return session, begun, ended


@pytest.mark.parametrize("reason", ["window closed", "run begun", "other recordings"])
def test_timing_ends_at_once_when_it_is_no_longer_wanted(viewer, timing, qtbot, reason):
    session, begun, ended = timing
    qtbot.waitUntil(begun.is_set, timeout=60_000)
    if reason == "window closed":
        viewer.close()
    elif reason == "run begun":
        session.hold(True)
    else:
        session.measure(None)
    qtbot.waitUntil(ended.is_set, timeout=5_000)
    qtbot.waitUntil(lambda: not session._requests.busy)
    assert session.estimate is None


def test_a_cancelled_estimate_times_a_single_step(pair):
    reports = measure_channels([pair])
    assert estimate_time([pair], SETTINGS, reports, cancelled=lambda: True).timed == 1
