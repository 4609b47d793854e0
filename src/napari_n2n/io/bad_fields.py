"""Collect the fields of view that cannot be used: name all in one error, or leave them out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput, Code

OnBad = Callable[[BadInput], None]
"""Called with the error of a field of view, which is then left out."""

# Codes of problems of one recording; other problems, such as a full disk, end the whole run.
_OF_ONE: tuple[Code, ...] = (
    *("not_found", "unreadable", "unmatched", "format"),
    *("axes", "channels", "shape", "size", "single", "duplicate", "constant"),
    *("not_finite", "precision"),
)
# Problems in one line of text, such as a notification; the command line prints all of them.
_SHOWN = 3


class BadFields(BadInput):
    """Fields of view that cannot be used.

    Parameters
    ----------
    problems
        One error for each, whose message names the file.
    """

    def __init__(self, problems: Sequence[BadInput]) -> None:
        self.problems = tuple(problems)
        text = "; ".join(str(problem) for problem in self.problems[:_SHOWN])
        more = len(self.problems) - _SHOWN
        super().__init__(f"{text}; and {more} more" if more > 0 else text, self.problems[0].code)

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the problems when the error is sent from another process."""
        return type(self), (self.problems,)


class Problems:
    """The problems of the fields of view of one run.

    Parameters
    ----------
    on_bad
        Called with each problem; if it is None, `check` raises all of them.
    found
        Problems that are already known.
    single
        Whether there is only one field of view: its error is raised at once, with the paths of the
        files only if their names are the same.
    """

    def __init__(
        self, on_bad: OnBad | None, found: Sequence[BadInput] = (), *, single: bool = False
    ) -> None:
        self._on_bad, self._single = on_bad, single
        self.found: list[BadInput] = []
        for error in found:
            self.add(error)

    def add(self, error: BadInput) -> None:
        """Note a problem."""
        self.found.append(error)
        if self._on_bad is not None:
            self._on_bad(error)

    @contextmanager
    def noted(
        self, sources: Sequence[Any], reopen: Callable[[Any], Any] | None = None
    ) -> Iterator[None]:
        """Note a `BadInput` of one field of view with the paths of its files, and continue.

        Parameters
        ----------
        sources
            The acquisitions of the field of view.
        reopen
            Function that opens an acquisition again: several of the sources may be bad.
        """
        try:
            yield
        except BadInput as error:
            if error.code not in _OF_ONE:
                raise
            if self._single:
                raise _with_paths(error, sources, if_alike=True) from error
            self.add(_with_paths(error, sources))
            bad = next((k for k, one in enumerate(sources) if str(one) in str(error)), None)
            if reopen is not None and bad is not None:
                for source in sources[bad + 1 :]:
                    with self.noted([source]):
                        reopen(source)

    def check(self, *, left: int) -> None:
        """Raise if there are problems that may not be left out, or if no field of view is left.

        Parameters
        ----------
        left
            Number of fields of view that can be used.

        Raises
        ------
        BadFields
            If there are problems and there is no `on_bad`, or `left` is 0.
        """
        if self.found and (self._on_bad is None or left == 0):
            raise BadFields(self.found)


def _with_paths(error: BadInput, sources: Sequence[Any], *, if_alike: bool = False) -> BadInput:
    """Return an error with the path of the file in its message: many files have the same name.

    With `if_alike`, the path is added only if two sources have the same name and the message does
    not name their folders.
    """
    paths = [str(source) for source in sources if isinstance(source, str | Path)]
    if not paths or any(path in str(error) for path in paths):
        return error
    files = [Path(path) for path in paths]
    if if_alike and (
        len({file.stem for file in files}) == len(files)
        or any(f"{file.parent.name}/{file.stem}" in str(error) for file in files)
    ):
        return error
    return BadInput(f"{' and '.join(paths)}: {error}", error.code)
