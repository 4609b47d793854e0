"""What a layer shows of an array that others write."""

import numpy as np
import zarr

from napari_n2n.widgets.layers.growing_layer import KeptPlane


def test_a_plane_is_drawn_as_it_was_read_until_it_is_read_again():
    array = zarr.zeros((3, 4, 5), dtype="float32")
    kept = KeptPlane(array)
    plane = (1, slice(None), slice(None))
    assert (kept.shape, kept.dtype, kept.ndim) == (array.shape, array.dtype, array.ndim)
    kept.read_again()  # nobody has looked yet
    np.testing.assert_array_equal(kept[plane], 0)
    array[:] = 7
    np.testing.assert_array_equal(kept[plane], 0)
    np.testing.assert_array_equal(np.asarray(kept), 7)
    kept.read_again()
    np.testing.assert_array_equal(kept[plane], 7)


def test_another_plane_is_read_at_once():
    array = np.arange(60.0).reshape(3, 4, 5)
    kept = KeptPlane(array)
    for index in (0, slice(None)), (2, slice(None)), (slice(None), 1, slice(1, 3)):
        np.testing.assert_array_equal(kept[index], array[index])


def test_reading_a_plane_again_does_not_take_away_the_one_that_was_turned_to_meanwhile():
    class Slow:
        shape, dtype, ndim = (3, 2), np.dtype(float), 2
        values = np.arange(6.0).reshape(shape)
        meanwhile = staticmethod(lambda: None)

        def __getitem__(self, index):
            found = self.values[index]
            self.meanwhile()
            return found

    slow = Slow()
    kept = KeptPlane(slow)
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
