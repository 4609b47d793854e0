"""Read and write files of tensors with a JSON note: models and checkpoints.

They are safetensors files: a JSON header and raw numbers. As they contain no pickle, loading them
cannot run code. A checksum covers the tensors and the note, and a file is read only if it declares
the tensors that its reader expects. Existing files are replaced atomically.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from napari_n2n.errors import BadInput, Code
from napari_n2n.io.address import address_of, local_path
from napari_n2n.io.crash_safe import write_atomically

_KEY = "napari-n2n"  # key of our note in the safetensors metadata
_CHECKSUM = "sha256"  # key of the checksum there; files of version 0.1 have none
# Longest header in bytes: 10 million steps give a note of about 15 MB. Larger: a damaged length
# lets a reader parse more of the file.
_LONGEST_HEADER = 64 * 2**20
_LENGTH = 8  # bytes of the length before the header, and alignment of the tensors
_TYPES = {torch.float32: "F32", torch.int64: "I64"}  # types of the tensors, as safetensors names

# What unexpected content raises while a note is parsed, validated or used; too deep nesting is a
# RuntimeError.
UNSUITABLE = (
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ValueError,
    ArithmeticError,
    RuntimeError,
)
"""Errors that a note with wrong entries or types raises."""

Layout = Callable[[dict[str, Any], list[str]], Mapping[str, Tensor]]
"""Function of the note and the names of the tensors; returns the tensors that the file must hold.

They may be on the meta device: only their shapes and types are used.
"""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Error code and fix for messages about one kind of file."""

    code: Code
    if_damaged: str
    if_foreign: str


_KINDS = {
    "model": _Kind(
        "model", "copy it again, or train again", "choose a file that 'napari-n2n train' saved"
    ),
    "checkpoint": _Kind("resume", "start again without --resume", "start again without --resume"),
}


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
    text = json.dumps({"kind": kind, "note": note})
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(contiguous, metadata={_KEY: text, _CHECKSUM: _checksum(text, contiguous)})
    return _with_sorted_metadata(content)


