"""Which files show one field of view."""

from pathlib import Path

import numpy as np
import tifffile
import zarr
from conftest import refused

from napari_n2n.io.fields_of_view import fields_of_view, positions, subfolders


def test_folders_patterns_and_lists_name_fields_of_view(tmp_path):
    for view in "ab":
        (tmp_path / view).mkdir()
        for number in range(3):
            (tmp_path / view / f"cell{number}.tif").touch()
    (a, b), c = (tmp_path / view for view in "ab"), tmp_path / "c.tif"
    expected = [[a / f"cell{k}.tif", b / f"cell{k}.tif"] for k in range(3)]
    assert fields_of_view([a, b]) == expected
    assert fields_of_view([a / "*.tif", b / "cell?.tif"]) == expected
    assert fields_of_view([a, b, "+", c, c, c]) == [*expected, [c, c, c]]
    with refused("not_found"):
        fields_of_view([a / "*.png", b / "*.png"])
    with refused("unmatched"):
        fields_of_view([a / "*.tif", b / "*0.tif"])
    (b / "more.tif").touch()
    (a / "alone.tif").touch()
    with refused("unmatched", match=r"a/alone\.tif.*b/more\.tif"):  # both at once
        fields_of_view([a, b])
    assert fields_of_view([a, b], on_bad=lambda problem: None) == expected


def test_files_in_subfolders_are_paired_by_their_whole_names(tmp_path):
    for view in "ab":
        for inner in ("day 1", "day 2/well", ".hidden", "clean"):
            (tmp_path / view / inner).mkdir(parents=True)
            (tmp_path / view / inner / "cell.tif").touch()
    a, b = tmp_path / "a", tmp_path / "b"
    with refused("not_found"):
        fields_of_view([a, b])
    assert subfolders([a], without=a / "clean") == [a / "day 1", a / "day 2"]
    (b / "clean" / "cell.tif").unlink()
    found = fields_of_view([a, b], recursive=True, without=a / "clean")
    names = ["day 1/cell.tif", "day 2/well/cell.tif"]
    assert found == [[a / name, b / name] for name in names]


def test_names_with_accents_in_either_unicode_form_are_paired(tmp_path):
    names = {"a": "caf\u00e9.tif", "b": "cafe\u0301.tif"}
    for folder, name in names.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    expected = [[tmp_path / folder / name for folder, name in names.items()]]
    assert fields_of_view([tmp_path / "a", tmp_path / "b"]) == expected
    (tmp_path / "a" / names["b"]).touch()
    if len(list((tmp_path / "a").iterdir())) == 2:  # some file systems have only one form
        with refused("unmatched"):
            fields_of_view([tmp_path / "a", tmp_path / "b"])


def test_the_positions_in_two_files_are_fields_of_view(tmp_path):
    paths = [tmp_path / f"{name}.ome.tif" for name in "ab"]
    for path in paths:
        with tifffile.TiffWriter(path, ome=True) as file:
            for number in range(3):
                file.write(np.zeros((32, 32), np.uint8), metadata={"Name": f"position {number}"})
    found = positions(paths)
    assert [[str(path.name) for path in field] for field in found] == [
        [f"a.ome.tif#{number}", f"b.ome.tif#{number}"] for number in range(3)
    ]
    with tifffile.TiffWriter(tmp_path / "sizes.tif") as file:
        for side in (32, 40):
            file.write(np.zeros((side, side), np.uint8))
    tifffile.imwrite(tmp_path / "one.tif", np.zeros((32, 32)))
    for field in ([paths[0], tmp_path / "one.tif"], [tmp_path / "sizes.tif"], [tmp_path / "no"]):
        assert positions(field) == [field]
    assert positions([f for one in found[:1] for f in one]) == [found[0]]  # named: only this one


def test_the_wells_of_two_plates_are_fields_of_view(tmp_path):
    plates = [tmp_path / f"{name}.zarr" for name in "ab"]
    for path in plates:
        plate = zarr.open_group(path, mode="w", zarr_format=3)
        plate.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": "A/1"}]}}
        well = plate.create_group("A/1")
        well.attrs["ome"] = {"well": {"images": [{"path": "0"}, {"path": "1"}]}}
    fields = [[Path(f"{path}#A/1/{index}") for path in plates] for index in range(2)]
    assert positions(plates) == fields


def test_the_images_of_bioformats2raw_are_fields_of_view_if_they_have_one_size(tmp_path):
    path = tmp_path / "a.zarr"
    for sides, expected in (((16, 16), [[Path(f"{path}#0")], [Path(f"{path}#1")]]), ((16, 20), 0)):
        whole = zarr.open_group(path, mode="w", zarr_format=2)
        whole.attrs["bioformats2raw.layout"] = 3
        for index, side in enumerate(sides):
            image = whole.create_group(str(index))
            image.create_array("0", shape=(side, side), dtype="uint8", chunks=(side, side))
            image.attrs["multiscales"] = [{"datasets": [{"path": "0"}]}]
        assert positions([path]) == (expected or [[path]])
