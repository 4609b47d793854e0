"""The files around the package agree with it and with each other."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from test_architecture import MAY_IMPORT

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
YAML = [
    *WORKFLOWS,
    *sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")),
    *(ROOT / name for name in (".pre-commit-config.yaml", "CITATION.cff", "mkdocs.yml")),
]


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def make_targets(text):
    """The targets that a workflow or a script asks make for."""
    return set(re.findall(r"\bmake ([a-z-]+)", text))


def test_every_yaml_file_can_be_parsed():
    assert {path.name for path in WORKFLOWS} == {
        "lint.yml",
        "test.yml",
        "lowest.yml",
        "release.yml",
    }
    assert all(isinstance(read(path), dict) for path in YAML)


@pytest.mark.parametrize(
    "path",
    [*WORKFLOWS, ROOT / ".pre-commit-config.yaml", ROOT / ".ci" / "run", ROOT / "CONTRIBUTING.md"],
    ids=lambda path: path.name,
)
def test_make_is_asked_only_for_targets_that_exist(path):
    targets = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE).group(1).split())
    assert all(f"\n{target}:" in MAKEFILE for target in targets)
    assert make_targets(path.read_text(encoding="utf-8")) <= targets


def test_workflows_run_what_the_local_ci_runs():
    called = {
        target
        for path in WORKFLOWS
        for job in read(path)["jobs"].values()
        for step in job["steps"]
        for target in make_targets(step.get("run", ""))
    }
    assert {"lint", "test", "docs"} <= called
    assert {"lint", "test", "docs"} <= make_targets((ROOT / ".ci" / "run").read_text())


def test_the_tests_run_on_every_system_and_python_that_is_promised():
    matrix = read(ROOT / ".github" / "workflows" / "test.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(PYPROJECT["project"]["classifiers"]))
    assert matrix["python"] == promised


def test_a_release_is_published_without_a_password():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text)["jobs"].values()
    assert job["permissions"] == {"id-token": "write"}
    assert "secrets." not in text and "password:" not in text


def test_the_citation_names_this_version_and_the_paper():
    citation = read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["version"] == PYPROJECT["project"]["version"]
    assert citation["version"] == importlib.metadata.version("napari-n2n")
    assert citation["license"] == PYPROJECT["project"]["license"]
    assert citation["references"][0]["authors"][0]["family-names"] == "Lehtinen"


def test_pre_commit_runs_what_make_lint_runs():
    (hook,) = read(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    assert hook["entry"] == "make lint"


def test_the_architecture_page_has_the_table_that_is_checked():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = {
        re.fullmatch(r"`(\w+)`", cells[0]).group(1): set(re.findall(r"`(\w+)`", cells[2]))
        for line in page.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 3
        and cells[0].startswith("`")
    }
    shared = {"errors", "generators", "defaults"}  # named below the table
    assert table == {name: may for name, may in MAY_IMPORT.items() if name not in shared}


def test_the_site_has_every_page_once():
    site = read(ROOT / "mkdocs.yml")
    pages = [path for entry in site["nav"] for path in entry.values()]
    beside = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert beside <= set(pages) and len(pages) == len(set(pages))
    assert [ROOT / hook for hook in site["hooks"] if not (ROOT / hook).is_file()] == []


def test_the_tools_of_every_extra_have_a_tested_version():
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    extras = PYPROJECT["project"]["optional-dependencies"]
    wanted = {
        re.match(r"[\w.-]+", one).group().lower()
        for requirements in (PYPROJECT["project"]["dependencies"], *extras.values())
        for one in requirements
    }
    assert wanted - pinned == set()
