"""The training loop: a generator that yields progress and returns the denoiser.

The caller can stop, pause and show progress at each `yield`. The score on held-out blocks selects
the weights and, if no number of steps is given, can end the run; the training loss selects nothing.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_n2n.errors import BadInput
from napari_n2n.generators import Steps, as_steps, each_step_in
from napari_n2n.model.denoiser import Denoiser, merge_channels
from napari_n2n.model.device import (
    choose_device,
    out_of_memory,
    release_memory,
    without_autocast,
)
from napari_n2n.model.network import Network
from napari_n2n.model.record import HeldOutScore, ModelRecord
from napari_n2n.noise.measure import Report, measure_channels
from napari_n2n.pair.pair import Pair
from napari_n2n.training.checkpoint import Checkpoint
from napari_n2n.training.cross_fit import HalfMask, learned_errors
from napari_n2n.training.dimensions import choose_dimensions
from napari_n2n.training.held_out import HeldOutMask, Mask
from napari_n2n.training.initial_weights import is_pretrained
from napari_n2n.training.losses import Loss
from napari_n2n.training.normalisation import Batch
from napari_n2n.training.prepare import Parts, prepare, trains_separately
from napari_n2n.training.provenance import fingerprints, record_of_run
from napari_n2n.training.schedule import RAMP_DOWN, learning_rate
from napari_n2n.training.settings import TrainingSettings, networks
from napari_n2n.training.state import History, TrainState
from napari_n2n.training.training_step import TrainingStep as TrainingStep
from napari_n2n.training.training_step import of_whole_run, step_of

# Steps between validations. More: a coarser choice of weights; fewer: more time for validation.
VALIDATE_EVERY = 100
# Seconds between yields: short enough for a progress bar, and for an immediate reaction to Stop.
_YIELD_SECONDS = 0.2
# Seconds between checkpoints, and from the first step to the first one. More: more work lost by a
# crash; fewer: more time spent writing.
_CHECKPOINT_SECONDS = 30.0
_FIRST_CHECKPOINT_SECONDS = 4.0

_log = logging.getLogger("napari_n2n")


@dataclass(frozen=True, slots=True)
class _Control:
    """Parameters of `fit` that start, save and end a run, and the choices for all channels."""

    dims: int
    stop: threading.Event
    save: threading.Event
    checkpoint: Path | None
    resume: bool
    channel: int | None = None


@as_steps
def fit(
    pairs: Pair | Sequence[Pair],
    settings: TrainingSettings | None = None,
    *,
    reports: Sequence[Report] | None = None,
    stop: threading.Event | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    save: threading.Event | None = None,
) -> Generator[TrainingStep, None, Denoiser]:
    """Train step by step: iterate over `TrainingStep`, then read the `Denoiser` from `result`.

    Parameters
    ----------
    pairs
        A pair, or the pairs of several fields of view and channels from `open_pairs`.
    settings
        Settings of the run; default `TrainingSettings()`.
    reports
        Noise of each channel; default: measured here.
    stop
        Set this event to end the run after the current step, with the best weights so far.
    checkpoint
        File to which the state is saved every half minute, so that the run can be resumed.
    resume
        Continue from `checkpoint` if it exists.
    save
        Set this event to save the checkpoint after the current step; it is cleared when this is
        done.

    Raises
    ------
    BadInput
        If a pair, the device or the checkpoint cannot be used.
    """
    pairs = [pairs] if isinstance(pairs, Pair) else list(pairs)
    settings = settings or TrainingSettings()
    reports = reports or measure_channels(pairs)
    dimensions = choose_dimensions(settings, pairs, reports)
    if dimensions.reason:
        _log.info("%d dimensions: %s", dimensions.count, dimensions.reason)
    events = (stop or threading.Event(), save or threading.Event())
    control = _Control(dimensions.count, *events, checkpoint, resume)
    # The caller may have switched gradients off, or autocast on, for networks of its own.
    mode = partial(_own_mode, choose_device(settings.device).type)
    return (yield from each_step_in(mode, _fit_channels(pairs, settings, reports, control)))


@contextmanager
def _own_mode(device: str) -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad(), without_autocast(device):
        yield


def _fit_channels(
    pairs: Sequence[Pair],
    settings: TrainingSettings,
    reports: Sequence[Report],
    control: _Control,
) -> Generator[TrainingStep, None, Denoiser]:
    """Train one network for all channels, or one for each."""
    if not trains_separately(settings, reports):
        return (yield from _fit_network(pairs, settings, reports, control))
    channels, checkpoint = len(reports), control.checkpoint
    models: list[Denoiser] = []
    for channel in range(channels):
        own = [replace(pair, channel=0) for pair in pairs if pair.channel == channel]
        kept = checkpoint and checkpoint.with_name(f"{checkpoint.name}.{channel}")
        part = replace(control, checkpoint=kept, channel=channel)
        run = Steps(_fit_network(own, settings, reports[channel : channel + 1], part))
        with closing(run):
            for step in run:
                yield of_whole_run(step, channel, channels, tuple(models))
        models.append(run.result)
    return merge_channels(models)


def train(
    pairs: Pair | Sequence[Pair],
    settings: TrainingSettings | None = None,
    on_step: Callable[[TrainingStep], None] | None = None,
    **options: Any,
) -> Denoiser:
    """Train to the end and return the model; `on_step` is called with every `TrainingStep`.

    The other arguments are those of `fit`.
    """
    return fit(pairs, settings, **options).finish(on_step)


def _fit_network(
    pairs: Sequence[Pair],
    settings: TrainingSettings,
    reports: Sequence[Report],
    control: _Control,
) -> Generator[TrainingStep, None, Denoiser]:
    """Train a network and, for error maps, one more network on each half of the pixels."""
    count = networks(settings)
    run = Steps(_run(pairs, settings, reports, control))
    with closing(run):
        for step in run:
            yield of_whole_run(step, 0, count)
    parts, record = run.result
    model = _best_model(parts, record)
    if count == 1 or record.diverged is not None:
        return model
    halves: list[Parts] = []
    while len(halves) < 2 and not control.stop.is_set():
        half, path = len(halves), control.checkpoint
        part = replace(control, checkpoint=path and path.with_name(f"{path.name}.half{half}"))
        run = Steps(_run(pairs, settings, reports, part, partial(_half_mask, half)))
        with closing(run):
            for step in run:
                yield replace(of_whole_run(step, 1 + half, count), denoiser=lambda: model)
        halves.append(run.result[0])
    if control.stop.is_set():
        found: dict[str, Any] = {"stopped": True, "error": [None] * len(reports)}
        found["error_reason"] = "training was stopped before the error was learned"
    else:
        found = learned_errors(halves, [report.noise_model for report in reports])
    return replace(model, record=record.model_copy(update=found))


def _half_mask(half: int, shape: tuple[int, int], _: int) -> HalfMask:
    return HalfMask(shape, half)


def _run(
    pairs: Sequence[Pair],
    settings: TrainingSettings,
    reports: Sequence[Report],
    control: _Control,
    mask: Callable[[tuple[int, int], int], Mask] = HeldOutMask,
) -> Generator[TrainingStep, None, tuple[Parts, ModelRecord]]:
    """Train one network: draw, predict, loss, step, average, validate, yield.

    The returned state has the best weights in its `average`.
    """
    inputs, path = fingerprints(pairs), control.checkpoint
    parts = prepare(pairs, settings, reports, control.dims, mask, control.channel)
    state, schedule = parts.state, parts.schedule
    kept = Checkpoint(path, settings, parts.normalisations, inputs, reports) if path else None
    with closing(parts.cache), _saved_after_error(kept, state):
        if kept is not None:
            kept.begin(state, resume=control.resume)
        history = state.history
        started = time.monotonic() - history.seconds
        yielded = time.monotonic()
        save_at = yielded + _FIRST_CHECKPOINT_SECONDS
        if history.step == 0 and is_pretrained(settings, parts.loss):
            _validate(parts)  # pretrained weights may already be the best
        while (progress := schedule.progress(history)) < 1.0 and not control.stop.is_set():
            state.set_learning_rate(learning_rate(parts.peak_rate, history.step, progress))
            try:
                batch = parts.next_batch()
                loss = take_step(
                    state.network, state.optimizer, batch, parts.loss, progress, parts.bfloat16
                )
            except torch.OutOfMemoryError as error:
                _halve_batch(state, parts.cache.device, error)
                continue
            state.finish_step(loss, settings.averaging, parts.cache.drawn)
            if history.diverged is not None:
                break
            history.seconds = time.monotonic() - started
            if history.step % VALIDATE_EVERY == 0:
                _validate(parts)
            now = time.monotonic()
            if kept is not None and (now > save_at or control.save.is_set()):
                control.save.clear()
                _save(kept, state)
                save_at = time.monotonic() + _CHECKPOINT_SECONDS
            if now - yielded > _YIELD_SECONDS:
                yield step_of(parts)
                # The time while the caller pauses the generator is not training time.
                started += time.monotonic() - now
                yielded = time.monotonic()

        if kept is not None:
            _save(kept, state)
        _validate(parts)
        yield step_of(parts)
        _check_divergence(history, settings)
        record = record_of_run(
            pairs,
            inputs,
            settings,
            reports,
            parts.normalisations,
            parts.held_out,
            history,
            stopped=progress < 1.0 and history.diverged is None,
            detector=parts.detector,
            device=str(parts.cache.device),
            precision="bfloat16" if parts.bfloat16 else "float32",
        )
        state.average.load_state_dict(state.best)
        return parts, record


def _best_model(parts: Parts, record: ModelRecord) -> Denoiser:
    scales = tuple(one.scale for one in parts.normalisations)
    return Denoiser((parts.state.average,), parts.architecture, scales, record)


@contextmanager
def _saved_after_error(kept: Checkpoint | None, state: TrainState) -> Iterator[None]:
    """Save the checkpoint if an error, for example of a disk, ends the run."""
    try:
        yield
    except Exception:
        if kept is not None and state.history.step > 0:
            _save(kept, state)
        raise


def _save(kept: Checkpoint, state: TrainState) -> None:
    """Save a checkpoint; a full disk does not end the run, and keeps the previous checkpoint."""
    if not state.is_finite():
        state.history.diverged = state.history.step
        return
    try:
        kept.save(state)
    except OSError as error:
        _log.warning("%s: not saved (%s): the run continues", kept.path, error.strerror)


def _check_divergence(history: History, settings: TrainingSettings) -> None:
    """Log if training diverged, and raise if there are no earlier weights."""
    if history.diverged is None:
        return
    what = f"training diverged at step {history.diverged}: its loss is not finite"
    fix = f"set a lower learning rate (--learning-rate, now {settings.learning_rate:g})"
    if history.best is None:
        raise BadInput(f"{what}: {fix}, or check the acquisitions for extreme values", "option")
    _log.warning("%s: the model has the weights of step %d: %s", what, history.best.step, fix)


def take_step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    loss: Loss,
    progress: float = 0.0,
    bfloat16: bool = False,
) -> Tensor:
    """Take one optimiser step and return the training loss of the batch.

    Parameters
    ----------
    network, optimizer
        The network and its optimiser, which are updated.
    batch, loss
        Images to train on, and the loss.
    progress
        Share of the run that is done, 0 to 1.
    bfloat16
        Whether the network computes in bfloat16, which is faster on devices with bfloat16
        instructions; the loss is in float32.
    """
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(batch.input.device.type, torch.bfloat16, enabled=bfloat16):
        prediction = network(batch.input.contiguous(memory_format=network.memory_format))
    error = loss.training_error(prediction, batch, progress)
    error.backward()
    optimizer.step()
    return error.detach()


def _validate(parts: Parts) -> None:
    """Score the averaged weights; set the end of the run if they no longer improve."""
    history = parts.state.history
    try:
        score = parts.held_out.score(parts.state.average)
    except torch.OutOfMemoryError as error:
        raise out_of_memory(parts.cache.device) from error
    if not math.isfinite(score.error):
        history.diverged = history.step
        return
    parts.state.add_score(
        HeldOutScore(
            step=history.step,
            seconds=round(history.seconds, 2),
            loss=None if math.isnan(history.loss) else history.loss,
            held_out=score.error,
            psnr=score.psnr,
            psnr_se=score.psnr_se,
        )
    )
    if history.end is None and parts.schedule.has_plateaued(history.curve):
        history.end = history.step / (1 - RAMP_DOWN)
        _log.info("validation no longer improves: the run ends at step %.0f", history.end)


def _halve_batch(state: TrainState, device: torch.device, error: torch.OutOfMemoryError) -> None:
    """Halve the batch size after a step did not fit into memory."""
    state.optimizer.zero_grad(set_to_none=True)
    for weights, moments in list(state.optimizer.state.items()):
        if "exp_avg_sq" not in moments:  # there was no memory for the last one that Adam allocates
            del state.optimizer.state[weights]
    if state.batch_size == 1:
        raise out_of_memory(device, "set a smaller --patch") from error
    state.batch_size //= 2
    _log.info("out of memory on %s: batch size %d", device, state.batch_size)
    release_memory(device)
