"""The layer of a result that is still being written."""

from dataclasses import replace

import numpy as np
import pytest
import zarr

from napari_n2n import Acquisition
from napari_n2n.denoising.denoise import DenoisingStep
from napari_n2n.io.writers import open_writer
from napari_n2n.widgets.layers import growing_layer
from napari_n2n.widgets.layers.growing_layer import CachedPlane, GrowingLayer, ResultStarted


@pytest.fixture
def result(make_napari_viewer, tmp_path):
    """A result of two planes that is half written: its layer, writer, next step and viewer."""
    viewer, out = make_napari_viewer(), tmp_path / "result.ome.zarr"
    source = viewer.add_image(np.ones((2, 64, 64), np.float32), name="cells")
    opened = Acquisition.open(source)
    header = replace(opened.header, name="cells denoised")
    writer = open_writer(out, header)
    growing = GrowingLayer(viewer, ResultStarted(out, header, opened.order, (0, 5), (), source))
    step = DenoisingStep(1, 2, 0.5, writer.partial)
    growing.follow(step)
    return growing, writer, step, viewer


def complete(writer):
    for _, region in writer.shards():
        writer.write(region, np.full([part.stop - part.start for part in region], 3, np.float32))
    for name in (name for level in writer.pyramid() for name in level):
        writer.average(name)
    writer.complete()
    writer.rename()


@pytest.mark.parametrize("large", [False, True], ids=["small", "multiscale"])
def test_a_layer_removed_by_the_user_stays_removed(result, monkeypatch, large):
    growing, writer, step, viewer = result
    monkeypatch.setattr(growing_layer, "_LARGE", 8 if large else 2048)
    assert len(viewer.layers) == 2
    viewer.layers.remove(growing.layer)
    assert growing.layer is None and not growing.shows(growing.result)
    growing.follow(step)
    complete(writer)
    growing.finish()
    growing.remove()
    growing.stop()
    assert [layer.name for layer in viewer.layers] == ["cells"]


@pytest.mark.parametrize("large", [False, True], ids=["small", "multiscale"])
def test_the_layer_shows_the_complete_result(result, monkeypatch, large):
    growing, writer, _, viewer = result
    monkeypatch.setattr(growing_layer, "_LARGE", 8 if large else 2048)
    assert viewer.layers[-1].name.endswith("(unfinished)")
    complete(writer)
    viewer.status = f"{viewer.layers[-1].name} [0 0 0]: nan"
    growing.finish()
    _, layer = viewer.layers
    assert layer.name == "cells denoised" and layer.multiscale == large
    assert "nan" not in str(viewer.status)
    np.testing.assert_array_equal(layer.data[0] if large else layer.data, 3)


def test_a_stopped_result_is_kept_only_if_it_can_be_resumed(result):
    growing, writer, _, viewer = result
    growing.stop()
    assert len(viewer.layers) == 2 and growing.shows(growing.result)
    writer.discard()
    growing.stop()
    assert [layer.name for layer in viewer.layers] == ["cells"]


def test_a_plane_is_cached_until_it_is_read_again():
    array = zarr.zeros((3, 4, 5), dtype="float32")
    kept = CachedPlane(array)
    plane = (1, slice(None), slice(None))
    assert (kept.shape, kept.dtype, kept.ndim) == (array.shape, array.dtype, array.ndim)
    kept.read_again()  # nothing is cached yet
    np.testing.assert_array_equal(kept[plane], 0)
    array[:] = 7
    np.testing.assert_array_equal(kept[plane], 0)
    np.testing.assert_array_equal(np.asarray(kept), 7)
    kept.read_again()
    np.testing.assert_array_equal(kept[plane], 7)


def test_another_plane_is_read_immediately():
    array = np.arange(60.0).reshape(3, 4, 5)
    kept = CachedPlane(array)
    for index in (0, slice(None)), (2, slice(None)), (slice(None), 1, slice(1, 3)):
        np.testing.assert_array_equal(kept[index], array[index])


def test_reading_again_does_not_replace_another_plane_read_meanwhile():
    class Slow:
        shape, dtype, ndim = (3, 2), np.dtype(float), 2
        values = np.arange(6.0).reshape(shape)
        meanwhile = staticmethod(lambda: None)

        def __getitem__(self, index):
            found = self.values[index]
            self.meanwhile()
            return found

    slow = Slow()
    kept = CachedPlane(slow)
    kept[0]
    reads = []

    def turn():
        slow.meanwhile = lambda: reads.append(1)
        kept[2]

    slow.meanwhile = turn
    kept.read_again()
    reads.clear()
    np.testing.assert_array_equal(kept[2], slow.values[2])
    assert not reads
