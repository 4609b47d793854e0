"""OME-Zarr at an address is read like one on a disk, and results are written to a bucket."""

import functools
import http.server
import shutil
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import blobs, copied, noisy, refused

from napari_n2n import Acquisition, cli, denoise, denoise_folder, denoise_to_address, load
from napari_n2n.denoising.to_address import staging_path
from napari_n2n.model.error_model import ErrorModel

STACK = np.stack([noisy(blobs((72, 64)), seed) for seed in range(3)]).astype(np.uint16)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("aiohttp", reason="needs the extra remote")
    (tmp_path / "served").mkdir()
    handler = functools.partial(_Quiet, directory=tmp_path / "served")
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def address(server, tmp_path):
    movie = Acquisition.open(STACK, axes="TYX")
    list(copied(movie, tmp_path / "served" / "movie.ome.zarr"))
    return f"http://127.0.0.1:{server.server_port}/movie.ome.zarr"


def test_an_address_opens_with_its_axes_and_gives_the_same_result(address, denoiser, tmp_path):
    for given in (address, Path(address), address + "/"):
        opened = Acquisition.open(given)
        assert (opened.name, opened.axes) == ("movie", "TYX")
        np.testing.assert_array_equal(opened.plane(2), STACK[2])
    out = denoise(denoiser, address, out=tmp_path / "out.tif", device="cpu")
    assert denoise(denoiser, address, out=out, device="cpu", resume=True) == out
    expected = denoise(denoiser, STACK, axes="TYX", device="cpu")
    np.testing.assert_allclose(tifffile.imread(out), expected, rtol=1e-6)


def test_the_command_line_takes_addresses(address, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["napari-n2n", "inspect", address, "--split", "T"])
    with pytest.raises(SystemExit) as leave:
        cli.main()
    assert leave.value.code == 0 and "l2" in capsys.readouterr().out.lower()


def test_what_is_missing_or_damaged_on_the_server_is_refused(address, server, tmp_path):
    with refused("not_found", match=r"http://127\.0\.0\.1:\d+/other\.zarr: no zarr is there"):
        Acquisition.open(address.replace("movie.ome", "other"))
    opened, stored = Acquisition.open(address), tmp_path / "served" / "movie.ome.zarr" / "0" / "c"
    shutil.rmtree(stored / "1")
    with refused("unreadable", match="plane 1 is not stored"):
        opened.plane(1)
    (shard,) = (path for path in (stored / "2").rglob("*") if path.is_file())
    shard.write_bytes(shard.read_bytes()[:200])
    with refused("unreadable", match="check the network and the server"):
        opened.plane(2)
    server.shutdown()
    server.server_close()
    with refused("unreadable"):
        opened.plane(0)
    with refused("unreadable", match="check the address, the network, the server"):
        Acquisition.open(address)


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """A bucket of a local S3 server; the environment says where it is."""
    s3fs = pytest.importorskip("s3fs", reason="needs the extra remote")
    s3fs.S3FileSystem.clear_instance_cache()  # it remembers the server of an earlier test
    server = pytest.importorskip("moto.server", reason="needs the extra test")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    place = "http://{}:{}".format(*running.get_host_and_port())
    monkeypatch.setenv("AWS_ENDPOINT_URL", place)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")  # the local server takes any
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    urllib.request.urlopen(urllib.request.Request(f"{place}/lab", method="PUT")).close()
    yield "s3://lab"
    running.stop()


def test_a_result_is_written_to_a_bucket_and_read_from_it(bucket, denoiser, tmp_path):
    out, options = f"{bucket}/day 1/clean.ome.zarr", {"axes": "TYX", "device": "cpu"}
    steps = []
    assert denoise_to_address(denoiser, STACK, out=out, on_step=steps.append, **options) == out
    assert steps[-1].progress == 1.0 and steps[-1].done == 3
    expected, opened = denoise(denoiser, STACK, **options), Acquisition.open(out)
    np.testing.assert_allclose(opened.plane(2), expected[2], rtol=1e-6)
    assert not list(staging_path(out).parent.parent.iterdir())
    with refused("exists"):
        denoise_to_address(denoiser, STACK, out=out, **options)
    steps.clear()
    denoise_to_address(denoiser, STACK, out=out, resume=True, on_step=steps.append, **options)
    assert steps == []  # it was finished
    denoise_to_address(denoiser, STACK[:1], out=out, overwrite=True, **options)
    assert Acquisition.open(out).shape == (1, 72, 64)


