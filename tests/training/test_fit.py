import threading
from dataclasses import replace

import numpy as np
import pytest
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
from napari_n2n.model.device import computes_in_bfloat16
from napari_n2n.model.network import CompactUNet
from napari_n2n.noise.measure import measure_channels
from napari_n2n.training.losses import LOSSES
from napari_n2n.training.normalisation import normalisations
from napari_n2n.training.patches import Patches
from napari_n2n.training.state import Run

QUICK = TrainingSettings(steps=30, patch=64, batch=1, device="cpu", seed=3)


def weights(denoiser):
    return torch.cat(
        [values.double().ravel() for values in denoiser.networks[0].state_dict().values()]
    )


def test_the_same_seed_gives_the_same_weights(pair):
    first, second = (weights(train(pair, QUICK)) for _ in range(2))
    assert torch.equal(first, second)
    other = weights(train(pair, QUICK.model_copy(update={"seed": 4})))
    assert not torch.equal(first, other)


def test_a_resumed_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path, pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.fit._YIELD_SECONDS", 0.0)
    checkpoint, stop = tmp_path / "run", threading.Event()

    def stop_halfway(step):
        if step.step >= 17:
            stop.set()

    half = train(pair, QUICK, stop_halfway, stop=stop, checkpoint=checkpoint)
    assert half.record.stopped and half.record.steps == 17
    resumed = train(pair, QUICK, checkpoint=checkpoint, resume=True)
    assert torch.equal(weights(resumed), weights(train(pair, QUICK)))


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path, pair, scene):
    checkpoint, stop = tmp_path / "run", threading.Event()
    stop.set()
    train(pair, QUICK, stop=stop, checkpoint=checkpoint)
    with refused("resume", match="another seed"):
        train(pair, QUICK.model_copy(update={"seed": 9}), checkpoint=checkpoint, resume=True)
    other = Pair.open(noisy(2 * scene, 1), noisy(2 * scene, 2))
    with refused("resume", match="other acquisitions"):
        train(other, QUICK, checkpoint=checkpoint, resume=True)


def test_a_run_stopped_at_once_still_returns_a_usable_model(pair, scene):
    stop = threading.Event()
    stop.set()
    denoiser = train(pair, QUICK, stop=stop)
    assert np.isfinite(denoise(denoiser, scene, device="cpu")).all()


