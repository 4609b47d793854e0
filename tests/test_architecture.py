"""Which package may import what, package by package."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "napari_n2n"

# Modules of the root that every package may import.
SHARED = {"errors", "generators", "defaults"}

ENGINE = {"stats", "io", "pair", "model", "noise", "simulate", "training", "denoising", "quality"}

# The table of docs/architecture.md: each package, and the packages that it may import.
MAY_IMPORT = {
    "errors": set(),
    "generators": set(),
    "defaults": set(),
    "stats": set(),
    "io": {"stats"},
    "pair": {"io", "stats"},
    "model": {"io", "stats"},
    "noise": {"pair", "io", "stats"},
    "simulate": {"pair", "io", "stats"},
    "training": {"noise", "pair", "model", "io", "stats"},
    "denoising": {"model", "pair", "io", "stats"},
    "quality": {"denoising", "noise", "pair", "io", "stats"},
    "recipe": ENGINE,
    "one_call": ENGINE,
    "__init__": ENGINE | {"one_call"},
    "cli": ENGINE | {"recipe", "__init__"},
    "__main__": {"cli"},
    "widgets": ENGINE | {"recipe", "__init__"},
}

WINDOWS = {"napari", "qtpy", "superqt", "magicgui", "pyqtgraph", "PyQt5", "PyQt6"}
WINDOWS |= {"PySide2", "PySide6"}
MAY_USE_TORCH = {"model", "training", "denoising", "quality"}
# What `import napari_n2n` must not load: each takes a second or more.
SLOW = {"torch", "dask", "zarr", "napari"}

# A longer module or function has a second purpose; exceptions are listed with their reason.
MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 60
LONG_FUNCTIONS: dict[str, str] = {}

FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def package_of(path: Path) -> str:
    """The package, or the module of the root, that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path, source: str | None = None) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import of a file, those inside functions too."""
    here = (PACKAGE.name, *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(source) if source else parsed(path)):
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
    """Line and package of every import from this project: ``napari_n2n.load`` is ``__init__``'s."""
    for line, name in imported(path, source):
        package, _, rest = name.partition(".")
        if package == PACKAGE.name:
            first = rest.partition(".")[0]
            is_own = (PACKAGE / first).is_dir() or (PACKAGE / f"{first}.py").is_file()
            yield line, first if first and is_own else "__init__"


@cache
def modules_imported(path: Path) -> frozenset[Path]:
    """The files of the package that a file imports when it is itself imported."""
    found = set()
    for node in parsed(
        path
    ).body:  # what functions import, and what only type checkers read, is no cycle
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE.name):
            here = PACKAGE.joinpath(*str(node.module).split(".")[1:])
            for name in (here, *(here / alias.name for alias in node.names)):
                found |= {file for file in (name.with_suffix(".py"),) if file.is_file()}
    return frozenset(found - {path})


def reached(path: Path) -> set[Path]:
    """All files that are loaded when a file is imported; stops at a file that is being imported."""
    seen: set[Path] = set()
    left = list(modules_imported(path))
    while left:
        file = left.pop()
        if file not in seen:
            seen.add(file)
            left += modules_imported(file)
    return seen


def test_the_package_is_found():
    assert PACKAGE / "__init__.py" in FILES
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders <= set(MAY_IMPORT), "a new package: add it to MAY_IMPORT"


def test_a_package_imports_only_what_the_table_allows():
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} imports {other}"
        for path in FILES
        for line, other in own_imports(path)
        if other not in MAY_IMPORT[package_of(path)] | SHARED | {package_of(path)}
    ]
    assert not wrong, "see MAY_IMPORT"


def test_no_module_imports_itself_through_others():
    assert not [path.name for path in FILES if path in reached(path)]


def names_imported_outside(packages: set[str], names: set[str]) -> list[str]:
    return [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path in FILES
        if package_of(path) not in packages
        for line, name in imported(path)
        if name.partition(".")[0] in names
    ]


def test_qt_and_napari_stay_in_widgets():
    assert not names_imported_outside({"widgets"}, WINDOWS)


def test_torch_stays_where_networks_are():
    assert not names_imported_outside(MAY_USE_TORCH, {"torch", "safetensors"})


def test_a_dock_never_imports_another_dock():
    docks = {path.stem for path in (PACKAGE / "widgets").glob("*_dock.py")}
    for path in (PACKAGE / "widgets").rglob("*.py"):
        if path.stem in docks:
            used = {part for _, name in imported(path) for part in name.split(".")}
            assert not (used & docks - {path.stem}), path.name


def test_forms_use_sessions_and_sessions_use_layers_but_not_the_reverse():
    for part, above in (("layers", {"sessions", "forms"}), ("sessions", {"forms"})):
        for path in (PACKAGE / "widgets" / part).glob("*.py"):
            used = {part for _, name in imported(path) for part in name.split(".")}
            assert not (used & above), path.name


def test_file_names_are_unique_in_the_whole_package():
    names = [path.name for path in FILES if path.name != "__init__.py"]
    assert sorted(names) == sorted(set(names))


def test_every_module_uses_the_one_logger_of_the_package():
    """The command line shows its warnings; those of other loggers are kept from the terminal."""
    assert not [path.name for path in FILES if "getLogger(__name__)" in path.read_text("utf-8")]


def test_no_module_is_too_long_to_read():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not [name for name, lines in lengths.items() if lines > MOST_LINES_OF_A_MODULE]


def test_no_function_is_too_long_to_read():
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef) and node.name not in LONG_FUNCTIONS:
                first = node.body[1] if ast.get_docstring(node) and node.body[1:] else node.body[0]
                length = node.end_lineno - first.lineno + 1  # without signature and docstring
                assert length <= MOST_LINES_OF_A_FUNCTION, f"{path.name}: {node.name}, {length}"


@pytest.mark.parametrize("name", ["napari_n2n", "napari_n2n.cli.commands"])
def test_importing_the_package_or_its_commands_loads_nothing_slow(name):
    code = f"import sys, json, {name}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not SLOW & set(json.loads(run.stdout))


@pytest.mark.parametrize(
    ("source", "packages"),
    [
        ("from .widgets import train_dock", ["widgets"]),
        ("from . import widgets", ["widgets"]),
        ("import napari_n2n.widgets.train_dock as train", ["widgets"]),
        ("def f():\n    from napari_n2n.widgets.train_dock import TrainWidget", ["widgets"]),
        ("importlib.import_module('napari_n2n.widgets')", ["widgets"]),
        ("import napari_n2n as n2n", ["__init__"]),
        ("from napari_n2n import load", ["__init__"]),
        ("import napari", []),
    ],
)
def test_no_way_of_importing_escapes_the_check(source, packages, monkeypatch, tmp_path):
    package = tmp_path / "napari_n2n"
    (package / "widgets").mkdir(parents=True)
    monkeypatch.setitem(globals(), "PACKAGE", package)
    assert [one for _, one in own_imports(package / "recipe.py", source)] == packages
    from_inside = own_imports(package / "noise" / "advice.py", "from ..widgets import train_dock")
    assert [one for _, one in from_inside] == ["widgets"]
