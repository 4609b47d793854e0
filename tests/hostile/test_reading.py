"""Damaged files, lies in headers and odd arrays: the right pixels, or one line that says why."""

import json
import os
import pickle
import socket
import struct

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import zarr
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_n2n import Acquisition, BadInput, Pair, denoise
from napari_n2n.io import sources
from napari_n2n.io.fields_of_view import is_folder
from napari_n2n.io.output_path import check_keeps_inputs

STACK = np.random.default_rng(0).integers(90, 600, (6, 40, 50)).astype(np.uint16)
PLANE = STACK[0]


def pixels(source, **options):
    """Open a source and read all of it."""
    opened = Acquisition.open(source, **options)
    return opened.read((slice(None),) * len(opened.axes))


def refusal_of(source, code):
    """The message for a source that cannot be used."""
    with refused(code) as refusal:
        Acquisition.open(source)
    return str(refusal.value)


def as_tiff(folder, **options):
    path = folder / "a.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", **options)
    return path


def as_zarr(folder, name="a.zarr", values=STACK, version=3):
    chunks = (*(1,) * (values.ndim - 2), 20, 50)
    options = {"shape": values.shape, "dtype": values.dtype, "chunks": chunks}
    array = zarr.create_array(folder / name, zarr_format=version, **options)
    array[:] = values
    return folder / name


def as_ome_zarr(folder, attributes, values=STACK, version=3):
    path = folder / "a.ome.zarr"
    zarr.open_group(path, mode="w", zarr_format=version)
    as_zarr(folder, "a.ome.zarr/0", values, version)
    # Written here, because some versions of zarr write no NaN.
    if version == 2:
        (path / ".zattrs").write_text(json.dumps(attributes))
    else:
        group = json.loads((path / "zarr.json").read_text())
        (path / "zarr.json").write_text(json.dumps(group | {"attributes": attributes}))
    return path


def multiscales(axes=("t", "y", "x"), scale=(1, 0.5, 0.5)):
    transform = [{"type": "scale", "scale": list(scale)}]
    named = [{"name": axis} for axis in axes]
    datasets = [{"path": "0", "coordinateTransformations": transform}]
    return {"multiscales": [{"axes": named, "datasets": datasets}]}


def chunk_files(path):
    names = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
    return sorted(f for f in path.rglob("*") if f.is_file() and f.name not in names)


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
def test_a_tiff_that_was_cut_off_says_how_many_planes_are_left(tmp_path, compression, bigtiff):
    path = as_tiff(tmp_path, compression=compression, bigtiff=bigtiff)
    np.testing.assert_array_equal(pixels(path), STACK)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.9)])
    with refused("unreadable", match=r"a\.tif: describes 6 planes but contains 5 complete: .*TYX"):
        Acquisition.open(path)
    np.testing.assert_array_equal(pixels(path, axes="TYX"), STACK[:5])


def test_a_damaged_plane_is_named_when_it_is_read(tmp_path):
    path = as_tiff(tmp_path, compression="zlib")
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[3].dataoffsets[0] + 50
    content = bytearray(path.read_bytes())
    content[offset : offset + 20] = bytes(20)
    path.write_bytes(content)
    opened = Acquisition.open(path)
    np.testing.assert_array_equal(opened.plane(2), STACK[2])
    with refused("unreadable", match=r"a\.tif: plane 3 cannot be read \(.*Deflate.*\): copy"):
        opened.plane(3)
    with refused("unreadable", match="plane 3"):
        opened.split("Z")[1].plane(1)


@pytest.mark.parametrize("version", [2, 3])
def test_a_damaged_chunk_of_a_zarr_is_named_when_it_is_read(tmp_path, version):
    path = as_zarr(tmp_path, version=version)
    damaged = chunk_files(path)[7]
    damaged.write_bytes(damaged.read_bytes()[:10])
    opened = Acquisition.open(path)
    np.testing.assert_array_equal(opened.plane(2), STACK[2])
    with refused("unreadable", match=r"a\.zarr: plane 3 cannot be read"):
        opened.plane(3)
    with refused("unreadable", match=r"a\.zarr: plane 3 cannot be read"):
        opened.data[3].compute()


