"""Model files that are damaged, foreign or altered: each is refused in one line."""

import json
import math
import pickle
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import psutil
import pytest
import torch
from conftest import refused

from napari_n2n import Pair, TrainingSettings, load, train
from napari_n2n.model import tensorfile
from napari_n2n.model.building import build_network
from napari_n2n.model.denoiser import Denoiser, from_bytes
from napari_n2n.model.record import ModelRecord
from napari_n2n.stats.affine import Affine

TINY = {"name": "compact", "channels": 1, "width": 4, "depth": 1}
DEEP = 5000  # levels of nesting, more than any parser follows


@pytest.fixture(scope="module")
def content():
    network = build_network(TINY)
    return Denoiser((network,), TINY, (Affine(0.1, -2.0),), ModelRecord(steps=7)).to_bytes()


def unpacked(content):
    """Return the header, the note and the numbers of a file."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    text = header["__metadata__"]["napari-n2n"]
    return header, json.loads(text)["note"], content[end:]


def packed(header, note, numbers, kind="model"):
    """Return a file without a checksum, as version 0.1 wrote it."""
    text = note if isinstance(note, str) else json.dumps({"kind": kind, "note": note})
    header = header | {"__metadata__": {"napari-n2n": text}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


def test_every_flipped_bit_is_noticed(content):
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(content[:8], "little")
    bits = [*rng.integers(8 * header, size=60), *rng.integers(8 * header, 8 * len(content), 60)]
    for bit in bits:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with refused("model"):
            from_bytes(bytes(damaged))


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 200, -4000, -1, "one byte more", "a copy more"])
def test_a_file_of_the_wrong_length_is_refused(content, length):
    more = {"one byte more": b"0", "a copy more": content}
    with refused("model"):
        from_bytes(content + more[length] if length in more else content[:length])


def test_a_file_without_a_checksum_loads_as_before(content):
    old, new = from_bytes(packed(*unpacked(content))), from_bytes(content)
    assert old.fingerprint() == new.fingerprint() and old.record == new.record


class _Touch:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("kind", ["text", "zip", "pickle", "torch", "nothing", "a picture"])
def test_another_kind_of_file_named_n2n_is_refused_and_runs_nothing(tmp_path, kind):
    path, touched = tmp_path / "cells.n2n", tmp_path / "touched"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "b")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(_Touch(str(touched))))
    elif kind == "torch":
        torch.save({"weights": _Touch(str(touched))}, path)
    else:
        path.write_bytes({"text": b"hello\n" * 9, "nothing": b""}.get(kind, b"\x89PNG\r\n" * 99))
    with refused("model", match=r"cells\.n2n: is damaged or not a napari-n2n model"):
        load(path)
    assert not touched.exists()


def test_a_folder_as_a_model_is_refused(tmp_path):
    with refused("not_found", match="is not a file"):
        load(tmp_path)


def nested(depth):
    return "[" * depth + "]" * depth


def changed(**entries):
    return lambda note: note | entries


def architecture(**entries):
    return lambda note: note | {"architecture": note["architecture"] | entries}


def record(**entries):
    return lambda note: note | {"record": note["record"] | entries}


@pytest.mark.parametrize(
    "lie",
    [
        *(changed(architecture=value) for value in (None, [], "compact", 3, {})),
        *(changed(scales=value) for value in (None, [], [[1]], [[1, 2, 3]], ["ab"], [["1", "2"]])),
        *(changed(scales=[[gain, 0.0]]) for gain in (0, -1, math.nan, math.inf, 1e-300, True)),
        *(changed(scales=[[1.0, offset]]) for offset in (math.nan, -math.inf, 1e300, None)),
        changed(scales=[[1.0, 0.0]] * 3, record=None),
        *(changed(record=value) for value in (None, [], "text")),
        *(architecture(name=value) for value in ("unet", None, ["compact"], {})),
        *(architecture(width=value) for value in (0, -4, 8000, 10**12, 10**30, "4", 4.5, True)),
        *(architecture(depth=value) for value in (-1, 2, 10**6, "1", None)),
        *(architecture(channels=value) for value in (0, 3, 10**9)),
        *(architecture(dims=value) for value in (1, 3, 4, "2")),
        *(architecture(flat=value) for value in (-1, 10**9)),
        architecture(norm=False),
        architecture(surprise=1),
        *(record(steps=value) for value in (-1, "many", math.nan, [])),
        record(seconds=-1.0),
        record(values=[[1, 2, 3]]),
        record(acquisitions=[{"name": "a", "shape": [-5]}]),
        record(curve=[{"step": 1}]),
        record(noise=[{}]),
        record(noise=[{"noise_a": "loud"}]),
        record(of_channels=[{"steps": -1}]),
        record(score={"step": 1, "seconds": 1, "loss": 1, "held_out": math.nan}),
        record(versions={"torch": 3}),
    ],
)
def test_a_note_with_lies_is_refused(content, lie):
    header, note, numbers = unpacked(content)
    with refused("model"):
        from_bytes(packed(header, lie(note), numbers))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        '{"kind": "model"}',
        '{"kind": "model", "note": 3}',
        '{"kind": "model", "kind": "model", "note": {}}',
        '{"kind": ["model"], "note": {}}',
        '{"kind": "model", "note": ' + nested(DEEP) + "}",
        '{"kind": "model", "note": {"record": ' + nested(DEEP) + "}}",
        '{"kind": "model", "note": {"scales": [[' + "9" * 5000 + ", 0]]}}",
    ],
    ids=range(11),
)
def test_an_invalid_note_is_refused(content, text):
    header, _, numbers = unpacked(content)
    with refused("model"):
        from_bytes(packed(header, text, numbers))


def test_a_record_nested_too_deeply_is_refused(content):
    header, note, numbers = unpacked(content)
    text = json.dumps({"kind": "model", "note": note})
    channels = '"of_channels": [{' * 300 + "}]" * 300
    text = text.replace('"of_channels": []', channels)
    with refused("model"):
        from_bytes(packed(header, text, numbers))


def without(header, name):
    return {key: value for key, value in header.items() if key != name}


FIRST = "0.down.0.0.weight"


@pytest.mark.parametrize(
    "lie",
    [
        lambda header: {},
        lambda header: without(header, FIRST),
        lambda header: header | {"0.surprise": header[FIRST]},
        lambda header: without(header, FIRST) | {"1.down.0.0.weight": header[FIRST]},
        lambda header: without(header, FIRST) | {"weight": header[FIRST]},
        *(
            lambda header, entries=entries: header | {FIRST: header[FIRST] | entries}
            for entries in (
                {"dtype": "F16"},
                {"dtype": "F64"},
                {"dtype": "I32"},
                {"dtype": 3},
                {"shape": [4, 4, 9]},
                {"shape": [-4, -4, 3, 3]},
                {"shape": [10**12, 4, 3, 3]},
                {"shape": None},
                {"shape": [4.0, 4, 3, 3]},
                {"data_offsets": [0, 10**15]},
                {"data_offsets": [-8, 0]},
                {"data_offsets": [8, 0]},
                {"data_offsets": None},
                {"data_offsets": ["0", "9"]},
            )
        ),
        lambda header: header | {FIRST: None},
        lambda header: header | {FIRST: 7},
    ],
)
def test_tensors_other_than_those_of_the_network_are_refused(content, lie):
    header, note, numbers = unpacked(content)
    with refused("model"):
        from_bytes(packed(lie(header), note, numbers))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [FIRST, "0.head.bias", "0.down.0.1.running_mean"])
def test_weights_that_are_not_finite_are_refused(content, name, value):
    header, note, numbers = unpacked(content)
    numbers = bytearray(numbers)
    begin = header[name]["data_offsets"][0]
    numbers[begin : begin + 4] = np.float32(value).tobytes()
    with refused("model", match="not finite"):
        from_bytes(packed(header, note, bytes(numbers)))


def test_a_negative_variance_is_refused(content):
    header, note, numbers = unpacked(content)
    numbers = bytearray(numbers)
    begin = header["0.down.0.1.running_var"]["data_offsets"][0]
    numbers[begin : begin + 4] = np.float32(-5).tobytes()
    with refused("model", match="not finite"):
        from_bytes(packed(header, note, bytes(numbers)))


@pytest.mark.parametrize("claim", [{"width": 8000}, {"depth": 10**6}, {"width": 300, "depth": 12}])
def test_a_claimed_size_takes_neither_memory_nor_time(tmp_path, content, claim):
    header, note, numbers = unpacked(content)
    path = tmp_path / "huge.n2n"
    path.write_bytes(packed(header, architecture(**claim)(note), numbers))
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    with refused("model", match=r"huge\.n2n"):
        load(path)
    assert time.perf_counter() - began < 2
    assert psutil.Process().memory_info().rss - before < 50e6


@pytest.mark.parametrize("size", [10**10, 2**62])
def test_a_sparse_file_of_any_size_is_refused_without_reading_it(tmp_path, content, size):
    path = tmp_path / "huge.n2n"
    try:
        with path.open("wb") as file:
            file.write(content)
            file.truncate(size)
    except OSError:
        pytest.skip("this file system has no sparse files of that size")
    with refused("model", match=f"has {size} bytes"):
        load(path)


def test_a_checkpoint_as_a_model_is_refused(tmp_path):
    path = tmp_path / "cells.n2n"
    tensorfile.write(path, "checkpoint", {"a": torch.zeros(1)}, {})
    with refused("model", match="holds a napari-n2n checkpoint, not a model"):
        load(path)


STEPS = TrainingSettings(steps=5, patch=32, batch=2, loss="l2", device="cpu")


def images(seed):
    return np.random.default_rng(seed).normal(100, 10, (2, 64, 64)).astype(np.float32)


@pytest.fixture
def checkpoint(tmp_path):
    """The checkpoint of a run that was stopped at once."""
    stop = threading.Event()
    stop.set()
    train(Pair.open(*images(1)), STEPS, stop=stop, checkpoint=tmp_path / "run")
    return tmp_path / "run"


def test_a_file_of_the_user_is_not_replaced_by_a_checkpoint(tmp_path):
    own = tmp_path / "run"
    own.write_text("my notes")
    with refused("output", match="run: is not a checkpoint"):
        train(Pair.open(*images(1)), STEPS, checkpoint=own)
    assert own.read_text() == "my notes"


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9, "cut", "text"])
def test_a_damaged_checkpoint_is_refused(checkpoint, where):
    content = bytearray(checkpoint.read_bytes())
    if where == "text":
        content = b"garbage"
    elif where == "cut":
        content = content[:-100]
    else:
        content[int(where * len(content))] ^= 4
    checkpoint.write_bytes(content)
    with refused("resume", match="start again without --resume"):
        train(Pair.open(*images(1)), STEPS, checkpoint=checkpoint, resume=True)


def test_a_resumed_run_notices_a_pixel_that_has_changed(checkpoint):
    # Two values exchange their places: the statistics that the scales depend on stay the same.
    a, b = images(1)
    a[30, 30], a[31, 31] = a[31, 31], a[30, 30]
    with refused("resume", match="acquisitions have changed"):
        train(Pair.open(a, b), STEPS, checkpoint=checkpoint, resume=True)


def test_opening_a_model_does_not_wait_for_a_compiler(tmp_path, content):
    path = tmp_path / "cells.n2n"
    path.write_bytes(content)
    code = "import sys, napari_n2n; napari_n2n.load(sys.argv[1]); print('sympy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
