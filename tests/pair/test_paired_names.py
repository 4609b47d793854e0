"""Recordings that belong together are found by their names."""

import pytest

from napari_n2n.pair.paired_names import paired_names


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["cells_1_a", "cells_2_a", "cells_1_b", "cells_2_b"], [(0, 2), (1, 3)]),
        (["a", "dark", "B"], [(0, 2)]),
        (["movie even", "movie odd"], [(0, 1)]),
        (["x_1", "x_2"], [(0, 1)]),
        (["x_1", "x_2", "x_3"], []),  # frames, not a pair
        (["cell 1 b", "cell 2 b"], []),
    ],
)
def test_names_say_which_recordings_are_a_pair(names, pairs):
    assert paired_names(names) == pairs
