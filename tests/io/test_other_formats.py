"""Files of microscopes are read through optional libraries, or refused with what to install."""

import sys

import numpy as np
import pytest
import tifffile
from conftest import refused

from napari_n2n import Acquisition, cli
from napari_n2n.io import other_formats
from napari_n2n.io.header import Header

STACK = np.random.default_rng(0).integers(90, 600, (2, 3, 40, 50)).astype(np.uint16)


def pixels(source):
    opened = Acquisition.open(source)
    return opened.read((slice(None),) * len(opened.axes))


def test_a_volume_of_dv_opens_with_its_pixel_sizes(tmp_path):
    pytest.importorskip("bioio_dv", reason="needs the extra formats")
    import mrc

    sizes = {"dx": 0.1, "dy": 0.2, "dz": 0.5}
    mrc.save(STACK[0], tmp_path / "a.dv", zAxisOrder="z", metadata=sizes)
    opened = Acquisition.open(tmp_path / "a.dv")
    assert (opened.axes, opened.scale) == ("ZYX", (0.5, 0.2, 0.1))
    assert opened.units == ("micrometer",) * 3
    np.testing.assert_array_equal(opened.plane(2), STACK[0, 2])
    with refused("not_found", match="has no image '7': choose one of these: #0"):
        Acquisition.open(f"{tmp_path / 'a.dv'}#7")


def test_channels_of_dv_stay_separate(tmp_path):
    pytest.importorskip("bioio_dv", reason="needs the extra formats")
    import mrc

    mrc.save(STACK, tmp_path / "a.dv", zAxisOrder="wz")
    assert Acquisition.open(tmp_path / "a.dv").axes == "CZYX"
    np.testing.assert_array_equal(pixels(tmp_path / "a.dv"), STACK)


def test_mrc_opens_with_its_pixel_sizes(tmp_path):
    mrcfile = pytest.importorskip("mrcfile", reason="needs the extra formats")
    path = tmp_path / "a.mrc"
    with mrcfile.new(path, STACK[0]) as file:
        file.set_volume()
        file.voxel_size = (1.5, 1.5, 3.0)
    opened = Acquisition.open(path)
    assert (opened.axes, opened.scale, opened.units[0]) == ("ZYX", (3.0, 1.5, 1.5), "angstrom")
    np.testing.assert_array_equal(pixels(path), STACK[0])
    path.write_bytes(path.read_bytes()[:-5000])
    with refused("unreadable", match=r"a\.mrc: cannot be read as \.mrc"):
        Acquisition.open(path)


def test_the_axes_of_mrc_keep_their_pixel_sizes(tmp_path):
    mrcfile = pytest.importorskip("mrcfile", reason="needs the extra formats")
    with mrcfile.new(tmp_path / "a.mrc", STACK[0]) as file:
        file.set_volume()
        file.voxel_size = (1.0, 2.0, 3.0)
        file.header.mapc, file.header.maps = 3, 1  # columns along Z, sections along X
    opened = Acquisition.open(tmp_path / "a.mrc")
    assert (opened.axes, opened.shape, opened.scale) == ("ZYX", (50, 40, 3), (3.0, 2.0, 1.0))
    with mrcfile.new(tmp_path / "a.mrcs", STACK[0]) as file:
        file.set_image_stack()
        file.voxel_size = 1.5
    opened = Acquisition.open(tmp_path / "a.mrcs")
    assert opened.scale[-2:] == (1.5, 1.5) and opened.units[-2:] == ("angstrom",) * 2


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("a.nd2", r"pip install 'napari-n2n\[formats\]'"),
        ("a.mrc", r"pip install 'napari-n2n\[formats\]'"),
        ("a.czi", "pip install bioio bioio-czi"),
        ("a.h5", "give a data set of h5py in Python, or save it as TIFF"),
        ("a.xyz", "files: save it as TIFF or OME-Zarr"),
    ],
)
def test_a_file_that_needs_a_library_names_it(tmp_path, monkeypatch, name, fix):
    for library in ("bioio", "mrcfile"):
        monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / name).write_bytes(b"some bytes that are no image")
    with refused("format", match=fix):
        Acquisition.open(tmp_path / name)


def test_files_of_other_suffixes_are_given_to_the_reader_library(tmp_path, monkeypatch):
    header = Header.of_sizes(STACK[0].shape, STACK.dtype, "ZYX", {})
    monkeypatch.setattr(other_formats, "read", lambda path, wanted: (STACK[0], header))
    for name in ("a.czi", "a"):
        (tmp_path / name).write_bytes(b"some bytes")
    np.testing.assert_array_equal(pixels(tmp_path / "a.czi"), STACK[0])
    with refused("format", match="cannot read such files: save it as TIFF"):
        Acquisition.open(tmp_path / "a")


@pytest.mark.parametrize("suffix", [".stk", ".svs", ".lsm", ".dat", ".png", ""])
def test_a_tiff_is_recognised_by_its_content(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], photometric="minisblack")
    (tmp_path / "a.tif").rename(path)
    np.testing.assert_array_equal(pixels(path), STACK[0])


def test_a_damaged_tiff_of_another_suffix_gives_one_line(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.stk"
    path.write_bytes(b"II*\0")
    monkeypatch.setattr(sys, "argv", ["napari-n2n", "inspect", str(path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1
