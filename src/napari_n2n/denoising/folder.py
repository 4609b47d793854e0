"""Folder in, folder out: one recording after the other through a model."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from napari_n2n.denoising.denoise import denoise_by_shards
from napari_n2n.denoising.plan import make_plan
from napari_n2n.errors import BadInput
from napari_n2n.generators import as_steps
from napari_n2n.io import ngff
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.crash_safe import Journal, journal_path, read_journal
from napari_n2n.io.fields_of_view import fields_of_view
from napari_n2n.io.writers import ENDINGS
from napari_n2n.model.denoiser import Denoiser


@dataclass(frozen=True, slots=True)
class FolderStep:
    """Where a run stands.

    Attributes
    ----------
    done, total
        Results.
    progress
        Share of the run that is done, 0 to 1.
    name
        Of the result under way.
    warnings
        Sentences for the person about the recordings that it is made of.
    """

    done: int
    total: int
    progress: float
    name: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class FolderJob:
    """Recordings of several fields of view, and where their results go.

    Attributes
    ----------
    fields
        Files of every field of view, which are averaged; see `fields_of_view`.
    folder
        For the results: what is a TIFF stays one, all else becomes OME-Zarr.

    Raises
    ------
    BadInput
        If two results would have one name, or replace what they are made of.
    """

    fields: tuple[tuple[Path, ...], ...]
    folder: Path

    def __post_init__(self) -> None:
        folder = self.folder
        if folder.is_file() or folder.name.lower().endswith(ENDINGS) or ngff.is_zarr(folder):
            raise BadInput(
                f"{folder}: is the name of an image: name a folder for the results", "output"
            )
        beside = {path.parent for sources in self.fields for path in sources}
        if folder.resolve() in {one.resolve() for one in beside}:
            raise BadInput(f"{folder}: the recordings lie there: name another folder", "output")
        first: dict[Path, Path] = {}
        for (source, *_), result in zip(self.fields, self.results, strict=True):
            if result in first:
                raise BadInput(
                    f"{source}: its result would have the name of that of {first[result].name}: "
                    "rename one of them",
                    "output",
                )
            first[result] = source

    @classmethod
    def of(cls, folders: Sequence[str | Path], out: str | Path) -> "FolderJob":
        """List what lies in folders; files of one name show one field of view."""
        return cls(tuple(map(tuple, fields_of_view(folders))), Path(out))

    @property
    def results(self) -> list[Path]:
        """Where the result of every field of view goes."""
        return [self.folder / _result_name(sources[0].name) for sources in self.fields]

    @property
    def journal(self) -> Path:
        """Where is noted what was made of which recordings, and by which model."""
        return self.folder / ".napari-n2n.journal"

    @property
    def entries(self) -> list[str]:
        """What the journal says of each result that is made."""
        return [
            "\t".join([out.name, *(str(path.absolute()) for path in sources)])
            for sources, out in zip(self.fields, self.results, strict=True)
        ]

    def status(self) -> tuple[int, bool]:
        """Return how many results are there, and whether there is a run to go on with."""
        if not self.folder.is_dir():
            return 0, False
        names = {path.name for path in self.folder.iterdir()}
        here = [path.name in names for path in self.results]
        noted = read_journal(self.journal)
        done = [there and entry in noted for there, entry in zip(here, self.entries, strict=True)]
        return sum(here), self.journal.name in names and not all(done)


@as_steps
def denoise_fields_of_view(
    denoiser: Denoiser,
    series: FolderJob,
    *,
    axes: str | None = None,
    dtype: str = "float32",
    turns: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    **options: Any,
) -> Generator[FolderStep, None, list[Path]]:
    """Denoise one field of view after the other; a generator that returns where the results are.

    Whenever it ends, every result is whole, or unfinished and to be resumed, or not begun. A
    recording that cannot be opened is refused before the first is denoised. See `denoise_folder`
    for the parameters.
    """
    total = len(series.fields)
    there, unfinished = series.status()
    if (there or unfinished) and not (overwrite or resume):
        raise BadInput(
            f"{series.folder}: {there} of {total} results are there: "
            + ("go on with --resume, or make all " if unfinished else "make them ")
            + "anew with --overwrite",
            "unfinished" if unfinished else "exists",
        )
    for source in chain.from_iterable(series.fields):
        yield FolderStep(0, total, 0.0, source.name, ())
        Acquisition.open(source, axes=axes)
    found = series.folder.exists()
    series.folder.mkdir(parents=True, exist_ok=True)
    how = {"axes": axes, "dtype": dtype, "turns": turns}
    # What shall be made anew is so also when the run was stopped and is gone on with.
    job = {"model": denoiser.fingerprint(), **how, "_overwrite": overwrite}
    journal = Journal(series.journal, job, resume=resume)
    if not resume:
        for out in series.results:
            journal_path(out).unlink(missing_ok=True)
    try:
        yield from _in_turn(denoiser, series, journal, how, options)
    except BaseException:
        if not journal.done and not any(journal_path(out).exists() for out in series.results):
            journal.remove()  # nothing to go on from
            if not found:
                with suppress(OSError):
                    series.folder.rmdir()
        raise
    return series.results


def _in_turn(
    denoiser: Denoiser,
    series: FolderJob,
    journal: Journal,
    how: dict[str, Any],
    options: dict[str, Any],
) -> Generator[FolderStep, None, None]:
    total = len(series.fields)
    parts = zip(series.fields, series.results, series.entries, strict=True)
    for number, (sources, out, entry) in enumerate(parts):
        if entry in journal.done and out.exists():
            continue
        work = make_plan(denoiser, *sources, **how)
        run = denoise_by_shards(
            denoiser, work, out, overwrite=journal.job["_overwrite"], resume=True, **options
        )
        with closing(run):
            for step in run:
                share = (number + step.progress) / total
                yield FolderStep(number, total, share, out.name, work.warnings)
        journal.add(entry)


def denoise_folder(
    denoiser: Denoiser,
    *folders: str | Path,
    out: str | Path,
    on_step: Callable[[FolderStep], None] | None = None,
    **options: Any,
) -> list[Path]:
    """Denoise all recordings in a folder, one after the other.

    Parameters
    ----------
    denoiser
        The model.
    folders
        One; or several with recordings of the same fields of view, which have the same names in
        all: those are averaged.
    out
        Folder for the results: what is a TIFF stays one, all else becomes OME-Zarr.
    on_step
        Called as the run goes on.
    options
        axes, dtype, turns, device, memory, overwrite, resume and scheduler, as `denoise` takes
        them. With `resume`, a run that was stopped goes on, and recordings that came later are
        added to one that came to its end; model, axes, dtype and turns must be as they were.

    Returns
    -------
    list of pathlib.Path
        The results.

    Raises
    ------
    BadInput
        If a recording, or `out`, cannot be used; what was made before is kept.
    """
    return denoise_fields_of_view(denoiser, FolderJob.of(folders, out), **options).finish(on_step)


def _result_name(name: str) -> str:
    return name if name.lower().endswith(ENDINGS) else f"{Path(name).stem}.ome.zarr"
