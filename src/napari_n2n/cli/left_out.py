"""Fields of view that a run leaves out: print each at once, list all at the end, exit with 3."""

from collections.abc import Sequence
from pathlib import Path

import typer

from napari_n2n.cli.terminal import say, say_error
from napari_n2n.errors import BadInput
from napari_n2n.io.bad_fields import BadFields

PARTLY_DONE = 3
"""Exit status of a run that left out fields of view that cannot be used."""


class LeftOut:
    """The fields of view that cannot be used in one run.

    Parameters
    ----------
    skip
        Whether the run continues without them.
    """

    def __init__(self, skip: bool) -> None:
        self._skip = skip
        self.problems: list[BadInput] = []

    def add(self, problem: BadInput) -> None:
        """Note the error of a field of view, once; an `on_bad` for functions of the package."""
        if str(problem) in map(str, self.problems):
            return
        self.problems.append(problem)
        if self._skip:
            say(f"left out: {problem}")

    def check(self) -> None:
        """Raise the noted problems, unless the run skips bad fields of view.

        Raises
        ------
        BadFields
            With all problems.
        """
        if self.problems and not self._skip:
            raise BadFields(self.problems)

    def as_list(self) -> list[dict[str, str]]:
        """Return code and message of each problem, for JSON."""
        return [{"code": one.code, "message": str(one)} for one in self.problems]

    def end(self) -> None:
        """If files were left out, list them and end the command with status 3.

        Raises
        ------
        typer.Exit
            If a field of view was left out.
        """
        if not self.problems:
            return
        say_error(f"{len(self.problems)} left out, because they cannot be used:")
        for problem in self.problems:
            say_error(str(problem))
        raise typer.Exit(PARTLY_DONE)


def say_ignored(folders: Sequence[Path], *, without: Path | None = None) -> None:
    """Print which subfolders of folders are ignored."""
    from napari_n2n.io.fields_of_view import subfolders

    for path in subfolders(folders, without=without):
        say(f"note: {path}: the files in this subfolder are ignored (--recursive takes them)")
