"""On a graphics card (a fake one here), tiles are computed while others are read and stored."""

import weakref

import numpy as np
import pytest
import torch
from conftest import noisy

from napari_n2n import denoise
from napari_n2n.denoising import tile_queue
from napari_n2n.denoising.plan import make_plan
from napari_n2n.denoising.predictor import Predictor
from napari_n2n.denoising.tile_queue import computed

CPU = torch.device("cpu")


@pytest.fixture
def card(monkeypatch):
    """A card without memory of its own; returns what the program waited for."""
    events = []

    class Event:
        def __init__(self, blocking):
            self.recorded = 0

        def record(self, stream):
            self.recorded += 1

        def synchronize(self):
            assert self.recorded, "waits for what was not sent"
            events.append("wait")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(tile_queue, "_has_queue", lambda device: True)
    return events


def test_the_next_tile_is_sent_before_waiting_for_the_previous_result(card):
    def images():
        for number in range(4):
            card.append(f"read {number}")
            yield np.full((1, 3 + number % 2, 5), number, np.uint16)

    results = []
    for number, result in enumerate(computed(images(), lambda image: image + 0.5, CPU)):
        card.append(f"store {number}")
        results.append(result.copy())
    assert card[:5] == ["read 0", "read 1", "wait", "store 0", "read 2"]
    assert card[-4:] == ["wait", "store 2", "wait", "store 3"]
    for number, result in enumerate(results):
        np.testing.assert_array_equal(result, np.full((1, 3 + number % 2, 5), number + 0.5))


def test_no_copy_waits_for_the_card(card, monkeypatch):
    """Tensor.cpu() and copies that block wait for all that was sent."""
    waited = []
    to, copy = torch.Tensor.to, torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: waited.append("cpu"))
    monkeypatch.setattr(
        torch.Tensor,
        "to",
        lambda self, *a, non_blocking=False: waited.append(non_blocking) or to(self, *a),
    )
    monkeypatch.setattr(
        torch.Tensor,
        "copy_",
        lambda self, other, non_blocking=False: waited.append(non_blocking) or copy(self, other),
    )
    list(computed([np.zeros((1, 4, 4))] * 3, lambda image: image + 1, CPU))
    assert waited == [True] * 6


def test_the_memory_of_the_computer_is_used_again(card, monkeypatch):
    made, empty = [], torch.empty
    monkeypatch.setattr(
        torch,
        "empty",
        lambda *size, **how: made.append(how) or empty(*size, dtype=how.get("dtype")),
    )
    list(computed([np.zeros((1, 4, 4))] * 9, lambda image: image + 1, CPU))
    assert made.count({"dtype": torch.float32, "pin_memory": True}) == 4


def test_a_denoised_stack_is_the_same_with_and_without_a_queue(card, denoiser, scene, monkeypatch):
    stack = np.stack([noisy(scene, seed) for seed in range(3)])
    plan = make_plan(denoiser, stack, axes="TYX")
    predictor = Predictor(denoiser, plan, CPU, 10**9, tile=(32, 48))
    region = tuple(slice(0, length) for length in plan.header.shape)
    queued = predictor.compute(region, predictor.read(region))
    assert card
    monkeypatch.undo()
    np.testing.assert_array_equal(queued, predictor.compute(region, predictor.read(region)))
    np.testing.assert_allclose(
        queued, denoise(denoiser, stack, axes="TYX", device="cpu"), rtol=1e-5
    )


def test_a_full_card_gets_smaller_tiles_and_frees_the_failed_ones(card, denoiser, scene):
    plane = np.tile(scene, (2, 2))
    predictor = Predictor(denoiser, make_plan(denoiser, plane), CPU, 10**9, tile=(192, 192))
    region = (slice(0, 192), slice(0, 192))
    apply, failed = predictor.denoiser.apply, []

    def limited(images, *how):
        assert all(reference() is None for reference in failed)
        if max(predictor.tile) > 96:
            tensor = torch.zeros(3)
            failed.append(weakref.ref(tensor))
            raise torch.OutOfMemoryError("full")
        return apply(images, *how)

    predictor.denoiser.apply = limited
    result = predictor.compute(region, predictor.read(region))
    assert failed and predictor.tile == (96, 96)
    np.testing.assert_allclose(result, denoise(denoiser, plane, device="cpu"), rtol=1e-4)
