"""Many fields of view are opened together, and each of them is checked."""

import numpy as np
import tifffile
from conftest import blobs, noisy

import napari_n2n as n2n

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
