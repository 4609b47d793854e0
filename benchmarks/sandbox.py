"""Run a command or a function in a process of its own, with limits, and judge how it ended.

The process is forked from this one, after the package has been imported: a case takes a tenth of a
second instead of the three of a new interpreter. This process itself must therefore never compute.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

Outcome = Literal["right", "refused", "unclear", "hang", "wrong", "lost"]
OUTCOMES: tuple[Outcome, ...] = ("right", "refused", "unclear", "hang", "wrong", "lost")

# A case computes for about 0.2 s; a busy machine needs longer.
SECONDS = 60.0
# The package with torch takes 400 MB; --memory is 1 GB by default.
MEGABYTES = 2000
_POLL = 0.004  # seconds between two looks at a process: a hundredth of the time of a case

# What the command line prints on stderr beside its one line of error.
_EXPECTED = re.compile(
    r"(denoising|training|splitting|simulating|measuring): |noise( of .*)?: |note: |warning: |"
    r"stopp(ed|ing)|interrupt|saved |resum|already finished|.* finished|.* continues|$"
)


@dataclass(frozen=True)
class Run:
    """How a process ended.

    Attributes
    ----------
    status
        Exit status; negative: ended by that signal; None: ended here, because of a limit.
    out, err
        What it printed.
    limit
        The limit that it reached: "time" or "memory", or empty.
    """

    status: int | None
    out: str
    err: str
    limit: str = ""


class Child:
    """A forked process that runs a function in a folder; its output goes to files.

    Parameters
    ----------
    call
        The function.
    folder
        Its working directory.
    logs
        Folder for the output.
    prepare
        Called first in the process, such as to set a limit.
    """

    _count = 0

    def __init__(
        self,
        call: Callable[[], object],
        folder: Path,
        logs: Path,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        Child._count += 1
        self._logs = [logs / f"{Child._count}.{name}" for name in ("out", "err")]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        self.began = time.monotonic()
        if self.pid == 0:
            self._become(call, folder, prepare)

    def _become(
        self, call: Callable[[], object], folder: Path, prepare: Callable[[], object]
    ) -> None:
        """Be the new process: run the function and leave, like an interpreter does."""
        status = 1
        try:
            os.setsid()
            os.chdir(folder)
            for number, path in enumerate(self._logs, start=1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            prepare()
            call()
            status = 0
        except SystemExit as leave:
            status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
        except KeyboardInterrupt:
            status = 130
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def send(self, number: int) -> None:
        """Send a signal, if the process still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, seconds: float = SECONDS, megabytes: float = MEGABYTES) -> Run:
        """Wait for the end, or end the process at a limit."""
        limit, looked = "", 0.0
        while True:
            found, code = os.waitpid(self.pid, os.WNOHANG)
            if found:
                break
            now = time.monotonic()
            if now - self.began > seconds:
                limit = "time"
            elif now - looked > 0.05:
                looked = now
                if psutil.Process(self.pid).memory_info().rss > megabytes * 1e6:
                    limit = "memory"
            if limit:
                os.killpg(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                break
            time.sleep(_POLL)
        out, err = (
            path.read_text(errors="backslashreplace") if path.exists() else ""
            for path in self._logs
        )
        for path in self._logs:
            path.unlink(missing_ok=True)
        return Run(None if limit else os.waitstatus_to_exitcode(code), out, err, limit)


def command(words: Sequence[str]) -> Callable[[], None]:
    """Return the function that runs the command line with these words."""

    def run() -> None:
        from napari_n2n.cli import main

        sys.argv = ["napari-n2n", *words]
        main()

    return run


def interpreter(words: Sequence[str], folder: Path, shell: str = "", **options: str) -> Run:
    """Run the command line in a new interpreter.

    Parameters
    ----------
    words, folder
        The command line, and its working directory.
    shell
        What follows the command in the shell, such as ``| head``.
    options
        Environment variables.
    """
    program = [sys.executable, "-c", "from napari_n2n.cli import main; main()", *words]
    line = subprocess.list2cmdline(["exec", *program]) if not shell else ""
    if shell:
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in program)
        line = f"set -o pipefail; {quoted} {shell}"
    environment = {**os.environ, **options}
    try:
        done = subprocess.run(
            ["bash", "-c", line] if shell else program,
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Run(None, "", "", "time")
    return Run(
        done.returncode,
        done.stdout.decode(errors="backslashreplace"),
        done.stderr.decode(errors="backslashreplace"),
    )


def refusal(run: Run, names: Sequence[str]) -> str:
    """Return what is unclear about the message of a refused run; empty if it is one clear line.

    Parameters
    ----------
    run
        The run.
    names
        What the message may name: files, options or layers; empty if it need not name any.
    """
    errors, other = [], []
    for line in run.err.splitlines():
        if line.startswith("error: "):
            errors.append(line)
        elif not _EXPECTED.match(line):
            other.append(line)
    if run.status not in (2, 130, 143):
        return f"exit status {run.status}"
    if "Traceback" in run.err + run.out:
        return "a traceback"
    if other:
        return f"more than its line of error: {other[0][:200]}"
    if run.status == 2 and len(errors) != 1:
        return f"{len(errors)} lines of error"
    if run.status == 2 and names and not any(name in errors[0] for name in names):
        return f"names none of {', '.join(names)}"
    return ""


def contents(folder: Path) -> dict[str, bytes | str]:
    """Return the content of every file below a folder, and the target of every link."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
        elif path.is_dir():
            found[name] = "folder"
    return found


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a disk of some bytes at a folder; yield False where that is not permitted."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(words, capture_output=True).returncode == 0
    try:
        yield bool(mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)
