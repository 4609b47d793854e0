"""Write a training run as Python or as commands: "Copy as Python" and "Copy as command"."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.fields_of_view import FIELD_SEPARATOR
from napari_n2n.pair.recordings import Recordings
from napari_n2n.training.settings import TrainingSettings

Results = Literal["average", "each", "none"]
"""Results after training: the average, the average and each acquisition, or none."""


@dataclass(frozen=True)
class Recipe:
    """Acquisitions and settings of a training run, and the results that are computed after it.

    The copied texts reproduce the weights on the CPU, unless the run was stopped or limited by
    time (minutes set, steps not set).

    Attributes
    ----------
    recordings, settings
        The acquisitions to train on, and the settings.
    wanted
        The results to compute after training.
    stopped
        Whether the user stopped the run.
    """

    recordings: Recordings
    settings: TrainingSettings
    wanted: Results = "average"
    stopped: bool = False

    def results(self) -> list[tuple[Any, ...]]:
        """Return the sources of every result: all sources of a field of view, or one of them."""
        return [
            sources if index is None else (sources[index],)
            for sources in self.recordings.fields
            for index, _ in self._outputs()
        ]

    def _outputs(self) -> list[tuple[int | None, str]]:
        """Return source index (None: the average) and file name suffix of each result."""
        if self.wanted == "none":
            return []
        count = len(self.recordings.sources)
        single = range(count) if self.wanted == "each" and count > 1 else ()
        return [(None, ""), *((index, f"_{index + 1}") for index in single)]

    @property
    def _with_error(self) -> bool:
        """Whether an error map of every result is computed."""
        return self.settings.error_map == "on"

    def as_python(self) -> str:
        """Return a script that trains, saves the model and denoises."""
        fields = [
            [repr(str(file)) if file else f"viewer.layers[{source.name!r}]" for source, file in one]
            for one in self._files()
        ]
        open_options, denoise_options = (_keywords(values) for values in self._options())
        if self._mask is not None:
            open_options += f", masks=[{str(self._mask)!r}]"
        settings = _keywords(self.settings.model_dump(exclude_defaults=True)).removeprefix(", ")
        noise = self.recordings.noise
        reports = f", reports=n2n.read_noise_report({str(noise)!r}, pairs)" if noise else ""
        several = len(fields) > 1
        out = 'f"clean_{number}%s.ome.zarr"' if several else '"clean%s.ome.zarr"'
        quantities = {"": "", "_error": ", quantity='error'"} if self._with_error else {"": ""}
        denoise = [
            f"n2n.denoise(denoiser, {'*recordings' if index is None else f'recordings[{index}]'}, "
            f"out={out % (suffix + ending)}{quantity}{denoise_options})"
            for index, suffix in self._outputs()
            for ending, quantity in quantities.items()
        ]
        if several:
            rows = [f"    [{', '.join(sources)}]," for sources in fields]
            sources = ["fields = [", *rows, "]", f"pairs = n2n.open_pairs(*fields{open_options})"]
            loop = ["for number, recordings in enumerate(fields):"] if denoise else []
            denoise = [*loop, *(f"    {line}" for line in denoise)]
        else:
            sources = [f"recordings = [{', '.join(fields[0])}]"]
            sources += [f"pairs = n2n.open_pairs(recordings{open_options})"]
        remarks = [f"# {remark}" for remark in self._remarks()]
        if any("viewer.layers" in source for one in fields for source in one):
            remarks.append(
                "# Run this in napari's console, or replace viewer.layers[...] by files."
            )
        lines = [
            *remarks,
            "import napari_n2n as n2n",
            "",
            *sources,
            f"denoiser = n2n.train(pairs, n2n.TrainingSettings({settings}){reports})",
            'denoiser.save("model.n2n")',
            *denoise,
            "",
        ]
        return "\n".join(lines)

    def as_command(self) -> str:
        """Return the commands that train, save the model and denoise in a terminal."""
        lines = [f"# {remark}" for remark in self._remarks()]
        fields: list[list[str]] = []
        for sources in self._files():
            fields.append([str(file or f"{source.name}.tif") for source, file in sources])
            lines += [
                f"# Save the layer '{source.name}' as {source.name}.tif first, or replace it by "
                "its file."
                for source, file in sources
                if file is None
            ]
        open_options, denoise_options = self._options()
        if self._mask is not None:
            open_options["mask"] = self._mask
        if self.recordings.noise is not None:
            open_options["noise"] = self.recordings.noise
        options = _flags(open_options | self.settings.model_dump(exclude_defaults=True))
        words = [word for files in fields for word in (FIELD_SEPARATOR, *files)][1:]
        commands = [["train", *words, "-o", "model.n2n", *options]]
        for number, files in enumerate(fields):
            stem = f"clean_{number}" if len(fields) > 1 else "clean"
            for index, suffix in self._outputs():
                inputs = files if index is None else [files[index]]
                words = [*inputs, "-o", f"{stem}{suffix}.ome.zarr"]
                if self._with_error:
                    words += ["--error", f"{stem}{suffix}_error.ome.zarr"]
                commands.append(["denoise", "model.n2n", *words, *_flags(denoise_options)])
        return "\n".join([*lines, *(shlex.join(["napari-n2n", *words]) for words in commands)])

    def _files(self) -> list[list[tuple[Any, Path | None]]]:
        """Return the sources of every field of view, each with its file or None."""
        return [
            [(source, _file_of(source, self.recordings)) for source in sources]
            for sources in self.recordings.fields
        ]

    def _options(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the options for opening the acquisitions and those for denoising them."""
        axes = {"axes": self.recordings.axes} if self.recordings.axes else {}
        split = {"split": self.recordings.split} if self.recordings.split else {}
        chosen = self.settings.model_dump(exclude_defaults=True, include={"device", "memory"})
        dark = {"dark": [str(one) for one in self.recordings.dark]} if self.recordings.dark else {}
        single = {"single": True} if self.recordings.single else {}
        return axes | split | dark | single, axes | chosen

    @property
    def _mask(self) -> Path | None:
        """The file of the mask; for a layer, the file to which the user must save it first."""
        mask = self.recordings.mask
        return mask if mask is None or isinstance(mask, Path) else Path(f"{mask.name}.tif")

    def _remarks(self) -> Iterator[str]:
        if self._mask is not None and self._mask != self.recordings.mask:
            yield (
                f"Save the mask '{self._mask.stem}' as {self._mask} first; shapes, as labels "
                "(right-click, Convert to Labels)."
            )
        if self.settings.minutes is not None and self.settings.steps is None:
            yield "With a time limit, the number of steps and the weights differ from run to run."
        if self.stopped:
            yield "The run in napari was stopped early; this one trains to its end."


