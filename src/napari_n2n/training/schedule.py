"""When a run ends, and the learning rate on the way.

A run ends after its number of steps or minutes, if they are given. Otherwise it ends when the
validation error stops improving, and at the latest after as many steps as the data usually need.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_n2n.model.record import HeldOutScore
from napari_n2n.noise.report import NoiseReport
from napari_n2n.training.settings import PRESETS, TrainingSettings
from napari_n2n.training.state import SCORE_TOLERANCE, History

# Steps until the peak rate. More: a later start; fewer: the first steps upset pretrained weights.
WARM_UP_STEPS = 50
# Share of a run in which the rate falls to 0. Larger: less noise in the final weights; smaller:
# longer at the peak rate.
RAMP_DOWN = 0.4
# How often every pixel is seen, and least and most steps, if no number is given. More: more detail,
# but a network overfits the noise of a single pair; fewer: detail is missing.
VIEWS = 400
SHORTEST_RUN, LONGEST_RUN = 1500, 6000
# Validations without improvement before the ramp-down. More: longer runs; fewer: chance ends them.
_PATIENCE = 3


def learning_rate(peak: float, step: int, progress: float) -> float:
    """Return the rate of a step: linear warm-up, constant, half a cosine down to 0.

    Parameters
    ----------
    peak
        Highest rate.
    step
        Number of steps done.
    progress
        Share of the run that is done, 0 to 1.
    """
    rate = peak * min(1.0, (step + 1) / WARM_UP_STEPS)
    if progress > 1 - RAMP_DOWN:
        rate *= 0.5 + 0.5 * math.cos(math.pi * (progress - 1 + RAMP_DOWN) / RAMP_DOWN)
    return rate


def usual_steps(reports: Sequence[NoiseReport], pixels: int, pixels_per_step: int) -> float:
    """Return the most steps of the balanced preset.

    Parameters
    ----------
    reports
        Noise of each channel; correlated noise takes more steps.
    pixels
        Number of pixels in all acquisitions.
    pixels_per_step
        Number of pixels in a batch.
    """
    views = min(max(VIEWS * pixels / pixels_per_step, SHORTEST_RUN), LONGEST_RUN)
    return max(report.training_factor for report in reports) * views


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a run ends.

    Attributes
    ----------
    steps, minutes
        Limits given in the settings, or None.
    longest
        Most steps if `steps` is None.
    patience
        How many times longer than usual to wait for an improvement.
    """

    steps: int | None
    minutes: float | None
    longest: float
    patience: float

    @classmethod
    def of(
        cls,
        settings: TrainingSettings,
        reports: Sequence[NoiseReport],
        pixels: int,
        pixels_per_step: int,
    ) -> "Schedule":
        """Return the schedule of a run; see `usual_steps` for the parameters."""
        effort = PRESETS[settings.preset].effort
        factor = max(report.training_factor for report in reports)
        longest = effort * usual_steps(reports, pixels, pixels_per_step)
        return cls(settings.steps, settings.minutes, longest, max(1.0, effort) * factor)

    def progress(self, history: History) -> float:
        """Return the share of the run that is done; 1 ends it."""
        steps = self.steps if self.steps is not None else history.end or self.longest
        done = history.step / steps
        if self.minutes is not None:
            done = max(done, history.seconds / (60 * self.minutes))
        return min(done, 1.0)

    def has_plateaued(self, curve: Sequence[HeldOutScore]) -> bool:
        """Return whether the last third of the validations brought no improvement."""
        errors = [score.held_out for score in curve]
        recent = max(round(_PATIENCE * self.patience), len(errors) // 3)
        if len(errors) <= recent + 2:
            return False
        return min(errors[-recent:]) > min(errors[:-recent]) * (1 - SCORE_TOLERANCE)
