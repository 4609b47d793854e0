"""Units of pixel sizes: whatever a file calls them, layers and results get valid ones."""

import struct

import numpy as np
import pytest
import tifffile
from conftest import refused

from napari_n2n import Acquisition
from napari_n2n.io.units import LENGTHS, TIMES, unit_name
from napari_n2n.io.writers import copy

# The values that the specifications allow: OME-Zarr for axes of space and time, and OME-XML.
SI = "yotta zetta exa peta tera giga mega kilo hecto deci centi milli micro nano pico femto atto"
SI = ["", *SI.split(), "zepto", "yocto"]
ZARR_SPACE = {f"{prefix}meter" for prefix in SI}
ZARR_SPACE |= {"angstrom", "foot", "inch", "mile", "parsec", "yard"}
ZARR_TIME = {f"{prefix}second" for prefix in SI} | {"day", "hour", "minute"}
OME_LENGTH = "Ym Zm Em Pm Tm Gm Mm km hm dam m dm cm mm µm nm pm fm am zm ym Å thou li in ft yd mi"
OME_LENGTH = {*OME_LENGTH.split(), "ua", "ly", "pc", "pt", "pixel", "reference frame"}
OME_TIME = "Ys Zs Es Ps Ts Gs Ms ks hs das s ds cs ms µs ns ps fs as zs ys min h d"

MICROMETERS = [
    *("\\u00B5m", "\\u00b5m", "µm", "μm", "um", "Micron", "microns", " um ", "Âµm"),
    *("micrometre", "Micrometers"),
]
UNKNOWN = ["voxel", "frame", "reference frame", "inch", "AU", "a.u.", "", "pixels", "\0", "µ" * 999]


def test_every_unit_is_valid_in_napari_ome_tiff_and_ome_zarr():
    from napari.layers import Image

    assert set(LENGTHS) <= ZARR_SPACE and set(TIMES) <= ZARR_TIME
    assert {symbol for symbol, _ in LENGTHS.values()} <= OME_LENGTH
    assert {symbol for symbol, _ in TIMES.values()} <= set(OME_TIME.split())
    for unit in [*LENGTHS, *TIMES, "pixel"]:
        layer = Image(np.zeros((2, 2)), units=(unit, unit))
        assert [unit_name(str(one)) for one in layer.units] == [unit, unit]
    for unit, (symbol, _) in (LENGTHS | TIMES).items():
        assert unit_name(symbol) == unit


@pytest.mark.parametrize("imagej", [True, False])
@pytest.mark.parametrize("result", ["out.ome.zarr", "out.ome.tif", "out.tif"])
def test_a_unit_of_any_spelling_is_kept_in_a_result(tmp_path, imagej, result):
    stack = np.random.default_rng(0).integers(90, 600, (3, 40, 50)).astype(np.uint16)
    expected = dict.fromkeys(MICROMETERS, "micrometer") | dict.fromkeys(UNKNOWN, "pixel")
    for number, (unit, name) in enumerate(expected.items()):
        if imagej and not unit.isascii():
            continue
        path = tmp_path / ("a.tif" if imagej else "a.ome.tif")
        if imagej:
            how = {"resolution": (5, 5), "resolutionunit": "NONE"}
            how |= {"metadata": {"axes": "ZYX", "unit": unit, "spacing": 0.5}}
        else:
            sizes = {"PhysicalSizeZ": 0.5, "PhysicalSizeY": 0.2, "PhysicalSizeX": 0.2}
            units = {f"{key}Unit": unit.replace("\0", " ") for key in sizes}
            how = {"metadata": {"axes": "ZYX"} | sizes | units}
        tifffile.imwrite(path, stack, imagej=imagej, photometric="minisblack", **how)
        opened = Acquisition.open(path)
        assert opened.units == (name,) * 3, unit
        out = tmp_path / f"{number}{result}"
        list(copy(opened, [(opened, out)]))
        copied = Acquisition.open(out)
        assert copied.units == (name,) * 3, unit
        assert copied.scale == pytest.approx((0.5, 0.2, 0.2)) or name == "pixel"


def test_times_are_converted_to_the_unit_of_imagej(tmp_path):
    from napari.layers import Image

    units = {"units": ("ms", "um", "um"), "axis_labels": ("t", "y", "x")}
    opened = Acquisition.open(Image(np.zeros((3, 40, 50), "u2"), scale=(50, 0.2, 0.2), **units))
    assert (opened.scale[0], opened.units[0]) == (50.0, "millisecond")
    list(copy(opened, [(opened, tmp_path / "out.tif")]))
    written = Acquisition.open(tmp_path / "out.tif")
    assert written.scale == pytest.approx((0.05, 0.2, 0.2))
    assert written.units == ("second", "micrometer", "micrometer")


def test_a_time_step_is_not_taken_as_a_distance(tmp_path):
    path = tmp_path / "a.ome.tif"
    steps = {"TimeIncrement": 5.0, "PhysicalSizeX": 0.2}
    tifffile.imwrite(path, np.zeros((3, 40, 50), np.uint16), metadata={"axes": "TYX"} | steps)
    opened = Acquisition.open(path, axes="ZYX")
    assert opened.scale == (1.0, 1.0, 0.2) and opened.units == ("pixel", "pixel", "micrometer")


