"""The state of a training run: network, averaged weights, optimiser, history, checkpoint."""

import copy
import math
import platform
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_n2n.errors import BadInput
from napari_n2n.model import tensorfile
from napari_n2n.model.denoiser import Denoiser, build_network
from napari_n2n.model.device import computes_in_bfloat16
from napari_n2n.model.record import ModelRecord
from napari_n2n.noise.report import NoiseReport
from napari_n2n.pair.pair import Pair
from napari_n2n.stats import image_quality, statistics
from napari_n2n.training import initial_weights
from napari_n2n.training.initial_weights import architecture
from napari_n2n.training.losses import Loss, masked_mean
from napari_n2n.training.normalisation import Batch, normalisations
from napari_n2n.training.patches import Patches
from napari_n2n.training.pixel_swap import exchange
from napari_n2n.training.settings import PRESETS, TrainingSettings

WARM_UP_STEPS = 50
RAMP_DOWN = 0.4


def learning_rate(peak: float, step: int, progress: float) -> float:
    """Warm up, stay at the peak, ramp down smoothly.

    Parameters
    ----------
    peak
        Highest rate.
    step
        Steps done; the first 50 warm up.
    progress
        Share of the run that is done, 0 to 1; the last 40 % ramp down by half a cosine.
    """
    rate = peak * min(1.0, (step + 1) / WARM_UP_STEPS)
    if progress > 1 - RAMP_DOWN:
        rate *= 0.5 + 0.5 * math.cos(math.pi * (progress - 1 + RAMP_DOWN) / RAMP_DOWN)
    return rate


