"""An editable install, a wheel and a source archive give the same plugin."""

import importlib.metadata
import importlib.resources
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import npe2
import pytest

ROOT = Path(__file__).parents[1]


def run_python(*arguments, **options):
    """Run Python in a new process and return its output."""
    finished = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, **options
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def wheel_files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The wheel built from the checkout, the source archive, and the wheel built from that."""
    direct, via_sdist = tmp_path_factory.mktemp("direct"), tmp_path_factory.mktemp("via_sdist")
    build = ("-m", "build", "--no-isolation", ROOT, "--outdir")
    run_python(*build, direct, "--wheel", cwd=direct)
    run_python(*build, via_sdist, cwd=via_sdist)
    (wheel,) = direct.glob("*.whl")
    (sdist,) = via_sdist.glob("*.tar.gz")
    (wheel_of_sdist,) = via_sdist.glob("*.whl")
    return wheel, sdist, wheel_of_sdist


@pytest.fixture(scope="module")
def samples():
    """Paths of the sample acquisitions and of the script that makes them, from the top."""
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "sample_data").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert any(name.endswith(".tif") for name in found)
    return found


def test_napari_reads_the_manifest_at_the_top_of_the_repository():
    top = ROOT / "napari.yaml"
    installed = importlib.resources.files("napari_n2n") / "napari.yaml"
    assert installed.read_bytes() == top.read_bytes()

    without_metadata = {"exclude": {"package_metadata"}}
    seen_by_napari = npe2.PluginManifest.from_distribution("napari-n2n")
    expected = npe2.PluginManifest.from_file(top)
    assert seen_by_napari.model_dump(**without_metadata) == expected.model_dump(**without_metadata)


def test_every_command_of_the_manifest_can_be_imported():
    npe2.PluginManifest.from_distribution("napari-n2n").validate_imports()


def test_menu_and_command_line_open_the_same_widget():
    manifest = npe2.PluginManifest.from_file(ROOT / "napari.yaml")
    assert manifest.display_name == manifest.name


def test_a_wheel_contains_the_manifest_the_samples_and_the_pretrained_weights(archives, samples):
    wheel, _, _ = archives
    files = wheel_files(wheel)
    own = ("napari.yaml", "py.typed", "training/pretrained.n2n")
    assert {f"napari_n2n/{name}" for name in own} <= files
    assert {f"napari_n2n/{name}" for name in samples} <= files
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read("napari_n2n/napari.yaml")
    assert packed == (ROOT / "napari.yaml").read_bytes()


def test_a_wheel_contains_only_the_package(archives):
    wheel, _, _ = archives
    version = importlib.metadata.version("napari-n2n")
    folders = {name.partition("/")[0] for name in wheel_files(wheel)}
    assert folders == {"napari_n2n", f"napari_n2n-{version}.dist-info"}


def test_a_source_archive_contains_everything_for_a_build_and_the_tests(archives, samples):
    _, sdist, _ = archives
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    files = {name.partition("/")[2] for name in names}
    assert {"napari.yaml", "src/hatch_build.py", "src/napari_n2n/py.typed"} <= files
    assert {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"} <= files
    assert {"mkdocs.yml", "docs/architecture.md", ".github/workflows/test.yml"} <= files
    assert f"tests/{Path(__file__).name}" in files
    assert samples <= files
    assert "src/napari_n2n/napari.yaml" not in files, "a second copy of the manifest"


def test_the_source_archive_builds_the_same_wheel(archives):
    wheel, _, wheel_of_sdist = archives
    assert wheel_files(wheel_of_sdist) == wheel_files(wheel)


def test_importing_the_package_is_quick():
    loaded = run_python("-c", "import sys, napari_n2n; print(*sys.modules)").split()
    assert "napari_n2n" in loaded
    slow = {"torch", "dask", "zarr", "napari", "qtpy", "superqt", "magicgui", "pyqtgraph"}
    assert slow.isdisjoint(loaded)
