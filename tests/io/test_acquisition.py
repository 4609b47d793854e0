import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from conftest import copied, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Image
from napari.layers._source import layer_source

from napari_n2n import Acquisition
from napari_n2n.io.acquisition import read_finite
from napari_n2n.simulate.samples import sample

STACK = np.arange(3 * 40 * 50, dtype=np.uint16).reshape(3, 40, 50)


def write(folder, kind):
    """Write STACK as a file of one kind."""
    path = folder / {"memmap": "a.tif", "zlib": "a.tif", "ome": "a.ome.tif"}.get(kind, f"a.{kind}")
    if kind == "memmap":
        tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX", "spacing": 0.5})
    elif kind == "zlib":
        tifffile.imwrite(path, STACK, compression="zlib", photometric="minisblack")
    elif kind == "ome":
        metadata = {"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm"}
        tifffile.imwrite(
            path, STACK, compression="zlib", photometric="minisblack", metadata=metadata
        )
    elif kind == "npy":
        np.save(path, STACK)
    else:
        zarr.save_array(path, STACK, zarr_format=2 if kind == "v2.zarr" else 3)
    return path


@pytest.mark.parametrize("kind", ["memmap", "zlib", "ome", "npy", "v2.zarr", "v3.zarr"])
def test_files_open_lazily_with_their_pixels(tmp_path, kind):
    opened = Acquisition.open(write(tmp_path, kind))
    assert isinstance(opened.data, da.Array)
    assert opened.data.npartitions <= len(STACK)  # no chunk is smaller than a plane
    assert opened.axes == "ZYX"
    np.testing.assert_array_equal(opened.plane(2), STACK[2])
    assert opened.plane(2).dtype == STACK.dtype


def test_pixel_sizes_come_from_ome_and_imagej_metadata(tmp_path):
    ome = Acquisition.open(write(tmp_path, "ome"))
    assert (ome.scale[-1], ome.units[-1]) == (0.2, "micrometer")
    assert Acquisition.open(write(tmp_path, "memmap")).scale[0] == 0.5
    assert Acquisition.open(sample("cells", "a")).scale == (0.1, 0.1)


def test_arrays_of_numpy_dask_zarr_and_xarray_open():
    xarray = pytest.importorskip("xarray")
    for array in (
        STACK,
        da.from_array(STACK, chunks=(1, 20, 50)),
        zarr.array(STACK),
        xarray.DataArray(STACK, dims=("t", "y", "x")),
    ):
        np.testing.assert_array_equal(Acquisition.open(array).plane(1), STACK[1])
    assert Acquisition.open(xarray.DataArray(STACK, dims=("t", "y", "x"))).axes == "TYX"


def with_coordinates():
    """An array of xarray with coordinates, of which those along X fall."""
    xarray = pytest.importorskip("xarray")
    lines = {"c": ["DAPI", "GFP"], "y": ("y", 5 + 0.2 * np.arange(40), {"units": "um"})}
    lines |= {"x": ("x", 0.1 * np.arange(50)[::-1], {"units": "um"})}
    lines |= {"t": np.array(["2024-01-01T00:00", "2024-01-01T00:01"], "M8[ns]")}
    return xarray.DataArray(np.zeros((2, 2, 40, 50), "u2"), dims=tuple("tcyx"), coords=lines)


def test_coordinates_of_xarray_give_pixel_sizes_and_channel_names():
    header = Acquisition.open(with_coordinates()).header
    assert header.steps["T"] == (60.0, "second") and header.steps["C"] == (1.0, "pixel")
    assert header.scale[2:] == (0.2, 0.1) and header.units[2:] == ("micrometer",) * 2
    assert [one.name for one in header.channels] == ["DAPI", "GFP"]
    assert header.translation == (0.0, 0.0, 5.0, 0.0)


@pytest.mark.parametrize("image", ["", "#image"])
def test_a_dataset_of_xarray_opens_with_its_coordinates(tmp_path, image):
    array, path = with_coordinates(), tmp_path / "a.zarr"
    array.to_dataset(name="image").to_zarr(path, zarr_format=2)
    steps = Acquisition.open(f"{path}{image}").header.steps
    assert (steps["T"], steps["Y"]) == ((1.0, "minute"), (0.2, "micrometer"))


def test_uneven_coordinates_give_no_pixel_size():
    uneven = with_coordinates().isel(y=[0, 1, 3, *range(4, 40)])
    assert Acquisition.open(uneven).header.steps["Y"] == (1.0, "pixel")


