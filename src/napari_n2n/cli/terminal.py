"""Results on stdout, messages and progress on stderr; nothing else reaches the terminal.

Prints, warnings and log messages of libraries go to a separate log: `-v` shows it, and the report
of an unexpected error contains its last lines.
"""

import codecs
import io
import json
import logging
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

import typer

from napari_n2n.cli.signals import SIGNALS
from napari_n2n.errors import BadInput
from napari_n2n.io.plain_json import plain_json

if TYPE_CHECKING:
    from napari_n2n.training.fit import TrainingStep

# Seconds between two lines of progress in a log file: a shorter time would fill it in hours.
_LINE_SECONDS = 10.0
# Lines of the log in a report: enough for the events of the last minutes of a run.
_RECENT_LINES = 200
# Exit status of a program whose reader has closed the pipe (128 + SIGPIPE), as shells report it.
READER_GONE = 141
# For terminals that cannot show these characters.
_PLAIN = str.maketrans(
    {"±": "+-", "×": "x", "–": "-", "—": "-", "−": "-", "µ": "u", "μ": "u", "σ": "sigma"}
    | {"…": "...", "°": "deg", "²": "2", "·": ".", "≥": ">=", "≤": "<=", "→": "->"}
)

ProgressKind = Literal["auto", "json"]


