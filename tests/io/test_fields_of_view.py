"""Which files show one field of view."""

from conftest import refused

from napari_n2n.io.fields_of_view import fields_of_view


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
    with refused("unmatched", match=r"more\.tif"):
        fields_of_view([a, b])