def _keywords(values: dict[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in values.items())


def _flags(values: dict[str, Any]) -> list[str]:
    """Return values as command-line options, the memory in MB if that is exact."""
    words = []
    for name, value in values.items():
        in_megabytes = name == "memory" and value % 10**6 == 0
        text = f"{value // 10**6}MB" if in_megabytes else str(value)
        if value is True:
            words.append(f"--{name}")
            continue
        for one in value if isinstance(value, list) else [text]:
            words += [f"--{name.replace('_', '-')}", one]
    return words


def _file_of(source: Any, recordings: Recordings) -> Path | None:
    """Return the path of a source, the file that a layer shows unchanged, or None."""
    if isinstance(source, str | Path):
        return Path(source)
    path = getattr(getattr(source, "source", None), "path", None)
    if path is None:
        return None
    try:
        layer, file = (Acquisition.open(one, axes=recordings.axes) for one in (source, Path(path)))
    except BadInput:
        return None
    same_type = (layer.shape, layer.dtype) == (file.shape, file.dtype)
    if not same_type or not _same_axes(layer, file, recordings.split):
        return None
    unchanged = np.array_equal(layer.sample_plane(), file.sample_plane())
    return Path(path) if unchanged else None


def _same_axes(layer: Acquisition, file: Acquisition, split: str | None) -> bool:
    """Return whether layer and file have the same axes; layers often have no axis labels."""
    unlabelled = layer.axes_assumed and split is None and not set("CR") & set(file.axes)
    return layer.axes == file.axes or unlabelled
