"""The training loop: a generator that yields after every few steps and returns the denoiser.

Stop, pause and progress come free at each `yield`. Spatially held-out blocks choose the weights
and, where neither steps nor minutes are given, decide when to end; the training loss chooses
nothing.
"""

import copy
import json
import math
import platform
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_n2n import quality, tensorfile
from napari_n2n.device import choose_device
from napari_n2n.errors import BadInput
from napari_n2n.generators import run_to_end
from napari_n2n.losses import LOSSES, Loss, masked_mean
from napari_n2n.model import Denoiser, build_network
from napari_n2n.noise import measure_noise
from napari_n2n.pair import Pair
from napari_n2n.patches import Batch, Patches, normalisation
from napari_n2n.settings import TrainingSettings

WARM_UP_STEPS = 50
RAMP_DOWN = 0.4
HELD_OUT_EVERY = 100
LONGEST_AUTOMATIC_RUN = 6000
_YIELD_SECONDS = 0.2
_CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """Where a run stands.

    Attributes
    ----------
    step
        Steps done.
    progress
        Share of the run that is done, 0 to 1.
    seconds, remaining
        Time since the start, and the time that the rest may take.
    loss
        Training loss, averaged over recent steps, in normalised units.
    held_out
        Fixed error on held-out blocks with the averaged weights, in normalised units; that of the
        latest look.
    psnr, psnr_se
        Reference-free PSNR on the held-out blocks in dB and its standard error; None where it
        cannot be had.
    """

    step: int
    progress: float
    seconds: float
    remaining: float
    loss: float
    held_out: float | None
    psnr: float | None
    psnr_se: float | None


@dataclass
class _History:
    """What a run has seen so far; goes into checkpoints and, in part, into the model."""

    step: int = 0
    seconds: float = 0.0
    end: float | None = None
    loss: float = math.nan
    curve: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None


