"""The examples in docs/scripting.md run, and all linked pages and pictures exist."""

import re
import shutil
from pathlib import Path

import napari
import pytest

import napari_n2n.widgets.contributions  # noqa: F401  (below, its annotations would be patched)
from napari_n2n import Acquisition
from napari_n2n.simulate import samples
from napari_n2n.training.losses import LOSSES

ROOT = Path(__file__).parents[1]
SCRIPTING = (ROOT / "docs" / "scripting.md").read_text(encoding="utf-8")
HEADLESS, WITH_VIEWER = (
    re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    for part in SCRIPTING.split("## With a viewer")
)
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def test_the_theory_page_lists_the_losses_as_the_interface_does():
    page = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    for loss in LOSSES.values():
        assert f"| {loss.title} | {loss.right_when} | {loss.wrong_when} |" in page


def run(example):
    names = {}
    exec(re.sub(r"steps=\d+", "steps=5", example), names)
    return names


def test_the_examples_without_a_viewer_run_one_after_the_other(desk, capsys):
    assert len(HEADLESS) == 8
    shutil.copy("c.tif", desk / "before" / "c.tif")
    first, steps, error, split, embedded, fields, _, refused = map(run, HEADLESS)
    printed = capsys.readouterr().out
    assert (error["error"] > 0).all() and "ADU" in printed
    assert "held-out PSNR" in printed and "two separate exposures" in printed
    assert Acquisition.open(desk / "clean.ome.zarr").shape == (4, 64, 64)
    assert steps["denoiser"].record.steps == 5
    learned = [one.name for one in fields["denoiser"].record.acquisitions]
    assert learned == ["a1", "b1", "a2", "b2"]
    assert Acquisition.open(desk / "clean_1.ome.zarr").shape == (64, 64)
    assert (desk / "clean" / "c.tif").exists()
    assert split["pair"].first.shape == (2, 64, 64) and split["clean"].shape == (64, 64)
    assert embedded["clean"].shape == (64, 64)
    assert first["report"].loss and "error" not in refused  # it was raised, and caught


def test_the_examples_with_a_viewer_run(desk, denoiser, make_napari_viewer, qtbot, monkeypatch):
    cells = samples.SCENES["cells"]

    def corner():
        return [samples._with_pixels(one, one.plane(0)[:96, :96], one.name) for one in cells()]

    monkeypatch.setitem(samples.SCENES, "cells", corner)
    monkeypatch.setattr(napari, "Viewer", make_napari_viewer)
    layers, dock, model = WITH_VIEWER
    viewer = run(layers)["viewer"]
    assert [layer.name for layer in viewer.layers] == ["cells_a", "cells_b", "clean"]
    viewer.close()

    names = run(dock)
    session, shown = names["train"].session, names["viewer"].layers
    qtbot.waitUntil(
        lambda: session.denoiser is not None and not session.running and len(shown) == 3,
        timeout=60_000,
    )
    names["viewer"].close()

    denoiser.save("cells.n2n")
    viewer = run(model)["viewer"]
    assert any("Denoise" in name for name in viewer.window.dock_widgets)


def links(page):
    """Files of this repository that a page links or shows."""
    text = page.read_text(encoding="utf-8")
    ours = r"https://(?:raw\.githubusercontent|github)\.com/napari-n2n/napari-n2n/(?:blob/)?main/"
    linked = [ROOT / path for path in re.findall(rf"\({ours}([^)#]+)\)", text)]
    return linked + [
        page.parent / path for path in re.findall(r"\((?!http)([^()#\s]+\.\w+)\)", text)
    ]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_linked_page_and_picture_exists(page):
    without = {"architecture.md"}  # needs no picture and no link
    assert links(page) or page.name in without
    assert [path for path in links(page) if not path.exists()] == []
