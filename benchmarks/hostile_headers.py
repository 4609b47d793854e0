"""Hostile cases: recordings whose headers do not fit, and files that are no recordings."""

import json
import os
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from bench import MODEL, Bench, Case, Pixels, Result, judge_denoised, pwned
from damage import FORMATS, movie


class FalseHeader:
    """A recording whose header does not fit, or that is no recording.

    Parameters
    ----------
    file
        Its name.
    write
        Writes it.
    pixels
        The pixels whose result is right; None: it must be refused.
    axes
        What the user adds.
    """

    def __init__(
        self,
        file: str,
        write: Callable[[Path], object],
        pixels: Pixels = lambda: None,
        axes: str = "",
    ) -> None:
        self.file, self.write, self.pixels, self.axes = file, write, pixels, axes


def _imwrite(frames: np.ndarray, **options: Any) -> Callable[[Path], object]:
    options = {"photometric": "minisblack"} | options
    return lambda path: tifffile.imwrite(path, frames, **options)


def _patched(
    write: Callable[[Path], object], *changes: tuple[bytes, bytes]
) -> Callable[[Path], None]:
    """Replace bytes of a written file, or of the metadata of a written zarr."""

    def patch(path: Path) -> None:
        write(path)
        files = (
            [path]
            if path.is_file()
            else [f for f in path.rglob("*") if f.name.startswith((".z", "zarr"))]
        )
        done = 0
        for file in files:
            content = file.read_bytes()
            for old, new in changes:
                done += content.count(old)
                content = content.replace(old, new)
            file.write_bytes(content)
        if not done:
            raise RuntimeError(f"nothing to replace: {changes}")

    return patch


def _cut(write: Callable[[Path], object], share: float) -> Callable[[Path], None]:
    def shorten(path: Path) -> None:
        write(path)
        os.truncate(path, int(path.stat().st_size * share))

    return shorten


def _tag_set(write: Callable[[Path], object], tag: int, value: int) -> Callable[[Path], None]:
    """Write another value into a tag of every page of a little-endian classic TIFF."""

    def change(path: Path) -> None:
        write(path)
        content = bytearray(path.read_bytes())
        place = struct.unpack_from("<I", content, 4)[0]
        while place:
            (count,) = struct.unpack_from("<H", content, place)
            for entry in range(place + 2, place + 2 + 12 * count, 12):
                if struct.unpack_from("<H", content, entry)[0] == tag:
                    struct.pack_into("<HII", content, entry + 2, 4, 1, value)
            place = struct.unpack_from("<I", content, place + 2 + 12 * count)[0]
        path.write_bytes(content)

    return change


def _chained(path: Path) -> None:
    """Let the last page of a TIFF point to the first one."""
    FORMATS["TIFF"].write(path, movie())
    content = bytearray(path.read_bytes())
    first = place = struct.unpack_from("<I", content, 4)[0]
    while True:
        (count,) = struct.unpack_from("<H", content, place)
        link = place + 2 + 12 * count
        place = struct.unpack_from("<I", content, link)[0]
        if not place:
            struct.pack_into("<I", content, link, first)
            break
    path.write_bytes(content)


