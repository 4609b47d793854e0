"""Determine when a run ends, and the learning rate of every step.

A run ends after its number of steps or minutes, if they are given. Without a number of steps it
also ends when the validation error stops improving, and at the latest after a number of steps that
depends on the data and the preset.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_n2n.model.record import HeldOutScore
from napari_n2n.noise.measure import Report
from napari_n2n.training.settings import PRESETS, TrainingSettings, networks
from napari_n2n.training.state import SCORE_TOLERANCE, History

# Steps until the peak rate. More: a slower start; fewer: the first steps damage pretrained weights.
WARM_UP_STEPS = 50
# Share of the run, at its end, in which the rate falls to 0. Larger: less noise in the final
# weights; smaller: more steps at the peak rate.
RAMP_DOWN = 0.4
# Without a given number of steps: how often every pixel is trained on, and the smallest and largest
# number of steps. More: more detail, but also overfitting of a single pair's noise; fewer: detail
# is missing.
VIEWS = 400
SHORTEST_RUN, LONGEST_RUN = 1500, 6000
# Validations without improvement before the ramp-down. More: longer runs; fewer: a run may end by
# chance.
_PATIENCE = 3


def learning_rate(peak: float, step: int, progress: float) -> float:
    """Return the learning rate of a step: linear warm-up, constant, then half a cosine to 0.

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


def usual_steps(reports: Sequence[Report], pixels: int, pixels_per_step: int) -> float:
    """Return the largest number of steps of the balanced preset.

    Parameters
    ----------
    reports
        Noise of each channel; correlated noise needs more steps.
    pixels
        Number of pixels in all acquisitions.
    pixels_per_step
        Number of pixels in a batch.
    """
    views = min(max(VIEWS * pixels / pixels_per_step, SHORTEST_RUN), LONGEST_RUN)
    return max(report.training_factor for report in reports) * views


@dataclass(frozen=True, slots=True)
class Schedule:
    """Limits that end a run.

    Attributes
    ----------
    steps, minutes
        Limits of one network given in the settings, or None.
    longest
        Largest number of steps if `steps` is None.
    patience
        Factor on the usual number of validations to wait for an improvement.
    """

    steps: int | None
    minutes: float | None
    longest: float
    patience: float

    @classmethod
    def of(
        cls,
        settings: TrainingSettings,
        reports: Sequence[Report],
        pixels: int,
        pixels_per_step: int,
    ) -> "Schedule":
        """Return the schedule of a run; see `usual_steps` for the parameters."""
        effort = PRESETS[settings.preset].effort
        factor = max(report.training_factor for report in reports)
        longest = effort * usual_steps(reports, pixels, pixels_per_step)
        minutes = settings.minutes and settings.minutes / networks(settings)
        return cls(settings.steps, minutes, longest, max(1.0, effort) * factor)

    def progress(self, history: History) -> float:
        """Return the share of the run that is done; 1 ends it."""
        steps = self.steps if self.steps is not None else history.end or self.longest
        done = history.step / steps
        if self.minutes is not None:
            done = max(done, history.seconds / (60 * self.minutes))
        return min(done, 1.0)

    def has_plateaued(self, curve: Sequence[HeldOutScore]) -> bool:
        """Return whether the latest validations brought no improvement.

        These are the last third of all validations, but at least three times `patience`.
        """
        errors = [score.held_out for score in curve]
        recent = max(round(_PATIENCE * self.patience), len(errors) // 3)
        if len(errors) <= recent + 2:
            return False
        return min(errors[-recent:]) > min(errors[:-recent]) * (1 - SCORE_TOLERANCE)
