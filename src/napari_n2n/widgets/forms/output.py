"""The field that asks where the Denoise dock saves: a file, or a folder for many recordings."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit

from napari_n2n.denoising.folder import FolderJob
from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.crash_safe import journal_path
from napari_n2n.io.fields_of_view import fields_of_view, is_folder
from napari_n2n.io.output_path import check_keeps_inputs
from napari_n2n.io.writers import checked_output
from napari_n2n.widgets.dock import keep_narrow
from napari_n2n.widgets.preferences import file_name, preferences

_UNFINISHED = "There is an unfinished result: Resume continues it, Overwrite starts again."
_EXISTS = "A result of this name already exists: choose another name or Overwrite."


class OutputPicker:
    """Ask for an output, suggest one, and report whether it already exists.

    Attributes
    ----------
    field
        The form field.
    """

    def __init__(self) -> None:
        self.field = FileEdit(
            label="Save to",
            tooltip="Result file; if empty, the folder in the preferences or a temporary file",
        )
        self._folders: list[Path] = []
        self._scenes: tuple[tuple[Path, ...], ...] = ()
        self._suggested: Path | None = None
        self.suggest([], None)

    def suggest(self, sources: list[Any], axes: str | None, ending: str = "denoised") -> None:
        """Suggest an output for recordings, as the placeholder of the field."""
        folders = bool(sources) and all(isinstance(one, Path) and is_folder(one) for one in sources)
        before, self._folders = self._folders, sources if folders else []
        if self._folders != before:
            self._scenes = _listed(self._folders)
        self.field.mode = (
            FileDialogMode.EXISTING_DIRECTORY if folders else FileDialogMode.OPTIONAL_FILE
        )
        keep_narrow(self.field)
        self._suggested = self._suggestion(sources, axes, ending)
        kind = "folder for the results" if folders else ".ome.zarr or .tif"
        self.field.line_edit.native.setPlaceholderText(str(self._suggested or kind))

    def _suggestion(self, sources: list[Any], axes: str | None, ending: str) -> Path | None:
        kept = preferences()
        if kept.folder is None or not sources:
            return None
        if self._folders:
            first = sources[0].absolute()
            return kept.folder / file_name(f"{first.parent.name} {first.name} {ending}")
        try:
            names = [Acquisition.open(one, axes=axes).name for one in sources]
        except BadInput:
            return None
        return kept.path_for(" + ".join(names) + f" {ending}")

    @property
    def path(self) -> Path | None:
        """The chosen or suggested output; None if the result is not saved."""
        path = Path(str(self.field.value))
        return self._suggested if path == Path() else path

    def first(self, sources: list[Any]) -> list[Any]:
        """Return the recordings to preview: the sources, or the first field of view in folders."""
        return list(self._scenes[0]) if self._scenes else sources

    def chosen(
        self, sources: list[Any], *, overwrite: bool, resume: bool
    ) -> Path | FolderJob | None:
        """Return the checked output; None if the result is not saved.

        Raises
        ------
        BadInput
            If the output is not valid, or would replace one of the sources.
        """
        path = self.path
        if self._folders:
            if path is None:
                raise BadInput("Choose a folder for the results under 'Save to'", "not_chosen")
            return FolderJob.of(self._folders, path)
        if path is None:
            return None
        check_keeps_inputs(path, sources)
        return checked_output(path, overwrite=overwrite, resume=resume)

    def existing(self, unsaved: Path | None) -> tuple[bool, bool, str]:
        """Return whether the output exists, whether it is unfinished, and a message.

        Parameters
        ----------
        unsaved
            Path of an unfinished result that the user gave no name.
        """
        if self._folders:
            return self._existing_results()
        place = self.path or unsaved
        exists = place is not None and place.exists()
        unfinished = place is not None and not exists and journal_path(place).exists()
        return exists, unfinished, _EXISTS if exists else _UNFINISHED if unfinished else ""

    def _existing_results(self) -> tuple[bool, bool, str]:
        path, total = self.path, len(self._scenes)
        count, unfinished = 0, False
        with suppress(BadInput, OSError):  # reported when the run starts
            if path is not None:
                count, unfinished = FolderJob(self._scenes, path).status()
        found = f"{count} of {total} results exist: "
        if unfinished:
            return False, True, f"{found}Resume continues, Overwrite starts again."
        if count:
            return True, False, f"{found}choose another folder or Overwrite."
        return False, False, ""


def _listed(folders: list[Path]) -> tuple[tuple[Path, ...], ...]:
    """Return the recordings in folders; empty if a folder is not valid, which is reported later."""
    try:
        return tuple(map(tuple, fields_of_view(folders))) if folders else ()
    except BadInput:
        return ()
