"""What of a long piece of work is done, on disk, so that it can go on after a crash."""

import json
import os
from pathlib import Path
from typing import Any

from napari_n2n.durable import flushed
from napari_n2n.errors import BadInput


class Journal:
    """A file with a description of the job on its first line and a name on each other.

    Parameters
    ----------
    path
        Of the file.
    job
        What is being done, plain JSON; work that goes on must be the same.
    resume
        Take up what an earlier run noted, where there is such.

    Raises
    ------
    BadInput
        If the earlier run did something else.
    """

    def __init__(self, path: Path, job: dict[str, Any], *, resume: bool = False) -> None:
        self.path = path
        self.job: dict[str, Any] = json.loads(json.dumps(job))
        self.done: set[str] = set()
        before = path.read_bytes() if resume and path.exists() else b""
        whole = before[: before.rfind(b"\n") + 1]  # what follows the last line feed was cut off
        if whole:
            self._take_up(whole.decode().splitlines())
            os.truncate(path, len(whole))
        else:
            path.write_bytes(json.dumps(job).encode() + b"\n")
        flushed(path)
        flushed(path.parent)

    def _take_up(self, lines: list[str]) -> None:
        before = json.loads(lines[0])
        changed = [
            key for key in self.job if not key.startswith("_") and before.get(key) != self.job[key]
        ]
        if changed:
            raise BadInput(
                f"{self.path}: the unfinished run had another {changed[0]}: "
                "repeat its command with --resume, or begin anew with --overwrite"
            )
        self.job = before
        self.done = set(lines[1:])

    def add(self, name: str) -> None:
        """Note that a part is done, once it is safe on the disk."""
        with open(self.path, "ab") as handle:
            handle.write(name.encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        self.done.add(name)

    def remove(self) -> None:
        """The work is done."""
        self.path.unlink(missing_ok=True)


def noted_in(path: Path) -> set[str]:
    """Return what a journal notes as done; nothing where there is none."""
    return set(path.read_text().splitlines()[1:]) if path.exists() else set()