def test_a_plane_without_any_chunk_is_refused_and_a_missing_chunk_is_logged(tmp_path, caplog):
    path = as_zarr(tmp_path)
    files = chunk_files(path)
    files[3].unlink()
    assert not pixels(path)[1, 20:].any()
    assert "chunks that are not stored: read as 0" in caplog.text
    files[2].unlink()
    with refused("unreadable", match="plane 1 is not stored"):
        pixels(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda offsets: (offsets[-1], offsets[1]), "pages form a loop"),
        (lambda offsets: (offsets[2], 10**8), "page 3 is damaged or outside"),
        (lambda offsets: (offsets[2], 3), "page [34] is damaged"),
    ],
)
def test_a_broken_chain_of_pages_is_refused(tmp_path, change, words):
    path = tmp_path / "a.tif"
    for plane in STACK:
        tifffile.imwrite(path, plane, append=True, photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        page, target = change([page.offset for page in tif.pages])
    content = bytearray(path.read_bytes())
    (tags,) = struct.unpack_from("<H", content, page)
    struct.pack_into("<I", content, page + 2 + 12 * tags, target)
    path.write_bytes(content)
    with refused("unreadable", match=words):
        pixels(path)


def test_a_zarr_without_its_metadata_is_not_mistaken_for_a_folder_of_files(tmp_path, denoiser):
    path = as_zarr(tmp_path, version=2)
    (path / ".zarray").unlink()
    with refused("unreadable", match="a.zarr: is not a readable zarr"):
        denoise(denoiser, path, out=tmp_path / "out.tif", axes="TYX")
    assert not is_folder(path) and is_folder(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": None},
        {"imagej": True},
        {"compression": "lzw", "rowsperstrip": 10, "metadata": None},
        {"compression": "zlib", "tile": (16, 16), "metadata": {"axes": "TYX"}},
        {"ome": True},
    ],
)
def test_a_damaged_tag_never_changes_the_pixels(tmp_path, caplog, options):
    """The type or the code of every tag of every page; nothing depends on what tifffile logs."""
    caplog.set_level("CRITICAL", logger="tifffile")
    path, small = tmp_path / "a.tif", STACK[:2, :32, :40]
    tifffile.imwrite(path, small, photometric="minisblack", **options)
    content = path.read_bytes()
    with tifffile.TiffFile(path) as tif:
        pages = [tif.pages.get(index, aspage=True) for index in range(len(tif.pages))]
        tags = [(tag.offset, tag.code) for page in pages for tag in page.tags]
    refusals = 0
    for place, code in tags:
        for at, value in (
            (place + 2, 35),
            (place, code ^ 1),
            (place, code ^ 4),
            (place, code ^ 64),
        ):
            damaged = bytearray(content)
            struct.pack_into("<H", damaged, at, value)
            path.write_bytes(damaged)
            try:
                np.testing.assert_array_equal(np.squeeze(pixels(path)), small)
            except BadInput:
                refusals += 1
    assert refusals > len(tags)


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"bigtiff": True}])
@pytest.mark.parametrize("code", [256, 257])
def test_a_page_of_another_shape_than_the_first_is_refused_or_left_out(tmp_path, options, code):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", **options)
    with tifffile.TiffFile(path) as tif:
        place = tif.pages.get(2, aspage=True).tags[code].valueoffset
    content = bytearray(path.read_bytes())
    content[place + 1] ^= 1  # 256 pixels more
    path.write_bytes(content)
    with refused("unreadable", "describes 6 planes but contains 5 complete"):
        Acquisition.open(path)
    left = np.squeeze(pixels(path, axes="TYX"))
    np.testing.assert_array_equal(left, np.delete(STACK, 2, axis=0))


@pytest.mark.parametrize(
    ("bigtiff", "kinds"), [(False, (3, 4, 6, 8, 9, 13)), (True, (3, 4, 6, 8, 9, 13, 16, 17, 18))]
)
def test_a_tag_may_have_any_type_of_integer(tmp_path, bigtiff, kinds):
    path = as_tiff(tmp_path, bigtiff=bigtiff)
    content = bytearray(path.read_bytes())
    tag = struct.pack("<HH", 277, 3)  # samples per pixel: 1
    assert content.count(tag) == len(STACK)
    for kind in kinds:
        path.write_bytes(content.replace(tag, struct.pack("<HH", 277, kind)))
        np.testing.assert_array_equal(pixels(path), STACK)
    brightness = struct.pack("<HH", 262, 3)  # of type BYTE, it would be read as text
    path.write_bytes(content.replace(brightness, struct.pack("<HH", 262, 1)))
    with refused("unreadable", "tag 262 of page 0"):
        pixels(path)


def test_a_damaged_first_page_is_not_mistaken_for_a_preview(tmp_path):
    path = as_tiff(tmp_path, compression="zlib")
    content = bytearray(path.read_bytes())
    content[12:60] = bytes(48)  # the first four tags of the first page
    path.write_bytes(content)
    with refused("unreadable"):
        Acquisition.open(path)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_a_file_of_appended_planes_that_was_cut_off_is_refused(tmp_path, caplog, share):
    path = tmp_path / "a.tif"
    for plane in STACK:
        tifffile.imwrite(path, plane, append=True, photometric="minisblack")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    caplog.set_level("CRITICAL", logger="tifffile")
    with refused("unreadable", match="complete|outside"):
        Acquisition.open(path)


