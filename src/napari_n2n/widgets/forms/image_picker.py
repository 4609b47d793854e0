"""The form that asks for an image to denoise, from open layers or from files."""

from pathlib import Path

from napari_n2n.widgets.forms.recordings_picker import RecordingsPicker


class ImagePicker(RecordingsPicker):
    """Ask for a recording to denoise, and optionally a second one of the same scene."""

    labels = ("Image", "Second")
    tips = (
        "Noisy recording to denoise",
        "Optional second recording of the same scene; both results are averaged",
    )
    second_required = False

    def choose_paths(self, paths: list[Path]) -> list[Path]:
        """Choose files or folders in place of the earlier choice; see the base class."""
        if self.isEnabled():
            for edit in (self.file_a, self.file_b):
                edit.line_edit.value = ""
        return super().choose_paths(paths)

    def _missing(self, from_layers: bool) -> str:
        if from_layers:
            return "Open an image to denoise first (or choose a file)"
        return "Choose the file to denoise"
