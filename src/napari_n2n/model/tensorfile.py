"""Files of tensors with a JSON note: models and checkpoints.

They are safetensors files: a JSON header and raw numbers. As they contain no pickle, loading them
cannot run code. Existing files are replaced atomically.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import write_atomically

_KEY = "napari-n2n"  # key of our note in the safetensors metadata


def write(path: Path, kind: str, tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    """Write a file atomically: after a crash it is either the old or the new one.

    Parameters
    ----------
    path
        Path of the file.
    kind
        Kind of content, "model" or "checkpoint"; `read` checks it.
    tensors, note
        The content; the note must be plain JSON.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_bytes(kind, tensors, note))


def to_bytes(kind: str, tensors: dict[str, Tensor], note: dict[str, Any]) -> bytes:
    """Return the content of the file that `write` writes."""
    metadata = {_KEY: json.dumps({"kind": kind, "note": note})}
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(contiguous, metadata=metadata)


def read(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and note of a file written by `write`.

    Raises
    ------
    BadInput
        If the file is missing, damaged, not from napari-n2n, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"{path}: no such file: check the spelling and the folder", "not_found")
    return from_bytes(path.read_bytes(), kind, str(path))


def from_bytes(content: bytes, kind: str, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and note from the bytes of a file; `name` appears in errors."""
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