def test_the_resolution_of_a_printer_is_not_read_as_pixel_size(tmp_path):
    for number, imagej in enumerate((True, False)):
        path = tmp_path / f"{number}.tif"
        plane = np.zeros((40, 50), np.uint16)
        tifffile.imwrite(path, plane, imagej=imagej, resolution=(72, 72), resolutionunit="INCH")
        opened = Acquisition.open(path)
        assert (opened.scale, opened.units) == ((1.0, 1.0), ("pixel", "pixel"))


@pytest.mark.parametrize("unit", ["NONE", "INCH", "CENTIMETER"])
def test_a_resolution_of_zero_is_not_read_as_pixel_size(tmp_path, unit):
    plane = np.zeros((40, 50), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", plane, resolution=(0, 0), resolutionunit=unit)
    assert Acquisition.open(tmp_path / "a.tif").scale == (1.0, 1.0)


def test_a_pixel_size_in_the_tags_is_read_if_it_is_finer_than_a_printer(tmp_path):
    plane = np.zeros((40, 50), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", plane, resolution=(1e5, 5e4), resolutionunit="CENTIMETER")
    opened = Acquisition.open(tmp_path / "a.tif")
    assert (opened.scale, opened.units) == ((0.2, 0.1), ("micrometer",) * 2)


def test_times_and_depths_of_imagej_keep_their_unit_and_size(tmp_path):
    stack, how = np.zeros((2, 3, 40, 50), np.uint16), {"resolution": (10, 10), "imagej": True}
    more = {"unit": "um", "spacing": -0.5, "finterval": 50, "tunit": "ms"}
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata={"axes": "TZYX"} | more, **how)
    steps = Acquisition.open(tmp_path / "a.tif").header.steps
    assert (steps["T"], steps["Z"]) == ((50.0, "millisecond"), (0.5, "micrometer"))


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        (51123, '{"PixelSizeUm": 0.108}', (0.108, "micrometer")),
        (51123, '{"PixelSizeUm": 0}', (1.0, "pixel")),
        (34682, "[Scan]\r\nPixelWidth=4e-09\r\nPixelHeight=4e-09\r\n", (4.0, "nanometer")),
    ],
    ids=["Micro-Manager", "Micro-Manager, uncalibrated", "FEI"],
)
def test_the_pixel_sizes_of_other_microscopes_are_read(tmp_path, tag, text, expected):
    plane, tags = np.zeros((40, 50), np.uint16), [(tag, "s", 0, text, True)]
    tifffile.imwrite(tmp_path / "a.tif", plane, metadata=None, extratags=tags)
    steps = Acquisition.open(tmp_path / "a.tif").header.steps
    assert steps == {"Y": expected, "X": expected}


def lsm_info(**values):
    """The block in which Zeiss describes a recording."""
    content = b""
    for name, kind in tifffile.TIFF.CZ_LSMINFO:
        one = np.zeros((), f"({kind[:-2]},)<{kind[-2:]}" if kind[0].isdigit() else f"<{kind}")
        one[...] = values.get(name, 0)
        content += one.tobytes()
    return content[:4] + struct.pack("<i", len(content)) + content[8:]


def test_the_pixel_sizes_of_an_lsm_are_read(tmp_path):
    stack = np.arange(3 * 32 * 40, dtype=np.uint16).reshape(3, 32, 40)
    sides = {"DimensionX": 40, "DimensionY": 32, "DimensionZ": 3}
    sizes = {"VoxelSizeX": 1e-7, "VoxelSizeY": 1e-7, "VoxelSizeZ": 3e-7}
    more = {"MagicNumber": 67127628, "DimensionChannels": 1, "DimensionTime": 1, "DataType": 2}
    info = lsm_info(**sides, **sizes, **more)
    options = {"photometric": "minisblack", "metadata": None, "byteorder": "<"}
    tags = [(34412, "B", len(info), info, True)]
    tifffile.imwrite(tmp_path / "a.lsm", stack, extratags=tags, **options)
    steps = Acquisition.open(tmp_path / "a.lsm").header.steps
    assert steps == {"Z": (0.3, "micrometer"), **dict.fromkeys("YX", (0.1, "micrometer"))}


def test_the_pixel_sizes_of_an_stk_are_read(tmp_path):
    calibration = struct.pack("<H2IH2IHi4sH", 4, 65, 1000, 5, 65, 1000, 6, 4, b"um", 0)
    calibration += bytes(-len(calibration) % 4)
    tags = [
        (33628, "I", 2, (0, 1), True),
        (33629, "2I", 1, struct.pack("<2I", 3, 10), True),
        (33631, "I", len(calibration) // 4, calibration, True),
    ]
    options = {"photometric": "minisblack", "metadata": None, "byteorder": "<"}
    plane = np.arange(32 * 40, dtype=np.uint16).reshape(32, 40)
    tifffile.imwrite(tmp_path / "a.stk", plane, extratags=tags, **options)
    steps = Acquisition.open(tmp_path / "a.stk").header.steps
    assert steps == dict.fromkeys("YX", (0.065, "micrometer"))


def test_an_array_of_grey_and_alpha_is_refused_with_a_fix():
    with refused("format", "grey and alpha: save it without alpha"):
        Acquisition.open(np.zeros((96, 96, 2), np.uint8))
