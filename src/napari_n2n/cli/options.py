"""The options that commands share; those of `train` are generated from `TrainingSettings`."""

import inspect
import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ByteSize, TypeAdapter, ValidationError

from napari_n2n.cli.left_out import LeftOut, say_ignored
from napari_n2n.cli.terminal import TERMINAL, ProgressKind, check_stdout, progress, say
from napari_n2n.errors import BadInput
from napari_n2n.io.address import local_path
from napari_n2n.training.settings import TrainingSettings

if TYPE_CHECKING:
    from napari_n2n.pair.pair import Pair


# Fields of view above which the progress of opening is shown: fewer take a second.
_MANY = 16


def _parse_bytes(text: str) -> int:
    try:
        count = TypeAdapter(ByteSize).validate_python(text)
    except ValidationError:
        count = ByteSize(0)
    if count == 0:
        raise typer.BadParameter(f"{text}: not a size: write it as 500MB or 4GB")
    return count


def _option_for(name: str) -> Any:
    """Return the typer option for a field of `TrainingSettings`."""
    field = TrainingSettings.model_fields[name]
    flag, text = f"--{name.replace('_', '-')}", field.description
    if field.annotation is not ByteSize:
        return typer.Option(flag, help=text)
    # As part of the help, because typer puts a default that is a text into brackets.
    text = f"{text}  [default: {field.default / 10**9:g} GB]"
    return typer.Option(flag, help=text, parser=_parse_bytes, metavar="SIZE", show_default=False)


