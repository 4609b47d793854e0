import copy
import os
import threading

import numpy as np
import pytest
import tifffile
import torch
from conftest import blobs, noisy, refused

from napari_n2n import (
    Acquisition,
    Pair,
    TrainingSettings,
    denoise,
    fit,
    load,
    open_pairs,
    train,
)
from napari_n2n.model.denoiser import Denoiser, merge_channels
from napari_n2n.model.device import choose_device, computes_in_bfloat16
from napari_n2n.model.network import CompactUNet
from napari_n2n.model.record import HeldOutScore
from napari_n2n.noise.measure import measure_channels
from napari_n2n.training.estimate import _random_batch, time_step
from napari_n2n.training.held_out import HeldOut
from napari_n2n.training.prepare import prepare
from napari_n2n.training.state import TrainState

DEEP = {"name": "compact", "width": 24, "depth": 1, "dims": 3}
QUICK = TrainingSettings(steps=30, patch=32, batch=1, device="cpu", seed=3)


def weights(denoiser):
    return torch.cat(
        [values.double().ravel() for values in denoiser.networks[0].state_dict().values()]
    )


def test_the_same_seed_gives_the_same_weights(pair):
    first, second = (weights(train(pair, QUICK)) for _ in range(2))
    assert torch.equal(first, second)
    other = weights(train(pair, QUICK.model_copy(update={"seed": 4})))
    assert not torch.equal(first, other)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.fit._YIELD_SECONDS", 0.0)
    checkpoint, stop = tmp_path / "run", threading.Event()

    def stop_halfway(step):
        if step.step >= 17:
            stop.set()

    half = train(pair, QUICK, stop_halfway, stop=stop, checkpoint=checkpoint)
    assert half.record.stopped and half.record.steps == 17
    resumed = train(pair, QUICK, checkpoint=checkpoint, resume=True)
    assert torch.equal(weights(resumed), weights(train(pair, QUICK)))


def test_the_log_says_what_was_chosen_and_why(pair, caplog):
    with caplog.at_level("INFO", "napari_n2n"):
        denoiser = train(pair, QUICK)
    said = "\n".join(caplog.messages)
    assert f"loss l2: {denoiser.record.noise[0]['reason']}" in said
    assert "device cpu, pretrained weights, batch size" in said and "pixels in memory" in said


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path, pair, scene):
    checkpoint, stop = tmp_path / "run", threading.Event()
    stop.set()
    train(pair, QUICK, stop=stop, checkpoint=checkpoint)
    with refused("resume", match="another seed"):
        train(pair, QUICK.model_copy(update={"seed": 9}), checkpoint=checkpoint, resume=True)
    other = Pair.open(noisy(2 * scene, 1), noisy(2 * scene, 2))
    with refused("resume", match="acquisitions have changed"):
        train(other, QUICK, checkpoint=checkpoint, resume=True)


def test_a_run_continues_on_copies_of_its_recordings_and_not_on_others(tmp_path, scene):
    checkpoint, stop, paths = tmp_path / "run", threading.Event(), []
    stop.set()
    few = QUICK.model_copy(update={"steps": 3})
    for number in (1, 2):
        paths.append(tmp_path / f"{number}.tif")
        tifffile.imwrite(paths[-1], noisy(scene, number))
    train(Pair.open(*paths), few, stop=stop, checkpoint=checkpoint)
    for path in paths:
        os.utime(path, (1, 1))  # as a copy has it
    resumed = train(Pair.open(*paths), few, stop=stop, checkpoint=checkpoint, resume=True)
    assert resumed.record.stopped
    content = bytearray(paths[1].read_bytes())
    content[-1] ^= 64  # in a corner, of the last pixel only
    paths[1].write_bytes(content)
    with refused("resume", match="acquisitions have changed"):
        train(Pair.open(*paths), few, checkpoint=checkpoint, resume=True)


def test_a_run_stopped_at_once_still_returns_a_usable_model(pair, scene):
    stop = threading.Event()
    stop.set()
    denoiser = train(pair, QUICK, stop=stop)
    assert np.isfinite(denoise(denoiser, scene, device="cpu")).all()


