"""What a training run is made from, and the text that makes it again elsewhere."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_n2n.acquisition import Acquisition
from napari_n2n.errors import BadInput
from napari_n2n.fields import fields_of_view, is_folder
from napari_n2n.pair import Pair, open_pairs
from napari_n2n.settings import TrainingSettings


@dataclass(frozen=True)
class Recordings:
    """Recordings of one scene, or folders of such, as a person names them.

    Attributes
    ----------
    sources
        Whatever `Acquisition.open` takes, or folders as `fields_of_view` takes them.
    axes
        Letters of their dimensions, to overrule what they say.
    split
        Letter of an axis whose even and odd frames are taken for two recordings.
    """

    sources: tuple[Any, ...]
    axes: str | None = None
    split: str | None = None

    @property
    def title(self) -> str:
        """Their names."""
        named = (Path(one) if isinstance(one, str) else one for one in self.sources)
        return " + ".join(one.name for one in named)

    @property
    def in_folders(self) -> bool:
        """Whether the sources are folders with recordings in them."""
        return all(isinstance(one, str | Path) and is_folder(Path(one)) for one in self.sources)

    def fields(self) -> list[tuple[Any, ...]]:
        """Return those of every field of view; raises `BadInput` as `fields_of_view` does."""
        if self.in_folders:
            return [tuple(field) for field in fields_of_view(self.sources)]
        return [self.sources]

    def pairs(self) -> list[Pair]:
        """Open them; raises `BadInput` as `fields` and `open_pairs` do."""
        return open_pairs(*self.fields(), axes=self.axes, split=self.split)


@dataclass(frozen=True)
class Recipe:
    """Recordings, and the settings to train on them with.

    With steps given, or a preset and no minutes, the texts give the same weights on the CPU, unless
    the run was stopped.

    Attributes
    ----------
    recordings, settings
        From what, and how.
    each
        Whether each recording is denoised by itself too, beside the average of all.
    stopped
        Whether a person ended the run.
    """

    recordings: Recordings
    settings: TrainingSettings
    each: bool = False
    stopped: bool = False

    def results(self) -> list[tuple[Any, ...]]:
        """Return of what there is a result, in every field: of all, and of each if wanted."""
        found: list[tuple[Any, ...]] = []
        for field in self.recordings.fields():
            found += [field, *((one,) for one in field[: self._alone])]
        return found

    @property
    def _alone(self) -> int:
        """How many recordings of a field are denoised by themselves too."""
        count = len(self.recordings.sources)
        return count if self.each and count > 1 else 0

    def as_python(self) -> str:
        """Return a script that trains, saves the model and denoises the recordings."""
        recordings = self.recordings
        named = [_file_of(source, recordings) for source in recordings.sources]
        places = ", ".join(
            repr(str(file)) if file else f"viewer.layers[{source.name!r}]"
            for file, source in zip(named, recordings.sources, strict=True)
        )
        how, use = (_keywords(values) for values in self._said())
        chosen = _keywords(self.settings.model_dump(exclude_defaults=True)).removeprefix(", ")
        results = [("*recordings", "")]
        results += [(f"recordings[{k}]", f"_{k + 1}") for k in range(self._alone)]
        if recordings.in_folders:
            opened = [f"fields = n2n.fields_of_view([{places}])"]
            opened += [f"pairs = n2n.open_pairs(*fields{how})"]
            denoised = ["for number, recordings in enumerate(fields):"]
            denoised += [
                f'    n2n.denoise(denoiser, {what}, out=f"clean_{{number}}{tail}.ome.zarr"{use})'
                for what, tail in results
            ]
        else:
            opened = [f"recordings = [{places}]", f"pairs = n2n.open_pairs(recordings{how})"]
            denoised = [
                f'n2n.denoise(denoiser, {what}, out="clean{tail}.ome.zarr"{use})'
                for what, tail in results
            ]
        lines = [f"# {words}" for words in self._remarks()]
        if not all(named):
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
        recordings, files = self.recordings, []
        for source in recordings.sources:
            file = _file_of(source, recordings)
            if file is None:
                file = Path(f"{source.name}.tif")
                lines.append(
                    f"# Save the layer '{source.name}' as {file} first, or name its file instead."
                )
            files.append(str(file))
        how, use = self._said()
        chosen = self.settings.model_dump(exclude_defaults=True)
        commands = [["train", *files, "-o", "model.n2n", *_options(how | chosen)]]
        fields = recordings.fields() if recordings.in_folders else [files]
        for number, field in enumerate(fields):
            stem = f"clean_{number}" if recordings.in_folders else "clean"
            results = [(field, ""), *(([field[k]], f"_{k + 1}") for k in range(self._alone))]
            for what, tail in results:
                words = [*map(str, what), "-o", f"{stem}{tail}.ome.zarr", *_options(use)]
                commands.append(["denoise", "model.n2n", *words])
        return "\n".join([*lines, *(shlex.join(["napari-n2n", *words]) for words in commands)])

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
