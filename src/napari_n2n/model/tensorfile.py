"""One file of tensors with a JSON note, written whole or not at all; nothing in it is ever run.

Models and checkpoints are safetensors files: a JSON header and raw numbers. There is no pickle and
so no code in them.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import flush_to_disk, partial_path, rename_into_place

_KEY = "napari-n2n"


def write(path: Path, kind: str, tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    """Write tensors and a note so that a crash leaves either the old file or the new one.

    Parameters
    ----------
    path
        Of the file.
    kind
        What it holds, e.g. "model"; `read` checks it.
    tensors, note
        The content; the note must be plain JSON.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    building = partial_path(path)
    building.write_bytes(packed(kind, tensors, note))
    flush_to_disk(building)
    rename_into_place(building, path)


def packed(kind: str, tensors: dict[str, Tensor], note: dict[str, Any]) -> bytes:
    """Return the bytes that `write` writes."""
    metadata = {_KEY: json.dumps({"kind": kind, "note": note})}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(whole, metadata=metadata)


def read(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write` wrote.

    Raises
    ------
    BadInput
        If the file is missing, damaged, foreign, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"{path}: no such file: check the spelling and the folder", "not_found")
    return unpacked(path.read_bytes(), kind, str(path))


def unpacked(content: bytes, kind: str, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `packed` made bytes of; `name` is what errors call it."""
    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInput(
            f"{name}: is damaged or not a napari-n2n {kind} ({error}): copy or train it again",
            "unreadable",
        ) from error
    try:
        header = json.loads(metadata[_KEY])
        found, note = header["kind"], header["note"]
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{name}: was not written by napari-n2n: choose a file that 'napari-n2n train' saved",
            "model",
        ) from error
    if found != kind:
        raise BadInput(
            f"{name}: holds a napari-n2n {found}, not a {kind}: choose another file", "model"
        )
    return tensors, note
