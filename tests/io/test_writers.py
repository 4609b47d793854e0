"""A result that was written is read with the same pixels, axes, pixel sizes and channels."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import zarr
from conftest import copied

from napari_n2n import Acquisition, denoise
from napari_n2n.io import ngff_writer
from napari_n2n.io.header import Channel, Header
from napari_n2n.io.shard_layout import shard_shape
from napari_n2n.io.writers import open_writer

STACK = np.random.default_rng(0).integers(0, 60_000, (2, 2, 3, 40, 50)).astype(np.uint16)
CHANNELS = (Channel("red", "FF0000"), Channel("green", "00FF80"))
HEADER = Header(
    shape=STACK.shape,
    dtype=STACK.dtype,
    axes="TCZYX",
    scale=(2.0, 1.0, 0.5, 0.2, 0.1),
    units=("second", "pixel", "micrometer", "micrometer", "micrometer"),
    name="cells",
)


def written(path, pixels, header):
    return written_by(open_writer(path, header), pixels)


def written_by(writer, pixels):
    for _, region in writer.shards():
        writer.write(region, pixels[region])
    for name in (name for level in writer.pyramid() for name in level):
        writer.average(name)
    assert not writer.path.exists()
    writer.complete()
    return writer.rename()


@pytest.mark.parametrize("ending", [".ome.zarr", ".tif", ".ome.tif"])
@pytest.mark.parametrize("axes", ["TCZYX", "ZYX", "YX"])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_a_written_stack_opens_with_its_description(tmp_path, ending, axes, dtype):
    kept = [HEADER.axes.index(axis) for axis in axes]
    pixels = STACK[(0,) * (5 - len(axes))].astype(dtype)
    header = Header(
        pixels.shape,
        pixels.dtype,
        axes,
        tuple(HEADER.scale[k] for k in kept),
        tuple(HEADER.units[k] for k in kept),
        "cells",
        CHANNELS if "C" in axes else (),
    )
    opened = Acquisition.open(written(tmp_path / f"cells{ending}", pixels, header))
    assert (opened.axes, opened.units, opened.dtype) == (axes, header.units, header.dtype)
    assert opened.scale == pytest.approx(header.scale)
    found = [(one.name, one.colour) for one in opened.channels if one.name]
    assert found == [(one.name, one.colour) for one in header.channels]
    np.testing.assert_array_equal(opened.read((slice(None),) * len(axes)), pixels)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.float32([[1, 2, 4], [3, 4, 8], [5, 7, 9]]), [[2.5, 6], [6, 9]]),
        (np.uint8([[1, 2, 4], [3, 4, 8], [5, 8, 9]]), [[2, 6], [6, 9]]),
    ],
)
def test_a_coarser_level_has_the_means_of_2x2_pixels(values, expected):
    halved = ngff_writer.halve(values)
    assert halved.dtype == values.dtype
    np.testing.assert_array_equal(halved, expected)


def test_levels_end_at_one_chunk_and_store_the_position_of_their_first_pixel(tmp_path):
    plane = np.random.default_rng(0).integers(0, 60_000, (300, 520)).astype(np.uint16)
    header = Header(plane.shape, plane.dtype, "YX", (0.2, 0.1), ("micrometer",) * 2, "cells")
    path = written(tmp_path / "cells.ome.zarr", plane, header)
    shapes = [level.shape for level in ngff_writer.levels(path)]
    assert shapes == [(300, 520), (150, 260), (75, 130)]
    ome = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
    *_, coarsest = ome["multiscales"][0]["datasets"]
    scale, translation = coarsest["coordinateTransformations"]
    assert scale["scale"] == pytest.approx([0.8, 0.4])
    assert translation["translation"] == pytest.approx([0.3, 0.15])
    np.testing.assert_array_equal(ngff_writer.levels(path)[1][:], ngff_writer.halve(plane))


def test_the_shards_of_a_level_join_without_seams(tmp_path):
    plane = np.random.default_rng(0).integers(0, 60_000, (530, 1050)).astype(np.uint16)
    header = Header(plane.shape, plane.dtype, "YX", (1.0,) * 2, ("pixel",) * 2, "cells")
    writer = ngff_writer.Writer(tmp_path / "cells.ome.zarr", header, shard=(256, 256), token="t")
    for level in ngff_writer.levels(written_by(writer, plane)):
        np.testing.assert_array_equal(level[:], plane)
        plane = ngff_writer.halve(plane)


def test_a_result_keeps_position_contrast_and_colours_of_its_input(tmp_path):
    window = (0.0, 65535.0, 100.0, 9000.0)
    header = replace(
        HEADER,
        channels=(Channel("red", "FF0000", window), Channel("green")),
        translation=(0.0, 0.0, 5.0, -3.0, 7.5),
    )
    source = Acquisition.open(written(tmp_path / "source.ome.zarr", STACK, header))
    assert source.translation == header.translation
    red, green = source.channels
    assert red == header.channels[0]
    assert green.colour and green.window[:2] == (STACK[:, 1].min(), STACK[:, 1].max())
    part = source.cropped(slice(10, 30), slice(20, 50)).every("T", 1, 1)
    list(copied(part, tmp_path / "part.ome.zarr"))
    copy = Acquisition.open(tmp_path / "part.ome.zarr")
    assert copy.translation == pytest.approx((2.0, 0.0, 5.0, -1.0, 9.5))
    assert copy.channels == source.channels


@pytest.mark.parametrize("ending", [".ome.zarr", ".ome.tif"])
def test_a_result_keeps_the_name_of_the_image_in_its_file(denoiser, tmp_path, ending):
    for k, (file, own_name) in enumerate(
        zip("abc", ("HeLa, day 3", "HeLa, day 3", ""), strict=True)
    ):
        pixels = STACK[0, 0, k]
        header = Header(pixels.shape, pixels.dtype, "YX", (1.0,) * 2, ("pixel",) * 2, own_name)
        written(tmp_path / f"{file}{ending}", pixels, header)

    def denoised(*files):
        sources = [tmp_path / f"{file}{ending}" for file in files]
        return Acquisition.open(denoise(denoiser, *sources, out=tmp_path / f"{files}{ending}"))

    alone = denoised("a")
    assert (alone.name, alone.own_name) == ("('a',)", "HeLa, day 3 denoised")
    assert denoised("a", "b").own_name == "HeLa, day 3 denoised"
    assert denoised("c").own_name == "c denoised"
    assert alone.every("Y", 0, 2).own_name and not any(one.own_name for one in alone.split("Y"))


@pytest.mark.parametrize("axes", ["TCZYX", "CYX", "YX"])
def test_results_fit_the_schema_of_ome_zarr(tmp_path, axes):
    models = pytest.importorskip("ome_zarr_models.v05")
    pixels = STACK[(0,) * (5 - len(axes))]
    kept = [HEADER.axes.index(axis) for axis in axes]
    scale, units = (tuple(of[k] for k in kept) for of in (HEADER.scale, HEADER.units))
    header = Header(pixels.shape, pixels.dtype, axes, scale, units, "cells")
    path = written(tmp_path / "cells.ome.zarr", pixels, header)
    omero = pytest.importorskip("ome_zarr_models.common.omero")
    image = models.Image.from_zarr(zarr.open_group(path, mode="r"))
    assert len(image.ome_attributes.multiscales[0].axes) == len(axes)
    stored = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
    channels = omero.Omero.model_validate(stored["omero"]).channels
    assert len(channels) == (header.shape[axes.index("C")] if "C" in axes else 1)
    assert all(one.window.start < one.window.end and len(one.color) == 6 for one in channels)


def test_tiff_is_that_of_imagej_where_its_types_suffice(tmp_path):
    for name, dtype, imagej in (
        ("a.tif", "uint16", True),
        ("b.tif", "int32", False),
        ("c.ome.tif", "uint16", False),
    ):
        plane = STACK[0, 0, 0].astype(dtype)
        list(copied(Acquisition.open(plane), tmp_path / name))
        with tifffile.TiffFile(tmp_path / name) as tif:
            assert (tif.is_imagej, tif.is_ome) == (imagej, not imagej)


@pytest.mark.parametrize("ending", [".ome.zarr", ".tif"])
def test_a_copy_that_fails_or_is_cancelled_leaves_no_files(tmp_path, monkeypatch, ending):
    stack = Acquisition.open(STACK[0, 0], axes="ZYX")
    run = copied(stack, tmp_path / f"a{ending}")
    assert 0 < next(run) < 1
    run.close()
    assert not list(tmp_path.iterdir())
    module = "ngff_writer" if ending == ".ome.zarr" else "tiff_writer"

    def fail(*_):
        raise OSError("disk removed")

    monkeypatch.setattr(f"napari_n2n.io.{module}.rename_into_place", fail)
    with pytest.raises(OSError, match="disk removed"):
        list(copied(stack, tmp_path / f"a{ending}"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("shape", "sides", "expected"),
    [
        ((2000, 256, 256), (2048, 2048), (62, 256, 256)),  # 2,002 files before
        ((50, 256, 256), (2048, 2048), (1, 256, 256)),  # fills in while it is written
        ((20_000, 256, 256), (2048, 2048), (244, 256, 256)),  # at most 64 MB
        ((300, 2, 5, 64, 64), (2048, 2048), (9, 2, 5, 64, 64)),
        ((400, 4096, 4096), (2048, 2048), (3, 2048, 2048)),
        ((100, 30, 128, 128), (64, 512, 512), (3, 30, 128, 128)),
    ],
)
def test_small_planes_share_a_shard(shape, sides, expected):
    assert shard_shape(shape, 4, sides) == expected


@pytest.mark.parametrize("ending", [".ome.zarr", ".tif"])
def test_a_movie_of_small_planes_has_few_files_with_the_same_pixels(tmp_path, ending):
    movie = np.random.default_rng(0).integers(0, 60_000, (70, 2, 40, 300)).astype(np.uint16)
    header = Header(movie.shape, movie.dtype, "TCYX", (1.0,) * 4, ("pixel",) * 4, "movie")
    path = written(tmp_path / f"movie{ending}", movie, header)
    np.testing.assert_array_equal(Acquisition.open(path).read((slice(None),) * 4), movie)
    if ending == ".ome.zarr":
        finest, coarser = ngff_writer.levels(path)
        assert finest.shards == (2, 2, 40, 512) and finest.chunks == (1, 1, 40, 256)
        assert len([file for file in path.rglob("c/**/*") if file.is_file()]) == 2 * 35
        np.testing.assert_array_equal(coarser[69, 1], ngff_writer.halve(movie[69, 1]))


@pytest.mark.parametrize(("dims", "chunks"), [(2, (1, 256, 256)), (3, (16, 256, 256))])
def test_a_volume_is_stored_in_blocks_that_viewers_read_fast(tmp_path, dims, chunks):
    shape = (20, 260, 300)
    header = Header(shape, np.dtype(np.uint8), "ZYX", (1.0,) * 3, ("pixel",) * 3, "cells")
    writer = open_writer(tmp_path / "cells.ome.zarr", header, dims=dims)
    assert writer.array.chunks == chunks
