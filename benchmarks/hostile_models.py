"""Hostile cases: models whose notes or weights do not fit."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench import MODEL, Bench, Case, Result, judge_denoised, pwned
from damage import FORMATS, movie


def _false_models() -> dict[str, Callable[[], object]]:
    """Return functions that write a false model, most with a correct checksum."""
    import torch

    from napari_n2n.model import tensorfile
    from napari_n2n.model.denoiser import load

    def rewritten(
        tensors: Callable[[dict[str, Any]], object] = lambda t: None,
        note: Callable[[dict[str, Any]], object] = lambda n: None,
    ) -> Callable[[], object]:
        def write() -> None:
            model = load(MODEL)
            weights, notes = dict(model._tensors()), json.loads(json.dumps(model._note()))
            tensors(weights)
            note(notes)
            Path(MODEL).write_bytes(tensorfile.to_bytes("model", weights, notes))

        return write

    def first(weights: dict[str, Any]) -> str:
        return next(name for name, one in weights.items() if one.ndim > 1)

    def weight(value: float) -> Callable[[dict[str, Any]], object]:
        def change(weights: dict[str, Any]) -> None:
            weights[first(weights)] = torch.full_like(weights[first(weights)], value)

        return change

    def architecture(**changes: Any) -> Callable[[], object]:
        return rewritten(note=lambda n: n["architecture"].update(changes))

    def arguments(value: Any) -> Callable[[], object]:
        """Replace every number of the architecture."""

        def change(node: Any) -> Any:
            if isinstance(node, dict):
                return {key: change(one) for key, one in node.items()}
            return value if isinstance(node, int) and not isinstance(node, bool) else node

        return rewritten(note=lambda n: n.update(architecture=change(n["architecture"])))

    def header(content: bytes) -> Callable[[], object]:
        return lambda: Path(MODEL).write_bytes(struct.pack("<Q", len(content)) + content)

    nested: Any = 0
    for _ in range(500):
        nested = [nested]
    return {
        "weights NaN": rewritten(weight(np.nan)),
        "weights infinite": rewritten(weight(np.inf)),
        "weights 1e38": rewritten(weight(1e38)),
        "scale NaN": rewritten(note=lambda n: n.update(scales=[[float("nan"), 0.0]])),
        "scale infinite": rewritten(note=lambda n: n.update(scales=[[float("inf"), 0.0]])),
        "scale 0": rewritten(note=lambda n: n.update(scales=[[0.0, 0.0]])),
        "scale 1e-320": rewritten(note=lambda n: n.update(scales=[[1e-320, 0.0]])),
        "scale of letters": rewritten(note=lambda n: n.update(scales=[["a", "b"]])),
        "scale true": rewritten(note=lambda n: n.update(scales=[[True, False]])),
        "no scales": rewritten(note=lambda n: n.update(scales=[])),
        "two scales": rewritten(note=lambda n: n.update(scales=n["scales"] * 2)),
        "scales a number": rewritten(note=lambda n: n.update(scales=7)),
        "scale of three": rewritten(note=lambda n: n.update(scales=[[1, 2, 3]])),
        "a weight missing": rewritten(lambda w: w.pop(first(w))),
        "a weight too many": rewritten(lambda w: w.update({"0.extra": torch.zeros(3)})),
        "a second network": rewritten(
            lambda w: w.update({f"1{k[1:]}": v.clone() for k, v in list(w.items())})
        ),
        "network number -1": rewritten(lambda w: w.update({"-1.a": torch.zeros(1)})),
        "a name without a number": rewritten(lambda w: w.update({"weight": torch.zeros(1)})),
        "weights of integers": rewritten(lambda w: w.update({first(w): w[first(w)].int()})),
        "weights of other shape": rewritten(
            lambda w: w.update({first(w): w[first(w)][:1].clone()})
        ),
        "no weights": rewritten(lambda w: w.clear()),
        "width or depth 8000": arguments(8000),
        "width or depth 10^6": arguments(10**6),
        "width or depth 10^18": arguments(10**18),
        "width or depth -1": arguments(-1),
        "width or depth 0": arguments(0),
        "width or depth a word": arguments("many"),
        "width or depth NaN": arguments(float("nan")),
        "width or depth a list": arguments([[]]),
        "unknown architecture": architecture(name="skynet"),
        "unknown argument": architecture(colour="red"),
        "architecture null": rewritten(note=lambda n: n.update(architecture=None)),
        "architecture missing": rewritten(note=lambda n: n.pop("architecture")),
        "architecture a list": rewritten(note=lambda n: n.update(architecture=["unet"])),
        "record null": rewritten(note=lambda n: n.update(record=None)),
        "record of a number": rewritten(note=lambda n: n.update(record=5)),
        "values of letters": rewritten(note=lambda n: n["record"].update(values="abc")),
        "values NaN": rewritten(note=lambda n: n["record"].update(values=[[float("nan"), 1.0]])),
        "noise a number": rewritten(note=lambda n: n["record"].update(noise=5)),
        "noise of other fields": rewritten(note=lambda n: n["record"].update(noise=[{"loss": 7}])),
        "noise of letters": rewritten(
            note=lambda n: n["record"].update(
                noise=[dict.fromkeys((n["record"]["noise"] or [{}])[0], "x")]
            )
        ),
        "settings of letters": rewritten(note=lambda n: n["record"].update(settings="fast")),
        "version 99": rewritten(note=lambda n: n["record"].update(version=99)),
        "notes nested 500 deep": rewritten(note=lambda n: n["record"].update(extra=nested)),
        "notes of 10 MB": rewritten(note=lambda n: n["record"].update(extra="a" * 10_000_000)),
        "no notes": rewritten(note=lambda n: n.clear()),
        "channels nested": rewritten(
            note=lambda n: n["record"].update(of_channels=[n["record"].copy()])
        ),
        "a checkpoint": lambda: Path(MODEL).write_bytes(
            tensorfile.to_bytes("checkpoint", load(MODEL)._tensors(), {})
        ),
        "an empty file": lambda: Path(MODEL).write_bytes(b""),
        "a text": lambda: Path(MODEL).write_text("weights\n" * 1000),
        "a zip": lambda: Path(MODEL).write_bytes(b"PK\x03\x04" + bytes(1000)),
        "a pickle": lambda: Path(MODEL).write_bytes(b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."),
        "a pickle of torch": lambda: torch.save({"a": torch.zeros(3)}, MODEL),
        "a header of 2^63 bytes": lambda: Path(MODEL).write_bytes(struct.pack("<Q", 2**63) + b"{}"),
        "a header that is longer than the file": lambda: Path(MODEL).write_bytes(
            struct.pack("<Q", 10**6) + b"{}"
        ),
        "a header without tensors": header(b"{}"),
        "a header that is no JSON": header(b"{{{{"),
        "a header of 100,000 brackets": header(b"[" * 100_000),
        "a header of a list": header(b"[]"),
        "a tensor of 10^18 bytes": header(
            b'{"0.w":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,4000000000000000000]}}'
        ),
        "a folder": lambda: (os.unlink(MODEL), os.mkdir(MODEL)),
        "a pipe": lambda: (os.unlink(MODEL), os.mkfifo(MODEL)),
        "a device": lambda: (os.unlink(MODEL), os.symlink("/dev/zero", MODEL)),
        "a link to itself": lambda: (os.unlink(MODEL), os.symlink(MODEL, MODEL)),
        "missing": lambda: os.unlink(MODEL),
    }


def false_model(bench: Bench, seed: int, number: int) -> tuple[str, Result]:
    """Denoise with a model whose notes or weights do not fit."""
    name, write = list(_FALSE_MODELS.items())[number]
    path = bench.fresh()
    bench.must(lambda: FORMATS["TIFF, LZW"].write(Path("movie.tif"), movie()))
    try:
        bench.must(write)
    except RuntimeError as error:  # the package itself does not write it: as good
        last = str(error).strip().splitlines()[-1]
        return f"{name}: cannot even be written: {last}", Result("refused")
    if not (path / MODEL).exists() and name not in ("missing", "a link to itself"):
        raise RuntimeError(name)
    harmless = (
        "notes of 10 MB",
        "notes nested 500 deep",
        "version 99",
        "channels nested",
        "scale true",
    )
    noise = name.startswith(("noise", "values", "settings"))
    case = Case(
        f"model, {name}",
        ["denoise", MODEL, "movie.tif", "-o", "out.tif"],
        lambda: pwned() or (_same_or_finite(name in harmless or noise)),
        (MODEL, "movie"),
        ("out.tif",),
    )
    return case.what, bench.run(case)


def _same_or_finite(harmless: bool) -> str:
    if harmless:
        return judge_denoised("out.tif")
    wrong = judge_denoised("out.tif")
    return wrong and f"a false model was used: {wrong}"


_FALSE_MODELS = _false_models()


KINDS = {"false models": (false_model, len(_FALSE_MODELS))}