def test_a_file_that_changes_after_opening_is_refused(tmp_path):
    path = as_tiff(tmp_path)
    opened = Acquisition.open(path)
    path.write_bytes(path.read_bytes()[:9000])
    with refused("unreadable", match=r"a\.tif: plane 5 cannot be read"):
        opened.plane(5)


_KINDS = ("none.tif", "zlib.tif", "v2.zarr", "v3.zarr", "a.npy")


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    """For each kind, the content of the file that is damaged, and where it is."""
    folder, found = tmp_path_factory.mktemp("files"), {}
    small = STACK[:2, :24, :24]
    for kind in _KINDS:
        path = folder / kind
        if kind.endswith(".tif"):
            compression = None if kind == "none.tif" else "zlib"
            tifffile.imwrite(path, small, compression=compression, photometric="minisblack")
        elif kind.endswith(".npy"):
            np.save(path, small)
        else:
            as_zarr(folder, kind, small, int(kind[1]))
        damaged = chunk_files(path)[1] if path.is_dir() else path
        found[kind] = (path, damaged, damaged.read_bytes())
    return small, found


@given(
    kind=st.sampled_from(_KINDS),
    where=st.floats(0, 1, exclude_max=True),
    how=st.sampled_from(["flip", "cut", "zero"]),
    amount=st.integers(1, 255),
)
@settings(max_examples=150, derandomize=True)
def test_random_damage_gives_the_true_pixels_or_one_line(undamaged, kind, where, how, amount):
    small, files = undamaged
    path, damaged, before = files[kind]
    content, at = bytearray(before), int(where * len(before))
    if how == "flip":
        content[at] ^= amount
    elif how == "cut":
        del content[at:]
    else:
        content[at : at + amount] = bytes(len(content[at : at + amount]))
    damaged.write_bytes(content)
    try:
        found = pixels(path)
    except BadInput as error:
        assert "\n" not in str(error) and str(path) in str(error)
        assert error.code in ("unreadable", "format", "axes", "size", "not_found", "memory")
        return
    finally:
        damaged.write_bytes(before)
    # Only uncompressed pixels and headers can change unnoticed: one flipped or zeroed place.
    if how == "cut" and kind != "none.tif":
        np.testing.assert_array_equal(found, small)


# --- headers that do not tell the truth ----------------------------------------------------------


@pytest.mark.parametrize(("declared", "axes"), [(9, "TYX"), (3, "TYX")])
def test_ome_metadata_that_describe_another_number_of_planes_are_refused(tmp_path, declared, axes):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", metadata={"axes": axes})
    path.write_bytes(path.read_bytes().replace(b'SizeT="6"', f'SizeT="{declared}"'.encode()))
    with refused("unreadable", match=f"describes {declared} planes but contains 6 complete"):
        Acquisition.open(path)
    np.testing.assert_array_equal(pixels(path, axes=axes), STACK)


def test_a_cut_imagej_hyperstack_opens_with_its_axes_given(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "TYX"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with refused("unreadable", match="describes 6 planes but contains 3 complete"):
        Acquisition.open(path)
    np.testing.assert_array_equal(pixels(path, axes="TYX"), STACK[:3])


@pytest.mark.parametrize("same", [False, True])
def test_an_ome_tiff_whose_second_file_is_missing_is_refused(tmp_path, same):
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", STACK[:3], metadata={"axes": "TYX"})
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffFile(path) as tif:
        header = tif.ome_metadata
    frames = "".join(
        f'<TiffData FirstT="{t}" IFD="{t % 3}" PlaneCount="1"><UUID FileName="{name}.ome.tif">'
        f"urn:uuid:{'a' if same else name}</UUID></TiffData>"
        for t, name in enumerate("aaabbb")
    )
    start, end = header.index("<TiffData"), header.index("</Pixels>")
    header = (header[:start] + frames + header[end:]).replace('SizeT="3"', 'SizeT="6"')
    tifffile.imwrite(path, STACK[:3], photometric="minisblack", description=header, metadata=None)
    (tmp_path / "b.ome.tif").unlink()
    with refused("unreadable", match="6 planes but contains 3 complete"):
        Acquisition.open(path)


def test_planes_that_were_appended_one_by_one_are_one_stack(tmp_path):
    path = tmp_path / "a.tif"
    for plane in STACK:
        tifffile.imwrite(path, plane, append=True, photometric="minisblack", compression="zlib")
    opened = Acquisition.open(path)
    np.testing.assert_array_equal(opened.plane(4), STACK[4])
    assert opened.axes_assumed
    copied = pickle.loads(pickle.dumps(opened.source))  # as for the workers of a cluster
    np.testing.assert_array_equal(copied[4], STACK[4])


def test_of_several_images_the_largest_is_read_and_the_others_are_named(tmp_path, caplog):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PLANE[:20, :20], photometric="minisblack")
    tifffile.imwrite(path, STACK, append=True, photometric="minisblack")
    np.testing.assert_array_equal(pixels(path), STACK)
    assert "contains 2 images: reads the largest, #1; for another one give a.tif#0" in caplog.text
    assert "#0 Y 20, X 20; #1 Q 6, Y 40, X 50" in caplog.text


