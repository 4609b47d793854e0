"""OME-Zarr at an address is read like one on a disk."""

import functools
import http.server
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import blobs, copied, noisy, refused

from napari_n2n import Acquisition, cli, denoise

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