def test_unlabelled_axes_are_guessed_unless_given():
    assert Acquisition.open(STACK).axes_assumed
    named = Acquisition.open(STACK, axes="tyx")
    assert (named.axes, named.axes_assumed) == ("TYX", False)


def test_a_layer_opens_with_its_scale_and_full_resolution():
    layer = Image([STACK, STACK[:, ::2, ::2]], multiscale=True, scale=(2, 0.5, 0.5), name="cells")
    opened = Acquisition.open(layer)
    assert (opened.name, opened.shape, opened.scale) == ("cells", STACK.shape, (2.0, 0.5, 0.5))


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda folder: folder / "missing.tif", "not_found"),
        (lambda folder: _text(folder / "broken.tif"), "unreadable"),
        (lambda folder: _text(folder / "image.czi"), "format"),
        (lambda folder: np.zeros((40, 40, 3), np.uint8), "format"),
        (lambda folder: np.zeros(7), "format"),
        (lambda folder: np.zeros((50, 50), complex), "format"),
        (lambda folder: 7, "format"),
        (lambda folder: Image(np.zeros((40, 40, 3), np.uint8), rgb=True), "format"),
    ],
)
def test_sources_that_cannot_be_opened_are_refused(tmp_path, make, code):
    with refused(code):
        Acquisition.open(make(tmp_path))


def test_a_stack_stored_as_rgb_opens_with_its_axes_given(tmp_path):
    path = tmp_path / "frames.tif"
    tifffile.imwrite(path, STACK, photometric="rgb", planarconfig="separate")
    with refused("format"):
        Acquisition.open(path)
    np.testing.assert_array_equal(Acquisition.open(path, axes="RYX").plane(1), STACK[1])


def test_wrong_and_unlabelled_axes_are_refused():
    with refused("axes"):
        Acquisition.open(np.zeros((2, 40, 40)), axes="YX")
    with refused("axes"):
        Acquisition.open(np.zeros((2, 40, 40)), axes="TZX")
    with refused("axes"):
        Acquisition.open(np.zeros((2, 3, 40, 40)))


