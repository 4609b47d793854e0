"""A result is safe from a crash: complete under its own name, or resumable under another."""

import pytest
from conftest import refused

from napari_n2n.io.crash_safe import (
    Journal,
    journal_path,
    read_journal,
    rename_into_place,
)
from napari_n2n.io.output_path import check_disk_space, check_overwrite
from napari_n2n.io.writers import checked_output

JOB = {"model": "abc", "turns": False, "_tile": [64, 64]}


def test_a_journal_resumes_without_the_line_that_a_crash_cut(tmp_path):
    path = tmp_path / "journal"
    journal = Journal(path, JOB)
    journal.add("0/0/0")
    journal.add("0/0/1")
    with open(path, "ab") as file:
        file.write(b"0/0/")
    resumed = Journal(path, JOB, resume=True)
    assert resumed.done == {"0/0/0", "0/0/1"}
    resumed.add("0/0/2")
    assert read_journal(path) == {"0/0/0", "0/0/1", "0/0/2"}
    resumed.remove()
    assert read_journal(path) == set() and not path.exists()


def test_a_journal_starts_again_unless_it_is_resumed(tmp_path):
    Journal(tmp_path / "journal", JOB).add("0/0/0")
    assert Journal(tmp_path / "journal", JOB).done == set()
    assert read_journal(tmp_path / "journal") == set()


@pytest.mark.parametrize("key", ["model", "turns"])
def test_a_journal_of_another_job_is_refused(tmp_path, key):
    Journal(tmp_path / "journal", JOB).add("0/0/0")
    with refused("resume", match=f"another {key}"):
        Journal(tmp_path / "journal", JOB | {key: "other"}, resume=True)


def test_a_resumed_job_keeps_its_private_values(tmp_path):
    Journal(tmp_path / "journal", JOB).add("0/0/0")
    resumed = Journal(tmp_path / "journal", JOB | {"_tile": [32, 32]}, resume=True)
    assert resumed.job["_tile"] == [64, 64]


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        ("file", "nothing"),
        ("file", "file"),
        ("folder", "nothing"),
        ("folder", "file"),
        ("folder", "folder"),
    ],
)
def test_a_complete_result_replaces_what_was_there(tmp_path, kind, before):
    path, built = tmp_path / "result", tmp_path / "result.partial"
    for one, what, text in ((path, before, "old"), (built, kind, "new")):
        if what == "folder":
            one.mkdir()
            (one / text).write_text(text)
        elif what == "file":
            one.write_text(text)
    assert rename_into_place(built, path) == path
    assert [one.name for one in tmp_path.iterdir()] == ["result"]
    content = path / "new" if kind == "folder" else path
    assert content.read_text() == "new"
    assert kind == "file" or [one.name for one in path.iterdir()] == ["new"]


def test_a_result_may_fill_the_disk_but_not_exceed_it(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    check_disk_space(tmp_path / "a.tif", 1000)
    with refused("disk", match=r"a\.tif: not enough disk space"):
        check_disk_space(tmp_path / "a.tif", 1001)


def test_existing_and_unfinished_outputs_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    assert checked_output(path, overwrite=False) == path
    journal_path(path).touch()
    with refused("unfinished"):
        checked_output(path, overwrite=False)
    assert checked_output(path, overwrite=False, resume=True) == path
    assert checked_output(path, overwrite=True) == path
    path.touch()
    for check in (check_overwrite, checked_output):
        with refused("exists"):
            check(path, overwrite=False)
        check(path, overwrite=True)


def test_a_folder_is_replaced_only_if_it_is_a_zarr(tmp_path):
    for name in ("a.zarr", "b.tif"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").touch()
        with refused("output"):
            checked_output(tmp_path / name, overwrite=True)
    (tmp_path / "a.zarr" / "zarr.json").touch()
    assert checked_output(tmp_path / "a.zarr", overwrite=True) == tmp_path / "a.zarr"
    with refused("output"):
        checked_output(tmp_path / "a.jpg", overwrite=True)
