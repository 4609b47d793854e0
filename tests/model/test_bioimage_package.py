"""Other programs run an exported model to the same image."""

import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import xarray
import yaml
from bioimageio.core import Tensor, load_description, predict
from bioimageio.core import test_model as run_test_of
from conftest import refused, stack_network

from napari_n2n import export_bioimage
from napari_n2n.model.building import build_network
from napari_n2n.model.denoiser import Denoiser, merge_channels
from napari_n2n.model.record import DetectorRecord
from napari_n2n.stats.affine import Affine


def small(scale, seed=0, **arguments):
    """A model with random weights."""
    architecture = {"name": "compact", "width": 4, "depth": 1, **arguments}
    return Denoiser((build_network(architecture, seed),), architecture, (scale,))


@pytest.fixture
def channels():
    """A model of two channels with a network for each."""
    return merge_channels([small(Affine(0.02, -2.0)), small(Affine(0.01, -3.0), seed=1)])


@pytest.fixture
def volumes():
    """A model of volumes with long voxels, in variance-stabilised intensities."""
    return small(Affine(0.02, -2.0), dims=3, flat=1, stabilised=True)


@pytest.fixture
def stacks():
    """A model of volumes that uses neighbouring planes."""
    architecture = {"name": "stack", "width": 4, "depth": 1, "norm": False}
    return Denoiser((stack_network(4, 1, norm=False),), architecture, (Affine(0.02, -2.0),))


@pytest.mark.parametrize("kind", ["denoiser", "channels", "volumes", "stacks"])
def test_bioimageio_runs_an_exported_model_to_the_same_image(kind, request, tmp_path):
    model = request.getfixturevalue(kind)
    path = export_bioimage(model, tmp_path / "m.zip", authors=["A. B."], license="CC-BY-4.0")
    package = load_description(path)
    assert run_test_of(package).status == "passed"

    axes = {axis.id: axis for axis in package.inputs[0].axes}
    halos = [axis.halo for axis in package.outputs[0].axes if axis.type == "space"]
    names = "zyx"[-model.dims :]
    sides = [axes[name].size.min + 3 * axes[name].size.step for name in names]
    shape = (1, len(model.scales), *sides)
    images = np.random.default_rng(1).normal(300, 60, shape).astype(np.float32)
    whole = np.stack([model.predict(images[:, one], one) for one in range(shape[1])], axis=1)
    given = Tensor.from_xarray(xarray.DataArray(images, dims=["batch", "channel", *names]))
    inner = (..., *(slice(halo, -halo) for halo in halos))
    for tiled in ({}, {"blocksize_parameter": 3}):
        (result,) = predict(model=package, inputs={"raw": given}, **tiled).members.values()
        np.testing.assert_allclose(result.data.data[inner], whole[inner], atol=0.01)  # ADU


def test_a_package_says_what_the_model_was_trained_on(denoiser, tmp_path):
    path = export_bioimage(denoiser, tmp_path / "my cells (1).zip")
    with zipfile.ZipFile(path) as package:
        text = package.read("README.md").decode()
    score = denoiser.record.score
    assert text.startswith("# my cells (1)\n") and "## Validation" in text
    assert f"{score.psnr:.1f} ± {score.psnr_se:.2f} dB" in text
    assert "96 x 96 (YX), float32" in text and f"loss: {denoiser.record.loss}" in text
    assert load_description(path).name == "Noise2Noise my cells (1)"


@pytest.mark.parametrize("name", ["my cells (1)", "Zellen µ", "細胞"])
def test_fiji_and_ilastik_find_what_they_read_in_a_package(denoiser, name, tmp_path):
    with zipfile.ZipFile(export_bioimage(denoiser, tmp_path / f"{name}.zip")) as package:
        note, files = yaml.safe_load(package.read("rdf.yaml")), package.namelist()
    assert re.fullmatch("napari-n2n(-[a-z0-9]+)*", note["id"])
    (given,), (computed,) = note["inputs"], note["outputs"]
    assert [axis["type"] for axis in given["axes"]] == ["batch", "channel", "space", "space"]
    for one, other in zip(given["axes"][2:], computed["axes"][2:], strict=True):
        size, halo = one["size"], other["halo"]
        assert halo % size["step"] == 0 and size["min"] > 2 * halo
        assert other["size"] == {"tensor_id": given["id"], "axis_id": one["id"]}
    # Nothing but the standard: the normalisation is in the network.
    assert not {"preprocessing", "postprocessing"} & {*given, *computed} and "config" not in note
    named = [note["weights"]["torchscript"], given["test_tensor"], computed["test_tensor"]]
    assert {one["source"] for one in named} < set(files)


def test_a_model_that_other_programs_cannot_run_is_not_exported(denoiser, tmp_path):
    detector = [DetectorRecord(shape=(2, 2), bad=[1], columns=[0.0] * 2, rows=[0.0] * 2)]
    record = denoiser.record.model_copy(update={"detector": detector})
    with refused("model", "--fixed-pattern keep"):
        export_bioimage(replace(denoiser, record=record), tmp_path / "m.zip")
    for name, words in (("m.n2n", "must be .zip"), ("old.zip", "already exists")):
        (tmp_path / "old.zip").touch()
        with refused("output" if "must" in words else "exists", words):
            export_bioimage(denoiser, tmp_path / name)
    with refused("option", "SPDX"):
        export_bioimage(denoiser, tmp_path / "m.zip", license="free for all")
    assert [one.name for one in tmp_path.iterdir()] == ["old.zip"]
