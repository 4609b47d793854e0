"""Many fields of view are opened together, and each of them is checked."""

import dask.array as da
import numpy as np
import pytest
import tifffile
from conftest import blobs, noisy

import napari_n2n as n2n
from napari_n2n.denoising.domain_shift import _data
from napari_n2n.io.fingerprint import hash_of_pixels
from napari_n2n.noise.sample import Sample
from napari_n2n.noise.single_noise import measure_single
from napari_n2n.pair.recordings import Recordings
from napari_n2n.training.normalisation import normalise

COUNT, SIDE = 200, 64  # fields of view, pixels
SCENE = blobs((3 * SIDE, 3 * SIDE))


def field(number):
    """Two recordings of one place of a scene."""
    y, x = np.random.default_rng(number).integers(8, 2 * SIDE - 8, 2)
    clean = SCENE[y : y + SIDE, x : x + SIDE]
    moved = SCENE[y : y + SIDE, x - 3 : x - 3 + SIDE] if number == 60 else clean
    a, b = noisy(clean, number), noisy(moved, COUNT + number)
    if number == 70:
        b[30, 20] += 9000  # a cosmic ray
    return {
        17: (a, 1.5 * a + 20),
        90: (a, np.full_like(b, 100)),
        131: (a, b[:-4]),
        199: (a, np.where(b > 0, np.nan, b)),
    }.get(number, (a, b))


def test_each_bad_field_among_many_is_named_and_each_other_one_measured(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    for number in range(COUNT):
        for name, pixels in zip("ab", field(number), strict=True):
            tifffile.imwrite(tmp_path / name / f"{number:03}.tif", pixels)
    cut = tmp_path / "a" / "150.tif"
    cut.write_bytes(cut.read_bytes()[:-1000])
    (tmp_path / "b" / "151.tif").write_bytes(b"")
    fields, problems = n2n.fields_of_view([tmp_path / "a", tmp_path / "b"]), []
    pairs = n2n.open_pairs(*fields, on_bad=problems.append)
    found = [(next(n for n in range(COUNT) if f"{n:03}.tif" in str(e)), e.code) for e in problems]
    assert found == [
        (17, "duplicate"),
        (90, "constant"),
        (131, "shape"),
        (150, "unreadable"),
        (151, "unreadable"),
        (199, "not_finite"),
    ]
    assert len(pairs) == COUNT - len(problems)
    findings = {
        pair.first.name: {one.code for one in pair.findings} - {"few_pixels"}
        for pair in pairs
        if len(pair.findings) > 1
    }
    assert findings == {"060": {"shift"}, "070": {"hits"}}


@pytest.mark.parametrize(
    ("read", "planes"),
    [
        (Sample.of, 6),
        (measure_single, 6),
        (lambda pair: normalise([pair]), 8),
        (lambda pair: hash_of_pixels(pair.first), 8),
        (lambda pair: _data(pair.first), 4),
    ],
    ids=["noise", "noise of one", "normalisation", "fingerprint", "domain shift"],
)
def test_of_a_long_recording_a_few_planes_are_read(read, planes):
    seen = set()

    def counted(block, block_info=None):
        seen.add(block_info[0]["chunk-location"][0])
        return block

    scene = np.broadcast_to(SCENE[:SIDE, :SIDE], (24, SIDE, SIDE))
    stacks = [da.from_array(noisy(scene, seed), chunks=(1, SIDE, SIDE)) for seed in (1, 2)]
    counting = [one.map_blocks(counted, dtype=one.dtype, meta=one._meta) for one in stacks]
    pair = n2n.Pair.open(*(n2n.Acquisition.open(one, axes="TYX") for one in counting))
    seen.clear()
    read(pair)
    assert len(seen) == planes


def test_pairs_are_named_by_the_first_and_how_many_more():
    pairs = tuple((f"{name}_a.tif", f"{name}_b.tif") for name in ("cells", "worm", "fly"))
    titles = [Recordings(pairs[0], listed=pairs[:count]).title for count in (1, 2, 3)]
    names = "cells_a.tif + cells_b.tif"
    assert titles == [names, f"{names} and 1 more pair", f"{names} and 2 more pairs"]