def follow(average: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Let averaged weights (and statistics of batch norms) follow a network's by one step.

    The decay grows with the steps done, so that the first weights are soon forgotten.
    """
    decay = min(decay, step / (step + 10))
    averaged, current = average.state_dict(), network.state_dict()
    floats = [name for name, values in averaged.items() if values.is_floating_point()]
    torch._foreach_lerp_(
        [averaged[name] for name in floats], [current[name] for name in floats], 1 - decay
    )


def acquisitions(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Describe every acquisition of every pair, with its intensities against the pair's first."""
    return [
        {
            "name": acquisition.name,
            "path": str(acquisition.path) if acquisition.path else None,
            "shape": acquisition.shape,
            "axes": acquisition.axes,
            "dtype": str(acquisition.dtype),
            "channel": pair.channel,
            "gain": match.gain,
            "offset": match.offset,
        }
        for pair in pairs
        for acquisition, match in zip(pair.acquisitions, pair.matches, strict=True)
    ]


def here_and_now() -> dict[str, Any]:
    """Return the date, and the versions of what computes."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "napari-n2n": version("napari-n2n"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


# Where nobody gives the steps: how often every pixel is seen, within these limits. A small network
# begins to memorise the noise of a single pair when it sees it much more often.
VIEWS = 400
SHORTEST_RUN, LONGEST_RUN = 1500, 6000
# Volumes: a patch has more pixels, and a pixel costs more.
VOLUME_DEPTH = 16
VOLUME_PLACES = 8
_SEEDING = threading.Lock()
_CHANCE = 1e-3  # held-out scores that differ by less are alike
_NO_PSNR = "with outliers in the target a mean squared error, and so a PSNR, means nothing"


@dataclass
class History:
    """What a run has seen so far; goes into checkpoints and, in part, into the model."""

    step: int = 0
    seconds: float = 0.0
    end: float | None = None
    loss: float = math.nan
    curve: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None


class Run:
    """A run that takes one step at a time.

    Parameters
    ----------
    pairs, settings, loss, device
        What to learn from, how, and where.
    reports
        What is known of the noise of each channel.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        settings: TrainingSettings,
        loss: Loss,
        device: torch.device,
        reports: Sequence[NoiseReport],
    ) -> None:
        self.usual_patience = max(report.training_factor for report in reports)
        self.pairs, self.settings, self.loss, self.device = pairs, settings, loss, device
        self.bfloat16 = computes_in_bfloat16(device)
        self.normalisations = normalisations(pairs)
        self.warm = initial_weights.wanted(settings, loss)
        self.format = torch.channels_last if settings.dims == 2 else torch.channels_last_3d
        self.architecture, network = self._first_network()
        self.network = network.to(device=device, memory_format=self.format)  # type: ignore[call-overload]
        volumes = settings.dims == 3
        self.places = max(1, settings.batch // VOLUME_PLACES) if volumes else settings.batch
        self.patches = Patches(
            pairs,
            self.normalisations,
            side=((VOLUME_DEPTH,) if volumes else ()) + (settings.patch, settings.patch),
            stride=self.network.stride,
            places=self.places,
            seed=settings.seed,
            device=device,
            memory=settings.memory,
            exchange=exchange(reports, loss),
        )
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99)
        )
        self.held_out = self.patches.held_out_batches()
        self.data_range = [_data_range(pairs, k) for k in range(len(self.normalisations))]
        effort = PRESETS[settings.preset].effort
        self.longest = effort * self.usual_steps(self.patches.pixels)
        self.patience = max(1.0, effort) * self.usual_patience
        self.history = History()
        self.best = self._weights()

    def _first_network(self) -> tuple[dict[str, Any], nn.Module]:
        """Return what the run starts from: name and arguments of the network, and its weights."""
        if self.warm:
            return initial_weights.network()
        chosen = architecture(self.settings, self.pairs)
        with _SEEDING:  # torch has one seed for all threads
            torch.manual_seed(self.settings.seed)
            network = build_network(chosen)
        mean = float(np.mean([one.mean for one in self.normalisations]))
        nn.init.constant_(network.get_parameter("head.bias"), mean)  # not from black
        return chosen, network

    def usual_steps(self, pixels: int) -> float:
        """Return how many steps so many pixels need at most with the balanced preset."""
        seen = 2 * self.places * math.prod(self.patches.side)
        return self.usual_patience * min(max(VIEWS * pixels / seen, SHORTEST_RUN), LONGEST_RUN)

    def progress(self) -> float:
        """Share of the run that is done; 1 ends it."""
        history, settings = self.history, self.settings
        done = 0.0
        if settings.minutes is not None:
            done = history.seconds / (60 * settings.minutes)
        if settings.steps is not None:
            done = max(done, history.step / settings.steps)
        else:
            done = max(done, history.step / (history.end or self.longest))
        return min(done, 1.0)

    def advance(self, progress: float) -> None:
        """Take one optimiser step; on a full GPU, with half the batch from then on."""
        history = self.history
        rate = learning_rate(self.settings.learning_rate, history.step, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        try:
            loss = self._step(progress)
        except torch.OutOfMemoryError as error:
            self.optimizer.zero_grad(set_to_none=True)
            if self.places == 1:
                raise self._full() from error
            self.places //= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            return
        if history.step % 10 == 0:
            value = float(loss)
            history.loss = value if math.isnan(history.loss) else 0.8 * history.loss + 0.2 * value
        history.step += 1
        follow(self.average, self.network, history.step, self.settings.averaging)

    def _full(self) -> BadInput:
        return BadInput(
            f"{self.device}: out of memory even with one patch at a time: close other "
            "programs that use it, choose a smaller patch, or train on the CPU",
            "memory",
        )

    def _step(self, progress: float) -> Tensor:
        batch = self.patches.draw(self.history.step, self.places)
        self.optimizer.zero_grad(set_to_none=True)
        quick = torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()
        with quick:
            prediction = self.network(batch.input.contiguous(memory_format=self.format))
        loss = masked_mean(self.loss.per_pixel(prediction, batch.target, progress), batch.weight)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def look_at_held_out(self) -> None:
        """Score the averaged weights on the held-out blocks; keep them if none were better.

        What differs by under a thousandth is chance, and then later weights are the better ones:
        they have seen more, and the rate has fallen.
        """
        history = self.history
        try:
            predictions = [self._predict(batch) for _, batch in self.held_out]
        except torch.OutOfMemoryError as error:
            raise self._full() from error
        losses = [
            masked_mean(self.loss.held_out(prediction, batch.target), batch.weight)
            for prediction, (_, batch) in zip(predictions, self.held_out, strict=True)
        ]
        score = float(torch.stack(losses).mean())
        estimate = self._psnr(predictions)
        look = {
            "step": history.step,
            "seconds": round(history.seconds, 2),
            "loss": None if math.isnan(history.loss) else history.loss,
            "held_out": score,
            "psnr": estimate.value,
            "psnr_se": estimate.error,
        }
        history.curve.append(look)
        if score <= min(look["held_out"] for look in history.curve) * (1 + _CHANCE):
            history.best = look
            self.best = self._weights()
        if history.end is None and self._plateau():
            history.end = history.step / (1 - RAMP_DOWN)

    def _predict(self, batch: Batch) -> Tensor:
        with torch.inference_mode():
            return self.average(batch.input.contiguous(memory_format=self.format)).float()

    def _psnr(self, predictions: list[Tensor]) -> statistics.Measurement:
        """Reference-free PSNR over all held-out blocks, each in the range of its channel."""
        if self.loss.statistic != "mean":  # outliers: the mean squared error means nothing
            return statistics.Measurement(None, None)
        parts = []
        for prediction, (channel, batch) in zip(predictions, self.held_out, strict=True):
            result, a, b, weight = (
                tensor[:, 0].cpu().numpy()
                for tensor in (prediction, batch.input, batch.target, batch.weight)
            )
            unit = self.normalisations[channel].scale.gain * self.data_range[channel]
            parts.append((image_quality.squared_errors(result, a, b, weight) / unit**2, weight))
        return image_quality.psnr_reference_free(statistics.mean_over_blocks(parts), 1.0)

    def _plateau(self) -> bool:
        """Tell whether the last third of the looks brought nothing."""
        scores = [look["held_out"] for look in self.history.curve]
        recent = max(round(3 * self.patience), len(scores) // 3)
        if len(scores) <= recent + 2:
            return False
        return min(scores[-recent:]) > min(scores[:-recent]) * (1 - _CHANCE)

    def _weights(self) -> dict[str, Tensor]:
        return {name: values.clone() for name, values in self.average.state_dict().items()}

    def denoiser(self, noise: list[dict[str, Any]], *, stopped: bool) -> Denoiser:
        """Return the best averaged weights with their provenance."""
        self.average.load_state_dict(self.best)
        record = {
            "settings": self.settings.model_dump(),
            "loss": self.loss.name,
            "acquisitions": acquisitions(self.pairs),
            "values": [list(one.values) for one in self.normalisations],
            "noise": noise,
            "score": self.history.best,
            "score_reason": None if self.loss.statistic == "mean" else _NO_PSNR,
            "data_range": self.data_range,
            "curve": self.history.curve,
            "steps": self.history.step,
            "seconds": round(self.history.seconds, 1),
            "stopped": stopped,
            "device": str(self.device),
            "precision": "bfloat16" if self.bfloat16 else "float32",
            **here_and_now(),
        }
        return self._made(ModelRecord.model_validate(record))

    def snapshot(self) -> Denoiser:
        """Return the averaged weights as they are now; of their provenance, only the values."""
        return self._made(ModelRecord(values=[one.values for one in self.normalisations]))

    def _made(self, record: ModelRecord) -> Denoiser:
        scales = tuple(one.scale for one in self.normalisations)
        return Denoiser((copy.deepcopy(self.average),), self.architecture, scales, record)


def _data_range(pairs: Sequence[Pair], channel: int) -> float:
    first = next(pair.first for pair in pairs if pair.channel == channel)
    return image_quality.data_range(first.sample_plane().astype(first.dtype))


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
            "resume with the same settings, or leave out --resume to start anew",
            "resume",
        )
    if note["scales"] != _scales(run):
        raise BadInput(
            f"{path}: belongs to other acquisitions: leave out --resume to start anew", "resume"
        )
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
