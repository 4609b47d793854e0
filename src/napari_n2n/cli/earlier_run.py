"""Find the checkpoints or the finished model of an earlier run, for `train --resume`."""

import re
from pathlib import Path

from napari_n2n.errors import BadInput
from napari_n2n.training.settings import TrainingSettings


def checkpoints(checkpoint: Path) -> list[Path]:
    """Return the checkpoint files of a run: a single file, or one per channel."""
    from napari_n2n.training.checkpoint import is_checkpoint

    names = re.compile(re.escape(checkpoint.name) + r"(\.\d+)?")
    folder = checkpoint.parent
    found = folder.iterdir() if folder.is_dir() else ()
    return [path for path in found if names.fullmatch(path.name) and is_checkpoint(path)]


def check_finished(output: Path, settings: TrainingSettings) -> None:
    """Raise if a model has no checkpoint, and is not the result of a finished run like this one."""
    from napari_n2n.model.denoiser import load

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
