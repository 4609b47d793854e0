"""Where the result of the Denoise dock goes: a file, or for a folder of recordings a folder."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit

from napari_n2n.denoising.folder import Series
from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.crash_safe import journal_path
from napari_n2n.io.fields_of_view import fields_of_view, is_folder
from napari_n2n.io.writers import checked_output
from napari_n2n.widgets.dock import keep_narrow
from napari_n2n.widgets.preferences import preferences

_UNFINISHED = "An unfinished result lies there: Resume goes on with it, Overwrite begins anew."
_STANDS = "A result of this name exists: choose another name, or Overwrite it."


class OutputPicker:
    """A row that asks for a place, and what is known of that place.

    Attributes
    ----------
    field
        The row.
    """

    def __init__(self) -> None:
        self.field = FileEdit(
            label="Save to",
            tooltip="Where the result goes: a name ending in .ome.zarr, which shows while it "
            "fills, or .tif; left empty, it goes to the folder that napari's preferences name, or "
            "is lost when napari closes. The results of a folder of recordings go to a folder",
        )
        self._folders: list[Path] = []
        self._fields: tuple[tuple[Path, ...], ...] = ()
        self._suggested: Path | None = None
        self.suggest([], None)

    def suggest(self, sources: list[Any], axes: str | None) -> None:
        """Take note of what shall be denoised, and find a place for it where that can be told."""
        folders = bool(sources) and all(isinstance(one, Path) and is_folder(one) for one in sources)
        before, self._folders = self._folders, sources if folders else []
        if self._folders != before:
            self._fields = _listed(self._folders)
        self.field.mode = (
            FileDialogMode.EXISTING_DIRECTORY if folders else FileDialogMode.OPTIONAL_FILE
        )
        keep_narrow(self.field)
        self._suggested = self._suggestion(sources, axes)
        kind = "a folder" if folders else ".ome.zarr or .tif"
        self.field.line_edit.native.setPlaceholderText(str(self._suggested or kind))

    def _suggestion(self, sources: list[Any], axes: str | None) -> Path | None:
        kept = preferences()
        if kept.folder is None or not sources:
            return None
        if self._folders:
            first = sources[0].absolute()
            return kept.folder / f"{first.parent.name} {first.name} denoised"
        try:
            names = [Acquisition.open(one, axes=axes).name for one in sources]
        except BadInput:
            return None
        return kept.path_for(" + ".join(names) + " denoised")

    @property
    def path(self) -> Path | None:
        """Where the result shall be kept; None if it shall not."""
        path = Path(str(self.field.value))
        return self._suggested if path == Path() else path

    def first(self, sources: list[Any]) -> list[Any]:
        """Return what is compared and previewed: of folders, the first recordings in them."""
        return list(self._fields[0]) if self._fields else sources

    def chosen(self, *, overwrite: bool, resume: bool) -> Path | Series | None:
        """Return where the result goes; None for one that is not kept.

        Raises
        ------
        BadInput
            If it cannot go there.
        """
        path = self.path
        if self._folders:
            if path is None:
                raise BadInput("Choose under 'Save to' a folder for the results", "not_chosen")
            return Series.of(self._folders, path)
        return path and checked_output(path, overwrite=overwrite, resume=resume)

    def found(self, unsaved: Path | None) -> tuple[bool, bool, str]:
        """Tell whether a result lies there already, or an unfinished one, and say so.

        Parameters
        ----------
        unsaved
            An unfinished result that nobody gave a name.
        """
        if self._folders:
            return self._found_results()
        place = self.path or unsaved
        stands = place is not None and place.exists()
        unfinished = place is not None and not stands and journal_path(place).exists()
        return stands, unfinished, _STANDS if stands else _UNFINISHED if unfinished else ""

    def _found_results(self) -> tuple[bool, bool, str]:
        path, total = self.path, len(self._fields)
        there, unfinished = 0, False
        with suppress(BadInput, OSError):  # said when it is to be used
            if path is not None:
                there, unfinished = Series(self._fields, path).standing()
        words = f"{there} of {total} results are there: "
        if unfinished:
            return False, True, f"{words}Resume goes on, Overwrite begins anew."
        if there:
            return True, False, f"{words}name another folder, or Overwrite them."
        return False, False, ""


def _listed(folders: list[Path]) -> tuple[tuple[Path, ...], ...]:
    """Return what lies in folders; nothing where that cannot be told, which is said later."""
    try:
        return tuple(map(tuple, fields_of_view(folders))) if folders else ()
    except BadInput:
        return ()
