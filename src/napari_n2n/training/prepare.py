"""Build the parts of a run: loss, network, block cache, patches, validation and schedule."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from napari_n2n.errors import BadInput
from napari_n2n.model.device import choose_device, computes_in_bfloat16, out_of_memory
from napari_n2n.model.record import DetectorRecord
from napari_n2n.noise.measure import Report
from napari_n2n.noise.report import NoiseReport
from napari_n2n.noise.single_report import SingleReport
from napari_n2n.pair.pair import Pair
from napari_n2n.training.block_cache import BlockCache
from napari_n2n.training.held_out import HeldOut, HeldOutMask, Mask, held_out_of
from napari_n2n.training.initial_weights import initial_network, is_pretrained
from napari_n2n.training.losses import Loss, chosen_loss
from napari_n2n.training.normalisation import Batch, Normalisation, normalise, stabilise
from napari_n2n.training.patches import Patches, batch_size, patch_side
from napari_n2n.training.pixel_swap import PixelSwap, allowed_swap
from napari_n2n.training.repaired import detector_maps, repaired
from napari_n2n.training.resampling import Resampling
from napari_n2n.training.schedule import Schedule
from napari_n2n.training.settings import TrainingSettings
from napari_n2n.training.state import TrainState

# Part of the learning rate for one recording with independent noise, from weights that were trained
# before: the target has the same noise in every step, and higher rates overfit it
# (benchmarks/README.md, "One recording alone").
_OF_ONE_RECORDING = 0.5

_log = logging.getLogger("napari_n2n")


def trains_separately(settings: TrainingSettings, reports: Sequence[Report]) -> bool:
    """Return whether each channel gets its own network.

    This is so if the settings ask for it; if the channels need different losses, or the noise
    decides the weights of the pixels, so that outliers in one channel would affect another; or if
    noise is drawn because there is only one recording.
    """
    losses = {chosen_loss(settings, report).name for report in reports}
    alike = len(losses) == 1 and losses != {"likelihood"}
    alike &= not any(isinstance(report, SingleReport) for report in reports)
    return len(reports) > 1 and (settings.channels == "separate" or not alike)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a run, built by `prepare`; only `state` and `cache` change during the run."""

    loss: Loss
    bfloat16: bool
    normalisations: tuple[Normalisation, ...]
    architecture: dict[str, Any]
    detector: list[DetectorRecord | None]
    cache: BlockCache
    patches: Patches
    held_out: HeldOut
    schedule: Schedule
    peak_rate: float
    state: TrainState
    resampling: Resampling | None

    def next_batch(self) -> Batch:
        """Return the batch of the next step."""
        step = self.state.history.step
        batch = self.patches.draw(step, self.state.batch_size)
        if self.resampling is None:
            return batch
        return self.resampling.draw(self.state.network, batch, (self.cache.seed, 1 + step))