Axes = Annotated[
    str | None, typer.Option(help="Axis labels, e.g. TYX; they replace those of the files.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Device = Annotated[str, _option_for("device")]
Memory = Annotated[int, _option_for("memory")]
Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="A B [MORE]...",
        help="Acquisitions of one scene; A1 B1 + A2 B2: two fields of view; or two folders.",
    ),
]
Split = Annotated[
    str | None, typer.Option(help="Use even and odd frames along this axis as two acquisitions.")
]
Single = Annotated[
    bool,
    typer.Option("--single", help="Train on one recording of the scene; every file is a scene."),
]
KnownNoise = Annotated[
    Path | None,
    typer.Option(
        "--noise",
        help="With --single: the noise of this microscope, from `inspect A B --json > FILE`.",
    ),
]
Dark = Annotated[
    list[Path] | None,
    typer.Option(
        help="Dark frames, from which hot pixels and offsets are corrected; may be repeated."
    ),
]
Mask = Annotated[
    list[Path] | None,
    typer.Option(
        help="Image that is 0 where pixels are not used; may be repeated, one per field of view."
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", help="Also take the files in subfolders of folders.")
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad", help="Leave out files that cannot be used; list them and exit with 3."
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Continue an interrupted run, or start a new one; keep a finished result."
    ),
]
Table = Annotated[
    Path | None, typer.Option(help="Also write a table, one row per field of view: TABLE.csv.")
]
Report = Annotated[
    Path | None,
    typer.Option(help="Also write a page with pictures, what differs on top: REPORT.html."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Overwrite existing output.")]


_COMMON = {
    "verbose": Annotated[
        bool, typer.Option("-v", "--verbose", help="Also print what is logged, such as tile sizes.")
    ],
    "quiet": Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")],
    "progress": Annotated[
        ProgressKind,
        typer.Option("--progress", help="Progress on stderr; json: one JSON object per line."),
    ],
}
_DEFAULTS = {"verbose": False, "quiet": False, "progress": "auto"}


def common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of all commands; a `~` at the start of a path is the home folder."""

    @wraps(command)
    def run(**values: Any) -> None:
        shown = {name: values.pop(name) for name in _COMMON}
        with TERMINAL.used_by(**shown):
            if values.get("as_json"):
                check_stdout()  # before the work
            _check_current_folder()
            command(**{name: _expanded(value) for name, value in values.items()})

    parameters = [
        *inspect.signature(command).parameters.values(),
        *(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_DEFAULTS[name],
                annotation=annotation,
            )
            for name, annotation in _COMMON.items()
        ),
    ]
    keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    return run


def _check_current_folder() -> None:
    """Raise if another program has deleted the current folder: torch ends the process then."""
    try:
        os.getcwd()
    except OSError as error:
        raise BadInput(
            "the current folder: no longer exists: change to another one", "not_found"
        ) from error


def _expanded(value: Any) -> Any:
    """Expand a `~` that the shell has not expanded, and file:// addresses."""
    if isinstance(value, list):
        return [_expanded(one) for one in value]
    return Path(os.path.expanduser(local_path(value))) if isinstance(value, Path) else value


def open_sources(
    sources: list[Path],
    axes: str | None,
    split: str | None,
    dark: list[Path] | None,
    mask: list[Path] | None = None,
    *,
    output: Path | None = None,
    recursive: bool = False,
    single: bool = False,
    left_out: LeftOut,
) -> "list[Pair]":
    """Open the values of the options: a pair per field of view and channel.

    With `single`, every file is a field of view. Fields of view that cannot be used are added to
    `left_out`.

    Raises
    ------
    BadInput
        If a source cannot be used, or writing the output would replace it.
    """
    more = [*(dark or []), *(mask or [])]
    fields = list_fields(sources, more, output=output, recursive=recursive, left_out=left_out)
    if single:
        fields = [[file] for field in fields for file in field]
    fields = with_positions(fields)
    return open_fields_of(fields, axes, split, dark, left_out, mask, single=single)


def with_positions(fields: list[list[Path]]) -> list[list[Path]]:
    """Return one field of view per image in the files of the only one, and print a note."""
    from napari_n2n.io.fields_of_view import positions
    from napari_n2n.io.image_name import short_name

    if len(fields) > 1:
        return fields
    found = positions(fields[0])
    if len(found) > 1:
        say(
            f"note: {fields[0][0]}: its {len(found)} images are used as fields of view; for one of "
            f"them give {short_name(found[0][0])}"
        )
    return found


def list_fields(
    sources: list[Path],
    more: list[Path] | None = None,
    *,
    output: Path | None,
    recursive: bool,
    left_out: LeftOut,
) -> list[list[Path]]:
    """Return the files of each field of view; raise if the output would replace one of them."""
    from napari_n2n.io.fields_of_view import fields_of_view
    from napari_n2n.io.output_path import check_keeps_inputs, output_path

    if not recursive:
        say_ignored(sources)
    fields = fields_of_view(sources, recursive=recursive, on_bad=left_out.add)
    if output is not None:
        check_keeps_inputs(output_path(output), [*chain.from_iterable(fields), *(more or [])])
    return fields


def open_fields_of(
    fields: list[list[Path]],
    axes: str | None,
    split: str | None,
    dark: list[Path] | None,
    left_out: LeftOut,
    mask: list[Path] | None = None,
    *,
    single: bool = False,
) -> "list[Pair]":
    """Open the files of each field of view; see `open_sources`."""
    from napari_n2n.pair.recordings import open_fields

    along = split and split.upper()
    options: dict[str, Any] = {"axes": axes, "split": along}
    options |= {"dark": dark or (), "masks": mask or (), "single": single}
    opened = open_fields(*fields, **options, on_bad=left_out.add)
    pairs: list[Pair] = []
    with progress("opening") if len(fields) > _MANY else nullcontext() as follow:
        for number, field in enumerate(opened, 1):
            pairs += field
            if follow is not None:
                follow(number / len(fields), f"{number} of {len(fields)} fields of view")
    left_out.check()
    return pairs


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `settings` by one option per field of `TrainingSettings`.

    The command raises `BadInput` with the option's name if a value is out of range.
    """

    @wraps(command)
    def run(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in TrainingSettings.model_fields}
        command(settings=_validated(chosen), **values)

    parameters: list[inspect.Parameter] = []
    for own in inspect.signature(command).parameters.values():
        if own.name != "settings":
            parameters.append(own.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        parameters += [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=Annotated[field.annotation, _option_for(name)],
            )
            for name, field in TrainingSettings.model_fields.items()
        ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _validated(values: dict[str, Any]) -> TrainingSettings:
    try:
        return TrainingSettings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        limit = first["msg"].replace("Input should", "must").removeprefix("Value error, ")
        raise BadInput(f"--{option} {first['input']}: {limit}", "option") from error
