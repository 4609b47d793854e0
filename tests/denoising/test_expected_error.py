"""Error maps: how far a result may be from the truth."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from conftest import blobs, noisy, refused

from napari_n2n import Acquisition
from napari_n2n.defaults import MEMORY
from napari_n2n.denoising.denoise import denoise
from napari_n2n.denoising.folder import denoise_folder
from napari_n2n.denoising.plan import make_plan
from napari_n2n.denoising.predictor import Predictor
from napari_n2n.model.error_model import ErrorModel

ERROR = ErrorModel(
    levels=(0, 1000), variances=(100, 100), whole=(0.1, 0, 0.2), shared=(0.05, 0, 0.1), psnr=30,
    psnr_se=0.1,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(denoiser):
    return replace(denoiser, record=denoiser.record.model_copy(update={"error": [ERROR]}))


@pytest.fixture(scope="module")
def views():
    return [noisy(blobs((300, 280), 5), seed) for seed in (1, 2)]


def test_tiles_and_shards_leave_no_seams_in_an_error_map(model, views):
    whole = denoise(model, *views, quantity="error", device="cpu")
    results = [denoise(model, view, device="cpu") for view in views]
    mean = sum(results) / 2
    np.testing.assert_allclose(whole, ERROR.expected(mean, np.stack(results)), rtol=1e-3)
    plan = make_plan(model, *views, quantity="error")
    predictor = Predictor(model, plan, torch.device("cpu"), MEMORY, tile=(64, 64))
    for rows, columns in product(
        (slice(0, 100), slice(100, 300)), (slice(0, 130), slice(130, 280))
    ):
        part = predictor.compute((rows, columns), predictor.read((rows, columns)))
        np.testing.assert_allclose(part, whole[rows, columns], rtol=1e-4)


def test_the_average_of_two_is_more_certain_than_one(model, views):
    one, both = (
        denoise(model, *given, quantity="error", device="cpu") for given in (views[:1], views)
    )
    assert (both < one).mean() > 0.9


def test_what_moved_between_two_acquisitions_is_uncertain(model, views):
    moved = views[1].copy()
    moved[100:140, 100:140] += 200
    error, still = (
        denoise(model, views[0], other, quantity="error", device="cpu")
        for other in (moved, views[1])
    )
    assert (error[105:135, 105:135] > 3 * still[105:135, 105:135]).all()


def test_where_the_detector_is_saturated_the_error_is_unknown(model, views):
    cut = np.clip(views[0], 0, 255).astype(np.uint8)
    error = denoise(model, cut, quantity="error", device="cpu")
    assert (np.isnan(error) == (cut == 255)).all() and (cut == 255).any()


def test_a_result_is_not_mistaken_for_its_error_map_when_resumed(model, views, tmp_path):
    out = denoise(model, views[0], out=tmp_path / "a.tif", device="cpu")
    with refused("exists"):
        denoise(model, views[0], out=out, quantity="error", device="cpu", resume=True)


def test_error_maps_of_a_folder_are_in_a_folder(model, views, tmp_path):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", views[0])
    (out,) = denoise_folder(model, tmp_path / "in", out=tmp_path / "out", quantity="error")
    expected = denoise(model, views[0], quantity="error", device="cpu")
    np.testing.assert_allclose(np.asarray(Acquisition.open(out).source), expected, rtol=1e-4)


def test_a_model_that_does_not_know_its_error_is_refused(denoiser, views):
    with refused("option", match="--error-map on"):
        denoise(denoiser, views[0], quantity="error")
