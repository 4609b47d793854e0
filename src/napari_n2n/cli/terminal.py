"""What people and programs get back: lines, one JSON object, and an answer to Ctrl-C."""

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_n2n.training import TrainingStep


def say(line: str) -> None:
    """Tell people something; programs read what goes to the other stream."""
    print(line, file=sys.stderr, flush=True)


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object on a line."""
    print(json.dumps(result, allow_nan=False))


def step_words(step: "TrainingStep") -> str:
    """Return where a training run stands, for a line of progress."""
    psnr = "" if step.psnr is None else f", PSNR about {step.psnr:.1f} dB"
    return f"step {step.step}, loss {step.loss:.3g}{psnr}"


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a request to stop; the second one interrupts for real."""
    stop = threading.Event()

    def ask(signum: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("stopping: the model so far is kept (Ctrl-C again to abort)")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