@given(
    axes=st.sets(st.sampled_from("RTCZ")).flatmap(lambda more: st.permutations([*more, "Y", "X"])),
    make=st.sampled_from([np.asarray, da.from_array, zarr.array]),
    data=st.data(),
)
@settings(deadline=None, max_examples=30)
def test_axes_in_any_order_and_views_read_what_numpy_reads(axes, make, data):
    lengths = dict(zip("RTCZYX", (2, 5, 3, 4, 7, 9), strict=True))
    values = np.random.default_rng(0).integers(0, 999, [lengths[axis] for axis in axes])
    opened = Acquisition.open(make(values), axes="".join(axes))
    sorted_axes = sorted(axes, key="RTCZYX".index)
    assert opened.axes == "".join(sorted_axes)
    expected = values.transpose([axes.index(axis) for axis in sorted_axes])
    if "T" in axes:
        even, odd = opened.split("T")
        place = opened.axes.index("T")
        opened = data.draw(st.sampled_from([even, odd]))
        expected = np.take(expected, [0, 2] if opened is even else [1, 3], axis=place)
    if "C" in axes:
        channel = data.draw(st.integers(0, 2))
        expected = np.take(expected, channel, axis=opened.axes.index("C"))
        opened = opened.along("C")[channel]
    opened, expected = opened.cropped(slice(1, 6), slice(2, 9)), expected[..., 1:6, 2:9]
    assert opened.shape == expected.shape
    np.testing.assert_array_equal(opened.data.compute(), expected)
    region = tuple(slice(length // 3, length) for length in opened.shape)
    np.testing.assert_array_equal(opened.read(region), expected[region])


def _text(path):
    path.write_text("not an image")
    return path


def test_an_infinite_pixel_of_a_volume_is_refused_with_its_plane():
    volume = np.zeros((2, 5, 40, 40), np.float32)
    volume[1, 2, 3, 3] = np.inf
    opened = Acquisition.open(volume, axes="TZYX", name="cells")
    region = (slice(1, 2), slice(1, 5), slice(0, 20), slice(0, 20))
    with refused("not_finite", match=r"cells: 0\.25% of plane 7"):
        read_finite(opened, region)
    assert read_finite(opened, (slice(0, 1), *region[1:])).shape == (1, 4, 20, 20)


@pytest.fixture
def hyperstack(tmp_path):
    """A TIFF of time, depth and channels, and its pixels."""
    pixels = np.arange(3 * 4 * 2 * 20 * 30, dtype=np.uint16).reshape(3, 4, 2, 20, 30)
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", (0.1, 0.1, 0.5), strict=True)}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
    metadata = {"axes": "TZCYX", "Channel": {"Name": ["DAPI", "GFP"]}, **sizes, **units}
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(path, pixels, metadata=metadata, photometric="minisblack")
    return path, pixels


def as_napari_reads(path, pixels, **looks):
    """The layer that napari's own reader makes: without axes, pixel sizes and channels."""
    with layer_source(path=str(path)):
        return Image(pixels, name=path.stem, **looks)


def test_a_layer_has_the_axes_pixel_sizes_and_channels_of_its_file(hyperstack):
    path, pixels = hyperstack
    layer, file = Acquisition.open(as_napari_reads(path, pixels)), Acquisition.open(path)
    assert layer.axes_from_file and not layer.axes_assumed
    assert (layer.axes, layer.scale, layer.units) == (file.axes, file.scale, file.units)
    assert layer.channels == file.channels and layer.channels[0].name == "DAPI"
    np.testing.assert_array_equal(layer.plane(5), file.plane(5))


def test_a_channel_of_a_file_has_its_other_axes(hyperstack):
    path, pixels = hyperstack
    channel = Acquisition.open(as_napari_reads(path, pixels[:, :, 1]))
    assert channel.axes == "TZYX" and channel.header.steps["Z"] == (0.5, "micrometer")
    assert channel.channels == ()


def test_what_the_user_says_about_a_layer_comes_before_its_file(hyperstack):
    path, pixels = hyperstack
    corrected = Acquisition.open(as_napari_reads(path, pixels), axes="ZTCYX")
    assert corrected.axes == "TCZYX" and corrected.shape[0] == 4 and not corrected.axes_from_file
    labels, scale = ("r", "z", "c", "y", "x"), (1, 2, 1, 0.3, 0.3)
    edited = Acquisition.open(as_napari_reads(path, pixels, axis_labels=labels, scale=scale))
    assert edited.axes == "RCZYX" and edited.header.steps["Z"][0] == 2 and not edited.axes_from_file


@pytest.mark.parametrize("change", ["cropped", "deleted", "no image"])
def test_a_layer_that_is_not_its_file_keeps_its_own_axes(hyperstack, change):
    path, pixels = hyperstack
    stack = pixels[0, :, 0]
    if change == "cropped":
        stack = stack[:, 2:]
    elif change == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"text")
    layer = Acquisition.open(as_napari_reads(path, stack))
    assert layer.axes == "ZYX" and layer.axes_assumed and layer.scale == (1, 1, 1)


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="this system does not list open files"
)
def test_compressed_files_are_not_kept_open(tmp_path):
    """A system lets a process open about a thousand files."""
    stack = np.random.default_rng(0).integers(0, 9, (5, 64, 64)).astype(np.uint16)
    opened = []
    for number in range(20):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, stack + number, compression="zlib", rowsperstrip=16)
        opened.append(Acquisition.open(path, axes="TYX"))
    with ThreadPoolExecutor(4) as pool:
        for plane in (4, 0, 4):
            found = list(pool.map(lambda one, k=plane: one.plane(k), opened * 3))
            for number, pixels in enumerate(found):
                np.testing.assert_array_equal(pixels, stack[plane] + number % 20)
    links = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    assert not [link for link in links if tmp_path in link.parents]


@pytest.mark.parametrize("name", ["cells.ome.zarr.zip", "cells.ozx"])
@pytest.mark.parametrize("inside", ["", "cells.ome.zarr"])
def test_a_zipped_store_opens_as_the_folder_does(tmp_path, name, inside):
    (tmp_path / "stack.tif").write_bytes(write(tmp_path, "ome").read_bytes())
    image = Acquisition.open(tmp_path / "stack.tif", name="cells")
    folder = tmp_path / "cells.ome.zarr"
    list(copied(image, folder))
    with zipfile.ZipFile(tmp_path / name, "w") as store:
        for file in (path for path in folder.rglob("*") if path.is_file()):
            store.write(file, Path(inside) / file.relative_to(folder))
    unpacked, zipped = (Acquisition.open(path) for path in (folder, tmp_path / name))
    assert zipped.header == unpacked.header
    np.testing.assert_array_equal(np.asarray(zipped.data), STACK)


@pytest.mark.parametrize("content", [b"no zip file", None])
def test_a_zip_file_without_a_store_is_refused(tmp_path, content):
    path = tmp_path / "a.zip"
    if content is None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("notes.txt", "none")
    else:
        path.write_bytes(content)
    with refused("unreadable", match="a.zip: "):
        Acquisition.open(path)
