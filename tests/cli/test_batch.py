"""Many fields of view are measured at once: a table, and a page that shows what differs."""

import csv
import json
import os
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import tifffile
from conftest import blobs, noisy


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Six pairs; of one, B is displaced by three pixels; and six clean images."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "clean", "worse"):
        (tmp_path / name).mkdir()
    for number in range(6):
        scene = blobs((96, 96), number)
        a, b = (noisy(scene, (number, seed)) for seed in (1, 2))
        tifffile.imwrite(f"a/cell <{number}>.tif", a)
        tifffile.imwrite(f"b/cell <{number}>.tif", np.roll(b, 3, 1) if number == 4 else b)
        tifffile.imwrite(f"clean/cell <{number}>.tif", scene)
        tifffile.imwrite(f"worse/cell <{number}>.tif", noisy(scene, 9, 40 if number == 2 else 4))
    return tmp_path


class Page(HTMLParser):
    """The text and the links of a page; raises if its tags are not closed in order."""

    VOID = ("meta", "img", "br", "rect", "circle")  # of HTML, and of the plots

    def __init__(self, path):
        super().__init__()
        self.open, self.words, self.links, self.rows = [], [], [], 0
        self.feed(path.read_text("utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        self.rows += tag == "tr"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)


def test_a_folder_of_pairs_is_measured_and_the_unusual_pair_is_named(call, folders):
    words = ("inspect", "a", "b", "--table", "out/t.csv", "--report", "out/r.html")
    status, out, err = call(*words)
    first, second = out.splitlines()
    assert status == 0 and first == "6 fields of view measured, 1 differs from the others"
    assert second.startswith("cell <4>: Shift in x: ") and "saved out/t.csv" in err
    rows = list(csv.DictReader((folders / "out/t.csv").open(encoding="utf-8")))
    assert [row["name"] for row in rows] == [f"cell <{k}>" for k in range(6)]
    assert float(rows[4]["shift_x"]) == pytest.approx(3, abs=0.2)
    assert "shift" in rows[4]["warnings"].split() and "shift" not in rows[3]["warnings"]
    assert rows[4]["differs"] and not rows[3]["differs"]
    assert all(float(row["noise_a"]) > 0 and float(row["psnr_raw"]) > 0 for row in rows)
    page = Page(folders / "out/r.html")
    text = "".join(page.words)
    assert (
        text.index("Fields of view that differ") < text.index("cell <4>") < text.index("cell <0>")
    )
    assert "Equal wherever it was measured: gain of B against A = 1" in text
    assert page.rows == 7 and "<4>" not in (folders / "out/r.html").read_text()
    assert len(page.links) == 7 and all(link.startswith("data:image/png") for link in page.links)


def test_files_that_cannot_be_used_are_rows_too(call, folders):
    tifffile.imwrite("b/cell <1>.tif", np.zeros((96, 96), np.float32))
    words = ("inspect", "a", "b", "--table", "t.csv", "--json")
    assert call(*words)[0] == 2 and not (folders / "t.csv").exists()
    status, out, _ = call(*words, "--skip-bad")
    printed = json.loads(out)
    fields = printed["fields"]
    assert status == 3 and len(fields) == 6
    assert [one["code"] for one in printed["left_out"]] == ["constant"]
    assert fields[-1]["note"] == "not usable" and "every pixel is 0" in fields[-1]["differs"][0]
    assert "not usable" in (folders / "t.csv").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_name_that_is_not_valid_text_is_written_with_its_bytes(call, folders):
    for view in "ab":
        (folders / view / "cell <0>.tif").rename(os.fsdecode(b"%s/\xff.tif" % view.encode()))
    status, _, err = call("inspect", "a", "b", "--table", "t.csv", "--report", "r.html")
    assert status == 0, err
    assert "\\udcff" in (folders / "t.csv").read_text() and Page(folders / "r.html").rows == 7


@pytest.mark.parametrize("option", ["--table s3://lab/t.csv", "--report s3://lab/r.html"])
def test_a_table_or_page_is_not_written_into_a_folder_named_like_an_address(call, folders, option):
    for words in (("inspect", "a", "b"), ("score", "worse", "--against", "b")):
        status, _, err = call(*words, *option.split())
        assert status == 2 and f"{option.split()[1]}: is an address" in err
    assert not (folders / "s3:").exists()


def test_a_folder_of_results_is_scored_and_the_worst_is_named(call, folders):
    words = ("score", "worse", "--against", "b", "--truth", "clean")
    status, out, _ = call(*words, "--table", "t.csv", "--report", "r.html", "--json")
    fields = json.loads(out)["fields"]
    assert status == 0 and len(fields) == 6
    assert min(fields, key=lambda one: one["psnr"])["name"] == "cell <2>"
    assert fields[2]["differs"][0].startswith("PSNR against the truth")
    assert Page(folders / "r.html").rows == 7
    assert float(list(csv.DictReader((folders / "t.csv").open()))[2]["ssim"]) < 0.9
    status, _, err = call("score", "worse", "--against", "b/cell <0>.tif")
    assert status == 2 and "b/cell <0>.tif: is not a folder" in err
    assert (
        call("score", "a/cell <0>.tif", "--against", "b/cell <0>.tif", "--table", "t.csv")[0] == 2
    )
