"""Check the model file and checkpoint of an earlier run of `train`, and save a model."""

import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from napari_n2n.errors import BadInput
from napari_n2n.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_n2n.model.denoiser import Denoiser
    from napari_n2n.pair.pair import Pair


def checkpoints(checkpoint: Path) -> list[Path]:
    """Return the checkpoint files of a run: one per network, see `fit`."""
    from napari_n2n.training.checkpoint import is_checkpoint

    names = re.compile(re.escape(checkpoint.name) + r"(\.\d+)?(\.half\d)?")
    folder = checkpoint.parent
    found = folder.iterdir() if folder.is_dir() else ()
    return [path for path in found if names.fullmatch(path.name) and is_checkpoint(path)]


def check_start(settings: TrainingSettings, output: Path) -> None:
    """Raise `BadInput` if the model to start from cannot be read, or would be replaced."""
    from napari_n2n.io.output_path import check_keeps_inputs, output_path
    from napari_n2n.model.denoiser import load

    if settings.start_model is not None:
        check_keeps_inputs(output_path(output), [settings.start_model])
        load(settings.start_model)


def check_finished(output: Path, settings: TrainingSettings, pairs: "Sequence[Pair]") -> None:
    """Raise unless a model without a checkpoint is the finished result of this run.

    Raises
    ------
    BadInput
        If it was stopped early, diverged, or was trained with other settings or recordings.
    """
    from napari_n2n.model.denoiser import load
    from napari_n2n.training.provenance import difference

    record = load(output).record
    if record.stopped:
        raise BadInput(
            f"{output}: was stopped early, and its checkpoint is gone: "
            "add --overwrite to train it again",
            "resume",
        )
    # Other devices and limits give the same model.
    wanted = settings.model_dump(exclude={"device", "memory"})
    for name in wanted:
        if name in record.settings and record.settings[name] != wanted[name]:
            raise BadInput(
                f"{output}: is finished, and was trained with --{name.replace('_', '-')} "
                f"{record.settings[name]}: choose another name, or add --overwrite",
                "resume",
            )
    if (other := difference(record, pairs)) != "":
        raise BadInput(
            f"{output}: is finished, and was trained on {other}: choose another name, or add "
            "--overwrite",
            "resume",
        )
    diverged = [one.diverged for one in record.of_channels or [record] if one.diverged is not None]
    if diverged:
        raise BadInput(
            f"{output}: its training diverged at step {diverged[0]}, and it has earlier weights: "
            "train it again with a lower --learning-rate (it was "
            f"{record.settings.get('learning_rate')}) and --overwrite",
            "resume",
        )


def save_model(denoiser: "Denoiser", output: Path) -> None:
    """Save a model; if this fails, save it in a temporary folder, so that no training is lost.

    Raises
    ------
    BadInput
        If it was saved there instead.
    """
    try:
        denoiser.save(output)
    except OSError as error:
        with suppress(OSError):
            kept = denoiser.save(Path(tempfile.mkdtemp(prefix="napari-n2n-")) / output.name)
            raise BadInput(
                f"{output}: {error.strerror}: the model was saved as {kept} instead: move it to "
                "another disk",
                "disk",
            ) from error
        raise
