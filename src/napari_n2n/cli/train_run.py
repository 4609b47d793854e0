"""Train with messages and a display of the progress on the terminal."""

import math
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from napari_n2n.cli.signals import SIGNALS
from napari_n2n.cli.terminal import describe_step, progress, say
from napari_n2n.errors import BadInput
from napari_n2n.training.settings import TrainingSettings

if TYPE_CHECKING:
    from napari_n2n.model.denoiser import Denoiser
    from napari_n2n.pair.pair import Pair
    from napari_n2n.training.fit import TrainingStep

_STOPPING = "stopping: the model so far is kept (again to stop at once, without the latest steps)"


def check_single(*, single: bool, split: str | None, noise: Path | None) -> None:
    """Refuse options that contradict each other, before anything is read.

    Raises
    ------
    BadInput
        If they do.
    """
    if single and split is not None:
        raise BadInput(
            "--single and --split: even and odd frames are two recordings: leave out --single",
            "option",
        )
    if noise is not None and not single:
        raise BadInput(
            "--noise: two recordings show their own noise: leave it out, or add --single", "option"
        )


def train_shown(
    pairs: "list[Pair]",
    settings: TrainingSettings,
    checkpoint: Path,
    *,
    noise: Path | None = None,
    resume: bool,
) -> "Denoiser":
    """Print noise and findings, then train with a display of the progress."""
    from napari_n2n import train as train_on
    from napari_n2n.model.device import choose_device, unused_card
    from napari_n2n.noise.measure import measure_channels
    from napari_n2n.noise.report_file import read_noise_report
    from napari_n2n.pair.checks import messages_of, other_scenes
    from napari_n2n.training.dimensions import choose_dimensions

    reports = measure_channels(pairs) if noise is None else read_noise_report(noise, pairs)
    for pair, report in zip(pairs, reports, strict=False):  # the first field of view
        if not other_scenes(report.warnings):
            say(f"noise{f' of {pair.first.name}' if len(reports) > 1 else ''}: {report.reason}")
    if reason := choose_dimensions(settings, pairs, reports).reason:
        say(f"planes: {reason}")
    found = [*chain(*(pair.findings for pair in pairs), *(report.warnings for report in reports))]
    pixels = sum(math.prod(pair.first.shape) for pair in pairs) // len(reports)
    for message in messages_of(other_scenes(found) or found, pixels):
        say(f"note: {message}")
    if choose_device(settings.device).type == "cpu" and (advice := unused_card()):
        say(f"note: to be many times faster, {advice}")
    with progress("training") as follow:

        def on_step(step: "TrainingStep") -> None:
            # Before the first step there is nothing to keep.
            SIGNALS.stop_gently(lambda: say(_STOPPING))
            follow(step.progress, describe_step(step))

        return train_on(
            pairs,
            settings,
            on_step=on_step,
            reports=reports,
            stop=SIGNALS.stop,
            save=SIGNALS.save,
            checkpoint=checkpoint,
            resume=resume,
        )
