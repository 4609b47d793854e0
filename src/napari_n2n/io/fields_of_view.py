"""Group files into fields of view, from lists, patterns and folders."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from unicodedata import normalize

from napari_n2n.errors import BadInput
from napari_n2n.io.address import address_of
from napari_n2n.io.bad_fields import OnBad, Problems
from napari_n2n.io.images_in_file import images_in_file
from napari_n2n.io.ngff_images import is_zarr
from napari_n2n.io.sources import expanded

FIELD_SEPARATOR = "+"
# Endings of files that are common in folders of acquisitions but are not images.
_NOT_IMAGES = {
    ".txt",
    ".xml",
    ".json",
    ".csv",
    ".log",
    ".md",
    ".pdf",
    ".ini",
    ".db",
    ".yml",
    ".yaml",
}
_NOT_IMAGES |= {".xlsx", ".docx", ".n2n", ".partial", ".journal", ".old", ".lock"}


def positions(field: Sequence[Path]) -> list[list[Path]]:
    """Return the fields of view in files that contain several images of one size.

    Parameters
    ----------
    field
        The acquisitions of a scene. If each is a file with the same images, such as the positions
        of one recording, the series of bioformats2raw or the wells of a plate, each image is a
        field of view.

    Returns
    -------
    list of list of pathlib.Path
        The images by their names, ``a.tif#0``; or only `field`.
    """
    found = [images_in_file(path) for path in field]
    names = {one.names for one in found}
    shapes = {shape for one in found for shape in one.shapes}
    if len(names) != 1 or len(shapes) != 1 or len(found[0].names) < 2:
        return [list(field)]
    return [[Path(f"{path}#{name}") for path in field] for name in found[0].names]


def fields_of_view(
    sources: Sequence[str | Path],
    *,
    recursive: bool = False,
    without: Path | None = None,
    on_bad: OnBad | None = None,
) -> list[list[Path]]:
    """Return the acquisitions of every field of view.

    Parameters
    ----------
    sources
        ``A B`` are two acquisitions of one field of view, ``A B C`` three; ``A1 B1 + A2 B2`` are
        two fields of view. The files in two folders are paired by name (hidden files, notes, tables
        and subfolders are ignored); in a single folder, each file is one field of view. Files that
        match patterns like ``'a/*.tif'`` are paired in alphabetical order.
    recursive
        Also take the files in subfolders; the names of two files include those of subfolders.
    without
        A subfolder to ignore, such as that of the results.
    on_bad
        Called with the error of each file that has no counterpart, which is then left out.

    Raises
    ------
    BadInput
        If a pattern matches no file, files have no counterpart, or a folder cannot be read.
    """
    texts = [str(source) for source in sources]
    found: list[list[Path]] = []
    problems = Problems(on_bad)
    for between, group in groupby(texts, key=lambda text: text == FIELD_SEPARATOR):
        if not between:
            try:
                group_sources = [expanded(Path(text)) for text in group]
                if all(is_folder(source) for source in group_sources):
                    listed = [_named_files(one, recursive, without) for one in group_sources]
                    found += _match_by_name(group_sources, listed, problems)
                else:
                    found += _fields(group_sources)
            except OSError as error:
                raise BadInput(
                    f"{error.filename}: cannot be read ({error.strerror}): check the disk and "
                    "your permissions",
                    "unreadable",
                ) from error
    problems.check(left=len(found))
    if not found:
        raise BadInput("no acquisition given: give two recordings of the same scene", "not_chosen")
    return found


def _fields(sources: list[Path]) -> list[list[Path]]:
    if not any(_is_pattern(source) for source in sources):
        return [sources]
    columns = [_matching(source) for source in sources]
    counts = {len(column) for column in columns}
    if len(counts) > 1:
        listed = ", ".join(f"{s}: {len(c)}" for c, s in zip(columns, sources, strict=True))
        raise BadInput(
            f"{sources[0]}: the patterns match different numbers of files ({listed}): "
            "give each file a counterpart",
            "unmatched",
        )
    return [list(row) for row in zip(*columns, strict=True)]


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder of files, and not a zarr, which may be damaged."""
    path = expanded(path)
    return path.is_dir() and not is_zarr(path) and path.suffix.lower() != ".zarr"


def _is_pattern(path: Path) -> bool:
    if address_of(path) is not None:  # ? begins a query
        return False
    return not path.exists() and any(letter in str(path) for letter in "*?[")


def _matching(pattern: Path) -> list[Path]:
    if not _is_pattern(pattern):
        return [pattern]
    fixed = Path(pattern.anchor)
    found = sorted(fixed.glob(str(pattern.relative_to(pattern.anchor))))
    if not found:
        raise BadInput(
            f"{pattern}: no file matches this pattern: check the spelling and the folder",
            "not_found",
        )
    return found


def subfolders(folders: Sequence[str | Path], *, without: Path | None = None) -> list[Path]:
    """Return the subfolders of folders whose files are taken only with `recursive`."""
    return [
        path
        for folder in map(expanded, map(Path, folders))
        if is_folder(folder)
        for path in sorted(folder.iterdir())
        if _is_subfolder(path, without)
    ]


def _is_subfolder(path: Path, without: Path | None) -> bool:
    if path.name.startswith(".") or not is_folder(path):
        return False
    return without is None or not without.exists() or not path.samefile(without)


def _is_ignored(path: Path) -> bool:
    """Return whether a path in a folder is not an acquisition."""
    return path.name.startswith(".") or path.suffix.lower() in _NOT_IMAGES or is_folder(path)


def _named_files(folder: Path, recursive: bool, without: Path | None) -> list[str]:
    """Return the names of the acquisitions in a folder, with those of their subfolders."""
    return sorted(str(path.relative_to(folder)) for path in _files(folder, recursive, without))


def _files(folder: Path, recursive: bool, without: Path | None) -> Iterator[Path]:
    for path in folder.iterdir():
        if not _is_ignored(path):
            yield path
        elif recursive and _is_subfolder(path, without) and not path.is_symlink():
            yield from _files(path, recursive, without)  # no links: they can lead in a circle


def _match_by_name(
    folders: list[Path], listed: list[list[str]], problems: Problems
) -> list[list[Path]]:
    # macOS and other systems store accents in different ways: compare names in one of them.
    files = [{normalize("NFC", name): name for name in own} for own in listed]
    if any(len(one) < len(own) for one, own in zip(files, listed, strict=True)):
        files = [{name: name for name in own} for own in listed]  # one folder has both ways
    names = [list(own) for own in files]
    for name in sorted(set().union(*names)):
        lacking = [folder for folder, own in zip(folders, names, strict=True) if name not in own]
        if lacking:
            there = next(
                folder / own[name]
                for folder, own in zip(folders, files, strict=True)
                if name in own
            )
            problems.add(
                BadInput(
                    f"{there}: has no file of the same name in {lacking[0]}: give the files "
                    "of one field of view the same name, and move others elsewhere",
                    "unmatched",
                )
            )
    if not any(names):
        raise BadInput(
            f"{folders[0]}: contains no acquisition: choose a folder with acquisitions", "not_found"
        )
    common = set(names[0]).intersection(*names[1:])
    return [
        [folder / own[name] for folder, own in zip(folders, files, strict=True)]
        for name in sorted(common)
    ]
