"""Hostile cases: odd objects that a script gives as images."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from bench import MODEL, Bench, Case, Pixels, Result, judge_denoised
from damage import movie


def _arrays() -> dict[str, tuple[Callable[[], Any], Pixels]]:
    """Return objects that are given as images, and the pixels of each."""
    import dask.array as da
    import torch
    import xarray

    stack = movie()
    nan_at = stack.astype("f4")
    nan_at[2, 5, 5] = np.nan

    def raising(block: np.ndarray) -> np.ndarray:
        raise RuntimeError("detector\nunplugged")

    def lying(block: np.ndarray) -> np.ndarray:
        return block[..., :-1]

    def lazily(function: Callable[[np.ndarray], np.ndarray]) -> Any:
        return da.from_array(stack, chunks=(1, 48, 40)).map_blocks(
            function, dtype="u2", meta=np.empty((0, 0, 0), "u2")
        )

    def masked(share: float) -> Any:
        mask = np.zeros(stack.shape, bool)
        mask[: int(len(stack) * share)] = True
        return np.ma.MaskedArray(stack, mask)

    class Interrupting(np.ndarray):
        """An array that fails when it is read."""

        def __getitem__(self, where: Any) -> Any:
            raise OSError(5, "Input/output error")

    class Claiming:
        """An object that only says that it is an array."""

        shape, dtype, ndim = (6, 48, 40), np.dtype("u2"), 3

        def __getitem__(self, where: Any) -> str:
            return "pixels"

    class Empty:
        """An object with a shape of other things."""

        shape, dtype, ndim = ("a", None), "u2", 2

    none: Pixels = lambda: None  # noqa: E731
    same: Pixels = movie
    return {
        "numpy": (lambda: stack, same),
        "read-only": (lambda: np.frombuffer(stack.tobytes(), "u2").reshape(stack.shape), same),
        "big-endian": (lambda: stack.astype(">u2"), same),
        "Fortran order": (lambda: np.asfortranarray(stack), same),
        "negative strides": (lambda: stack[::-1, ::-1, ::-1][::-1, ::-1, ::-1], same),
        "every second pixel": (lambda: np.repeat(stack, 2, axis=2)[:, :, ::2], same),
        "broadcast": (
            lambda: np.broadcast_to(stack[:1], stack.shape),
            lambda: np.repeat(stack[:1], len(stack), axis=0),
        ),
        "float16": (lambda: stack.astype("f2"), lambda: stack.astype("f2")),
        "float64": (lambda: stack.astype("f8"), same),
        "longdouble": (lambda: stack.astype(np.longdouble), same),
        "int64": (lambda: stack.astype("i8"), same),
        "uint64": (lambda: stack.astype("u8"), same),
        "uint64 at its limit": (lambda: np.full(stack.shape, 2**64 - 1, "u8"), none),
        "int64 with an offset of 1e12": (lambda: stack.astype("i8") + 10**12, none),
        "float64 with an offset of 1e9": (lambda: stack / 100 + 1e9, none),
        "masked, no pixel": (lambda: masked(0), same),
        "masked, half": (lambda: masked(0.5), none),
        "masked, all": (lambda: masked(1), none),
        "NaN": (lambda: nan_at, none),
        "all NaN": (lambda: np.full(stack.shape, np.nan), none),
        "infinite": (lambda: np.where(stack > 300, np.inf, stack), none),
        "1e300": (lambda: np.where(stack > 300, 1e300, stack), none),
        "constant": (lambda: np.full(stack.shape, 7, "u2"), lambda: np.full(stack.shape, 7, "u2")),
        "bool": (lambda: stack > 200, none),
        "complex": (lambda: stack.astype(complex), none),
        "objects": (lambda: stack.astype(object), same),
        "objects of all kinds": (lambda: np.array([[{}, 1], [None, "a"]], object), none),
        "text": (lambda: stack.astype(str), none),
        "dates": (lambda: stack.astype("M8[s]"), none),
        "fields": (lambda: np.zeros(stack.shape, [("a", "u2")]), none),
        "no frames": (lambda: stack[:0], none),
        "no columns": (lambda: stack[..., :0], none),
        "one pixel": (lambda: stack[:, :1, :1], lambda: stack[:, :1, :1]),
        "one row": (lambda: stack[:, :1], lambda: stack[:, :1]),
        "one dimension": (lambda: stack.ravel(), none),
        "no dimension": (lambda: np.array(5.0), none),
        "matrix": (lambda: np.matrix(stack[0]), lambda: stack[:1]),
        "subclass that fails": (lambda: stack.view(Interrupting), none),
        "list": (lambda: stack.tolist(), same),
        "list of arrays": (lambda: list(stack), same),
        "ragged list": (lambda: [[1, 2], [3]], none),
        "tuple": (lambda: tuple(stack), same),
        "generator": (lambda: (frame for frame in stack), none),
        "None": (lambda: None, none),
        "a number": (lambda: 7, none),
        "empty text": (lambda: "", none),
        "bytes": (lambda: b"a.tif", none),
        "text with a NUL": (lambda: "a\0.tif", none),
        "text of 5000 letters": (lambda: "a" * 5000 + ".tif", none),
        "a point": (lambda: Path("."), none),
        "claims to be an array": (Claiming, none),
        "a shape of letters": (Empty, none),
        "torch": (lambda: torch.from_numpy(stack.astype("i4")), same),
        "torch with a gradient": (
            lambda: torch.from_numpy(stack.astype("f4")).requires_grad_(),
            same,
        ),
        "torch on meta": (lambda: torch.zeros(stack.shape, device="meta"), none),
        "torch, sparse": (lambda: torch.from_numpy(stack.astype("f4")).to_sparse(), none),
        "torch, bfloat16": (lambda: torch.from_numpy(stack.astype("f4")).bfloat16(), none),
        "torch, conjugated": (lambda: torch.from_numpy(stack.astype("c8")).conj(), none),
        "dask": (lambda: da.from_array(stack, chunks=(1, 24, 40)), same),
        "dask that raises": (lambda: lazily(raising), none),
        "dask with fewer pixels": (lambda: lazily(lying), none),
        "dask of unknown shape": (
            lambda: da.from_array(stack, chunks=2)[da.from_array(stack[:, 0, 0]) > 0],
            none,
        ),
        "dask of 10^18 pixels": (
            lambda: da.zeros((10**6, 10**6, 10**6), dtype="u2", chunks=1000),
            none,
        ),
        "dask, masked": (lambda: da.ma.masked_greater(da.from_array(stack), 250), none),
        "xarray": (lambda: xarray.DataArray(stack, dims=("T", "Y", "X")), same),
        "xarray, other names": (lambda: xarray.DataArray(stack, dims=("time", "row", "col")), same),
        "xarray, lazy that raises": (
            lambda: xarray.DataArray(lazily(raising), dims=("T", "Y", "X")),
            none,
        ),
        "scipy, sparse": (lambda: __import__("scipy.sparse").sparse.csr_array(stack[0]), none),
        "memory-mapped, file cut off": (_short_map, none),
    }


def _short_map() -> Any:
    """Return a memory-mapped array whose file was cut off in the meantime."""
    path = Path(tempfile.mkdtemp()) / "mapped.npy"
    np.save(path, movie())
    mapped = np.load(path, mmap_mode="r")
    os.truncate(path, 5000)
    return mapped


_ARRAYS = _arrays()


def array(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Give an object to Python's `denoise`, `measure_noise` or `train`."""
    functions = ("denoise", "measure_noise", "train", "denoise to a file")
    name, function = list(_ARRAYS)[number // len(functions)], functions[number % len(functions)]
    make, pixels = _ARRAYS[name]
    bench.fresh()
    case = Case(f"{name}: {function}", [], lambda: _judge_array(function, pixels))
    case.call = lambda: _with_array(function, make())
    case.outputs = ("found", "out.tif", ".")
    return case.what, bench.run(case)


def _with_array(function: str, image: Any) -> None:
    """Call the function as a script does; print a refusal as the command line does."""
    import sys

    import napari_n2n as n2n

    settings = n2n.TrainingSettings(steps=4, patch=32, batch=2, start="cold", loss="l2")
    axes = "TYX" if getattr(image, "ndim", 3) == 3 else None
    try:
        if function == "denoise":
            np.save("found.npy", np.asarray(n2n.denoise(n2n.load(MODEL), image, axes=axes)))
        elif function == "denoise to a file":
            n2n.denoise(n2n.load(MODEL), image, axes=axes, out="out.tif")
        elif function == "measure_noise":
            report = n2n.measure_noise(n2n.Pair.open(image, "b.tif", axes=axes))
            Path("found.json").write_text(json.dumps([report.loss, report.noise_a]))
        else:
            n2n.train(n2n.Pair.open(image, "b.tif", axes=axes), settings).save("found.n2n")
    except n2n.BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _judge_array(function: str, pixels: Pixels) -> str:
    import napari_n2n as n2n

    expected = pixels()
    if function.startswith("denoise"):
        if function == "denoise":
            np.save("found.npy", np.load("found.npy"))
            tifffile.imwrite("out.tif", np.load("found.npy"), photometric="minisblack")
        return judge_denoised("out.tif", pixels)
    if function == "train":
        found = n2n.load("found.n2n")
        if expected is None:
            finite = all(bool(w.isfinite().all()) for w in found._tensors().values())
            return "" if finite else "the weights are not finite"
        settings = n2n.TrainingSettings(steps=4, patch=32, batch=2, start="cold", loss="l2")
        same = n2n.train(n2n.Pair.open(expected.astype("f4"), "b.tif", axes="TYX"), settings)
        return (
            ""
            if same.fingerprint() == found.fingerprint()
            else "another model than that of the pixels"
        )
    _, noise = json.loads(Path("found.json").read_text())
    if expected is None:
        return "" if noise is None or np.isfinite(noise) else f"noise of {noise} ADU"
    report = n2n.measure_noise(n2n.Pair.open(expected.astype("f4"), "b.tif", axes="TYX"))
    return (
        ""
        if np.isclose(report.noise_a, noise, rtol=1e-3)
        else f"noise {noise}, not {report.noise_a}"
    )


KINDS = {"odd arrays": (array, 4 * len(_ARRAYS))}
