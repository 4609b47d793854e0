"""File > Open Sample opens pairs to train on."""

import dask.array as da
import npe2
import numpy as np
import pytest
from napari.components import ViewerModel

from napari_n2n import Pair, measure_noise
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.simulate.samples import sample


def opened(key):
    npe2.PluginManager.instance().discover()  # as napari does when it starts
    viewer = ViewerModel()
    viewer.open_sample("napari-n2n", key)
    return list(viewer.layers)


@pytest.mark.parametrize(
    ("key", "axes", "loss"),
    [
        ("cells", "YX", "l2"),
        ("timelapse", "TYX", "l2"),
        ("volume", "ZYX", "l2"),
        ("lettering", "YX", "l1"),
        ("impulses", "YX", "likelihood"),
    ],
)
def test_a_scene_is_a_pair_with_the_recommended_loss_of_its_noise(key, axes, loss):
    a, b = opened(key)
    assert (a.name, b.name) == (f"{key}_a", f"{key}_b") and a.contrast_limits == b.contrast_limits
    pair = Pair.open(a, b)
    assert pair.first.axes == axes and pair.first.units[-1] == "micrometer"
    assert measure_noise(pair).loss == loss


def test_the_clean_cells_are_the_truth_of_the_noisy_ones():
    (clean,), (a, b) = opened("clean_cells"), opened("cells")
    assert clean.data.shape == a.data.shape and tuple(clean.scale) == tuple(a.scale)
    noise = (np.asarray(a.data, float) + b.data) / 2 - clean.data
    assert abs(noise.mean()) < 0.1 and noise.std() < 0.75 * (a.data - clean.data).std()


def test_the_long_time_lapse_is_computed_when_it_is_read():
    (layer,) = opened("long_timelapse")
    assert isinstance(layer.data, da.Array) and layer.data.shape == (480, 160, 160)
    assert layer.data.chunks[0] == (1,) * 480
    frames = np.asarray(layer.data[:24]).astype(float)
    truth = Acquisition.open(sample("timelapse", "truth")).data.compute()
    stored = Acquisition.open(sample("timelapse", "a")).data.compute().astype(float)
    there_and_back = np.concatenate([truth, truth[-2::-1], truth[1:2]])
    noise = frames - there_and_back
    assert abs(noise.mean()) < 0.1
    assert noise.std() == pytest.approx((stored - truth).std(), rel=0.02)
    assert np.array_equal(frames[0], np.asarray(layer.data[0])) and not np.array_equal(
        frames[0], frames[22]
    )
