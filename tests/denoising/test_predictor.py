import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import noisy

from napari_n2n import Acquisition, TrainingSettings, denoise, load, train
from napari_n2n.denoising.denoise import denoise_by_shards
from napari_n2n.denoising.plan import make_plan
from napari_n2n.denoising.predictor import Cancelled, Predictor, fitting_tile
from napari_n2n.denoising.preview import Preview

CPU = torch.device("cpu")
PLANE = (slice(0, 96), slice(0, 96))


def devices(denoiser):
    return {weights.device.type for network in denoiser.ready for weights in network.parameters()}


def test_a_predictor_leaves_the_model_on_its_device(denoiser, scene):
    predictor = Predictor(denoiser, make_plan(denoiser, scene), torch.device("meta"), 10**9)
    assert devices(predictor.denoiser) == {"meta"} and devices(denoiser) == {"cpu"}
    assert denoise(denoiser, scene, device="cpu").shape == scene.shape


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_cancelling_a_preview_does_not_stop_a_run_with_the_same_model(
    tmp_path, denoiser, scene, device
):
    stack = np.stack([noisy(scene, seed) for seed in range(4)])
    expected = denoise(denoiser, stack, axes="TYX", device="cpu")
    cancelled, under_way = threading.Event(), threading.Event()

    def pressed():
        under_way.set()
        return cancelled.is_set()

    preview = Preview(Acquisition.open(scene), torch.device(device), 10**9, cancelled=pressed)

    def show():
        while True:
            try:
                preview.denoise(denoiser, PLANE)
            except RuntimeError:  # meta tensors have no values
                pass

    plan = make_plan(denoiser, stack, axes="TYX")
    run = denoise_by_shards(denoiser, plan, tmp_path / "out.ome.zarr", device="cpu")
    with ThreadPoolExecutor(1) as pool:
        shown = pool.submit(show)
        assert under_way.wait(10)
        next(run)
        next(run)
        cancelled.set()
        with pytest.raises(Cancelled):
            shown.result(10)
        out = run.finish()
    np.testing.assert_array_equal(Acquisition.open(out).read((slice(None),) * 3), expected)
    assert devices(denoiser) == {"cpu"}


def test_a_cancelled_prediction_ends_within_one_layer(denoiser, scene):
    calls = []
    predictor = Predictor(
        denoiser, make_plan(denoiser, scene), CPU, 10**9, cancelled=lambda: len(calls) == 3
    )
    first = predictor.denoiser.ready[0]
    for module in first.modules():
        module.register_forward_pre_hook(lambda *_: calls.append(1))
    with pytest.raises(Cancelled):
        predictor.compute(PLANE, predictor.read(PLANE))
    assert len(calls) == 3


def test_a_cancelled_run_can_be_resumed(tmp_path, denoiser, scene):
    stack = np.stack([noisy(scene, seed) for seed in range(3)])
    whole = denoise(denoiser, stack, axes="TYX", device="cpu")
    plan, out = make_plan(denoiser, stack, axes="TYX"), tmp_path / "out.tif"
    done = []
    run = denoise_by_shards(denoiser, plan, out, device="cpu", cancelled=lambda: 1 in done)
    with pytest.raises(Cancelled):
        for step in run:
            done.append(step.done)
    assert not out.exists()
    denoise(denoiser, stack, out=out, axes="TYX", device="cpu", resume=True)
    np.testing.assert_allclose(Acquisition.open(out).read((slice(None),) * 3), whole, rtol=1e-6)


def test_a_preview_keeps_one_predictor_for_all_weights(denoiser, pair, scene, monkeypatch):
    short = TrainingSettings(steps=2, patch=64, batch=2, device="cpu", start="cold")
    models = [denoiser, train(pair, short)]
    expected = [denoise(model, scene, device="cpu") for model in models]
    made, build = [], Predictor.__init__
    monkeypatch.setattr(
        Predictor,
        "__init__",
        lambda self, *given, **how: made.append(1) or build(self, *given, **how),
    )
    preview = Preview(Acquisition.open(scene), CPU, 10**9)
    for model, result in zip(models, expected, strict=True):
        np.testing.assert_array_equal(preview.denoise(model, PLANE).pixels, result)
    assert made == [1] and not np.array_equal(*expected)


def test_a_copy_on_a_device_is_the_same_model(tmp_path, denoiser, scene):
    copy = denoiser.to("cpu")
    assert copy.fingerprint() == denoiser.fingerprint() and copy.record is denoiser.record
    assert not set(map(id, copy.ready)) & set(map(id, denoiser.ready))
    again = load(copy.save(tmp_path / "copy.n2n"))
    np.testing.assert_array_equal(
        denoise(again, scene, device="cpu"), denoise(denoiser, scene, device="cpu")
    )


@pytest.mark.parametrize("free", [3e7, 1e8])
def test_on_a_graphics_card_a_tile_leaves_four_tenths_of_its_memory_free(
    denoiser, monkeypatch, free
):
    work = make_plan(denoiser, np.zeros((3000, 3000), np.float32), axes="YX")
    as_much_on_the_cpu = fitting_tile(denoiser, work, CPU, int(1.2 * free))  # it takes half of that
    monkeypatch.setattr("napari_n2n.denoising.predictor.free_memory", lambda _: int(free))
    assert fitting_tile(denoiser, work, CPU, 10**12) == as_much_on_the_cpu