def _without_special_characters(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that the encoding of a stream lacks (an error handler of codecs)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    plain = missing.translate(_PLAIN)
    return plain.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error("napari_n2n", _without_special_characters)


class _Log(logging.Handler):
    """Keeps the latest records of all loggers; shows those of a level or above, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.recent: deque[str] = deque(maxlen=_RECENT_LINES)
        self.shown: int = logging.WARNING
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        own = record.name == "napari_n2n"
        text = f"{record.levelname.lower()}: {'' if own else f'{record.name}: '}"
        text += record.getMessage()
        self.recent.append(f"{time.strftime('%H:%M:%S')} {text}")
        if text in self.said:
            return
        if record.levelno >= self.shown and (own or self.shown < logging.WARNING):
            self.said.add(text)
            _write(text)


class _IntoLog(io.TextIOBase):
    """Replaces stdout and stderr while a command runs, because libraries print to them."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line.strip():
                logging.getLogger("print").info("%s", line.rstrip())
        return len(text)


class Terminal:
    """The streams of this process, and how much is shown.

    Attributes
    ----------
    out, err
        Streams for results and messages; None if they are closed.
    log
        The records of all loggers.
    quiet
        Show errors only.
    progress
        "auto" for a bar or lines, "json" for a JSON object per line.
    above_bar
        Prints a line above the progress bar, while there is one.
    """

    def __init__(self) -> None:
        self.log = _Log()
        self._reset()

    def _reset(self) -> None:
        self.out: TextIO | None = sys.stdout
        self.err: TextIO | None = sys.stderr
        self.quiet, self.progress = False, "auto"
        self.above_bar: Callable[[str], None] | None = None
        self.log.recent.clear()
        self.log.said.clear()
        self.log.shown = logging.WARNING

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Use the streams of the process, with any encoding, even if they are closed."""
        _occupy_closed_streams()
        self._reset()
        for stream in (self.out, self.err):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="napari_n2n")
        root, own = logging.getLogger(), logging.getLogger("napari_n2n")
        root.addHandler(self.log)
        level = own.level
        own.setLevel(logging.INFO)
        logging.getLogger("print").setLevel(logging.INFO)
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            own.setLevel(level)
            root.removeHandler(self.log)

    @contextmanager
    def used_by(self, *, verbose: bool, quiet: bool, progress: ProgressKind) -> Iterator[None]:
        """Set how much is shown, and keep what libraries print off the terminal."""
        self.quiet, self.progress = quiet, progress
        self.log.shown = logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(_IntoLog()))
            stack.enter_context(redirect_stderr(_IntoLog()))
            yield


def _occupy_closed_streams() -> None:
    """Open the null device in place of closed standard streams.

    Otherwise the next file that is opened, perhaps the result, would get the number of the closed
    stream, and messages would be written into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


TERMINAL = Terminal()
"""The terminal of this process."""


def _one_line(text: str) -> str:
    """Escape control characters, which a file name may contain."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: repr(match[0])[1:-1], text)


def _write(line: str) -> None:
    """Print a line on stderr; do nothing if the terminal was closed, so that the run continues."""
    line = _one_line(line)
    if TERMINAL.above_bar is not None:
        TERMINAL.above_bar(line)
        return
    try:
        print(line, file=TERMINAL.err, flush=True)
    except (OSError, ValueError):
        TERMINAL.err = None


def say(line: str) -> None:
    """Print a message for the user on stderr, unless it should be quiet."""
    if not TERMINAL.quiet:
        _write(line)


def say_error(line: str) -> None:
    """Print an error on stderr."""
    _write(f"error: {line}")


def check_stdout() -> None:
    """Raise `BadInput` if stdout is closed."""
    if TERMINAL.out is None:
        raise BadInput("standard output: is closed: write the result to a file or pipe", "output")


def show(line: str) -> None:
    """Print a line of the result on stdout.

    Raises
    ------
    BadInput
        If it cannot be written.
    typer.Exit
        If its reader needs no more lines.
    """
    check_stdout()
    try:
        print(_one_line(line), file=TERMINAL.out, flush=True)
    except BrokenPipeError as error:
        give_up_stdout()
        raise typer.Exit(READER_GONE) from error
    except OSError as error:
        give_up_stdout()
        raise BadInput(
            f"standard output: {error.strerror}: write the result elsewhere", "disk"
        ) from error


def give_up_stdout() -> None:
    """Discard what is left to print on stdout, so that Python does not fail when it exits."""
    TERMINAL.out = None
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def print_json(result: dict[str, Any]) -> None:
    """Print a JSON object as one line on stdout; values that are not finite are null."""
    show(json.dumps(plain_json(result), allow_nan=False))


def describe_step(step: "TrainingStep") -> str:
    """Return step, loss and validation score of a training run, for a line of progress."""
    psnr = "" if step.psnr is None else f", PSNR about {step.psnr:.1f} dB"
    return f"step {step.step}, loss {step.loss:.3g}{psnr}"


class ShowProgress(Protocol):
    """Show the finished share of a job, 0 to 1, and a short text."""

    def __call__(self, share: float, text: str = "") -> None:
        """Show the share and the text."""


@contextmanager
def progress(title: str) -> Iterator[ShowProgress]:
    """Show the progress of one job: a bar on a terminal, plain lines or JSON elsewhere.

    The function that shows it raises `Interrupted` if a signal has interrupted the run.
    """
    err = TERMINAL.err
    bar = err is not None and err.isatty() and TERMINAL.progress == "auto" and not TERMINAL.quiet
    with _bar(title, err) if bar and err is not None else _lines(title) as shown:

        def checked(share: float, text: str = "") -> None:
            SIGNALS.check()
            shown(share, text)

        yield checked


@contextmanager
def _bar(title: str, stream: TextIO) -> Iterator[ShowProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    console = Console(file=stream)
    shown = Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False)
    with shown as bars:
        task = bars.add_task(title, total=1.0, text="")
        TERMINAL.above_bar = lambda line: console.print(
            line, markup=False, highlight=False, soft_wrap=True
        )
        try:
            yield lambda share, text="": bars.update(task, completed=share, text=text)
        finally:
            TERMINAL.above_bar = None


@contextmanager
def _lines(title: str) -> Iterator[ShowProgress]:
    printed = time.monotonic() - _LINE_SECONDS

    def print_line(share: float, text: str = "") -> None:
        nonlocal printed
        if TERMINAL.progress == "json":
            _write(json.dumps(plain_json({"job": title, "progress": share, "text": text})))
        elif share >= 1.0 or time.monotonic() - printed >= _LINE_SECONDS:
            printed = time.monotonic()
            say(f"{title}: {share:4.0%} {text}".rstrip())

    yield print_line
