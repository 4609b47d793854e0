"""Choose whether a run trains plane by plane or on volumes (each plane with its neighbours)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.model.denoiser import load
from napari_n2n.noise.measure import Report
from napari_n2n.noise.report import NoiseReport
from napari_n2n.pair.pair import Pair
from napari_n2n.training.initial_weights import is_pretrained
from napari_n2n.training.losses import chosen_loss
from napari_n2n.training.settings import TrainingSettings

# Correlation of neighbouring planes above which they help. In the same time, simulated volumes and
# movies were 0.4 dB better or more from 0.73 on, 0.1 dB worse at 0.68, and up to 0.2 dB worse at
# 0.51 (benchmarks/volumes.py --only choice).
_ALIKE = 0.65


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Dimensions of the network of a run.

    Attributes
    ----------
    count
        2: plane by plane; 3: each plane with its neighbours along Z or T.
    reason
        Reason of the choice, in one sentence; empty if there is nothing to choose.
    """

    count: int
    reason: str = ""


def choose_dimensions(
    settings: TrainingSettings, pairs: Sequence[Pair], reports: Sequence[Report]
) -> Dimensions:
    """Return the dimensions of the settings, or those that suit the data.

    Parameters
    ----------
    settings, pairs, reports
        As for `fit`; all networks of a run have the same dimensions.

    Raises
    ------
    BadInput
        If the model to start from cannot be read, or it is for volumes and an image is not a
        volume.
    """
    if settings.dims != "auto":
        return Dimensions(settings.dims)
    flat = [pair.first for pair in pairs if not pair.first.has_depth]
    if settings.start_model is not None:
        return Dimensions(_of_model(settings.start_model, flat))
    if flat:
        return Dimensions(2)
    known = [
        report.depth_correlation if isinstance(report, NoiseReport) else None for report in reports
    ]
    found = [correlation for correlation in known if correlation is not None]
    of_movies = any("Z" not in pair.first.axes for pair in pairs)
    if len(found) < len(known) or (of_movies and len(reports) > 1):
        return Dimensions(2)
    share = f"Neighbouring planes have a correlation of {min(found):.2f}"
    if min(found) < _ALIKE:
        return Dimensions(2, f"{share}: too little in common to help each other (--dims 3 tries).")
    if not all(is_pretrained(settings, chosen_loss(settings, report)) for report in reports):
        return Dimensions(2)
    return Dimensions(3, f"{share}: each is denoised with its neighbours (--dims 2 without).")


def _of_model(path: Path, flat: Sequence[Acquisition]) -> int:
    dims = load(path).dims
    if dims == 3 and flat:
        raise BadInput(
            f"{path}: was trained on volumes, and {flat[0].name} has no labelled Z or T axis "
            f"(axes: {flat[0].axes}): set --axes ZYX or TYX, or start from another model",
            "axes",
        )
    return dims
