"""Describe how a result is made; the description is stored in the result."""

from importlib.metadata import version
from typing import Any

from napari_n2n.denoising.plan import Plan
from napari_n2n.io.written_by import date_now
from napari_n2n.model.denoiser import Denoiser

# Largest number of acquisition names that are stored: a model may be trained on thousands.
_MOST_NAMES = 20


def provenance_of_result(
    denoiser: Denoiser, plan: Plan, inputs: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return program, date, model, inputs and settings as plain JSON; see `read_provenance`.

    Parameters
    ----------
    denoiser, plan
        The model, and the plan of the result.
    inputs
        The `fingerprint` of each acquisition, channel by channel.
    """
    record = denoiser.record
    acquisitions = [one for scene in plan.scenes for one in scene.acquisitions]
    names = dict.fromkeys(one.name for one in record.acquisitions)
    return {
        "program": f"napari-n2n {version('napari-n2n')}",
        "date": date_now(),
        "inputs": [
            {
                "name": one.name,
                "file": one.path.name if one.path is not None else None,
                "pixels": described["pixels"][-1],
            }
            for one, described in zip(acquisitions, inputs, strict=True)
        ],
        "settings": {
            "axes": plan.header.axes,
            "dtype": str(plan.header.dtype),
            "turns": plan.turns,
            "dims": denoiser.dims,
            "quantity": plan.quantity,
        },
        "model": {
            "fingerprint": denoiser.fingerprint(),
            "date": record.date,
            "loss": record.loss,
            "steps": record.steps,
            "seed": record.settings.get("seed"),
            "score": None if record.score is None else record.score.model_dump(mode="json"),
            "score_reason": record.score_reason,
            "acquisitions": list(names)[:_MOST_NAMES],
            "versions": record.versions,
        },
    }
