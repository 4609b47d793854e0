"""The house stands as drawn: arrows between modules point down only, and Qt stays in widgets/."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "napari_n2n"

# A module imports only from lines above its own; modules of one line do not know each other.
# A folder counts as one module, and what its files import from each other is its own affair.
LAYERS = """
errors affine settings progress generators header regions jackknife
durable
tensorfile device schedule tiff samples ngff quality journal ceiling
sources
acquisition fields losses tiles registration matching writers
finite findings duplicate
pair copying simulate
recipe scenes network noise normalisation blocks
batch architecture exchange provenance
held_out
pool
patches
model
likeness warm_start
run plan
checkpoint engine
cluster
training estimate denoising scoring plot preview
series
__init__
demo
cli widgets
"""
RANK = {room: rank for rank, line in enumerate(LAYERS.split("\n")) for room in line.split()}

WINDOWS = {"napari", "qtpy", "superqt", "magicgui", "pyqtgraph"}
WINDOWS |= {"PyQt5", "PyQt6", "PySide2", "PySide6"}

FILES = sorted(PACKAGE.rglob("*.py"))
each_file = pytest.mark.parametrize(
    "path", FILES, ids=[path.relative_to(PACKAGE).as_posix() for path in FILES]
)


def room_of(path: Path) -> str:
    """The module, or the folder of modules, that a file of the package belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path, source: str | None = None) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import of a file, those inside functions too."""
    here = (PACKAGE.name, *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(source or path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func
            name = getattr(function, "attr", getattr(function, "id", None))
            if name in {"import_module", "__import__"}:
                yield node.lineno, str(node.args[0].value)


def own_imports(path: Path, source: str | None = None) -> Iterator[tuple[int, str]]:
    """Line and room of every import from this package: ``napari_n2n.load`` is ``__init__``'s."""
    for line, name in imported(path, source):
        package, _, rest = name.partition(".")
        if package == PACKAGE.name:
            room = rest.partition(".")[0]
            is_room = (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()
            yield line, room if room and is_room else "__init__"


def test_the_package_is_found():
    assert PACKAGE / "__init__.py" in FILES


@each_file
def test_a_module_has_its_place_in_the_order(path):
    room = room_of(path)
    assert room in RANK, f"'{room}' is new: add it to LAYERS in {Path(__file__).name}"


@each_file
def test_arrows_point_down_only(path):
    room = room_of(path)
    wrong = [
        f"{path.name}:{line} imports {other}"
        for line, other in own_imports(path)
        if other != room and RANK.get(other, -1) >= RANK.get(room, len(RANK))
    ]
    assert not wrong, f"{wrong}: '{room}' may import only from lines above its own in LAYERS"


@each_file
def test_only_widgets_know_napari_and_qt(path):
    if room_of(path) == "widgets":
        return
    wrong = [
        f"{path.name}:{line} imports {name}"
        for line, name in imported(path)
        if name.partition(".")[0] in WINDOWS
    ]
    assert not wrong, f"{wrong}: move it to widgets/"


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("from .widgets import train", ["widgets"]),
        ("from . import widgets", ["widgets"]),
        ("import napari_n2n.widgets.train as train", ["widgets"]),
        ("def f():\n    from napari_n2n.widgets.train import TrainWidget", ["widgets"]),
        ("importlib.import_module('napari_n2n.widgets')", ["widgets"]),
        ("import napari_n2n as n2n", ["__init__"]),
        ("from napari_n2n import load", ["__init__"]),
        ("import napari", []),
    ],
)
def test_no_way_of_importing_escapes_the_check(source, rooms, monkeypatch, tmp_path):
    package = tmp_path / "napari_n2n"
    (package / "widgets").mkdir(parents=True)
    monkeypatch.setitem(globals(), "PACKAGE", package)
    assert [room for _, room in own_imports(package / "model.py", source)] == rooms
    from_inside = own_imports(package / "noise" / "advice.py", "from ..widgets import train")
    assert [room for _, room in from_inside] == ["widgets"]
