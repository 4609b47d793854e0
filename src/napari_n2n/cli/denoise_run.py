"""Denoise with messages and a display of the progress on the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_n2n.cli.left_out import LeftOut, say_ignored
from napari_n2n.cli.terminal import progress, say
from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import journal_path
from napari_n2n.io.output_path import check_keeps_inputs, check_overwrite, output_path

if TYPE_CHECKING:
    from napari_n2n.denoising.plan import Quantity
    from napari_n2n.generators import Steps
    from napari_n2n.model.denoiser import Denoiser


@contextmanager
def say_if_resumable(output: Path) -> Iterator[None]:
    """If a run ends early, print whether it can be resumed."""
    try:
        yield
    except BaseException as error:
        # The message of a BadInput says so itself, and the journal may belong to another run.
        if not isinstance(error, BadInput) and _has_unfinished(output):
            say(f"stopped: the finished part of {_title(output)} is kept; continue with --resume")
        raise


def check_error_map(
    denoiser: "Denoiser", model: Path, output: Path, error: Path, *, replaces: bool
) -> None:
    """Raise before the run if the model has not learned its error, or the map cannot be written.

    `replaces` says whether an existing one is overwritten or resumed.
    """
    from napari_n2n.denoising.plan import check_error_is_known
    from napari_n2n.io.address import address_of

    check_error_is_known(denoiser, len(denoiser.scales), str(model))
    if (address := address_of(error)) is not None:  # its store checks whether it is free
        if address == address_of(output):
            raise BadInput(f"{error}: is also the result: choose another --error", "output")
        return
    path = output_path(error)
    if address_of(output) is None and path == output_path(output):
        raise BadInput(f"{error}: is also the result: choose another name for --error", "output")
    check_keeps_inputs(path, [model])
    check_overwrite(path, overwrite=replaces)


def _title(output: Path) -> str:
    from napari_n2n.io.address import address_of

    return address_of(output) or str(output)


def _has_unfinished(output: Path) -> bool:
    from napari_n2n.denoising.folder import folder_journal
    from napari_n2n.denoising.to_address import staging_path
    from napari_n2n.io.address import address_of

    address = address_of(output)
    if address is None:
        return journal_path(output).exists() or folder_journal(output).exists()
    place = staging_path(address)  # complete while it is uploaded
    return place.exists() or journal_path(place).exists()


def denoise_scene_shown(
    denoiser: "Denoiser",
    sources: list[Path],
    output: Path,
    *,
    axes: str | None,
    dtype: str,
    turns: bool,
    quantity: "Quantity" = "result",
    **options: Any,
) -> tuple[bool, list[Path | str]]:
    """Denoise and show the progress; return whether work was done, and the path of the result."""
    from napari_n2n.denoising.denoise import denoise_by_shards
    from napari_n2n.denoising.plan import make_plan
    from napari_n2n.denoising.to_address import denoise_and_upload
    from napari_n2n.io.address import address_of

    how: dict[str, Any] = {"axes": axes, "dtype": dtype, "turns": turns}
    work = make_plan(denoiser, *sources, **how, quantity=quantity)
    for warning in work.warnings if quantity == "result" else ():
        say(f"warning: {warning}")
    address = address_of(output)
    run: Steps[Any, Any] = (
        denoise_by_shards(denoiser, work, output, **options)
        if address is None
        else denoise_and_upload(denoiser, work, address, **options)
    )
    worked = False
    with progress("denoising" if quantity == "result" else "error map") as follow:
        for step in run:
            worked = True
            follow(step.progress, f"shard {step.done} of {step.total}")
    return worked, [run.result]


def denoise_folders_shown(
    denoiser: "Denoiser",
    folders: list[Path],
    output: Path,
    *,
    recursive: bool,
    left_out: LeftOut | None,
    **options: Any,
) -> tuple[bool, list[Path | str]]:
    """Denoise and show the progress; return whether work was done, and the paths of the results.

    Recordings that cannot be used are left out if `left_out` is given.
    """
    from napari_n2n.denoising.folder import FolderJob, denoise_fields_of_view

    if not recursive:
        say_ignored(folders, without=output)
    job = FolderJob.of(folders, output, recursive=recursive)
    on_bad = left_out.add if left_out is not None else None
    run = denoise_fields_of_view(denoiser, job, on_bad=on_bad, **options)
    warned: set[str] = set()
    worked = False
    with progress("denoising") as follow:
        for step in run:
            worked = True
            if step.warnings and step.name not in warned:
                warned.add(step.name)
                say(f"warning: {step.name}: {' '.join(step.warnings)}")
            follow(step.progress, step.text)
    return worked, [*run.result]
