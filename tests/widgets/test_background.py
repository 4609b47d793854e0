"""What runs behind a window, and how it comes back."""

import threading

import pytest

from napari_n2n.denoising.denoise import DenoisingStep
from napari_n2n.widgets import background


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


class Heard:
    """All that a job says, in the order in which it comes."""

    def __init__(self, **more):
        self.all = []
        self.callbacks = {
            "on_yield": lambda step: self.all.append(step.done),
            "on_return": lambda result: self.all.append(result),
            "on_failure": lambda message: self.all.append(f"failed: {message}"),
            "on_abort": lambda: self.all.append("aborted"),
            **more,
        }


def steps(count):
    for number in range(count):
        yield DenoisingStep(number, count, number / count, None)
    return "end"


def test_quick_messages_come_in_order_and_the_end_comes_last(viewer, qtbot):
    heard = Heard()
    background.start(lambda: steps(50), "counting", **heard.callbacks)
    qtbot.waitUntil(lambda: "end" in heard.all)
    assert heard.all == [*range(50), "end"]


def test_a_job_hears_that_the_window_closes_before_it_next_yields(viewer, qtbot):
    stop, begun = threading.Event(), threading.Event()

    def job():
        begun.set()
        stop.wait(30)
        yield from ()

    heard = Heard(on_quit=stop.set)
    background.start(job, "waiting", **heard.callbacks)
    qtbot.waitUntil(begun.is_set)
    viewer.close()
    qtbot.waitUntil(lambda: bool(heard.all))
    assert heard.all == ["aborted"]


def test_an_error_of_torch_comes_as_one_line(viewer, qtbot):
    def job():
        yield from steps(1)
        raise RuntimeError("CUDA error\nand thirty lines more")

    heard = Heard()
    background.start(job, "failing", **heard.callbacks)
    qtbot.waitUntil(lambda: len(heard.all) == 2)
    assert heard.all == [0, "failed: RuntimeError: CUDA error"]


@pytest.mark.parametrize(
    ("error", "way_out"),
    [
        (OSError(28, "No space left on device"), "free some space"),
        (PermissionError(13, "Permission denied"), "may write into"),
        (MemoryError(), "choose less Memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "less Memory"),
    ],
)
def test_what_often_happens_comes_with_a_way_out(error, way_out):
    words = background.one_line(error)
    assert way_out in words and type(error).__name__ in words and "\n" not in words
