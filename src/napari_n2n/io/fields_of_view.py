"""Which files show the same field of view: lists, patterns and folders as people name them."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from napari_n2n.errors import BadInput
from napari_n2n.io import ngff

FIELD_SEPARATOR = "+"
# What microscopes and computers leave beside the images.
_NOTES = {".txt", ".xml", ".json", ".csv", ".log", ".md", ".pdf", ".ini", ".db", ".yml", ".yaml"}
_NOTES |= {".xlsx", ".docx", ".n2n", ".partial", ".journal", ".old"}


def fields_of_view(words: Sequence[str | Path]) -> list[list[Path]]:
    """Return the acquisitions of every field of view.

    Parameters
    ----------
    words
        ``A B`` are two acquisitions of one field, ``A B C`` three, ``A1 B1 + A2 B2`` those of two
        fields. Folders (that are no zarr) stand for the recordings in them, matched by name - other
        folders, hidden files, notes and tables are none - and a single folder for recordings that
        are each a field; patterns like ``'a/*.tif'`` for what fits, matched by its order.

    Raises
    ------
    BadInput
        If a pattern fits nothing, files have no counterpart, or a folder cannot be read.
    """
    texts = [str(word) for word in words]
    found: list[list[Path]] = []
    for between, group in groupby(texts, key=lambda text: text == FIELD_SEPARATOR):
        if not between:
            try:
                found += _fields([Path(text) for text in group])
            except OSError as error:
                raise BadInput(
                    f"{error.filename}: cannot be read ({error.strerror}): check the disk and "
                    "whether you may read there",
                    "unreadable",
                ) from error
    if not found:
        raise BadInput(
            "no acquisition is named: give two recordings of the same scene", "not_chosen"
        )
    return found


def _fields(sources: list[Path]) -> list[list[Path]]:
    if all(is_folder(source) for source in sources):
        return _by_name(sources)
    if not any(_is_pattern(source) for source in sources):
        return [sources]
    columns = [_fitting(source) for source in sources]
    counts = {len(column) for column in columns}
    if len(counts) > 1:
        listed = ", ".join(f"{len(c)} fit {s}" for c, s in zip(columns, sources, strict=True))
        raise BadInput(
            f"{sources[0]}: the patterns fit different numbers of files ({listed})", "unmatched"
        )
    return [list(row) for row in zip(*columns, strict=True)]


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder with acquisitions in it, and not one itself."""
    return path.is_dir() and not ngff.is_zarr(path)


def _is_pattern(path: Path) -> bool:
    return not path.exists() and any(letter in str(path) for letter in "*?[")


def _fitting(pattern: Path) -> list[Path]:
    if not _is_pattern(pattern):
        return [pattern]
    fixed = Path(pattern.anchor)
    found = sorted(fixed.glob(str(pattern.relative_to(pattern.anchor))))
    if not found:
        raise BadInput(
            f"{pattern}: no file fits this pattern: check the spelling and the folder", "not_found"
        )
    return found


def _is_beside(path: Path) -> bool:
    """Tell what lies beside recordings and is none: notes, what is unfinished, other folders."""
    return path.name.startswith(".") or path.suffix.lower() in _NOTES or is_folder(path)


def _by_name(folders: list[Path]) -> list[list[Path]]:
    names = [
        sorted(path.name for path in folder.iterdir() if not _is_beside(path)) for folder in folders
    ]
    for folder, own in zip(folders[1:], names[1:], strict=True):
        alone = sorted(set(own) ^ set(names[0]))
        if alone:
            there = folder if alone[0] in own else folders[0]
            raise BadInput(
                f"{there / alone[0]}: has no counterpart of this name in the other folder: "
                "give files of one field the same name in both, and no recordings beside them",
                "unmatched",
            )
    if not names[0]:
        raise BadInput(
            f"{folders[0]}: no recording lies there: give a folder with acquisitions", "not_found"
        )
    return [[folder / name for folder in folders] for name in names[0]]