def test_of_many_images_a_refusal_lists_the_first_twelve(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tif:
        for number in range(14):
            tif.write(PLANE[:20, :20], metadata={"axes": "YX", "Name": f"p{number}"})
    words = refusal_of(f"{tmp_path / 'a.ome.tif'}#p14", "not_found")
    assert "#11 'p11' (Y 20, X 20); and 2 more" in words and "p12" not in words


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_each_image_of_a_tiff_can_be_chosen(tmp_path, compression):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as tif:
        for number, image in enumerate((PLANE[:20, :20], STACK, STACK + 1)):
            axes = "YX" if image.ndim == 2 else "ZYX"
            metadata = {"axes": axes, "Name": f"p{number}", "PhysicalSizeX": number + 1.0}
            tif.write(image, metadata=metadata, compression=compression)
    for wanted, values in (("0", PLANE[:20, :20]), ("2", STACK + 1), ("p2", STACK + 1)):
        opened = Acquisition.open(f"{path}#{wanted}")
        everything = (slice(None),) * len(opened.axes)
        np.testing.assert_array_equal(opened.read(everything), values)
        assert opened.scale[-1] == (1.0 if wanted == "0" else 3.0)
        assert opened.name == f"a_{wanted}" and opened.path == path
        copied = pickle.loads(pickle.dumps(opened.source))  # as for the workers of a cluster
        np.testing.assert_array_equal(np.asarray(copied[everything]), values)
    assert "#1 'p1' (Z 6, Y 40, X 50)" in refusal_of(f"{path}#p7", "not_found")
    with pytest.raises(BadInput, match="is the input"):
        check_keeps_inputs(path, [f"{path}#2"])


def test_a_number_sign_may_be_part_of_a_file_name(tmp_path):
    path = tmp_path / "a#1.tif"
    tifffile.imwrite(path, PLANE)
    np.testing.assert_array_equal(pixels(path), PLANE)
    assert "no such file" in refusal_of(tmp_path / "b#1.tif", "not_found")
    np.save(tmp_path / "c.npy", PLANE)
    assert "leave out #1" in refusal_of(tmp_path / "c.npy#1", "not_found")


@pytest.mark.parametrize("in_sequence", [True, False])
def test_ome_zarr_0_6_opens_with_the_pixel_sizes_of_its_array(tmp_path, in_sequence):
    units = {"z": "micrometer", "y": "micrometer", "x": "nanometer"}
    axes = [{"name": axis, "type": "space", "unit": unit} for axis, unit in units.items()]
    scale = {"type": "scale", "scale": [0.5, 0.2, 200.0]}
    shift = {"type": "translation", "translation": [3.0, 4.0, 5.0]}
    where = {"input": {"path": "0"}, "output": {"name": "physical"}}
    steps = {"type": "sequence", "transformations": [scale, shift]} if in_sequence else scale
    stage = {"type": "scale", "scale": [9.0, 9.0, 9.0], "input": {"name": "physical"}}
    image = {
        "name": "cells",
        "coordinateSystems": [
            {"name": "stage", "axes": [{"name": axis, "unit": "meter"} for axis in "xyz"]},
            {"name": "physical", "axes": axes},
        ],
        "datasets": [{"path": "0", "coordinateTransformations": [steps | where]}],
        "coordinateTransformations": [stage | {"output": {"name": "stage"}}],
    }
    path = as_ome_zarr(tmp_path, {"ome": {"version": "0.6", "multiscales": [image]}})
    opened = Acquisition.open(path)
    assert (opened.axes, opened.scale) == ("ZYX", (0.5, 0.2, 200.0))
    assert opened.units == tuple(units.values())
    np.testing.assert_array_equal(pixels(path), STACK)


@pytest.mark.parametrize(
    "transform",
    [
        {"type": "scale", "path": "scales"},
        {"type": "scale", "scale": [0.2, 0.2]},
        {"type": "rotation", "rotation": np.eye(3).tolist()},
        {"type": "sequence", "transformations": [{"type": "affine", "path": "matrix"}]},
    ],
    ids=["scale in an array", "too few", "rotation", "sequence"],
)
def test_a_transformation_without_a_pixel_size_leaves_it_unknown(tmp_path, caplog, transform):
    described = multiscales()
    image = described["multiscales"][0]
    image["axes"] = [axis | {"unit": "micrometer"} for axis in image["axes"]]
    image["datasets"][0]["coordinateTransformations"] = [transform]
    opened = Acquisition.open(as_ome_zarr(tmp_path, described))
    assert (opened.scale, opened.units) == ((1.0,) * 3, ("pixel",) * 3)
    assert "a pixel size of nan along X is taken as unknown" in caplog.text


def test_a_unit_without_a_number_gives_no_pixel_size(tmp_path):
    described = multiscales()
    image = described["multiscales"][0]
    image["axes"] = [axis | {"unit": "micrometer"} for axis in image["axes"]]
    del image["datasets"][0]["coordinateTransformations"]
    opened = Acquisition.open(as_ome_zarr(tmp_path, described))
    assert (opened.scale, opened.units) == ((1.0,) * 3, ("pixel",) * 3)


def test_other_files_beside_the_array_of_a_zarr_are_ignored_silently(tmp_path, recwarn):
    path = tmp_path / "a.zarr"
    zarr.open_group(path, mode="w").create_array("raw", data=STACK)
    (path / "notes").mkdir()
    (path / "notes" / "a.txt").write_text("a note")
    (path / "b.txt").write_text("another note")
    recwarn.clear()
    np.testing.assert_array_equal(pixels(path), STACK)
    assert [str(one.message) for one in recwarn] == []


def as_images(path, version, images, attributes):
    """Write one OME-Zarr image for each name, and the metadata of the group that has them."""
    zarr.open_group(path, mode="w", zarr_format=version, attributes=attributes)
    for name, values in images.items():
        axes = [{"name": axis, "type": "space"} for axis in "zyx"[-values.ndim :]]
        described = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
        own = {"ome": described} if version == 3 else described
        group = zarr.open_group(path / name, mode="w", zarr_format=version, attributes=own)
        group.create_array("0", data=values)
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("listed", [True, False])
def test_each_image_of_bioformats2raw_can_be_chosen(tmp_path, caplog, version, listed):
    layout = {"bioformats2raw.layout": 3}
    images = {"0": PLANE, "1": STACK, "2": STACK + 1}
    attributes = {"ome": layout} if version == 3 else layout
    path = as_images(tmp_path / "a.zarr", version, images, attributes)
    if listed:
        series = {"series": ["0", "1", "2"]}
        series = {"ome": series} if version == 3 else series
        zarr.open_group(path / "OME", mode="w", zarr_format=version, attributes=series)
    np.testing.assert_array_equal(pixels(path), STACK)
    assert "contains 3 images: reads the largest, #1" in caplog.text
    for name, values in images.items():
        np.testing.assert_array_equal(pixels(f"{path}#{name}"), values)
        np.testing.assert_array_equal(pixels(path / name), values)
    assert "choose one of these: #0 '0'; #1 '1'" in refusal_of(f"{path}#7", "not_found")


@pytest.mark.parametrize("version", [2, 3])
def test_a_field_of_a_plate_is_chosen_by_well(tmp_path, version):
    plate = {"wells": [{"path": "A/1"}, {"path": "B/2"}], "rows": [], "columns": []}
    plate = {"plate": plate}
    images = {"A/1/0": STACK, "B/2/0": STACK + 1}
    path = as_images(
        tmp_path / "a.zarr", version, images, {"ome": plate} if version == 3 else plate
    )
    for well in ("A/1", "B/2"):
        described = {"well": {"images": [{"path": "0"}]}}
        group = zarr.open_group(path / well, mode="a", zarr_format=version)
        group.attrs.update({"ome": described} if version == 3 else described)
    message = refusal_of(path, "format")
    assert "is a plate of 2 fields: choose one, as in" in message and "#1 'B/2/0'" in message
    np.testing.assert_array_equal(pixels(f"{path}#B/2/0"), STACK + 1)
    np.testing.assert_array_equal(pixels(f"{path}#A/1"), STACK)


def test_several_images_in_one_group_can_be_chosen(tmp_path, caplog):
    zarr.open_group(tmp_path / "a.zarr", mode="w")
    images = [("raw", "0", PLANE), ("deconvolved", "more", STACK)]
    described = [
        {
            "name": name,
            "axes": [{"name": axis} for axis in "zyx"[-values.ndim :]],
            "datasets": [{"path": path}],
        }
        for name, path, values in images
    ]
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    group.attrs["ome"] = {"version": "0.5", "multiscales": described}
    for _, path, values in images:
        group.create_array(path, data=values)
    np.testing.assert_array_equal(pixels(tmp_path / "a.zarr"), STACK)
    assert "reads the largest, #1" in caplog.text
    for wanted in ("0", "raw"):
        np.testing.assert_array_equal(pixels(f"{tmp_path / 'a.zarr'}#{wanted}"), PLANE)


def test_axes_of_ome_zarr_must_fit_its_array(tmp_path):
    for axes, code in (("yx", "axes"), ("tzyx", "axes"), ("yyx", "axes")):
        path = as_ome_zarr(tmp_path, {"ome": multiscales(axes, (1,) * len(axes))})
        with refused(code):
            Acquisition.open(path)
    np.testing.assert_array_equal(pixels(path / "0", axes="ZYX"), STACK)


def test_first_versions_of_ome_zarr_open(tmp_path):
    datasets = {"datasets": [{"path": "0"}]}
    third = {"multiscales": [{"version": "0.3", "axes": ["t", "y", "x"], **datasets}]}
    assert Acquisition.open(as_ome_zarr(tmp_path, third, version=2)).axes == "TYX"
    first = {"multiscales": [{"version": "0.1", **datasets}]}
    path = as_ome_zarr(tmp_path, first, STACK[:, None, None], version=2)
    assert Acquisition.open(path).axes == "TCZYX"


@pytest.mark.parametrize("step", [0, -1, float("nan"), float("inf"), 1e300, "small", None])
def test_an_impossible_pixel_size_is_taken_as_unknown_and_logged(tmp_path, caplog, step):
    opened = Acquisition.open(as_ome_zarr(tmp_path, {"ome": multiscales(scale=(1, step, 0.5))}))
    assert (opened.scale, opened.units[1]) == ((1, 1, 0.5), "pixel")
    assert "along Y is taken as unknown" in caplog.text


@pytest.mark.parametrize(
    "omero", [None, 5, "x", {"channels": None}, {"channels": [None, {"color": None, "label": 3}]}]
)
def test_odd_names_and_colours_of_channels_are_left_out(tmp_path, omero):
    path = as_ome_zarr(tmp_path, {"ome": multiscales("cyx") | {"omero": omero}})
    assert not any(one.name or one.colour for one in Acquisition.open(path).channels)


@pytest.mark.parametrize(
    "attributes",
    [
        {"ome": {"multiscales": 5}},
        {"ome": {"multiscales": [5]}},
        {"ome": {"multiscales": [{"datasets": [{"path": "9"}]}]}},
    ],
)
def test_ome_zarr_metadata_of_wrong_types_are_refused(tmp_path, attributes):
    with pytest.raises(BadInput, match=r"^[^\n]*a\.ome\.zarr: [^\n]*$"):
        Acquisition.open(as_ome_zarr(tmp_path, attributes))


def test_absurd_sizes_and_depths_in_a_zarr_are_refused(tmp_path):
    path = as_zarr(tmp_path)
    header = json.loads((path / "zarr.json").read_text())
    header["shape"] = header["chunk_grid"]["configuration"]["chunk_shape"] = [10**6] * 3
    (path / "zarr.json").write_text(json.dumps(header))
    with refused("memory", match="one chunk"):
        Acquisition.open(path)
    (path / "zarr.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    with refused("unreadable"):
        Acquisition.open(path)


@pytest.mark.parametrize(("colour", "code"), [(True, "format"), (False, None)])
def test_palettes_are_colours_unless_they_are_grey(tmp_path, colour, code):
    values = (PLANE % 256).astype(np.uint8)
    ramp = np.zeros((3, 256), np.uint16)
    ramp[1] = np.arange(256) * 257
    shuffled = np.random.default_rng(0).integers(0, 65536, (3, 256)).astype(np.uint16)
    path = tmp_path / "a.tif"
    palette = shuffled if colour else ramp
    tifffile.imwrite(path, values, photometric="palette", colormap=palette)
    picture = Image.fromarray(values)
    if colour:
        picture = Image.fromarray(STACK[:3].T.astype(np.uint8))
    picture.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        if code:
            with refused(code):
                Acquisition.open(tmp_path / name)
        else:
            np.testing.assert_array_equal(pixels(tmp_path / name), values)


@pytest.mark.parametrize(
    ("shape", "layout", "axes"), [((3, 40, 50), "separate", "RYX"), ((40, 50, 3), "contig", "YXR")]
)
def test_a_colour_picture_can_be_opened_as_recordings_of_one_scene(tmp_path, shape, layout, axes):
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig=layout)
    with refused("format", match=f"3 recordings of one scene, add --axes {axes}$"):
        Acquisition.open(tmp_path / "a.tif")
    opened = Acquisition.open(tmp_path / "a.tif", axes=axes)
    assert opened.shape == (3, 40, 50)


def test_a_stack_of_imagej_with_only_its_first_page_is_whole(tmp_path):
    path, description = tmp_path / "a.tif", "ImageJ=1.54f\nimages=6\nslices=6\n"
    tifffile.imwrite(path, STACK[0], description=description, metadata=None)
    whole = path.read_bytes() + STACK[1:].tobytes()  # as ImageJ writes more than 4 GB
    path.write_bytes(whole)
    opened = Acquisition.open(path)
    assert opened.axes == "ZYX"
    np.testing.assert_array_equal(opened.plane(5), STACK[5])
    path.write_bytes(whole[:-10])
    with refused("unreadable", match="describes 6 planes but contains 5 complete"):
        Acquisition.open(path)


def test_a_series_of_colour_pictures_can_be_opened_as_recordings_of_its_scenes(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 3, 40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate")
    with refused("format", match="3 recordings of one scene, add --axes TRYX$"):
        Acquisition.open(tmp_path / "a.tif")
    assert Acquisition.open(tmp_path / "a.tif", axes="TRYX").axes == "RTYX"


def test_an_animated_png_is_not_read_as_its_first_frame(tmp_path):
    frames = [Image.fromarray((PLANE + 40 * k).astype(np.uint8)) for k in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with refused("format", match="has 3 frames: save them as a TIFF stack"):
        Acquisition.open(tmp_path / "a.png")


def test_a_picture_in_printing_colours_is_not_read_as_grey_with_opacity(tmp_path, caplog):
    colours = STACK[:4, :, :].astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(colours), "CMYK").save(tmp_path / "a.jpg")
    with refused("format", match="colour picture"):
        Acquisition.open(tmp_path / "a.jpg")


def test_opacity_that_varies_in_a_picture_is_named(tmp_path, caplog):
    grey, opacity = PLANE.astype(np.uint8), STACK[1].astype(np.uint8)
    for alpha, count in ((np.full_like(grey, 128), 0), (opacity, 1)):
        Image.fromarray(np.stack([grey, alpha], -1)).save(tmp_path / "a.png")
        caplog.clear()
        np.testing.assert_array_equal(pixels(tmp_path / "a.png"), grey)
        assert caplog.text.count("a.png: only its grey values are read") == count


def test_a_png_keeps_its_16_bits_beside_alpha_and_as_colours(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    for planes in ([PLANE] * 3, [PLANE, STACK[1]]):
        (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.stack(planes, -1)))
        np.testing.assert_array_equal(pixels(tmp_path / "a.png"), PLANE)


# --- what is no file -----------------------------------------------------------------------------


def test_pipes_sockets_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket.tif"))
        for path in (tmp_path / "pipe.tif", tmp_path / "socket.tif", "/dev/null"):
            with refused("format", match="pipe, socket or device"):
                Acquisition.open(path)


def test_paths_that_lead_nowhere_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.tif").symlink_to(tmp_path / "b.tif")
    (tmp_path / "b.tif").symlink_to(tmp_path / "a.tif")
    (tmp_path / "c.tif").write_bytes(b"")
    (tmp_path / "d.tif").mkdir()
    wrong = {
        tmp_path / "a.tif": "unreadable",
        tmp_path / "c.tif": "unreadable",
        tmp_path / "c.tif" / "e.tif": "not_found",
        tmp_path / "d.tif": "format",
        tmp_path / "line\nbreak.tif": "not_found",
        "nul\0.tif": "not_found",
        "x" * 3000 + ".tif": "unreadable",
    }
    for path, code in wrong.items():
        with refused(code):
            Acquisition.open(path)
    tifffile.imwrite(tmp_path / "f.tif", STACK, photometric="minisblack")
    monkeypatch.setenv("HOME", str(tmp_path))
    np.testing.assert_array_equal(pixels("~/f.tif"), STACK)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    def denied(path, lenient, wanted):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(sources.tiff_reader, "read", denied)
    with refused("unreadable", match=r"a\.tif: .*\(Permission denied\)"):
        Acquisition.open(as_tiff(tmp_path))


@pytest.mark.parametrize("shape", [(0, 40, 50), (6, 0, 50), (6, 40, 0)])
def test_arrays_without_a_pixel_are_refused(tmp_path, shape):
    empty = np.zeros(shape, np.uint16)
    np.save(tmp_path / "a.npy", empty)
    for source in (empty, tmp_path / "a.npy", zarr.zeros(shape), da.zeros(shape)):
        with refused("size"):
            Acquisition.open(source)


def test_npy_files_with_objects_or_several_arrays_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}] * 3, object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", STACK)
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    for name in ("a.npy", "b.npy"):
        with refused("unreadable"):
            Acquisition.open(tmp_path / name)