def test_an_interrupted_upload_cannot_be_opened_and_is_resumed(bucket, denoiser, monkeypatch):
    out, options = f"{bucket}/clean.ome.zarr", {"axes": "TYX", "device": "cpu"}

    def stop(step):
        if step.progress > 0.9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise_to_address(denoiser, STACK, out=out, on_step=stop, **options)
    with refused("not_found"):
        Acquisition.open(out)
    with refused("unfinished", match="--resume"):
        denoise_to_address(denoiser, STACK, out=out, **options)
    monkeypatch.setattr("napari_n2n.denoising.predictor.Predictor.compute", None)  # it is computed
    denoise_to_address(denoiser, STACK, out=out, resume=True, **options)
    assert Acquisition.open(out).shape == STACK.shape


def test_an_error_map_is_written_to_a_bucket(bucket, denoiser, tmp_path, monkeypatch, capsys):
    weights = (0.1, 0.2, 0.0)
    known = ErrorModel(
        levels=(0.0, 500.0),
        variances=(25.0, 90.0),
        whole=weights,
        shared=weights,
        psnr=30.0,
        psnr_se=0.1,
    )
    record = denoiser.record.model_copy(update={"error": [known]})
    model, plane = replace(denoiser, record=record), STACK[0]
    out, options = f"{bucket}/error.ome.zarr", {"quantity": "error", "device": "cpu"}
    denoise_to_address(model, plane, out=out, **options)
    expected = denoise(model, plane, **options)
    np.testing.assert_allclose(Acquisition.open(out).plane(0), expected, rtol=1e-6)
    tifffile.imwrite(tmp_path / "a.tif", plane)
    model.save(tmp_path / "m.n2n")
    words = [
        "denoise",
        tmp_path / "m.n2n",
        tmp_path / "a.tif",
        "-o",
        f"{bucket}/with_error.ome.zarr",
    ]
    for error, status in ((f"{bucket}/with_error.ome.zarr", 2), (f"{bucket}/map.ome.zarr", 0)):
        monkeypatch.setattr("sys.argv", ["napari-n2n", *map(str, words), "--error", error])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        assert leave.value.code == status, capsys.readouterr().err
    np.testing.assert_allclose(Acquisition.open(error).plane(0), expected, rtol=1e-6)


def test_the_command_line_writes_to_a_bucket(bucket, denoiser, tmp_path, monkeypatch, capsys):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0])
    model = denoiser.save(tmp_path / "m.n2n")
    words = ["denoise", model, tmp_path / "a.tif", "-o", f"{bucket}/a.ome.zarr"]
    monkeypatch.setattr("sys.argv", ["napari-n2n", *map(str, words)])
    with pytest.raises(SystemExit) as leave:
        cli.main()
    assert leave.value.code == 0 and f"saved {bucket}/a.ome.zarr" in capsys.readouterr().err


@pytest.mark.parametrize(
    "out, says",
    [
        ("gs://lab/a.ome.zarr", "gs is not supported"),
        ("https://host/a.ome.zarr", "https is not supported"),
        ("s3://lab/a.tif", "only OME-Zarr"),
    ],
)
def test_results_are_written_to_no_other_address(out, says, denoiser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused("output", match=f"^{out}: {says}"):
        denoise_to_address(denoiser, STACK[0], out=out)
    (tmp_path / "raw").mkdir()
    tifffile.imwrite(tmp_path / "raw" / "a.tif", STACK[0])
    with refused("output", match="is an address"):
        denoise_folder(denoiser, tmp_path / "raw", out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize(
    "address, says",
    [
        ("ftp://host/a.zarr", "ftp is not supported"),
        ("gs://bucket/a.ome.zarr", "gs is not supported"),
        ("https://host/a.tif", "only OME-Zarr and zarr"),
    ],
)
def test_other_addresses_are_refused_in_one_line(address, says):
    with refused("format", match=f"^{address}: {says}"):
        Acquisition.open(address)


def test_a_model_at_an_address_is_refused_and_one_of_this_computer_read(denoiser, tmp_path):
    with refused("format", match=r"^s3://lab/m\.n2n: is an address"):
        load("s3:/lab/m.n2n")
    path = denoiser.save(tmp_path / "m.n2n")
    assert load(path.as_uri()).fingerprint() == denoiser.fingerprint()