def test_progress_is_reported_step_by_step(pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.fit._YIELD_SECONDS", 0.0)
    steps = list(fit(pair, QUICK))
    assert steps[-1].step == 30 and steps[-1].progress == 1.0
    assert all(np.isfinite(step.loss) for step in steps)
    assert steps[-1].held_out is not None


def test_a_run_limited_in_minutes_ends_in_time(pair):
    denoiser = train(pair, QUICK.model_copy(update={"steps": None, "minutes": 0.02}))
    assert 1 < denoiser.record.seconds < 8


def test_a_run_without_limits_ends_when_the_score_stops_improving(pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.fit.VALIDATE_EVERY", 10)
    denoiser = train(pair, QUICK.model_copy(update={"steps": None}))
    assert denoiser.record.steps < 1500
    assert not denoiser.record.stopped


def test_after_the_last_improvement_the_rate_falls_over_four_tenths_of_the_run(pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.fit.VALIDATE_EVERY", 6)
    ended = "napari_n2n.training.schedule.Schedule.has_plateaued"
    monkeypatch.setattr(ended, lambda _, curve: curve[-1].step == 6)
    settings = QUICK.model_copy(update={"steps": None, "patch": 32})
    assert train(pair, settings).record.steps == 10


@pytest.mark.parametrize(
    ("known", "quick"),
    [({"avx512_bf16": True}, True), ({"avx2": True, "avx512_bf16": False}, False), ({}, False)],
)
def test_bfloat16_is_used_only_on_processors_with_instructions_for_it(monkeypatch, known, quick):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert computes_in_bfloat16(torch.device("cpu")) == quick


@pytest.mark.parametrize(("capability", "quick"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bfloat16_is_used_only_on_cards_with_instructions_for_it(monkeypatch, capability, quick):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert computes_in_bfloat16(torch.device("cuda:1")) == quick


@pytest.mark.parametrize("name", ["cuda:2", "cuda:x", "cuda:", "cpu:1", "cuda:-1"])
def test_a_card_that_does_not_exist_is_refused(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with refused("device" if name == "cuda:2" else "option", match=f"device '{name}'"):
        choose_device(name)


def test_bfloat16_trains_to_the_same_result(pair, scene, monkeypatch):
    settings = QUICK.model_copy(update={"steps": 20, "batch": 2})
    errors = []
    for quick, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(
            "napari_n2n.training.prepare.computes_in_bfloat16", lambda _, quick=quick: quick
        )
        denoiser = train(pair, settings)
        assert denoiser.record.precision == precision
        result = np.asarray(denoise(denoiser, pair.first))
        errors.append(float(np.sqrt(np.mean((result - scene) ** 2))))
    assert errors[0] == pytest.approx(errors[1], rel=0.05) and errors[0] != errors[1]


def test_a_full_graphics_card_gets_a_smaller_cache(monkeypatch):
    monkeypatch.setattr("napari_n2n.training.block_grid.BLOCK", {2: (64, 64)})
    stack = Pair.open(*np.random.default_rng(0).normal(100, 10, (2, 256, 256)), axes="YX")
    empty, slots = torch.empty, []

    def limited(*size, **options):
        if len(size) == 3 and size[0] > fitting:
            slots.append(size[0])
            raise torch.OutOfMemoryError("full")
        return empty(*size, **options)

    monkeypatch.setattr(torch, "empty", limited)
    fitting = 2  # the fewest that training needs
    settings = QUICK.model_copy(update={"steps": 3, "patch": 32, "batch": 2})
    assert train(stack, settings).record.steps == 3 and slots == [16, 8, 4]
    fitting = 0
    with refused("memory", match="not enough memory for the acquisitions"):
        train(stack, settings)


def test_a_full_graphics_card_halves_the_batch_and_training_continues(pair, monkeypatch):
    forward = CompactUNet.forward

    def limited(self, image):
        if self.training and len(image) > 4:
            raise torch.OutOfMemoryError("full")
        return forward(self, image)

    monkeypatch.setattr(CompactUNet, "forward", limited)
    assert train(pair, QUICK.model_copy(update={"batch": 8})).record.steps == 30


def test_a_step_that_ran_out_of_memory_while_adam_began_is_repeated(pair, monkeypatch):
    zeros_like, calls = torch.zeros_like, []

    def limited(*given, **options):
        calls.append(1)
        if len(calls) in (2, 9):
            raise torch.OutOfMemoryError("full")
        return zeros_like(*given, **options)

    monkeypatch.setattr(torch, "zeros_like", limited)
    assert train(pair, QUICK.model_copy(update={"batch": 8})).record.steps == 30


def test_windows_that_do_not_fit_together_are_scored_one_by_one(pair, monkeypatch):
    expected = train(pair, QUICK).record.score
    forward = CompactUNet.forward

    def limited(self, image):
        if not self.training and len(image) > 1:
            raise torch.OutOfMemoryError("full")
        return forward(self, image)

    monkeypatch.setattr(CompactUNet, "forward", limited)
    assert train(pair, QUICK).record.score.held_out == pytest.approx(expected.held_out, rel=1e-5)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (torch.nn.Module, "to"),  # the network is moved to the card
        (torch.Tensor, "to"),  # so are the held-out windows
        (HeldOut, "score"),
    ],
)
def test_too_little_memory_is_refused_at_any_moment(
    pair, denoiser, scene, monkeypatch, owner, name
):
    def full(*given, **options):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(owner, name, full)
    with refused("memory", match="cpu: not enough memory: close other programs"):
        train(pair, QUICK)
    if owner is torch.nn.Module:
        with refused("memory", match="cpu: not enough memory"):
            denoise(denoiser, scene, device="cpu")


def test_too_little_memory_for_one_patch_is_refused(pair, monkeypatch):
    def full(self, image):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(CompactUNet, "forward", full)
    with refused("memory"):
        train(pair, QUICK)


def test_training_reduces_the_error_and_estimates_it(denoiser, pair, scene):
    raw = pair.first.plane(0)
    clean = denoise(denoiser, raw, device="cpu")
    true = 10 * np.log10(denoiser.record.data_range[0] ** 2 / np.mean((clean - scene) ** 2))
    score = denoiser.record.score
    assert np.mean((clean - scene) ** 2) < 0.4 * np.mean((raw - scene) ** 2)
    assert abs(score.psnr - true) < 4 * score.psnr_se + 0.5


@pytest.mark.parametrize(
    ("scores", "kept"),
    [([3.0, 2.0, 2.1], 1), ([3.0, 2.0, 2.001, 2.0015], 3), ([2.0, 2.001, 2.003, 2.005], 1)],
    ids=["the best", "the latest of equally good ones", "none that is slowly getting worse"],
)
def test_weights_that_are_kept(scores, kept):
    state = TrainState.begin(CompactUNet(1, 4, 1), 1e-3, 1)
    for step, score in enumerate(scores):
        state.average.head.bias.fill_(step)
        state.add_score(
            HeldOutScore(step=step, seconds=0, loss=None, held_out=score, psnr=None, psnr_se=None)
        )
    assert state.history.best.step == kept
    assert (state.best["head.bias"] == kept).all()


def test_the_average_follows_weights_and_batch_norms_by_one_step():
    state = TrainState.begin(CompactUNet(1, 4, 1), 1e-3, 1)
    before = {name: values.clone() for name, values in state.average.state_dict().items()}
    for values in state.network.state_dict().values():
        values += 1
    state.history.step = 999
    state.finish_step(torch.tensor(0.5), averaging=0.9)
    for name, values in state.average.state_dict().items():
        if values.is_floating_point():
            torch.testing.assert_close(values, before[name] + 0.1)
    assert state.history.step == 1000


def test_the_first_steps_forget_the_initial_weights():
    state = TrainState.begin(CompactUNet(1, 4, 1), 1e-3, 1)
    state.network.head.bias.data.fill_(11.0)
    state.average.head.bias.fill_(0.0)
    state.finish_step(torch.tensor(0.5), averaging=0.998)
    torch.testing.assert_close(state.average.head.bias, torch.full((4,), 10.0))


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_training_leaves_the_random_state_of_torch_alone(pair, start):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    train(pair, QUICK.model_copy(update={"start": start, "steps": 1}))
    assert torch.initial_seed() == 123
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_can_be_timed_without_a_run():
    network = CompactUNet(1, 4, 1)
    before = network.head.bias.clone()
    seconds = time_step(network, _random_batch(2, (16, 16), torch.device("cpu")))
    assert len(seconds) > 3 and min(seconds) > 0
    assert torch.equal(network.head.bias, before)


def test_a_saved_model_loads_unchanged(tmp_path, denoiser, scene):
    path = denoiser.save(tmp_path / "cells")
    assert path.name == "cells.n2n"
    again = load(path)
    assert again.record == denoiser.record
    np.testing.assert_array_equal(
        denoise(again, scene, device="cpu"), denoise(denoiser, scene, device="cpu")
    )


def test_targets_are_mapped_to_the_gain_of_their_input():
    scene = blobs((128, 128))
    pairs = [Pair.open(noisy(scene, 1, 1.0), 2 * noisy(scene, 2, 1.0) + 30)]
    batch = prepare(pairs, QUICK, measure_channels(pairs), 2).patches.draw(0, 1)
    for source, target in zip(batch.input, batch.target, strict=True):
        assert float((source - target).abs().mean()) < 0.1
    assert float((batch.input[0] - batch.input[1]).abs().mean()) > 0.5


def test_channels_trained_one_after_the_other_report_one_progress(scene, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.fit._YIELD_SECONDS", 0.0)
    both = [np.stack([noisy(scene, seed), noisy(scene, seed + 5)]) for seed in (1, 2)]
    pairs = open_pairs([Acquisition.open(stack, axes="CYX") for stack in both])
    settings = QUICK.model_copy(update={"channels": "separate", "steps": 4})
    seen = []
    denoiser = train(pairs, settings, lambda step: seen.append(step.progress))
    assert seen == sorted(seen) and seen[0] < 0.2 and seen[-1] == 1.0
    assert len(denoiser.networks) == 2


def test_each_channel_is_trained_with_its_own_loss(scene):
    rng = np.random.default_rng(0)
    hit = [np.where(rng.random(scene.shape) < 0.1, 900, noisy(scene, seed, 5)) for seed in (3, 4)]
    both = [np.stack([noisy(scene, seed, 5), view]) for seed, view in enumerate(hit)]
    pairs = open_pairs([Acquisition.open(stack, axes="CYX") for stack in both])
    denoiser = train(pairs, QUICK.model_copy(update={"steps": 4}))
    assert [one.loss for one in denoiser.record.of_channels] == ["l2", "likelihood"]
    assert denoiser.record.loss == "l2, likelihood"
    alike = train(pairs, QUICK.model_copy(update={"steps": 4, "loss": "l2"}))
    assert len(alike.networks) == 1 and alike.record.loss == "l2"


def test_training_and_denoising_keep_the_default_type_of_torch(pair, scene):
    settings = QUICK.model_copy(update={"steps": 2})
    usual = train(pair, settings)
    torch.set_default_dtype(torch.float64)
    try:
        denoiser = train(pair, settings)
        assert denoise(denoiser, scene, device="cpu").dtype == np.float32
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(weights(denoiser), weights(usual))


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_a_run_that_diverges_keeps_its_best_weights_or_is_refused(pair, start):
    wild = QUICK.model_copy(update={"learning_rate": 1e25, "start": start})
    if start == "cold":
        with refused("option", match="diverged"):
            train(pair, wild)
        return
    denoiser = train(pair, wild)
    assert denoiser.record.diverged == 10 and bool(torch.isfinite(weights(denoiser)).all())


@pytest.mark.parametrize("memory", [-5, 0, 1e30, np.nan, True, "4GB"])
def test_a_memory_limit_that_is_not_a_size_is_refused(denoiser, scene, memory):
    with refused("option", match="memory"):
        denoise(denoiser, scene, device="cpu", memory=memory)


def test_training_continues_from_a_model_of_ones_own(pair, denoiser, scene, tmp_path):
    path = denoiser.save(tmp_path / "own.n2n")
    settings = QUICK.model_copy(update={"start": str(path), "steps": 1, "seed": 0})
    # Twice as bright: intensities are normalised in their own way.
    brighter = Pair.open(*(2 * np.asarray(one.data) for one in pair.acquisitions))
    run = fit(brighter, settings)
    curve = run.finish().record.curve
    assert curve[0].step == 0
    assert curve[0].psnr == pytest.approx(denoiser.record.score.psnr, abs=0.1)
    assert run.result.record.settings["start"] == str(path)


def test_a_model_that_does_not_suit_the_recordings_is_refused(pair, denoiser, tmp_path):
    path = str(denoiser.save(tmp_path / "planes.n2n"))
    both = str(merge_channels([denoiser, copy.deepcopy(denoiser)]).save(tmp_path / "both.n2n"))
    deep = Denoiser((CompactUNet(1, 24, 1, 3),), DEEP, denoiser.scales).save(tmp_path / "deep.n2n")
    volumes = Pair.open(*(noisy(blobs((24, 64, 64)), k) for k in (1, 2)), axes="ZYX")
    cases = [
        (pair, {"start": str(deep)}, "axes", "has no labelled Z or T axis"),
        (pair, {"start": str(deep), "dims": 2}, "model", "trained on volumes: leave out --dims 2"),
        (volumes, {"start": path, "dims": 3}, "model", "trained on planes: leave out --dims 3"),
        (pair, {"start": both}, "channels", "a network for each of 2 channels"),
        (pair, {"start": str(tmp_path / "none.n2n")}, "not_found", "none.n2n"),
    ]
    for recordings, update, code, words in cases:
        with refused(code, words):
            train(recordings, QUICK.model_copy(update={"steps": 1, **update}))
    with refused("model", "name compact, not stack"):
        train(volumes, QUICK.model_copy(update={"steps": 1, "dims": 3, "start": str(deep)}))


def test_a_run_gives_the_same_weights_however_often_it_reports(pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.prepare.computes_in_bfloat16", lambda device: True)
    settings = TrainingSettings(steps=6, patch=32, batch=2, device="cpu")
    runs = []
    for seconds in (0.0, 1000.0):
        monkeypatch.setattr("napari_n2n.training.fit._YIELD_SECONDS", seconds)
        runs.append(train(pair, settings).networks[0].state_dict())
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