def fit(
    pair: Pair,
    settings: TrainingSettings | None = None,
    *,
    stop: threading.Event | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> Generator[TrainingStep, None, Denoiser]:
    """Train on a pair; a generator of `TrainingStep` that returns the `Denoiser`.

    Parameters
    ----------
    pair
        What to learn from.
    settings
        See `TrainingSettings`.
    stop
        Set it, and the run ends after the step under way and returns the best denoiser so far.
    checkpoint
        File in which the run's state is kept every half minute, to resume from.
    resume
        Go on from `checkpoint`.

    Raises
    ------
    BadInput
        If the pair, the device or the checkpoint cannot be used.
    """
    settings = settings or TrainingSettings()
    device = choose_device(settings.device)
    report = measure_noise(pair)
    loss = LOSSES[report.loss if settings.loss == "auto" else settings.loss]
    torch.manual_seed(settings.seed)
    run = _Run(pair, settings, loss, device)
    if resume and checkpoint is not None:
        run.restore(checkpoint)
    stop = stop or threading.Event()
    history = run.history
    started = time.monotonic() - history.seconds
    yielded = saved = time.monotonic()

    while (progress := run.progress()) < 1.0 and not stop.is_set():
        run.advance(progress)
        history.seconds = time.monotonic() - started
        if history.step % HELD_OUT_EVERY == 0:
            run.look_at_held_out()
        now = time.monotonic()
        if checkpoint is not None and now - saved > _CHECKPOINT_SECONDS:
            run.save(checkpoint)
            saved = time.monotonic()
        if now - yielded > _YIELD_SECONDS:
            yield run.report()
            # Time spent by whoever pauses the generator is not training time.
            started += time.monotonic() - now
            yielded = time.monotonic()

    if checkpoint is not None and stop.is_set():
        run.save(checkpoint)
    run.look_at_held_out()
    yield run.report()
    return run.denoiser(report.as_dict(), stopped=progress < 1.0)


def train(
    pair: Pair,
    settings: TrainingSettings | None = None,
    on_step: Callable[[TrainingStep], None] | None = None,
    **options: Any,
) -> Denoiser:
    """Train to the end: `fit` without the loop; `on_step` sees every `TrainingStep`."""
    return run_to_end(fit(pair, settings, **options), on_step)


class _Run:
    """The state of a run: network, averaged weights, optimiser, history."""

    def __init__(
        self, pair: Pair, settings: TrainingSettings, loss: Loss, device: torch.device
    ) -> None:
        self.pair, self.settings, self.loss, self.device = pair, settings, loss, device
        self.scale = normalisation(pair)
        self.architecture = {"name": settings.network, "channels": 1}
        network = build_network(self.architecture)
        self.network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.patches = Patches(
            pair,
            self.scale,
            side=settings.patch,
            stride=self.network.stride,
            seed=settings.seed,
            device=device,
        )
        with torch.no_grad():  # start from the mean, not from black
            self.network.head.bias.fill_(self.patches.mean())
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99)
        )
        self.held_out = self.patches.held_out_batches()
        self.data_range = quality.data_range(pair.first.plane(pair.first.plane_count // 2))
        self.places = settings.batch
        self.history = _History()
        self.best = self._weights()

    def progress(self) -> float:
        """Share of the run that is done; 1 ends it."""
        history, settings = self.history, self.settings
        done = 0.0
        if settings.steps is not None:
            done = history.step / settings.steps
        if settings.minutes is not None:
            done = max(done, history.seconds / (60 * settings.minutes))
        if settings.steps is None and settings.minutes is None:
            done = history.step / (history.end or LONGEST_AUTOMATIC_RUN)
        return min(done, 1.0)

    def advance(self, progress: float) -> None:
        """Take one optimiser step; on a full GPU, with half the batch from then on."""
        history = self.history
        rate = self.settings.learning_rate * min(1.0, (history.step + 1) / WARM_UP_STEPS)
        if progress > 1 - RAMP_DOWN:
            rate *= 0.5 + 0.5 * math.cos(math.pi * (progress - 1 + RAMP_DOWN) / RAMP_DOWN)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        try:
            loss = self._step(progress)
        except torch.OutOfMemoryError as error:
            self.optimizer.zero_grad(set_to_none=True)
            if self.places == 1:
                raise BadInput(
                    f"{self.device}: out of memory even with one patch at a time: close other "
                    "programs that use it, choose a smaller patch, or train on the CPU"
                ) from error
            self.places //= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            return
        if history.step % 10 == 0:
            value = float(loss)
            history.loss = value if math.isnan(history.loss) else 0.8 * history.loss + 0.2 * value
        history.step += 1
        self._average_weights()

    def _step(self, progress: float) -> Tensor:
        batch = self.patches.draw(self.history.step, self.places)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            prediction = self.network(batch.input.contiguous(memory_format=torch.channels_last))
        loss = masked_mean(self.loss.per_pixel(prediction, batch.target, progress), batch.weight)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _average_weights(self) -> None:
        step = self.history.step
        decay = min(self.settings.averaging, step / (step + 10))
        averaged, current = self.average.state_dict(), self.network.state_dict()
        floats = [name for name, values in averaged.items() if values.is_floating_point()]
        torch._foreach_lerp_(
            [averaged[name] for name in floats], [current[name] for name in floats], 1 - decay
        )

    def look_at_held_out(self) -> None:
        """Score the averaged weights on the held-out blocks; keep them if they are the best."""
        history = self.history
        predictions = [self._predict(batch) for batch in self.held_out]
        losses = [
            masked_mean(self.loss.held_out(prediction, batch.target), batch.weight)
            for prediction, batch in zip(predictions, self.held_out, strict=True)
        ]
        score = float(torch.stack(losses).mean())
        estimate = self._psnr(predictions)
        look = {
            "step": history.step,
            "seconds": round(history.seconds, 2),
            "loss": history.loss,
            "held_out": score,
            "psnr": estimate.value,
            "psnr_se": estimate.error,
        }
        history.curve.append(look)
        if history.best is None or score < history.best["held_out"]:
            history.best = look
            self.best = self._weights()
        if history.end is None and self._plateau():
            history.end = history.step / (1 - RAMP_DOWN)

    def _predict(self, batch: Batch) -> Tensor:
        with torch.inference_mode():
            return self.average(batch.input.contiguous(memory_format=torch.channels_last)).float()

    def _psnr(self, predictions: list[Tensor]) -> quality.Estimate:
        """Reference-free PSNR over all held-out blocks, in the first acquisition's units."""
        if self.loss.statistic != "mean":  # outliers: the mean squared error means nothing
            return quality.Estimate(None, None)
        errors, weights = [], []
        for prediction, batch in zip(predictions, self.held_out, strict=True):
            result, a, b, weight = (
                tensor[:, 0].cpu().numpy()
                for tensor in (prediction, batch.input, batch.target, batch.weight)
            )
            estimate = quality.reference_free_error(result, a, b, weight)
            if estimate.value is not None:
                errors.append((estimate.value, estimate.error))
                weights.append(float(batch.weight.sum()))
        if not errors:
            return quality.Estimate(None, None)
        values, each = (np.array(column, float) for column in zip(*errors, strict=True))
        share = np.array(weights) / sum(weights)
        unit = self.scale.gain
        total = quality.Estimate(
            float(share @ values) / unit**2, float(np.sqrt(((share * each) ** 2).sum())) / unit**2
        )
        return quality.psnr_reference_free(total, self.data_range)

    def _plateau(self) -> bool:
        """Tell whether the last third of the looks brought nothing."""
        scores = [look["held_out"] for look in self.history.curve]
        recent = max(3, len(scores) // 3)
        if len(scores) <= recent + 2:
            return False
        return min(scores[-recent:]) > min(scores[:-recent]) * (1 - 1e-3)

    def _weights(self) -> dict[str, Tensor]:
        return {name: values.clone() for name, values in self.average.state_dict().items()}

    def report(self) -> TrainingStep:
        """Say where the run stands."""
        history, progress = self.history, self.progress()
        latest = history.curve[-1] if history.curve else {}
        remaining = history.seconds * (1 - progress) / progress if progress > 0 else math.inf
        return TrainingStep(
            step=history.step,
            progress=progress,
            seconds=history.seconds,
            remaining=remaining,
            loss=history.loss,
            held_out=latest.get("held_out"),
            psnr=latest.get("psnr"),
            psnr_se=latest.get("psnr_se"),
        )

    def denoiser(self, noise: dict[str, Any], *, stopped: bool) -> Denoiser:
        """Return the best averaged weights with their provenance."""
        self.average.load_state_dict(self.best)
        low, high = self.patches.value_range()
        record = {
            "settings": self.settings.model_dump(),
            "loss": self.loss.name,
            "acquisitions": [
                {
                    "name": acquisition.name,
                    "path": str(acquisition.path) if acquisition.path else None,
                    "shape": acquisition.shape,
                    "axes": acquisition.axes,
                    "dtype": str(acquisition.data.dtype),
                    "gain": match.gain,
                    "offset": match.offset,
                }
                for acquisition, match in zip(
                    self.pair.acquisitions, self.pair.matches, strict=True
                )
            ],
            "values": [low, high],
            "noise": noise,
            "score": self.history.best,
            "data_range": self.data_range,
            "curve": self.history.curve,
            "steps": self.history.step,
            "seconds": round(self.history.seconds, 1),
            "stopped": stopped,
            "device": str(self.device),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {
                "napari-n2n": version("napari-n2n"),
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }
        plain = json.loads(json.dumps(record))
        return Denoiser(self.average, self.architecture, self.scale, plain)

    def save(self, path: Path) -> None:
        """Write all that is needed to go on as if nothing had happened."""
        tensors = {f"average.{name}": values for name, values in self.average.state_dict().items()}
        tensors |= {f"network.{name}": values for name, values in self.network.state_dict().items()}
        tensors |= {f"best.{name}": values for name, values in self.best.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": values for name, values in state.items()}
        note = {
            "settings": self.settings.model_dump(),
            "history": asdict(self.history),
            "places": self.places,
            "scale": [self.scale.gain, self.scale.offset],
        }
        tensorfile.write(path, "checkpoint", tensors, note)

    def restore(self, path: Path) -> None:
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
            for settings in (note["settings"], self.settings.model_dump())
        )
        changed = [key for key in now if before.get(key) != now[key]]
        if changed:
            raise BadInput(
                f"{path}: was made with another {changed[0]} ({before.get(changed[0])}): "
                "resume with the same settings, or leave out --resume to start anew"
            )
        if note["scale"] != [self.scale.gain, self.scale.offset]:
            raise BadInput(
                f"{path}: belongs to other acquisitions: leave out --resume to start anew"
            )
        parts: dict[str, dict[str, Tensor]] = {}
        for name, values in tensors.items():
            part, rest = name.split(".", 1)
            parts.setdefault(part, {})[rest] = values.to(self.device)
        self.network.load_state_dict(parts["network"])
        self.average.load_state_dict(parts["average"])
        self.best = parts["best"]
        optimizer = self.optimizer.state_dict()
        for name, values in parts.get("optimizer", {}).items():
            index, key = name.split(".")
            optimizer["state"].setdefault(int(index), {})[key] = values
        self.optimizer.load_state_dict(optimizer)
        self.history = _History(**note["history"])
        self.places = note["places"]
