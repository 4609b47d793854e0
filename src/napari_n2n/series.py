"""Folder in, folder out: one recording after the other through a model."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from napari_n2n.acquisition import Acquisition
from napari_n2n.denoising import denoise_by_shards
from napari_n2n.errors import BadInput
from napari_n2n.fields import fields_of_view
from napari_n2n.generators import run_to_end
from napari_n2n.journal import Journal
from napari_n2n.model import Denoiser
from napari_n2n.plan import plan
from napari_n2n.writers import ENDINGS


@dataclass(frozen=True, slots=True)
class SeriesStep:
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
class Series:
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
        if self.folder.is_file():
            raise BadInput(f"{self.folder}: is a file: name a folder for the results")
        if self.folder.resolve() in {path.parent.resolve() for one in self.fields for path in one}:
            raise BadInput(
                f"{self.folder}: the recordings lie there: name another folder for the results"
            )
        first: dict[Path, Path] = {}
        for (source, *_), result in zip(self.fields, self.results, strict=True):
            if result in first:
                raise BadInput(
                    f"{source}: its result would have the name of that of {first[result].name}: "
                    "rename one of them"
                )
            first[result] = source

    @classmethod
    def of(cls, folders: Sequence[str | Path], out: str | Path) -> "Series":
        """List what lies in folders; files of one name show one field of view."""
        return cls(tuple(map(tuple, fields_of_view(folders))), Path(out))

    @property
    def results(self) -> list[Path]:
        """Where the result of every field of view goes."""
        return [self.folder / _result_name(sources[0].name) for sources in self.fields]

    @property
    def journal(self) -> Path:
        """Where is noted what an unfinished run has done."""
        return self.folder / ".napari-n2n.journal"

    def standing(self) -> tuple[int, bool]:
        """Return how many results are there, and whether a run was left unfinished."""
        return sum(path.exists() for path in self.results), self.journal.exists()


def denoise_in_turn(
    denoiser: Denoiser,
    series: Series,
    *,
    axes: str | None = None,
    dtype: str = "float32",
    turns: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    **options: Any,
) -> Generator[SeriesStep, None, list[Path]]:
    """Denoise one field of view after the other; a generator that returns where the results are.

    Whenever it ends, every result is whole, or unfinished and to be resumed, or not begun. A
    recording that cannot be opened is refused before the first is denoised. See `denoise_folder`
    for the parameters.
    """
    for source in chain.from_iterable(series.fields):
        Acquisition.open(source, axes=axes)
    there, unfinished = series.standing()
    if (there or unfinished) and not (overwrite or resume):
        raise BadInput(
            f"{series.folder}: {there} of {len(series.fields)} results are there"
            f"{' and a run is unfinished' if unfinished else ''}: go on with --resume, or make all "
            "anew with --overwrite"
        )
    series.folder.mkdir(parents=True, exist_ok=True)
    results, total = series.results, len(series.fields)
    job = {"model": denoiser.fingerprint(), "dtype": dtype, "turns": turns}
    journal = Journal(series.journal, job, resume=resume)
    if resume and not unfinished:  # more recordings for a run that has ended
        for out in results:
            if out.exists():
                journal.add(out.name)
    for number, (sources, out) in enumerate(zip(series.fields, results, strict=True)):
        if out.name in journal.done and out.exists():
            continue
        work = plan(denoiser, *sources, axes=axes, dtype=dtype, turns=turns)
        run = denoise_by_shards(
            denoiser, work, out, overwrite=out.exists(), resume=resume, **options
        )
        with closing(run):
            for step in run:
                share = (number + step.progress) / total
                yield SeriesStep(number, total, share, out.name, work.warnings)
        journal.add(out.name)
    journal.remove()
    return results


def denoise_folder(
    denoiser: Denoiser,
    *folders: str | Path,
    out: str | Path,
    on_step: Callable[[SeriesStep], None] | None = None,
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
        them. With `resume`, a run that was stopped goes on; after one that came to its end, only
        recordings that have no result yet are denoised.

    Returns
    -------
    list of pathlib.Path
        The results.

    Raises
    ------
    BadInput
        If a recording, or `out`, cannot be used; what was made before is kept.
    """
    run = denoise_in_turn(denoiser, Series.of(folders, out), **options)
    return run_to_end(run, on_step)


def _result_name(name: str) -> str:
    return name if name.lower().endswith(ENDINGS) else f"{Path(name).stem}.ome.zarr"
