"""Print the tables of benchmarks, and write each into its section of README.md."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

PAGE = Path(__file__).with_name("README.md")

Verdict = tuple[bool, str]
"""Whether a result is as expected, and a sentence about it."""


def machine(device: str = "cpu", libraries: Sequence[str] = ()) -> str:
    """Return the processor and the versions that a table was measured with.

    Parameters
    ----------
    device
        That on which networks were computed.
    libraries
        Packages that matter for the table besides torch.
    """
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*: (.+)", cpuinfo.read_text())
        name = found.group(1) if found else name
    if device.startswith("cuda"):
        name = f"{torch.cuda.get_device_name()}, {name}"
    others = "".join(f"{library} {version(library)}, " for library in libraries)
    return (
        f"{name}, {os.cpu_count()} cores, torch on {torch.get_num_threads()} of them, "
        f"Python {platform.python_version()}, "
        f"torch {torch.__version__}, {others}napari-n2n {version('napari-n2n')}, {date.today()}"
    )


def table(header: list[str], rows: list[list[object]]) -> str:
    """Format a markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def judged(verdicts: Sequence[Verdict]) -> str:
    """Format verdicts as a markdown list."""
    return "\n".join(f"- {'pass' if ok else 'FAIL'}: {words}" for ok, words in verdicts)


def publish(section: str, text: str) -> None:
    """Print a text and write it between the markers of its section in README.md."""
    print(text)
    page = PAGE.read_text()
    start, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    if start not in page:
        page = f"{page.rstrip()}\n\n{start}\n{end}\n"
    before, rest = page.split(start, 1)
    PAGE.write_text(f"{before}{start}\n{text.strip()}\n{end}{rest.split(end, 1)[1]}")
