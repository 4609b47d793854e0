"""What made a result: program, date, model and settings, stored in the result and read from it.

If the environment variable SOURCE_DATE_EPOCH is set (seconds since 1970; see
reproducible-builds.org), it gives all dates, and no measured times are stored: the same run then
gives the same bytes.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput
from napari_n2n.io import ngff_writer, tiff_writer

_EPOCH = "SOURCE_DATE_EPOCH"
_SHORT = 12  # digits of a fingerprint that are shown: enough to tell a million models apart


def has_fixed_date() -> bool:
    """Return whether SOURCE_DATE_EPOCH gives the date that is written into files."""
    return bool(os.environ.get(_EPOCH))


def date_now() -> str:
    """Return the present date and time, or those of SOURCE_DATE_EPOCH, in ISO 8601 and UTC.

    Raises
    ------
    BadInput
        If SOURCE_DATE_EPOCH is not a number of seconds.
    """
    if not has_fixed_date():
        return datetime.now(UTC).isoformat(timespec="seconds")
    try:
        return datetime.fromtimestamp(int(os.environ[_EPOCH]), UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError) as error:
        raise BadInput(
            f"{_EPOCH}={os.environ[_EPOCH]}: is not a number of seconds since 1970: "
            "correct this environment variable, or unset it",
            "option",
        ) from error


def read_provenance(path: str | Path) -> dict[str, Any] | None:
    """Return what made a result, as `denoise` has stored it in the file.

    Parameters
    ----------
    path
        An OME-Zarr or TIFF file.

    Returns
    -------
    dict or None
        ``program``, ``date``, ``inputs``, ``settings`` and ``model`` (``fingerprint``, ``date``,
        ``loss``, ``steps``, ``score``, ``acquisitions``); None if the file holds none, because
        another program, or version 0.1, wrote it.
    """
    path = Path(path)
    text = ngff_writer.read_note(path) if path.is_dir() else tiff_writer.read_note(path)
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def provenance_lines(provenance: dict[str, Any]) -> Iterator[str]:
    """Yield lines for users; entries that are missing or have another type are left out."""
    yield f"{'made by':<15}{provenance.get('program')}, {provenance.get('date')}"
    inputs = provenance.get("inputs")
    if isinstance(inputs, list):
        names = [one.get("file") or one.get("name") for one in inputs if isinstance(one, dict)]
        yield f"{'made from':<15}{', '.join(map(str, dict.fromkeys(names)))}"
    settings = provenance.get("settings")
    if isinstance(settings, dict):
        listed = ", ".join(f"{key} {value}" for key, value in settings.items())
        yield f"{'settings':<15}{listed}"
    model = provenance.get("model")
    if isinstance(model, dict):
        yield from _model_lines(model)


def _model_lines(model: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{'model':<15}{str(model.get('fingerprint'))[:_SHORT]}, loss {model.get('loss')}, "
        f"{model.get('steps')} steps, {model.get('date')}"
    )
    trained = model.get("acquisitions")
    if isinstance(trained, list):
        yield f"{'trained on':<15}{', '.join(map(str, trained))}"
    score = model.get("score")
    psnr = score.get("psnr") if isinstance(score, dict) else None
    if isinstance(score, dict) and isinstance(psnr, int | float):
        error = score.get("psnr_se")
        spread = f" ± {error:.2g}" if isinstance(error, int | float) else ""
        yield f"{'model PSNR':<15}{psnr:.1f}{spread} dB on held-out blocks"