def _with_sorted_metadata(content: bytes) -> bytes:
    """Return a file with its metadata in one order: that of `save` is random."""
    end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    header = json.loads(content[_LENGTH:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)  # so that the tensors are aligned
    return len(text).to_bytes(_LENGTH, "little") + text + content[end:]


def _checksum(text: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def read(path: Path, kind: str, layout: Layout) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and note of a file written by `write`.

    Parameters
    ----------
    path, kind
        As in `write`.
    layout
        See `Layout`: the tensors are read only if the file declares exactly these.

    Raises
    ------
    BadInput
        If the file is missing, damaged, not from napari-n2n, of another kind, or at an address.
    """
    if (address := address_of(path)) is not None:
        raise BadInput(
            f"{address}: is an address: copy the file to a disk, and give its path", "format"
        )
    path = local_path(path)
    if not path.is_file():
        found = "is not a file" if path.exists() else "no such file"
        raise BadInput(f"{path}: {found}: check the spelling and the folder", "not_found")
    try:
        with path.open("rb") as file:
            return _Reader(file, kind, str(path)).read(layout)
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read ({error.strerror}): check its permissions and the disk",
            "unreadable",
        ) from error


def is_kind(path: Path, kind: str) -> bool:
    """Return whether `write` wrote a file, as this kind of content; the tensors are not read."""
    try:
        with path.open("rb") as file:
            _Reader(file, kind, str(path)).note()
    except (BadInput, OSError):
        return False
    return True


def from_bytes(
    content: bytes, kind: str, name: str, layout: Layout
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and note from the bytes of a file; `name` appears in errors."""
    return _Reader(io.BytesIO(content), kind, name).read(layout)


def other_version(name: str, kind: str, error: Exception) -> BadInput:
    """Return the error for a file whose note has the wrong entries or types."""
    return BadInput(
        f"{name}: was written by another version of napari-n2n, or altered "
        f"({type(error).__name__}): install that version, or {_KINDS[kind].if_damaged}",
        _KINDS[kind].code,
    )


def _parsed(text: str | bytes) -> Any:
    """Parse JSON; NaN and infinity become null, and a repeated key raises ValueError."""
    return json.loads(text, parse_constant=lambda _: None, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) != len(dict(pairs)):
        raise ValueError("a key is repeated")
    return dict(pairs)


class _Reader:
    """Reads one file, header first, and refuses what does not fit before it allocates memory."""

    def __init__(self, file: BinaryIO, kind: str, name: str) -> None:
        self._file, self._kind, self._name = file, kind, name
        self._size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def read(self, layout: Layout) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and note, after all checks."""
        declared, metadata = self._header()
        note = self._note(metadata[_KEY])
        try:
            wanted = {
                name: (_TYPES[tensor.dtype], list(tensor.shape))
                for name, tensor in layout(note, list(declared)).items()
            }
        except BadInput:
            raise
        except UNSUITABLE as error:
            raise other_version(self._name, self._kind, error) from error
        found = {name: (one.get("dtype"), one.get("shape")) for name, one in declared.items()}
        if found != wanted:
            self._refuse("does not hold the weights of its network")
        begin = self._file.tell()
        end = max((one["data_offsets"][1] for one in declared.values()), default=0)
        if begin + end != self._size:
            self._refuse(f"has {self._size} bytes instead of {begin + end}")
        self._file.seek(0)
        try:
            tensors = load(self._file.read())
        except SafetensorError as error:
            self._refuse(str(error), error)
        if _CHECKSUM in metadata and metadata[_CHECKSUM] != _checksum(metadata[_KEY], tensors):
            self._refuse("its checksum differs")
        for values in tensors.values():
            if not bool(torch.isfinite(values).all()):
                self._refuse("has weights that are not finite")
        return tensors, note

    def note(self) -> dict[str, Any]:
        """Return the note alone."""
        return self._note(self._header()[1][_KEY])

    def _header(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what the file declares about its tensors, and its metadata."""
        length = int.from_bytes(self._file.read(_LENGTH), "little")
        if not 0 < length <= min(_LONGEST_HEADER, self._size - _LENGTH):
            self._refuse_foreign()
        try:
            declared = _parsed(self._file.read(length))
            metadata = declared.pop("__metadata__", {})
            sound = all(
                isinstance(one["data_offsets"][1], int) and isinstance(one["shape"], list)
                for one in declared.values()
            )
        except UNSUITABLE as error:
            self._refuse_foreign(error)
        if not sound:
            self._refuse_foreign()
        if not isinstance(metadata, dict) or _KEY not in metadata:
            self._refuse_foreign()
        if set(metadata) - {_KEY, _CHECKSUM}:
            self._refuse("has unknown metadata")
        return declared, metadata

    def _note(self, text: Any) -> dict[str, Any]:
        try:
            header = _parsed(text)
            kind, note = header["kind"], header["note"]
            known = kind in _KINDS and isinstance(note, dict)
        except UNSUITABLE as error:
            self._refuse("its note cannot be read", error)
        if not known:
            self._refuse("its note cannot be read")
        if kind != self._kind:
            raise BadInput(
                f"{self._name}: holds a napari-n2n {kind}, not a {self._kind}: choose another file",
                "model",
            )
        return note

    def _refuse(self, what: str, error: Exception | None = None) -> NoReturn:
        kind = _KINDS[self._kind]
        raise BadInput(
            f"{self._name}: is damaged ({what}): {kind.if_damaged}", kind.code
        ) from error

    def _refuse_foreign(self, error: Exception | None = None) -> NoReturn:
        kind = _KINDS[self._kind]
        raise BadInput(
            f"{self._name}: is damaged or not a napari-n2n {self._kind}: {kind.if_foreign}",
            kind.code,
        ) from error
