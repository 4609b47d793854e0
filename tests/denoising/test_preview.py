"""Previews during and after training."""

from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import torch
from conftest import blobs, noisy

from napari_n2n import Acquisition, TrainingSettings, denoise, fit, open_pairs
from napari_n2n.denoising import preview as preview_module
from napari_n2n.denoising.preview import Pace, Preview

QUICK = TrainingSettings(steps=40, patch=64, batch=1, device="cpu", start="cold")
CPU = torch.device("cpu")


def plane_at(*leading):
    return (*(slice(k, k + 1) for k in leading), slice(0, 96), slice(0, 96))


def preview_of(denoiser, source, region, axes=None):
    preview = Preview(Acquisition.open(source, axes=axes), CPU, 10**9)
    return preview.denoise(denoiser, region)


def test_the_model_of_a_step_is_not_changed_by_later_steps(pair, scene, monkeypatch):
    monkeypatch.setattr("napari_n2n.training.fit._YIELD_SECONDS", 0.0)
    errors, kept = [], []
    for step in fit(pair, QUICK):
        if step.step in (1, QUICK.steps):
            kept.append(step.denoiser())
            clean = preview_of(kept[-1], pair.first, plane_at()).pixels
            errors.append(float(np.mean((clean - scene) ** 2)))
            assert np.array_equal(preview_of(kept[0], pair.first, plane_at()).pixels, clean) == (
                len(kept) == 1
            )
    assert errors[-1] < 0.7 * errors[0]
    assert step.denoiser() is None, "a step that is kept keeps no pixels"


def test_a_preview_equals_the_plane_of_the_result(denoiser, scene):
    stack = np.stack([noisy(scene, 1), noisy(scene, 2), noisy(scene, 3)])
    result = denoise(denoiser, Acquisition.open(stack, axes="TYX"), device="cpu")
    seen = preview_of(denoiser, stack, plane_at(1), axes="TYX")
    np.testing.assert_allclose(seen.pixels, np.asarray(result)[1:2], rtol=1e-5, atol=1e-3)


def test_only_the_plane_on_screen_is_read(denoiser, scene):
    planes = [noisy(scene, 1), np.full_like(scene, np.nan)]
    read = []
    stack = da.from_array(np.stack(planes), chunks=(1, 96, 96)).map_blocks(
        lambda block, block_info=None: read.append(block_info[0]["chunk-location"]) or block,
        dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32),
    )
    preview = Preview(Acquisition.open(stack, axes="TYX"), CPU, 10**9)
    first, again = (preview.denoise(denoiser, plane_at(0)) for _ in range(2))
    assert np.array_equal(first.pixels, again.pixels)
    assert read == [(0, 0, 0)]


def test_of_a_large_plane_the_middle_of_the_view_is_shown(denoiser):
    plane = np.zeros((700, 3000), np.float32)
    seen = preview_of(denoiser, plane, (slice(0, 700), slice(1000, 3000)))
    assert seen.region == (slice(94, 606), slice(1744, 2256))
    assert seen.pixels.shape == (512, 512)


def test_a_preview_is_smaller_if_the_computer_is_slow(monkeypatch):
    clock, preview = [0.0], Preview(Acquisition.open(np.zeros((3000, 3000), "u1")), CPU, 10**9)
    monkeypatch.setattr(preview_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def side_after(seconds):
        def compute(*_):
            clock[0] += seconds

        network = SimpleNamespace(read=lambda part: part, compute=compute)
        monkeypatch.setattr(preview, "_predictor", lambda _: network)
        rows, columns = preview.denoise(None, (slice(0, 3000), slice(0, 3000))).region
        assert rows == columns
        return rows.stop - rows.start

    assert [side_after(0.05) for _ in range(4)] == [512, 1024, 2048, 2048]
    assert [side_after(0.5) for _ in range(2)] == [2048, 2048]
    assert [side_after(0.9) for _ in range(6)] == [2048, 1024, 512, 256, 128, 128]


def test_a_plane_of_a_volume_sees_its_neighbours():
    volume = [Acquisition.open(noisy(blobs((16, 64, 64)), seed), axes="ZYX") for seed in (1, 2)]
    settings = QUICK.model_copy(update={"dims": 3, "steps": 2})
    for step in fit(open_pairs(volume), settings):
        now = step.denoiser()
    here = (slice(7, 8), slice(0, 64), slice(0, 64))
    result = denoise(now, volume[0], device="cpu")
    seen = preview_of(now, volume[0], here)
    np.testing.assert_allclose(seen.pixels, np.asarray(result)[7:8], rtol=1e-4, atol=1e-2)


def test_channels_whose_training_has_not_begun_are_not_shown(scene):
    both = [np.stack([noisy(scene, seed), noisy(3 * scene, seed + 5)]) for seed in (1, 2)]
    pairs = open_pairs([Acquisition.open(stack, axes="CYX") for stack in both])
    settings = QUICK.model_copy(update={"channels": "separate", "steps": 3})
    steps = fit(pairs, settings)
    first = next(steps).denoiser()
    assert preview_of(first, both[0], plane_at(0), axes="CYX").pixels.shape == (1, 96, 96)
    assert preview_of(first, both[0], plane_at(1), axes="CYX") is None
    later = (preview_of(step.denoiser(), both[0], plane_at(1), axes="CYX") for step in steps)
    bright = next(found for found in later if found is not None).pixels
    assert bright.mean() == pytest.approx(both[0][1].mean(), rel=0.2)


def test_quick_previews_of_one_plane_are_shown_twice_a_second(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("napari_n2n.denoising.preview.time.monotonic", lambda: clock[0])
    pace, shown = Pace(), []
    for _ in range(100):
        clock[0] += 0.1
        pace.earn(0.1)
        if pace.allows(plane_at(0), idle=False):
            shown.append(clock[0])
            pace.spend(0.001, plane_at(0), idle=False)
    np.testing.assert_allclose(np.diff(shown), 0.6, atol=0.11)


def test_previews_cost_a_tenth_of_the_time_but_a_new_plane_is_shown_at_once(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("napari_n2n.denoising.preview.time.monotonic", lambda: clock[0])
    pace, spent = Pace(), 0.0
    for _ in range(3000):
        clock[0] += 0.2
        pace.earn(0.2)
        if pace.allows(plane_at(0), idle=False):
            clock[0] += 0.7
            spent += 0.7
            pace.spend(0.7, plane_at(0), idle=False)
    assert 0.08 < spent / clock[0] < 0.11
    assert pace.allows(plane_at(1), idle=False)
    for plane in range(1, 9):
        pace.spend(0.7, plane_at(plane), idle=False)
    assert not pace.allows(plane_at(9), idle=False), "a slider that plays leaves time for training"
    assert pace.allows(plane_at(9), idle=True) and not pace.allows(plane_at(8), idle=True)