def prepare(
    pairs: Sequence[Pair],
    settings: TrainingSettings,
    reports: Sequence[Report],
    dims: int,
    mask: Callable[[tuple[int, int], int], Mask] = HeldOutMask,
    channel: int | None = None,
) -> Parts:
    """Build and return the parts of a run; the caller must close the cache afterwards.

    `dims` is 2 for planes and 3 for volumes. `mask` returns the held-out pixels for the shape of a
    plane and a seed. `channel` is the number of the network if each channel has its own.
    """
    report = reports[0]
    loss = chosen_loss(settings, report)  # all have the same: see `trains_separately`
    if isinstance(report, SingleReport):
        _check_single(settings, loss, report)
    if settings.fixed_pattern == "repair":
        pairs = repaired(pairs)
    device = choose_device(settings.device)
    normalisations = normalise(pairs)
    loss = loss.measured(report.noise_model, 1 / normalisations[0].scale.gain, device)
    mean = float(np.mean([one.mean for one in normalisations]))
    wide = loss.name == "likelihood"
    stabilisation = stabilise(pairs, normalisations[0], report.noise_model) if wide else None
    architecture, network = initial_network(
        settings, loss, pairs, dims, mean, stabilisation, channel
    )
    side, count = patch_side(pairs, settings, network.stride), batch_size(settings, dims)
    masks = [held_out_of(pair, settings.seed, mask) for pair in pairs]
    try:
        state = TrainState.begin(network.moved_to(device), settings.learning_rate, count)
        stride = network.stride
        resampling = None
        if isinstance(report, SingleReport):
            resampling = Resampling.of(report.method, report.noise_model, network, device)
        held_out = HeldOut(
            *(pairs, masks, normalisations, loss),
            stride=stride,
            device=device,
            seed=settings.seed,
            resampling=resampling,
        )
    except torch.OutOfMemoryError as error:
        raise out_of_memory(device) from error
    # The cache comes last, because it adapts to the memory that is left.
    cache = BlockCache(
        pairs,
        masks,
        normalisations,
        side=side,
        drawn=count * math.prod(side),
        seed=settings.seed,
        device=device,
        memory=settings.memory,
    )
    pixels = sum(pair.pixels for pair in pairs)
    parts = Parts(
        loss=loss,
        bfloat16=computes_in_bfloat16(device),
        normalisations=normalisations,
        architecture=architecture,
        detector=detector_maps(pairs),
        cache=cache,
        patches=Patches(cache, _swap(reports, loss)),
        held_out=held_out,
        schedule=Schedule.of(settings, reports, pixels, 2 * count * math.prod(side)),
        peak_rate=_peak_rate(settings, loss, report),
        state=state,
        resampling=resampling,
    )
    _log_decisions(parts, settings, reports)
    return parts


def _swap(reports: Sequence[Report], loss: Loss) -> PixelSwap | None:
    """Return which pixels two recordings may swap; None if there is only one recording."""
    of_pairs = [report for report in reports if isinstance(report, NoiseReport)]
    return allowed_swap(of_pairs, loss) if len(of_pairs) == len(reports) else None


def _check_single(settings: TrainingSettings, loss: Loss, report: SingleReport) -> None:
    """Raise if the settings need a second recording.

    Raises
    ------
    BadInput
        If they do.
    """
    advice = "record the scene twice"
    if settings.error_map == "on":
        raise BadInput(
            f"--error-map on: the error of a result cannot be learned from one recording: {advice}",
            "option",
        )
    if settings.fixed_pattern == "repair":
        raise BadInput(
            "--fixed-pattern repair: one recording does not show the fixed pattern of the "
            f"detector: give dark frames (--dark), or {advice}",
            "option",
        )
    if report.method == "images" and not is_pretrained(settings, loss):
        raise BadInput(
            "the noise of neighbouring pixels may be correlated, so one recording needs the "
            f"pretrained network: leave out --start cold and --loss l0, or {advice}",
            "option",
        )


def _peak_rate(settings: TrainingSettings, loss: Loss, report: Report) -> float:
    trained = settings.start_model is not None or is_pretrained(settings, loss)
    single = isinstance(report, SingleReport) and report.method == "pixels"
    return settings.learning_rate * (_OF_ONE_RECORDING if single and trained else 1.0)


def _log_decisions(parts: Parts, settings: TrainingSettings, reports: Sequence[Report]) -> None:
    reason = reports[0].reason if settings.loss == "auto" else "chosen in the settings"
    start = "pretrained" if is_pretrained(settings, parts.loss) else "random"
    if settings.start_model is not None:
        start = str(settings.start_model)
    cache = parts.cache
    streamed = f"streamed, {cache.slots} of {cache.block_count} blocks in memory"
    _log.info("loss %s: %s", parts.loss.name, reason)
    _log.info("device %s, %s weights, batch size %d", cache.device, start, parts.state.batch_size)
    _log.info("pixels %s", "in memory" if cache.slots == cache.block_count else streamed)
