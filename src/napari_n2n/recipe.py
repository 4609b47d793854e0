"""What a training run is made from, and the text that makes it again elsewhere."""

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
"""What is denoised of the recordings: all as one, each by itself too, or nothing."""


@dataclass(frozen=True)
class Recipe:
    """Recordings, and the settings to train on them with.

    With steps given, or a preset and no minutes, the texts give the same weights on the CPU, unless
    the run was stopped.

    Attributes
    ----------
    recordings, settings
        From what, and how.
    wanted
        What is denoised once the network has learned.
    stopped
        Whether a person ended the run.
    """

    recordings: Recordings
    settings: TrainingSettings
    wanted: Results = "average"
    stopped: bool = False

    def results(self) -> list[tuple[Any, ...]]:
        """Return of what there is a result, in every field: of all, and of each if wanted."""
        scenes = self.recordings.fields
        return [
            scene if one is None else (scene[one],) for scene in scenes for one, _ in self._made()
        ]

    def _made(self) -> list[tuple[int | None, str]]:
        """Return which recordings of a field are denoised, None for all, and how names end."""
        if self.wanted == "none":
            return []
        count = len(self.recordings.sources)
        alone = range(count) if self.wanted == "each" and count > 1 else ()
        return [(None, ""), *((k, f"_{k + 1}") for k in alone)]

    def as_python(self) -> str:
        """Return a script that trains, saves the model and denoises the recordings."""
        places = [
            [
                repr(str(file)) if file else f"viewer.layers[{source.name!r}]"
                for source, file in scene
            ]
            for scene in self._files()
        ]
        how, use = (_keywords(values) for values in self._said())
        chosen = _keywords(self.settings.model_dump(exclude_defaults=True)).removeprefix(", ")
        results = [
            ("*recordings" if one is None else f"recordings[{one}]", tail)
            for one, tail in self._made()
        ]
        if len(places) > 1:
            listed = [f"    [{', '.join(scene)}]," for scene in places]
            opened = ["fields = [", *listed, "]", f"pairs = n2n.open_pairs(*fields{how})"]
            denoised = ["for number, recordings in enumerate(fields):"] if results else []
            denoised += [
                f'    n2n.denoise(denoiser, {what}, out=f"clean_{{number}}{tail}.ome.zarr"{use})'
                for what, tail in results
            ]
        else:
            opened = [f"recordings = [{', '.join(places[0])}]"]
            opened += [f"pairs = n2n.open_pairs(recordings{how})"]
            denoised = [
                f'n2n.denoise(denoiser, {what}, out="clean{tail}.ome.zarr"{use})'
                for what, tail in results
            ]
        lines = [f"# {words}" for words in self._remarks()]
        if any("viewer.layers" in place for scene in places for place in scene):
            lines.append(
                "# viewer.layers[...] is known in napari's console; elsewhere name a file there."
            )
        return "\n".join(
            [
                *lines,
                "import napari_n2n as n2n",
                "",
                *opened,
                f"denoiser = n2n.train(pairs, n2n.TrainingSettings({chosen}))",
                'denoiser.save("model.n2n")',
                *denoised,
                "",
            ]
        )

    def as_command(self) -> str:
        """Return the commands that do the same in a terminal."""
        lines = [f"# {words}" for words in self._remarks()]
        scenes: list[list[str]] = []
        for named in self._files():
            scenes.append([str(file or f"{source.name}.tif") for source, file in named])
            lines += [
                f"# Save the layer '{source.name}' as {source.name}.tif first, or name its file "
                "instead."
                for source, file in named
                if file is None
            ]
        how, use = self._said()
        chosen = self.settings.model_dump(exclude_defaults=True)
        words = [word for scene in scenes for word in (FIELD_SEPARATOR, *scene)][1:]
        commands = [["train", *words, "-o", "model.n2n", *_options(how | chosen)]]
        for number, scene in enumerate(scenes):
            stem = f"clean_{number}" if len(scenes) > 1 else "clean"
            for one, tail in self._made():
                what = scene if one is None else [scene[one]]
                words = [*what, "-o", f"{stem}{tail}.ome.zarr", *_options(use)]
                commands.append(["denoise", "model.n2n", *words])
        return "\n".join([*lines, *(shlex.join(["napari-n2n", *words]) for words in commands)])

    def _files(self) -> list[list[tuple[Any, Path | None]]]:
        """Return the sources of every field of view, each with the file that it is, if any."""
        recordings = self.recordings
        return [
            [(source, _file_of(source, recordings)) for source in scene]
            for scene in recordings.fields
        ]

    def _said(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is not left to itself in opening the recordings, and in denoising them."""
        axes = {"axes": self.recordings.axes} if self.recordings.axes else {}
        split = {"split": self.recordings.split} if self.recordings.split else {}
        chosen = self.settings.model_dump(exclude_defaults=True)
        both = {name: chosen[name] for name in ("device", "memory") if name in chosen}
        return axes | split, axes | both

    def _remarks(self) -> Iterator[str]:
        if self.settings.minutes is not None and self.settings.steps is None:
            yield "Minutes end this run: how many steps fit into them differs from run to run."
        if self.stopped:
            yield "The run in the window was stopped by hand: this one goes on to its end."


def _keywords(values: dict[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in values.items())


def _options(values: dict[str, Any]) -> list[str]:
    words = []
    for name, value in values.items():
        words += [f"--{name}", f"{value / 1e6:.12g}MB" if name == "memory" else f"{value}"]
    return words


def _file_of(source: Any, recordings: Recordings) -> Path | None:
    """Return the file that a source is, or that a layer shows unchanged; None if there is none."""
    if isinstance(source, str | Path):
        return Path(source)
    path = getattr(getattr(source, "source", None), "path", None)
    if path is None:
        return None
    try:
        layer, file = (Acquisition.open(one, axes=recordings.axes) for one in (source, Path(path)))
    except BadInput:
        return None
    alike = (layer.shape, layer.dtype) == (file.shape, file.dtype)
    if not alike or not _called_alike(layer, file, recordings.split):
        return None
    same = np.array_equal(layer.sample_plane(), file.sample_plane())
    return Path(path) if same else None


def _called_alike(layer: Acquisition, file: Acquisition, split: str | None) -> bool:
    """Tell whether the axes of a file stand for the same; layers often do not name theirs."""
    unnamed = layer.axes_assumed and split is None and not set("CR") & set(file.axes)
    return layer.axes == file.axes or unnamed
