"""Denoise all recordings in a folder, one field of view after another, into another folder."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

from napari_n2n.denoising.denoise import denoise_by_shards
from napari_n2n.denoising.plan import Quantity, make_plan
from napari_n2n.errors import BadInput
from napari_n2n.generators import as_steps
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.bad_fields import OnBad, Problems
from napari_n2n.io.crash_safe import Journal, discard_unfinished, journal_path, read_journal
from napari_n2n.io.fields_of_view import fields_of_view
from napari_n2n.io.fingerprint import same_state, state_of
from napari_n2n.io.ngff_images import is_zarr
from napari_n2n.io.output_path import Inputs, output_path
from napari_n2n.io.run_lock import locked
from napari_n2n.io.sources import expanded
from napari_n2n.io.writers import ENDINGS
from napari_n2n.model.denoiser import Denoiser, load


@dataclass(frozen=True, slots=True)
class FolderStep:
    """Progress of a run.

    Attributes
    ----------
    done, total
        Number of results, finished and in total.
    progress
        Share of the run that is done, 0 to 1.
    name
        Name of the current result.
    warnings
        Sentences that say how the recordings differ from those that the model was trained on.
    checked
        Number of the recording that is being checked, before denoising starts; later None.
    """

    done: int
    total: int
    progress: float
    name: str
    warnings: tuple[str, ...]
    checked: int | None = None

    @property
    def text(self) -> str:
        """The current recording or result, and its number."""
        if self.checked is not None:
            return f"checking {self.name}, {self.checked} of {self.total}"
        return f"{self.name}, {self.done + 1} of {self.total}"


@dataclass(frozen=True)
class FolderJob:
    """Recordings of several fields of view, and the folder of their results.

    Attributes
    ----------
    fields
        Files of every field of view, whose results are averaged; see `fields_of_view`.
    folder
        Folder for the results: a TIFF for a TIFF, OME-Zarr for other formats.
    root
        Folder of the first recordings: results of recordings in its subfolders are in subfolders of
        the same names. None: all results are in `folder` itself.
    unmatched
        Errors of the recordings that have no counterpart in the other folders.

    Raises
    ------
    BadInput
        If two results would have the same name, or overwrite their recordings.
    """

    fields: tuple[tuple[Path, ...], ...]
    folder: Path
    root: Path | None = None
    unmatched: tuple[BadInput, ...] = ()

    def __post_init__(self) -> None:
        folder = self.folder
        output_path(folder)
        if folder.is_file() or folder.name.lower().endswith(ENDINGS) or is_zarr(folder):
            raise BadInput(f"{folder}: is an image: choose a folder for the results", "output")
        for source in chain.from_iterable(self.fields):
            if folder.exists() and folder.samefile(source.parent):
                raise BadInput(
                    f"{folder}: contains the recordings: choose another folder", "output"
                )
        inputs = Inputs(chain.from_iterable(self.fields))
        first: dict[Path, Path] = {}
        for (source, *_), result in zip(self.fields, self.results, strict=True):
            inputs.check_keeps(result)
            if result in first:
                raise BadInput(
                    f"{source}: its result would have the same name as that of "
                    f"{first[result].name}: rename one of them",
                    "output",
                )
            first[result] = source

    @classmethod
    def of(
        cls, folders: Sequence[str | Path], out: str | Path, *, recursive: bool = False
    ) -> "FolderJob":
        """Create a job for the files in folders; files of the same name show one field of view."""
        folder = Path(out).expanduser()
        unmatched: list[BadInput] = []
        fields = fields_of_view(
            folders, recursive=recursive, without=folder, on_bad=unmatched.append
        )
        root = expanded(Path(folders[0]))
        return cls(tuple(map(tuple, fields)), folder, root, tuple(unmatched))

    @property
    def results(self) -> list[Path]:
        """Paths of the results, one for each field of view."""
        return [self._result(sources[0]) for sources in self.fields]

    def _result(self, source: Path) -> Path:
        inside = self.root is not None and source.is_relative_to(self.root)
        place = source.parent.relative_to(self.root) if inside and self.root else Path()
        return self.folder / place / _result_name(source.name)

    @property
    def journal(self) -> Path:
        """Path of the journal: the settings, then the finished results with their recordings."""
        return folder_journal(self.folder)

    @property
    def entries(self) -> list[str]:
        """Lines of the journal, one for each result, written when the result is finished."""
        return [
            "\t".join(
                [str(out.relative_to(self.folder)), *(str(path.absolute()) for path in sources)]
            )
            for sources, out in zip(self.fields, self.results, strict=True)
        ]

    def status(self) -> tuple[int, bool]:
        """Return how many results exist, and whether there is a run to resume."""
        if not self.folder.is_dir():
            return 0, False
        places = {path.parent for path in self.results} | {self.folder}
        there = {path for place in places if place.is_dir() for path in place.iterdir()}
        exists = [path in there for path in self.results]
        journal = read_journal(self.journal)
        listed = journal.done if journal is not None else {}
        done = [here and entry in listed for here, entry in zip(exists, self.entries, strict=True)]
        return sum(exists), self.journal in there and not all(done)


def folder_journal(folder: Path) -> Path:
    """Return the path of the journal in a folder of results."""
    return folder / ".napari-n2n.journal"


@as_steps
def denoise_fields_of_view(
    denoiser: Denoiser,
    job: FolderJob,
    *,
    axes: str | None = None,
    dtype: str = "float32",
    turns: bool = False,
    quantity: Quantity = "result",
    overwrite: bool = False,
    resume: bool = False,
    on_bad: OnBad | None = None,
    **options: Any,
) -> Generator[FolderStep, None, list[Path]]:
    """Denoise one field of view after another; a generator that returns the paths of the results.

    A resumed run that is already finished yields nothing. Whenever the run ends, every result is
    complete, can be resumed, or has not been started. Recordings that cannot be opened, or do not
    suit the model, raise one error before denoising starts. See `denoise_folder` for the
    parameters.
    """
    how: dict[str, Any] = {"axes": axes, "dtype": dtype, "turns": turns}
    if quantity != "result":  # journals of earlier versions have no such entry
        how["quantity"] = quantity
    # A resumed run overwrites the remaining results if the first run had this option.
    settings = {"model": denoiser.fingerprint(), **how, "_overwrite": overwrite}
    # The lock is held from before the results are checked until the last one is finished.
    with locked(job.journal.with_suffix(""), title=job.folder):
        _check_results(job, overwrite=overwrite, resume=resume)
        journal = read_journal(job.journal) if resume else None
        if journal is not None:
            journal.check_same(settings)
        left = _left(job, journal)
        problems = Problems(on_bad, job.unmatched, single=len(job.fields) == 1)
        suitable = []
        for number in left:
            sources = job.fields[number]
            yield FolderStep(0, len(job.fields), 0.0, sources[0].name, (), checked=number + 1)
            with problems.noted(sources, partial(Acquisition.open, axes=axes)):
                make_plan(denoiser, *sources, **how)
                suitable.append(number)
        problems.check(left=len(job.fields) - len(left) + len(suitable))
        if journal is None:
            for out in job.results:
                with locked(out):
                    discard_unfinished(out)
            journal = Journal.begin(job.journal, settings)
        try:
            yield from _denoise_each(
                *(denoiser, job, journal, suitable, problems, how), options | {"resume": resume}
            )
        except BaseException:
            if not journal.done and not any(journal_path(out).exists() for out in job.results):
                journal.remove()  # nothing to resume
            raise
        return [out for out in job.results if out.exists()]


def _check_results(job: FolderJob, *, overwrite: bool, resume: bool) -> None:
    existing, unfinished = job.status()
    if (existing or unfinished) and not (overwrite or resume):
        raise BadInput(
            f"{job.folder}: {existing} of {len(job.fields)} results already exist: "
            + ("add --resume to continue, or " if unfinished else "add ")
            + "--overwrite to replace them",
            "unfinished" if unfinished else "exists",
        )


def _left(job: FolderJob, journal: Journal | None) -> list[int]:
    """Return the indices of the fields of view whose results are not finished.

    Raises
    ------
    BadInput
        If a recording has changed since its result was finished.
    """
    left = []
    for number, (sources, out, entry) in enumerate(
        zip(job.fields, job.results, job.entries, strict=True)
    ):
        if journal is None or entry not in journal.done or not out.exists():
            left.append(number)
            continue
        for source, before in zip(sources, journal.done[entry] or (), strict=False):
            if not _unchanged(source, before):
                raise BadInput(
                    f"{source}: has changed since {out} was finished: start again with "
                    "--overwrite, or choose another folder for the results",
                    "resume",
                )
    return left


def _unchanged(source: Path, before: list[Any]) -> bool:
    # The bytes of a finished recording are read only if its time of change differs.
    return state_of(source, contents=False) == before[:3] or same_state(before, state_of(source))


def _denoise_each(
    denoiser: Denoiser,
    job: FolderJob,
    journal: Journal,
    numbers: list[int],
    problems: Problems,
    how: dict[str, Any],
    options: dict[str, Any],
) -> Generator[FolderStep, None, None]:
    """Denoise fields of view; a field of view with a problem on reading may be left out."""
    results, entries, total = job.results, job.entries, len(job.fields)
    for number in numbers:
        sources, out = job.fields[number], results[number]
        with problems.noted(sources):
            states = [state_of(source) for source in sources]
            plan = make_plan(denoiser, *sources, **how)
            run = denoise_by_shards(
                denoiser, plan, out, overwrite=journal.job["_overwrite"], **options
            )
            with closing(run):
                for step in run:
                    share = (number + step.progress) / total
                    yield FolderStep(number, total, share, out.name, plan.warnings)
            journal.add(entries[number], states)
        problems.check(left=1)


def denoise_folder(
    denoiser: Denoiser | str | PathLike[str],
    *folders: str | Path,
    out: str | Path,
    recursive: bool = False,
    on_step: Callable[[FolderStep], None] | None = None,
    **options: Any,
) -> list[Path]:
    """Denoise all recordings in a folder, one after another.

    Parameters
    ----------
    denoiser
        The model, or the path of its file.
    folders
        One folder; or several with recordings of the same fields of view under the same names,
        whose results are averaged.
    out
        Folder for the results: a TIFF for a TIFF, OME-Zarr for other formats.
    recursive
        Also take the files in subfolders; their results are in subfolders of the same names.
    on_step
        Called with the progress after every shard.
    options
        axes, dtype, turns, quantity, device, memory, overwrite, resume and scheduler, as in
        `denoise`.
        `on_bad` is called with the error of each recording that cannot be used, which is then left
        out; without it, one error names all of them before denoising starts.
        `resume` continues an interrupted run, or adds new recordings to a complete one; model,
        axes, dtype, turns and finished recordings must be the same as before.

    Returns
    -------
    list of pathlib.Path
        The results.

    Raises
    ------
    BadInput
        If a recording, or `out`, cannot be used; finished results are kept.
    """
    model = denoiser if isinstance(denoiser, Denoiser) else load(denoiser)
    return denoise_fields_of_view(
        model, FolderJob.of(folders, out, recursive=recursive), **options
    ).finish(on_step)


def _result_name(name: str) -> str:
    return name if name.lower().endswith(ENDINGS) else f"{Path(name).stem}.ome.zarr"