# --- arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f2", ">u2", ">f4", "<i8", "<u8", "<f8", "<i4", "longdouble"])
def test_every_kind_of_number_opens(dtype):
    np.testing.assert_array_equal(pixels(STACK.astype(dtype)), STACK)


@pytest.mark.parametrize("dtype", ["?", "c8", "O", "U3", "M8[s]", "m8[s]", [("a", "u2")]])
def test_pixels_that_are_not_numbers_are_refused(dtype):
    with refused("format"):
        Acquisition.open(np.zeros((40, 50), dtype))


def test_a_memory_mapped_file_that_was_cut_off_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", STACK)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    np.testing.assert_array_equal(pixels(mapped[1:]), STACK[1:])
    os.truncate(tmp_path / "a.npy", 5000)
    for part in (mapped, mapped[:, 2:]):  # reading them would end the process
        with refused("unreadable", match="a.npy was cut off"):
            Acquisition.open(part)


def test_a_matrix_is_read_as_a_plane():
    np.testing.assert_array_equal(pixels(np.matrix(PLANE)), PLANE)


def test_masked_pixels_are_refused_and_an_empty_mask_is_not():
    with refused("not_finite"):
        Acquisition.open(np.ma.masked_less(STACK, 100))
    lazy = Acquisition.open(da.ma.masked_less(da.from_array(STACK, chunks=(1, 40, 50)), 100))
    with refused("not_finite", match="plane 3: .* masked"):
        lazy.plane(3)
    np.testing.assert_array_equal(pixels(np.ma.array(STACK)), STACK)


