"""Open the result of a run on the disk: new, finished, or continued after an interruption."""

import hashlib
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_n2n.denoising.plan import Plan
from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import (
    Journal,
    discard_unfinished,
    journal_path,
    partial_path,
    read_journal,
    restore,
)
from napari_n2n.io.fingerprint import check_unchanged, fingerprint
from napari_n2n.io.output_path import check_disk_space
from napari_n2n.io.writers import Writer, checked_output, least_size, open_writer, read_tag
from napari_n2n.model.denoiser import Denoiser

_log = logging.getLogger("napari_n2n")


def job_of(denoiser: Denoiser, plan: Plan) -> dict[str, Any]:
    """Return everything that determines the pixels of a result, as plain JSON."""
    header = plan.header
    # Results have no such entry, as in journals and results of earlier versions.
    errors = [one and one.model_dump(mode="json") for one in denoiser.record.error]
    quantity = {} if plan.quantity == "result" else {"quantity": plan.quantity, "errors": errors}
    return quantity | {
        "model": denoiser.fingerprint(),
        "input": [fingerprint(one) for scene in plan.scenes for one in scene.acquisitions],
        "output": [header.shape, str(header.dtype), header.axes],
        "turns": plan.turns,
    }


def tag_of(job: dict[str, Any]) -> str:
    """Return a hash of a job; times of files do not matter."""
    what = {key: value for key, value in job.items() if not key.startswith("_")}
    what["input"] = [one["pixels"] for one in job["input"]]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def is_finished(path: Path, job: dict[str, Any]) -> bool:
    """Return whether `path` is the result of a job; remove leftovers of its run."""
    if not path.exists() or read_tag(path) != tag_of(job):
        return False
    discard_unfinished(path)
    return True


def open_output(
    path: Path, denoiser: Denoiser, plan: Plan, job: dict[str, Any], resume: bool
) -> tuple[Journal, Writer]:
    """Open journal and writer, either those of the interrupted run or new ones."""
    header, dims, tag = plan.header, denoiser.dims, tag_of(job)
    journal = read_journal(journal_path(path)) if resume else None
    if journal is not None:
        restore(path, journal)
    overwrite = job["_overwrite"] or (journal is not None and journal.job.get("_overwrite", False))
    if resume and journal is None and not overwrite and path.exists():
        raise BadInput(
            f"{path}: already exists, and was not made by this command (another recording, model "
            "or setting): choose another name, or add --overwrite",
            "exists",
        )
    checked_output(path, overwrite=overwrite, resume=resume)
    if journal is not None:
        check_unchanged(journal.job["input"], job["input"], journal.path)
        journal.check_same(job | {"input": journal.job["input"]})
        with suppress(FileNotFoundError):
            writer = open_writer(path, header, resume=True, **_stored(journal, dims, tag))
            if any(is_written(name, writer, journal) for name in journal.done):
                return journal, writer
            writer.close()
        partial = partial_path(path, journal.token)
        if journal.done:
            kept = f" ({partial.name} is kept)" if partial.exists() else ""
            _log.warning("%s: the unfinished result is lost%s: starting again", path, kept)
        journal.restart(partial)
    else:
        discard_unfinished(path)
        journal = Journal.begin(journal_path(path), job)
    try:
        check_disk_space(path, least_size(path, header))
        writer = open_writer(path, header, **_stored(journal, dims, tag))
        journal.claim(writer.partial)
    except BaseException:
        journal.remove()
        raise
    return journal, writer


def _stored(journal: Journal, dims: int, tag: str) -> dict[str, Any]:
    made = journal.job.get("_provenance")  # a run of version 0.1 has none
    return {"dims": dims, "token": journal.token, "tag": tag, "note": made}


def is_written(name: str, writer: Writer, journal: Journal) -> bool:
    """Return whether a part is on the disk as the journal lists it."""
    return name in journal.done and writer.check(name) == journal.done[name] is not None
