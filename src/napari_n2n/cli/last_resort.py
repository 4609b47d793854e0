"""Turn an exception into lines for the user and an exit status.

An error that users can correct is one line, or one for each file, and status 2. Any other error is
two lines (what happened, and the path of a log with the traceback) and status 70 (EX_SOFTWARE of
sysexits.h).
"""

import tempfile
import time
from contextlib import suppress
from pathlib import Path

from platformdirs import user_log_path

from napari_n2n.cli.terminal import TERMINAL, say_error
from napari_n2n.errors import bug_report, explain
from napari_n2n.io.bad_fields import BadFields

BAD_INPUT, BUG = 2, 70


def end(error: BaseException) -> int:
    """Print the error, and return the exit status."""
    if isinstance(error, BadFields):
        return _end_with_each(error)
    line = explain(error)
    if line is None and hasattr(error, "format_message"):  # click: a wrong word or option
        line = _usage(error)
    if line is not None:
        say_error(line)
        return BAD_INPUT
    cause = " ".join(str(error).split())
    name = type(error).__name__
    say_error(f"unexpected, probably a bug: {name}{f': {cause}' if cause else ''}"[:500])
    log = _write_log("\n".join([bug_report(error), "Log", "---", *TERMINAL.log.recent, ""]))
    where = log or "it could not be written to any folder"
    say_error(f"the log with the traceback, for a bug report: {where}")
    return BUG


def _end_with_each(error: BadFields) -> int:
    for problem in error.problems:
        say_error(str(problem))
    if len(error.problems) > 1:
        say_error(f"{len(error.problems)} files cannot be used (--skip-bad leaves them out)")
    else:
        say_error("1 file cannot be used (--skip-bad leaves it out)")
    return BAD_INPUT


def _usage(error: BaseException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "napari-n2n"
    text = str(error.format_message())  # type: ignore[attr-defined]
    cause = text.rstrip(".").replace("Value error, ", "")  # pydantic's words
    return f"{cause} (see {command} --help)"


def _write_log(text: str) -> Path | None:
    """Write a log into the user's log folder, or else into a temporary one; return its path."""
    for folder in (user_log_path("napari-n2n", appauthor=False), Path(tempfile.gettempdir())):
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            start = time.strftime("napari-n2n-%Y%m%d-%H%M%S-")
            _, name = tempfile.mkstemp(".log", start, folder)
            Path(name).write_text(text, encoding="utf-8", errors="backslashreplace")
            return Path(name)
    return None
