"""Jobs in the background and their messages on the GUI thread."""

import threading
import time
from functools import partial
from weakref import ref

import pytest
from napari.qt.threading import create_worker
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtGui import QGuiApplication

from napari_n2n.denoising.denoise import DenoisingStep
from napari_n2n.widgets import background
from napari_n2n.widgets.background import LatestOnly
from napari_n2n.widgets.dock import in_field_names


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


class Received:
    """All messages of a job, in the order of their arrival."""

    def __init__(self, **more):
        self.all = []
        self.callbacks = {
            "on_yield": lambda step: self.all.append(step.done),
            "on_return": lambda result: self.all.append(result),
            "on_failure": lambda message: self.all.append(f"failed: {message}"),
            "on_abort": lambda: self.all.append("aborted"),
            **more,
        }


def wait_for(condition):
    """Wait in a job, at most 30 seconds."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)


class Slow:
    """Work that waits until it is let go; notes what ran and what was answered."""

    def __init__(self):
        self.go, self.ran, self.answers = threading.Event(), [], []

    def __call__(self, name):
        self.ran.append(name)
        assert self.go.wait(10)
        return name


def test_of_many_requests_the_running_one_and_the_latest_are_answered(qtbot):
    slow = Slow()
    requests = LatestOnly(slow)  # calls need no viewer
    for name in "abc":
        requests.read(partial(slow, name), slow.answers.append)
    assert requests.busy
    slow.go.set()
    qtbot.waitUntil(lambda: len(slow.answers) == 2)
    assert slow.ran == slow.answers == ["a", "c"] and not requests.busy


def test_a_cancelled_request_is_not_answered(qtbot):
    slow = Slow()
    requests = LatestOnly(slow)  # calls need no viewer
    for name in "abc":
        requests.cancel()
        requests.read(partial(slow, name), slow.answers.append)
    slow.go.set()
    qtbot.waitUntil(lambda: bool(slow.answers))
    assert slow.ran == ["a", "c"] and slow.answers == ["c"]


def test_a_job_learns_that_it_is_cancelled_and_neither_its_steps_nor_its_failure_arrive(
    viewer, qtbot
):
    received, begun, requests = [], threading.Event(), LatestOnly(viewer)

    def fail():
        begun.set()
        wait_for(requests.cancelled)
        yield "step"
        raise ValueError

    def succeed():
        yield "new step"
        return "new result"

    callbacks = dict.fromkeys(("on_yield", "on_return", "on_failure"), received.append)
    requests.run(fail, "failing", **callbacks)
    qtbot.waitUntil(begun.is_set)
    requests.cancel()
    requests.run(succeed, "succeeding", **callbacks)
    qtbot.waitUntil(lambda: not requests.busy)
    assert received == ["new step", "new result"]


def test_an_answer_that_cannot_be_shown_does_not_block_the_next_request(viewer, qtbot):
    received, requests = [], LatestOnly(viewer)

    def job():
        yield
        return "result"

    def refuse(_result):
        raise FileNotFoundError("gone")

    requests.run(job, "refused", on_return=refuse, on_failure=received.append)
    requests.run(job, "shown", on_return=received.append, on_failure=received.append)
    qtbot.waitUntil(lambda: len(received) == 2)
    assert (
        received
        == ["file system: gone: check that the file exists and its disk is connected", "result"]
        and not requests.busy
    )


def test_a_closing_window_ends_the_request_and_begins_no_other(viewer, qtbot):
    received, begun, requests = [], threading.Event(), LatestOnly(viewer)

    def job():
        begun.set()
        wait_for(requests.cancelled)
        yield from ()

    for title in ("running", "waiting"):
        requests.run(job, title, on_return=received.append, on_failure=received.append)
    qtbot.waitUntil(begun.is_set)
    begun.clear()
    viewer.close()
    qtbot.waitUntil(lambda: not requests.busy)
    assert received == [] and not begun.is_set()


def steps(count):
    for number in range(count):
        yield DenoisingStep(number, count, number / count, None)
    return "end"


def test_messages_arrive_in_order_and_the_result_last(viewer, qtbot):
    received = Received()
    background.start(lambda: steps(50), "counting", ref(viewer), **received.callbacks)
    qtbot.waitUntil(lambda: "end" in received.all)
    assert received.all == [*range(50), "end"]


def test_a_job_learns_that_napari_closes_before_it_next_yields(viewer, qtbot):
    stop, begun = threading.Event(), threading.Event()

    def job():
        begun.set()
        stop.wait(30)
        yield from ()

    received = Received(on_quit=stop.set)
    background.start(job, "waiting", ref(viewer), **received.callbacks)
    qtbot.waitUntil(begun.is_set)
    viewer.close()
    qtbot.waitUntil(lambda: bool(received.all))
    assert received.all == ["aborted"]


def test_a_message_that_arrives_after_the_window_was_closed_is_not_shown(viewer, qtbot):
    stop, sent = threading.Event(), threading.Event()

    def job():
        yield from steps(1)
        sent.set()
        stop.wait(30)

    received = Received(on_quit=stop.set)
    background.start(job, "sending", ref(viewer), **received.callbacks)
    assert sent.wait(30)  # without handling the message
    viewer.close()
    qtbot.waitUntil(lambda: bool(received.all))
    assert received.all == ["aborted"]


def test_a_result_on_its_way_is_not_shown_in_a_closed_window(viewer, qtbot):
    def close(_step):
        qtbot.wait(200)  # the job ends, and napari is informed first
        viewer.close()

    received = Received(on_yield=close)
    background.start(lambda: steps(1), "ending", ref(viewer), **received.callbacks)
    qtbot.waitUntil(lambda: bool(received.all))
    assert received.all == ["aborted"]


def test_a_job_ends_with_its_own_window_while_another_one_is_active(make_napari_viewer, qtbot):
    viewer, _active = make_napari_viewer(), make_napari_viewer()
    stop = threading.Event()

    def job():
        while not stop.wait(0.01):
            yield from steps(1)

    received = Received(on_quit=stop.set, on_yield=lambda step: None)
    background.start(job, "stepping", ref(viewer), **received.callbacks)
    viewer.close()
    qtbot.waitUntil(lambda: bool(received.all))
    assert received.all == ["aborted"] and stop.is_set()


def test_an_error_of_torch_arrives_as_one_line(viewer, qtbot):
    def job():
        yield from steps(1)
        raise RuntimeError("CUDA error\nand thirty lines more")

    received = Received()
    background.start(job, "failing", ref(viewer), **received.callbacks)
    qtbot.waitUntil(lambda: len(received.all) == 2)
    assert received.all == [0, "failed: Unexpected error, probably a bug: RuntimeError: CUDA error"]


def test_the_details_of_an_unexpected_error_can_be_copied(viewer, qtbot, monkeypatch):
    sent = []
    monkeypatch.setattr("napari_n2n.widgets.dock.notification_manager.dispatch", sent.append)

    def job():
        yield from steps(1)
        raise KeyError("a key")

    received, requests = [], LatestOnly(viewer)
    requests.run(job, "failing", on_failure=received.append)
    qtbot.waitUntil(lambda: bool(received))
    ((label, copy),) = sent[0].actions
    copy(sent[0])
    copied = QGuiApplication.clipboard().text()
    assert label == "Copy details" and len(sent) == 1
    assert received[0] in copied and "Traceback" in copied and "Python 3." in copied


@pytest.mark.parametrize(
    ("error", "way_out"),
    [
        (OSError(28, "No space left on device"), "free some disk space"),
        (PermissionError(13, "Permission denied"), "you may write"),
        (MemoryError(), "set a smaller Memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "smaller Memory"),
    ],
)
def test_common_errors_come_with_a_fix(error, way_out):
    words = background.one_line(error)
    assert way_out in words and "\n" not in words and not hasattr(words, "details")


def test_a_job_that_outlives_its_window_does_not_abort_python(qtbot):
    def job():
        yield 1
        return 2

    worker = create_worker(job, _start_thread=False, _worker_class=background._Worker)
    worker.signals.deleteLater()  # as Qt does when Python exits
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    worker.run()


def test_napari_closed_during_a_job_prints_no_warning(qapp, recwarn):
    def job():
        worker.signals.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        yield 1

    worker = create_worker(job, _start_thread=False, _worker_class=background._Worker)
    worker.run()
    assert [str(one.message) for one in recwarn] == []


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("set --axes ZYX, or --dims 2", "set Axes ZYX, or Dimensions 2"),
        (
            "use --learning-rate 0.001 or --start cold.",
            "use Learning rate 0.001 or Start from cold.",
        ),
        ("add --overwrite", "add Overwrite"),
    ],
)
def test_messages_name_the_fields_of_the_dock_instead_of_options(message, shown):
    assert in_field_names(message) == shown
