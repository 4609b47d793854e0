"""A run's state in one file, to go on from as if nothing had happened."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_n2n import tensorfile
from napari_n2n.errors import BadInput
from napari_n2n.run import History, Run


def save(run: Run, path: Path) -> None:
    """Write all that is needed to go on as if nothing had happened."""
    tensors = {f"average.{name}": values for name, values in run.average.state_dict().items()}
    tensors |= {f"network.{name}": values for name, values in run.network.state_dict().items()}
    tensors |= {f"best.{name}": values for name, values in run.best.items()}
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": values for name, values in state.items()}
    note = {
        "settings": run.settings.model_dump(),
        "history": asdict(run.history),
        "places": run.places,
        "scales": _scales(run),
    }
    tensorfile.write(path, "checkpoint", tensors, note)


def restore(run: Run, path: Path) -> None:
    """Take up the state that `save` wrote.

    Raises
    ------
    BadInput
        If the checkpoint belongs to other data or settings.
    """
    tensors, note = tensorfile.read(path, "checkpoint")
    fixed = {"steps", "minutes", "device"}  # a run may go on for longer, and elsewhere
    before, now = (
        {key: value for key, value in settings.items() if key not in fixed}
        for settings in (note["settings"], run.settings.model_dump())
    )
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        raise BadInput(
            f"{path}: was made with another {changed[0]} ({before.get(changed[0])}): "
            "resume with the same settings, or leave out --resume to start anew"
        )
    if note["scales"] != _scales(run):
        raise BadInput(f"{path}: belongs to other acquisitions: leave out --resume to start anew")
    parts: dict[str, Any] = {}
    for name, values in tensors.items():
        part, rest = name.split(".", 1)
        parts.setdefault(part, {})[rest] = values.to(run.device)
    run.network.load_state_dict(parts["network"])
    run.average.load_state_dict(parts["average"])
    run.best = parts["best"]
    optimizer = run.optimizer.state_dict()
    for name, values in parts.get("optimizer", {}).items():
        index, key = name.split(".")
        optimizer["state"].setdefault(int(index), {})[key] = values
    run.optimizer.load_state_dict(optimizer)
    run.history = History(**note["history"])
    run.places = note["places"]


def _scales(run: Run) -> list[list[float]]:
    return [[one.scale.gain, one.scale.offset] for one in run.normalisations]