def _fails(block):
    raise RuntimeError("two\nlines")


def _stops(block):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "function",
    [_fails, lambda block: block[:, :3], lambda block: block * 1.5, lambda block: block * (1 + 0j)],
)
def test_a_dask_graph_that_fails_or_breaks_its_promise_names_the_plane(function):
    lazy = da.map_blocks(function, da.from_array(STACK, chunks=(1, 40, 50)), meta=STACK[:0])
    with refused("unreadable", match="plane 2 cannot be read"):
        Acquisition.open(lazy).plane(2)


def test_ctrl_c_in_a_dask_graph_stays_ctrl_c():
    lazy = da.from_array(STACK, chunks=(1, 40, 50)).map_blocks(_stops, meta=STACK[:0])
    with pytest.raises(KeyboardInterrupt):
        Acquisition.open(lazy).plane(2)


def test_tensors_open_like_arrays_or_are_refused():
    values = torch.from_numpy(STACK.astype(np.float32))
    np.testing.assert_array_equal(pixels(values), STACK)
    np.testing.assert_array_equal(pixels(values.requires_grad_() * 1), STACK)
    for odd in (values.bfloat16(), values.to("meta"), torch.eye(50).to_sparse()):
        with refused("unreadable", match="numpy array"):
            Acquisition.open(odd)


def test_sparse_arrays_tables_and_lists_are_refused():
    from scipy import sparse

    for odd in (sparse.eye(50), [[1, 2], [3, 4]], {"a": PLANE}):
        with refused("format"):
            Acquisition.open(odd)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda values: values * 1e30, "not_finite"),
        (lambda values: values * 1e300, "not_finite"),
        (lambda values: (values * 1e30).astype(np.float32), "not_finite"),
        (lambda values: values + 1e12, "precision"),
        (lambda values: (values + 1e12).astype(np.int64), "precision"),
        (lambda values: values / 1000 + 1e7, "precision"),
        (lambda values: np.rint(values / 100 + 1e7).astype(np.int32), "precision"),
    ],
)
def test_values_that_float32_cannot_hold_are_refused_with_their_size(scene, change, code):
    rng = np.random.default_rng(0)
    a, b = (change(scene + rng.normal(0, 20, scene.shape)) for _ in range(2))
    with refused(code, match=r"plane 0 .*e\+"):
        Pair.open(a, b)
