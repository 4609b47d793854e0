"""The checkpoint of a run: a file with its state, from which an interrupted run is resumed."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from napari_n2n.errors import BadInput
from napari_n2n.io.fingerprint import check_unchanged
from napari_n2n.io.plain_json import plain_json
from napari_n2n.model import tensorfile
from napari_n2n.model.record import HeldOutScore
from napari_n2n.noise.measure import Report
from napari_n2n.noise.single_report import SingleReport
from napari_n2n.training.normalisation import Normalisation
from napari_n2n.training.provenance import Fingerprints
from napari_n2n.training.settings import TrainingSettings
from napari_n2n.training.state import History, TrainState

_MAY_CHANGE = {"steps", "minutes", "device"}  # a run may become longer or use another device


class _History(BaseModel):
    """Fields of `History`, as plain JSON."""

    model_config = ConfigDict(allow_inf_nan=False)

    step: NonNegativeInt
    seconds: NonNegativeFloat
    end: NonNegativeFloat | None
    loss: float | None
    curve: list[HeldOutScore]
    best: HeldOutScore | None
    used: set[NonNegativeInt] = set()


class _Note(BaseModel):
    """The note of a checkpoint file."""

    history: _History
    places: PositiveInt
    settings: dict[str, Any]
    scales: list[list[float]]
    inputs: list[Any] | None = Field(default=None)  # files of version 0.1 have neither
    noise: list[Any] | None = Field(default=None)


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint, of any run."""
    return tensorfile.is_kind(path, "checkpoint")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The checkpoint file of a run.

    Attributes
    ----------
    path
        Path of the file.
    settings, normalisations, inputs
        Settings and data of the run; a checkpoint of other settings or data is refused. `inputs`
        describe some pairs; the scales of the normalisations depend on the pixels of all.
    reports
        Noise of each channel; a checkpoint with noise from another report is refused.
    """

    path: Path
    settings: TrainingSettings
    normalisations: Sequence[Normalisation]
    inputs: Fingerprints
    reports: Sequence[Report]

    def begin(self, state: TrainState, *, resume: bool) -> None:
        """Load the file into the state of a run, if the run is resumed and the file exists.

        Raises
        ------
        BadInput
            If the checkpoint cannot be used, or saving would replace a file that is not a
            checkpoint.
        """
        if not self.path.exists():
            return
        if resume:
            self.load(state)
        elif not is_checkpoint(self.path):
            raise BadInput(
                f"{self.path}: is not a checkpoint of napari-n2n, which needs this name: "
                "move the file, or choose another name for the model",
                "output",
            )

    def save(self, state: TrainState) -> None:
        """Write the state of the run, with its settings and fingerprints of its data."""
        known = {name: getattr(state.history, name) for name in _History.model_fields}
        loss = None if math.isnan(state.history.loss) else state.history.loss
        note = {
            "history": _History.model_validate(known | {"loss": loss}).model_dump(mode="json"),
            "places": state.batch_size,
            "settings": self.settings.model_dump(),
            "scales": self._scales(),
            "inputs": self._inputs,
            "noise": self._given_noise,
        }
        tensorfile.write(self.path, "checkpoint", state.tensors(), note)

    def load(self, state: TrainState) -> None:
        """Read the file into the state of the run.

        Raises
        ------
        BadInput
            If the checkpoint cannot be read or belongs to other data or settings.
        """

        def layout(note: dict[str, Any], names: list[str]) -> dict[str, Tensor]:
            self._check_run(_Note.model_validate(note))
            return state.layout(begun=any(name.startswith("optimizer.") for name in names))

        tensors, values = tensorfile.read(self.path, "checkpoint", layout)
        note = _Note.model_validate(values)
        loss = math.nan if note.history.loss is None else note.history.loss
        known = {name: getattr(note.history, name) for name in _History.model_fields}
        state.load(tensors, History(**known | {"loss": loss}), note.places)

    def _check_run(self, note: _Note) -> None:
        now = self.settings.model_dump(exclude=_MAY_CHANGE)
        usual = TrainingSettings().model_dump()  # of a setting that an older version did not have
        changed = [key for key in now if note.settings.get(key, usual[key]) != now[key]]
        if changed:
            raise BadInput(
                f"{self.path}: the run had another {changed[0]} "
                f"({note.settings.get(changed[0])!s:.40}): "
                "resume with the same settings, or start again without --resume",
                "resume",
            )
        if note.inputs is not None:
            check_unchanged(note.inputs, self._inputs, self.path)
        if note.scales != self._scales():
            raise BadInput(
                f"{self.path}: the acquisitions have changed since the interrupted run: "
                "start again without --resume",
                "resume",
            )

        if note.noise not in (None, self._given_noise):
            raise BadInput(
                f"{self.path}: the run had another noise report, or none: resume with the same "
                "(--noise), or start again without --resume",
                "resume",
            )

    @property
    def _inputs(self) -> list[dict[str, Any]]:
        return list(chain.from_iterable(self.inputs.values()))

    @property
    def _given_noise(self) -> list[Any]:
        """The noise as plain JSON, if it was read from a file instead of measured."""
        reports = (one for one in self.reports if isinstance(one, SingleReport))
        return [plain_json(asdict(one.noise_model)) for one in reports if one.source is not None]

    def _scales(self) -> list[list[float]]:
        return [[one.scale.gain, one.scale.offset] for one in self.normalisations]
