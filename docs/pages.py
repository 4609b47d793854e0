"""Add pages to the site that are not in docs/; mkdocs.yml names this file as a hook.

The README, the changelog and the benchmarks stay where readers of the repository expect them; the
pages on the command line and the API are made from the code. So no text is stored twice.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.testing import CliRunner

import napari_n2n
from napari_n2n.cli.commands import app

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/napari-n2n/napari-n2n/blob/main/"
PICTURES = "https://raw.githubusercontent.com/napari-n2n/napari-n2n/main/docs/"
# Files outside docs/ and the page that each becomes.
INCLUDED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the included and the generated pages, and the figures that they show."""
    pages = {page: included(source) for source, page in INCLUDED.items()}
    pages |= {"command_line.md": command_line(), "api.md": api()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    for figure in sorted((ROOT / "benchmarks" / "figures").iterdir()):
        files.append(File.generated(config, f"figures/{figure.name}", abs_src_path=str(figure)))
    return files


def included(source: str) -> str:
    """Return the text of a file of the repository, with links that work within the site."""
    text = (ROOT / source).read_text(encoding="utf-8").replace(PICTURES, "")
    for path, page in INCLUDED.items():
        text = text.replace(f"({REPOSITORY}{path}", f"({page}")
    return text.replace(f"({REPOSITORY}docs/", "(").replace("(docs/", "(")


def command_line() -> str:
    """Return the help of every command."""
    runner = CliRunner(env={"COLUMNS": "88"})  # characters that fit a code block of the site
    parts = ["# Command line"]
    for command in ("", *(one.name or one.callback.__name__ for one in app.registered_commands)):
        name = f"napari-n2n {command}".strip()
        shown = runner.invoke(app, [*filter(None, [command]), "--help"], prog_name="napari-n2n")
        assert shown.exit_code == 0, shown.output
        parts.append(f"## {name}\n\n```text\n{shown.output.strip()}\n```")
    return "\n\n".join(parts)


def api() -> str:
    """Return a page with the docstring of every public name, from the module that defines it."""
    parts = ["# API", f"```python\n{usage()}\n```"]
    for name in napari_n2n.__all__:
        parts.append(f"::: {getattr(napari_n2n, name).__module__}.{name}")
    return "\n\n".join(parts)


def usage() -> str:
    """Return the example of the package's docstring."""
    return "\n".join(re.findall(r"^>>> (.*)$", str(napari_n2n.__doc__), re.MULTILINE))