def test_progress_can_be_watched_step_by_step(pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.fit._YIELD_SECONDS", 0.0)
    steps = list(fit(pair, QUICK))
    assert steps[-1].step == 30 and steps[-1].progress == 1.0
    assert all(np.isfinite(step.loss) for step in steps)
    assert steps[-1].held_out is not None


def test_a_run_by_the_clock_ends_in_time(pair):
    denoiser = train(pair, QUICK.model_copy(update={"steps": None, "minutes": 0.05}))
    assert 2.5 < denoiser.record.seconds < 20


def test_a_run_without_limits_ends_when_nothing_improves(pair, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.fit.HELD_OUT_EVERY", 10)
    denoiser = train(pair, QUICK.model_copy(update={"steps": None}))
    assert denoiser.record.steps < 1500
    assert not denoiser.record.stopped


@pytest.mark.parametrize(
    ("known", "quick"),
    [({"avx512_bf16": True}, True), ({"avx2": True, "avx512_bf16": False}, False), ({}, False)],
)
def test_short_numbers_are_left_to_processors_that_know_them(monkeypatch, known, quick):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert computes_in_bfloat16(torch.device("cpu")) == quick


def test_short_numbers_learn_the_same(pair, scene, monkeypatch):
    settings = QUICK.model_copy(update={"steps": 60, "batch": 4})
    errors = []
    for quick, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(
            "napari_n2n.training.state.computes_in_bfloat16", lambda _, quick=quick: quick
        )
        denoiser = train(pair, settings)
        assert denoiser.record.precision == precision
        result = np.asarray(denoise(denoiser, pair.first))
        errors.append(float(np.sqrt(np.mean((result - scene) ** 2))))
    assert errors[0] == pytest.approx(errors[1], rel=0.05) and errors[0] != errors[1]


def test_a_full_graphics_card_halves_the_batch_and_goes_on(pair, monkeypatch):
    forward = CompactUNet.forward

    def limited(self, image):
        if self.training and len(image) > 4:
            raise torch.OutOfMemoryError("full")
        return forward(self, image)

    monkeypatch.setattr(CompactUNet, "forward", limited)
    assert train(pair, QUICK.model_copy(update={"batch": 8})).record.steps == 30


def test_no_memory_at_all_is_said_in_one_line(pair, monkeypatch):
    def full(self, image):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(CompactUNet, "forward", full)
    with refused("memory"):
        train(pair, QUICK)


def test_training_beats_the_raw_acquisition_and_says_how_well(denoiser, pair, scene):
    raw = pair.first.plane(0)
    clean = denoise(denoiser, raw, device="cpu")
    true = 10 * np.log10(denoiser.record.data_range[0] ** 2 / np.mean((clean - scene) ** 2))
    score = denoiser.record.score
    assert np.mean((clean - scene) ** 2) < 0.4 * np.mean((raw - scene) ** 2)
    assert abs(score.psnr - true) < 4 * score.psnr_se + 0.5


@pytest.mark.parametrize(
    ("scores", "kept"),
    [([3.0, 2.0, 2.1], 1), ([3.0, 2.0, 2.001, 2.0015], 3), ([2.0, 2.001, 2.003, 2.005], 1)],
    ids=["the best", "the latest of those that are as good", "nothing that is worse bit by bit"],
)
def test_weights_that_are_kept(pair, scores, kept):
    given = iter(scores)
    planned = replace(
        LOSSES["l2"], held_out=lambda prediction, target: torch.full_like(target, next(given))
    )
    run = Run([pair], QUICK, planned, torch.device("cpu"), measure_channels([pair]))
    for step in range(len(scores)):
        run.history.step = step
        run.look_at_held_out()
    run.patches.close()
    assert run.denoiser([], stopped=False).record.score.step == kept


def test_models_come_back_from_their_file_unchanged(tmp_path, denoiser, scene):
    path = denoiser.save(tmp_path / "cells")
    assert path.name == "cells.n2n"
    again = load(path)
    assert again.record == denoiser.record
    np.testing.assert_array_equal(
        denoise(again, scene, device="cpu"), denoise(denoiser, scene, device="cpu")
    )


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("cut", "unreadable"),
        ("foreign", "model"),
        ("text", "unreadable"),
        ("missing", "not_found"),
        ("checkpoint", "model"),
    ],
)
def test_damaged_and_foreign_models_are_refused(tmp_path, denoiser, damage, code):
    from napari_n2n.model import tensorfile

    path = denoiser.save(tmp_path / "cells.n2n")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "foreign":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(3)}, path)
    elif damage == "text":
        path.write_text("hello")
    elif damage == "missing":
        path.unlink()
    else:
        tensorfile.write(path, "checkpoint", {"a": torch.zeros(1)}, {})
    with refused(code, match=r"cells\.n2n: "):
        load(path)


def open_patches(pairs, side, **options):
    return Patches(
        pairs,
        normalisations(pairs),
        side=(side, side),
        stride=(8, 8),
        **{"places": 4, "seed": 0, "device": torch.device("cpu"), "memory": 10**9} | options,
    )


def test_held_out_and_saturated_pixels_are_never_a_target(scene):
    a, b = (np.clip(noisy(scene, seed), 0, 255).astype(np.uint8) for seed in (1, 2))
    pair = Pair.open(a, b)
    patches = open_patches([pair], 96)
    batch = patches.draw(0, 2)
    top = patches.normalisations[0].scale(255.0)
    assert (batch.target[batch.weight == 1] < top - 1e-3).all()
    trained = sum(float(patches.draw(step, 1).weight.mean()) for step in range(5)) / 5
    held = sum(float(b.weight.sum()) for _, b in patches.held_out_batches())
    assert trained < 0.95 and held > 0


def test_targets_are_mapped_to_the_gain_of_their_input():
    scene = blobs((128, 128))
    pair = Pair.open(noisy(scene, 1, 1.0), 2 * noisy(scene, 2, 1.0) + 30)
    patches = open_patches([pair], 128)
    batch = patches.draw(0, 1)
    for source, target in zip(batch.input, batch.target, strict=True):
        assert float((source - target).abs().mean()) < 0.1
    assert float((batch.input[0] - batch.input[1]).abs().mean()) > 0.5


def test_channels_trained_one_after_the_other_are_one_run_to_who_looks_on(scene, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.fit._YIELD_SECONDS", 0.0)
    both = [np.stack([noisy(scene, seed), noisy(scene, seed + 5)]) for seed in (1, 2)]
    pairs = open_pairs([Acquisition.open(stack, axes="CYX") for stack in both])
    settings = QUICK.model_copy(update={"channels": "separate", "steps": 4})
    seen = []
    denoiser = train(pairs, settings, lambda step: seen.append(step.progress))
    assert seen == sorted(seen) and seen[0] < 0.2 and seen[-1] == 1.0
    assert len(denoiser.networks) == 2