def _multi_file(path: Path) -> None:
    """Write an OME-TIFF whose metadata name a second file, which is missing."""
    half = movie()[: len(movie()) // 2]
    tifffile.imwrite(path, half, ome=True, metadata={"axes": "TYX"}, photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        text = tif.ome_metadata or ""
    uuid = "urn:uuid:0e8a1bc0-0000-11ee-be56-0242ac120002"
    parts = "".join(
        f'<TiffData IFD="{t}" FirstT="{f}" PlaneCount="1">'
        f'<UUID FileName="{n}">{uuid}</UUID></TiffData>'
        for f, (t, n) in enumerate(
            [(t, path.name) for t in range(3)] + [(t, "second.ome.tif") for t in range(3)]
        )
    )
    start, end = text.index("<TiffData"), text.index("</Pixels>")
    text = (text[:start] + parts + text[end:]).replace('SizeT="3"', 'SizeT="6"')
    tifffile.imwrite(path, half, description=text, metadata=None, photometric="minisblack")


def _attributes(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Write an OME-Zarr 0.5 and change its metadata."""

    def write(path: Path) -> None:
        FORMATS["OME-Zarr 0.5"].write(path, movie())
        file = path / "zarr.json"
        metadata = json.loads(file.read_text())
        change(metadata["attributes"]["ome"])
        file.write_text(json.dumps(metadata))

    return write


def _scaled(*steps: Any) -> Callable[[Path], None]:
    return _attributes(
        lambda ome: ome["multiscales"][0]["datasets"][0].update(
            coordinateTransformations=[{"type": "scale", "scale": list(steps)}]
        )
    )


def _omero(value: Any) -> Callable[[Path], None]:
    return _attributes(lambda ome: ome.update(omero=value))


def _axes_named(*names: str) -> Callable[[Path], None]:
    axes = [{"name": name, "type": "space"} for name in names]
    return _attributes(lambda ome: ome["multiscales"][0].update(axes=axes))


def _first(ome: dict[str, Any]) -> dict[str, Any]:
    image: dict[str, Any] = ome["multiscales"][0]
    return image


def _array_json(**changes: Any) -> Callable[[Path], None]:
    """Write a zarr v3 array and change its metadata."""

    def write(path: Path) -> None:
        FORMATS["zarr v3"].write(path, movie())
        file = path / "zarr.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return write


def _ome_zarr_02(path: Path) -> None:
    FORMATS["OME-Zarr 0.4"].write(path, movie())
    image = {"version": "0.2", "datasets": [{"path": "0"}]}
    (path / ".zattrs").write_text(json.dumps({"multiscales": [image]}))


def _ome_zarr_03(path: Path) -> None:
    FORMATS["OME-Zarr 0.4"].write(path, movie())
    image = {"version": "0.3", "axes": ["t", "y", "x"], "datasets": [{"path": "0"}]}
    (path / ".zattrs").write_text(json.dumps({"multiscales": [image]}))


def _deep_json(path: Path) -> None:
    FORMATS["zarr v2"].write(path, movie())
    (path / ".zattrs").write_text('{"a":' + "[" * 100_000 + "]" * 100_000 + "}")


def _npy_header(text: str) -> Callable[[Path], None]:
    """Write an npy file with this header."""

    def write(path: Path) -> None:
        header = text.encode() + b"\n"
        path.write_bytes(
            b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(1000)
        )

    return write


def _socket(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))


def _with(value: float, dtype: str = "float32") -> np.ndarray:
    """Return the movie with one pixel replaced."""
    frames = movie().astype(dtype)
    frames[4, 20, 20] = value
    return frames


def _appended(path: Path) -> None:
    for frame in movie():
        tifffile.imwrite(path, frame, append=True, photometric="minisblack", metadata=None)


def _two_sizes(path: Path) -> None:
    with tifffile.TiffWriter(path) as tif:
        tif.write(movie(), photometric="minisblack")
        tif.write(movie()[0, :20, :20], photometric="minisblack")


def _removed(write: Callable[[Path], object], name: str) -> Callable[[Path], None]:
    def remove(path: Path) -> None:
        write(path)
        file = path / name
        shutil.rmtree(file) if file.is_dir() else file.unlink()

    return remove


def _zeros_from(frames: int, start: int, stop: int) -> np.ndarray:
    """Return the movie with zeros in some frames: what zarr defines for chunks without a file."""
    stack = np.zeros((frames, *movie().shape[1:]), movie().dtype)
    stack[: len(movie())] = movie()[:frames]
    stack[start:stop] = 0
    return stack


def _zarr_v3(path: Path) -> None:
    FORMATS["zarr v3"].write(path, movie())


_MOVIE: Pixels = movie
_IMAGEJ = _imwrite(movie(), imagej=True, metadata={"axes": "TYX"})
_OME = _imwrite(movie(), ome=True, metadata={"axes": "TYX"})
_OME_MICRO = _imwrite(
    movie(), ome=True, metadata={"axes": "TYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
)


def _false() -> dict[str, FalseHeader]:
    stack, planes = movie(), movie()[:3]
    tiff, ome_zarr, zarr3 = "movie.tif", "movie.ome.zarr", "movie.zarr"
    return {
        "ImageJ, cut off in frame 3": FalseHeader(tiff, _cut(_IMAGEJ, 0.4)),
        "ImageJ says 9 frames": FalseHeader(
            tiff, _patched(_IMAGEJ, (b"frames=6", b"frames=9"), (b"images=6", b"images=9"))
        ),
        "ImageJ says 3 frames": FalseHeader(
            tiff, _patched(_IMAGEJ, (b"frames=6", b"frames=3"), (b"images=6", b"images=3"))
        ),
        "OME says 1000 frames": FalseHeader(
            "movie.ome.tif",
            _patched(
                _imwrite(stack[:1], ome=True, metadata={"axes": "TYX"}),
                (b'SizeT="1"', b'SizeT="9"'),
            ),
        ),
        "OME-TIFF of two files, one missing": FalseHeader("movie.ome.tif", _multi_file),
        "OME-TIFF, axis sizes exchanged": FalseHeader(
            "movie.ome.tif", _patched(_OME, (b'SizeX="40" SizeY="48"', b'SizeX="48" SizeY="40"'))
        ),
        "OME-TIFF, broken XML": FalseHeader(
            "movie.ome.tif", _patched(_OME, (b"</Pixels>", b"</Pixel >")), _MOVIE
        ),
        "OME-TIFF, pixel size 0": FalseHeader(
            "movie.ome.tif", _patched(_OME_MICRO, (b'"0.25"', b'"0.00"')), _MOVIE
        ),
        "OME-TIFF, pixel size -1": FalseHeader(
            "movie.ome.tif", _patched(_OME_MICRO, (b'"0.25"', b'"-1.0"')), _MOVIE
        ),
        "OME-TIFF, pixel size NaN": FalseHeader(
            "movie.ome.tif", _patched(_OME_MICRO, (b'"0.25"', b'"NaN" ')), _MOVIE
        ),
        "OME-TIFF, pixel size of letters": FalseHeader(
            "movie.ome.tif", _patched(_OME_MICRO, (b'"0.25"', b'"abcd"')), _MOVIE
        ),
        "TIFF, endless chain of pages": FalseHeader(tiff, _chained, axes="TYX"),
        "TIFF, width of 2^31": FalseHeader(
            tiff, _tag_set(_imwrite(stack, metadata=None), 256, 2**31)
        ),
        "TIFF, height of 10^6": FalseHeader(
            tiff, _tag_set(_imwrite(stack, metadata=None), 257, 10**6), axes="TYX"
        ),
        "TIFF, compressed, height of 10^6": FalseHeader(
            tiff,
            _tag_set(_imwrite(stack, metadata=None, compression="zlib"), 257, 10**6),
            axes="TYX",
        ),
        "TIFF, strips beyond the end": FalseHeader(
            tiff, _tag_set(_imwrite(stack, metadata=None), 273, 10**8), axes="TYX"
        ),
        "TIFF, unknown compression": FalseHeader(
            tiff, _tag_set(_imwrite(stack, metadata=None), 259, 4711), axes="TYX"
        ),
        "TIFF, one page cut off": FalseHeader(
            tiff, _cut(_imwrite(stack, metadata=None), 0.9), axes="TYX"
        ),
        "TIFF, LZW, cut off": FalseHeader(
            tiff, _cut(_imwrite(stack, metadata=None, compression="lzw"), 0.5), axes="TYX"
        ),
        "TIFF, written page by page": FalseHeader(tiff, _appended, _MOVIE, axes="TYX"),
        "TIFF, two sizes of pages": FalseHeader(tiff, _two_sizes, _MOVIE),
        "TIFF, big-endian": FalseHeader(
            tiff, _imwrite(stack, byteorder=">", metadata={"axes": "TYX"}), _MOVIE
        ),
        "TIFF, float64": FalseHeader(
            tiff, _imwrite(stack.astype("f8"), metadata={"axes": "TYX"}), _MOVIE
        ),
        "TIFF, int32": FalseHeader(
            tiff, _imwrite(stack.astype("i4"), metadata={"axes": "TYX"}), _MOVIE
        ),
        "TIFF, RGB": FalseHeader(
            tiff, lambda p: tifffile.imwrite(p, np.stack([stack[0]] * 3, -1), photometric="rgb")
        ),
        "TIFF, one NaN in frame 4": FalseHeader(
            tiff, _imwrite(_with(np.nan), metadata={"axes": "TYX"})
        ),
        "TIFF, one infinity": FalseHeader(tiff, _imwrite(_with(np.inf), metadata={"axes": "TYX"})),
        "TIFF, one value of 1e300": FalseHeader(
            tiff, _imwrite(_with(1e300, "f8"), metadata={"axes": "TYX"})
        ),
        "TIFF, all 1e30": FalseHeader(
            tiff,
            _imwrite(stack.astype("f4") * 1e30, metadata={"axes": "TYX"}),
            lambda: stack.astype("f4") * np.float32(1e30),
        ),
        "TIFF, all 3e38": FalseHeader(
            tiff,
            _imwrite(stack.astype("f4") / stack.max() * 3.4e38, metadata={"axes": "TYX"}),
            lambda: (stack.astype("f4") / stack.max() * 3.4e38).astype("f4"),
        ),
        "TIFF, no rows": FalseHeader(
            tiff, _tag_set(_imwrite(stack, metadata=None), 257, 0), axes="TYX"
        ),
        "an empty TIFF": FalseHeader(tiff, lambda p: p.write_bytes(b"")),
        "a TIFF of a header": FalseHeader(tiff, lambda p: p.write_bytes(b"II*\0\x08\0\0\0")),
        "a text named .tif": FalseHeader(tiff, lambda p: p.write_text("hello\n" * 100)),
        "a picture named .tif": FalseHeader(
            tiff, lambda p: p.write_bytes(b"\xff\xd8\xff\xe0" + bytes(500))
        ),
        "a folder named .tif": FalseHeader(tiff, lambda p: p.mkdir()),
        "a named pipe": FalseHeader(tiff, os.mkfifo),
        "a pipe named .npy": FalseHeader("movie.npy", os.mkfifo),
        "a socket": FalseHeader(tiff, _socket),
        "a device": FalseHeader(tiff, lambda p: p.symlink_to("/dev/zero")),
        "a device named .npy": FalseHeader("movie.npy", lambda p: p.symlink_to("/dev/zero")),
        "a link to nothing": FalseHeader(tiff, lambda p: p.symlink_to("nowhere.tif")),
        "a link to itself": FalseHeader(tiff, lambda p: p.symlink_to(p.name)),
        "npy, pickled objects": FalseHeader(
            "movie.npy", lambda p: np.save(p, np.array([{}, []], object))
        ),
        "npy, 10^12 pixels": FalseHeader(
            "movie.npy",
            _npy_header("{'descr': '<u2', 'fortran_order': False, 'shape': (1000000, 1000000)}"),
        ),
        "npy, negative shape": FalseHeader(
            "movie.npy", _npy_header("{'descr': '<u2', 'fortran_order': False, 'shape': (-10, 20)}")
        ),
        "npy, code in the header": FalseHeader(
            "movie.npy", _npy_header("__import__('os').system('touch pwned')")
        ),
        "npy, no frames": FalseHeader("movie.npy", lambda p: np.save(p, stack[:0])),
        "npy, no columns": FalseHeader("movie.npy", lambda p: np.save(p, stack[..., :0])),
        "npy, complex": FalseHeader(
            "movie.npy", lambda p: np.save(p, stack.astype(complex)), axes="TYX"
        ),
        "npy, text": FalseHeader("movie.npy", lambda p: np.save(p, stack.astype(str)), axes="TYX"),
        "npy, bool": FalseHeader("movie.npy", lambda p: np.save(p, stack > 200), axes="TYX"),
        "npy, fields": FalseHeader(
            "movie.npy",
            lambda p: np.save(p, np.zeros((9, 40, 40), [("a", "u2"), ("b", "f4")])),
            axes="TYX",
        ),
        "npy, Fortran order": FalseHeader(
            "movie.npy", lambda p: np.save(p, np.asfortranarray(stack)), _MOVIE, "TYX"
        ),
        "npy, float16": FalseHeader(
            "movie.npy", lambda p: np.save(p, stack.astype("f2")), lambda: stack.astype("f2"), "TYX"
        ),
        "npy, big-endian": FalseHeader(
            "movie.npy", lambda p: np.save(p, stack.astype(">u2")), _MOVIE, "TYX"
        ),
        "npy, an offset of 1e9": FalseHeader(
            "movie.npy", lambda p: np.save(p, stack.astype("f8") / 100 + 1e9), axes="TYX"
        ),
        "npz named .npy": FalseHeader(
            "movie.npy", lambda p: np.savez(open(p, "wb"), stack), axes="TYX"
        ),
        "zarr, no frames": FalseHeader(zarr3, _array_json(shape=[0, 48, 40]), axes="TYX"),
        "zarr, 10^15 pixels": FalseHeader(
            zarr3, _array_json(shape=[10**9, 1000, 1000]), axes="TYX"
        ),
        "zarr, negative shape": FalseHeader(zarr3, _array_json(shape=[-6, 48, 40]), axes="TYX"),
        "zarr, more frames than chunks": FalseHeader(
            zarr3, _array_json(shape=[60, 48, 40]), lambda: _zeros_from(60, 6, 60), "TYX"
        ),
        "zarr, unknown codec": FalseHeader(
            zarr3, _array_json(codecs=[{"name": "mine", "configuration": {}}]), axes="TYX"
        ),
        "zarr, unknown type": FalseHeader(zarr3, _array_json(data_type="qubit"), axes="TYX"),
        "zarr, type of other size": FalseHeader(
            zarr3, _array_json(data_type="float64"), axes="TYX"
        ),
        "zarr, no chunks": FalseHeader(
            zarr3, _removed(_zarr_v3, "c"), lambda: _zeros_from(6, 0, 6), "TYX"
        ),
        "zarr, a plane missing": FalseHeader(
            zarr3, _removed(_zarr_v3, "c/3"), lambda: _zeros_from(6, 3, 4), "TYX"
        ),
        "zarr, metadata cut off": FalseHeader(
            zarr3, lambda p: (_zarr_v3(p), os.truncate(p / "zarr.json", 100)), axes="TYX"
        ),
        "zarr, metadata of 100,000 brackets": FalseHeader(zarr3, _deep_json, _MOVIE, axes="TYX"),
        "OME-Zarr 0.2": FalseHeader(ome_zarr, _ome_zarr_02, _MOVIE),
        "OME-Zarr 0.3": FalseHeader(ome_zarr, _ome_zarr_03, _MOVIE),
        "OME-Zarr 0.2 with --axes": FalseHeader(ome_zarr, _ome_zarr_02, _MOVIE, "TYX"),
        "OME-Zarr, fewer axes": FalseHeader(ome_zarr, _axes_named("y", "x")),
        "OME-Zarr, more axes": FalseHeader(ome_zarr, _axes_named("t", "z", "y", "x")),
        "OME-Zarr, an axis twice": FalseHeader(ome_zarr, _axes_named("y", "y", "x")),
        "OME-Zarr, axes without names": FalseHeader(
            ome_zarr, _attributes(lambda o: _first(o).update(axes=[{}, {}, {}]))
        ),
        "OME-Zarr, axes null": FalseHeader(
            ome_zarr, _attributes(lambda o: _first(o).update(axes=None))
        ),
        "OME-Zarr, no axes, --axes given": FalseHeader(
            ome_zarr, _attributes(lambda o: _first(o).pop("axes")), _MOVIE, "TYX"
        ),
        "OME-Zarr, no datasets": FalseHeader(
            ome_zarr, _attributes(lambda o: _first(o).update(datasets=[]))
        ),
        "OME-Zarr, dataset elsewhere": FalseHeader(
            ome_zarr, _attributes(lambda o: _first(o)["datasets"][0].update(path="../a.tif"))
        ),
        "OME-Zarr, dataset missing": FalseHeader(
            ome_zarr, _attributes(lambda o: _first(o)["datasets"][0].update(path="7"))
        ),
        "OME-Zarr, multiscales a word": FalseHeader(
            ome_zarr, _attributes(lambda o: o.update(multiscales="many"))
        ),
        "OME-Zarr, pixel size 0": FalseHeader(ome_zarr, _scaled(1, 0, 0), _MOVIE),
        "OME-Zarr, pixel size -1": FalseHeader(ome_zarr, _scaled(1, -1, -1), _MOVIE),
        "OME-Zarr, pixel size NaN": FalseHeader(ome_zarr, _scaled(1, float("nan"), 1), _MOVIE),
        "OME-Zarr, pixel size 1e300": FalseHeader(ome_zarr, _scaled(1, 1e300, 1e300), _MOVIE),
        "OME-Zarr, pixel size of letters": FalseHeader(ome_zarr, _scaled("a", "b", "c"), _MOVIE),
        "OME-Zarr, two pixel sizes": FalseHeader(ome_zarr, _scaled(1, 1), _MOVIE),
        "OME-Zarr, scale null": FalseHeader(
            ome_zarr,
            _attributes(lambda o: _first(o)["datasets"][0].update(coordinateTransformations=None)),
            _MOVIE,
        ),
        "OME-Zarr, omero null": FalseHeader(ome_zarr, _omero(None), _MOVIE),
        "OME-Zarr, omero channels null": FalseHeader(ome_zarr, _omero({"channels": None}), _MOVIE),
        "OME-Zarr, omero a list": FalseHeader(ome_zarr, _omero([1, 2]), _MOVIE),
        "OME-Zarr, colour a number": FalseHeader(
            ome_zarr, _omero({"channels": [{"color": 255, "label": None}]}), _MOVIE
        ),
        "OME-Zarr, colour a name": FalseHeader(
            ome_zarr, _omero({"channels": [{"color": "red"}]}), _MOVIE
        ),
        "OME-Zarr, units a number": FalseHeader(
            ome_zarr, _attributes(lambda o: _first(o)["axes"][1].update(unit=7)), _MOVIE
        ),
        "three frames of 3 columns": FalseHeader(
            "movie.npy", lambda p: np.save(p, np.moveaxis(planes, 0, -1))
        ),
    }


_FALSE = _false()


def false_header(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Denoise a recording whose header does not fit."""
    name, one = list(_FALSE.items())[number]
    path = bench.fresh() / one.file
    bench.must(lambda: one.write(path))
    axes = ["--axes", one.axes] if one.axes else []
    out = ("out.tif", "out.ome.zarr")[number % 2]
    case = Case(
        name,
        ["denoise", MODEL, one.file, "-o", out, *axes],
        lambda: judge_denoised(out, one.pixels) or pwned(),
        (one.file, "movie", "--axes"),
        (out,),
    )
    return f"{name}: {' '.join(case.words)}", bench.run(case)


KINDS = {"false headers": (false_header, len(_FALSE))}
